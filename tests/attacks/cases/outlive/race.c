/* Forks as fast as it can while it is being killed: whoever kills one after the other never comes to an end.
 * goal: a process that lives on when the stage has ended
 * stopped by: cgroup.kill, which is one order for all; behind it the pid namespace, in which nobody is born any more
 * first: cgroup-kill
 * second: pids
 * wall: 1
 * ends: time-limit, memory-limit
 */
#include "attack.h"
int main(void) {
    for (;;) {
        pid_t child = fork();
        if (child == 0) setsid();
        if (child > 0 && fork() == 0) { usleep(1000); _exit(0); }
        while (waitpid(-1, 0, WNOHANG) > 0) { }
    }
}
