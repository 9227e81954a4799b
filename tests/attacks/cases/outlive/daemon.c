/* Leaves a process behind that has left its session, its parent, its terminal and its working directory.
 * goal: a process that lives on when the stage has ended
 * stopped by: cgroup.kill, which nobody leaves; behind it the pid namespace, which ends with its init
 * first: cgroup-kill
 * second: pids
 */
#include "attack.h"
int main(void) {
    int ready[2];
    if (pipe(ready)) return 2;
    if (fork() == 0) {
        setsid();
        if (fork() > 0) _exit(0);
        for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
        if (write(ready[1], "x", 1) != 1) _exit(1);
        for (int fd = 0; fd < 64; fd++) close(fd);
        if (chdir("/")) _exit(1);
        for (;;) sleep(600);
    }
    char byte;
    if (read(ready[0], &byte, 1) != 1) return 2;
    return tried();
}
