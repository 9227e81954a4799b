/* Forks twice, with a session of its own each time, and lets the parent exit: no chain of parents leads to what is left.
 * goal: more processes than the limit, which no process tree shows
 * stopped by: the pids limit of the control group, which counts whoever was born in it; behind it RLIMIT_NPROC
 * first: cgroup-limits
 * second: rlimits
 */
#include "attack.h"
int main(void) {
    unsigned long long limit = figure("ATTACK_PIDS"), alive = 0;
    int said[2];
    if (pipe(said)) return 2;
    for (unsigned long long i = 0; i < 3 * limit; i++) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) {
            setsid();
            pid_t orphan = fork();
            if (orphan == 0) {
                if (write(said[1], "x", 1) != 1) _exit(1);
                for (;;) pause();
            }
            _exit(orphan < 0);
        }
        waitpid(child, 0, 0);
    }
    char byte;
    fcntl(said[0], F_SETFL, O_NONBLOCK);
    while (read(said[0], &byte, 1) == 1) alive++;
    if (alive > limit) reached("%llu orphans", alive);
    return tried();
}
