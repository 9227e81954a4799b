/* Holds the stage's output open from a process that was given away to init.
 * goal: a stage that never ends, because somebody still might write
 * stopped by: the stage ends with its command, and everything else is killed
 * first: cgroup-kill
 * second: pids
 */
#include "attack.h"
int main(void) {
    int ready[2];
    if (pipe(ready)) return 2;
    if (fork() == 0) {
        setsid();
        signal(SIGHUP, SIG_IGN), signal(SIGTERM, SIG_IGN);
        if (write(ready[1], "x", 1) != 1) _exit(1);
        for (;;) sleep(600);
    }
    char byte;
    if (read(ready[0], &byte, 1) != 1) return 2;
    return tried();
}
