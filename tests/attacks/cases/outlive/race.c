/* Forks and ends, again and again, while it is being killed: whoever kills one after the other finds nobody where he looked.
 * goal: a process that lives on when the stage has ended
 * stopped by: cgroup.kill, which is one order for all; behind it the pid namespace, in which nobody is born any more
 * first: cgroup-kill
 * second: pids
 * wall: 1
 * ends: time-limit, memory-limit
 */
#include "attack.h"
int main(void) {
    /* Few, and never the same: a machine in which nothing holds them has to get rid of them. */
    for (int i = 0; i < 12; i++) {
        if (fork() != 0) continue;
        for (;;) {
            setsid();
            if (fork() > 0) _exit(0);
        }
    }
    for (;;) pause();
}
