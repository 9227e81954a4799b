/* Forks until it is refused, and each child sleeps.
 * goal: more processes than the limit
 * stopped by: the pids limit of the control group; behind it RLIMIT_NPROC
 * first: cgroup-limits
 * second: rlimits
 */
#include "attack.h"
int main(void) {
    unsigned long long limit = figure("ATTACK_PIDS"), made = 0;
    signal(SIGTERM, SIG_IGN);
    for (; made <= limit; made++) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) { for (;;) pause(); }
    }
    if (made > limit) reached("%llu processes", made);
    return tried();
}
