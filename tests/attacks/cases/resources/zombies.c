/* Starts processes that end at once, and waits for none of them: dead ones hold a number each, and the numbers come to an end.
 * goal: more processes than the limit, dead ones among them
 * stopped by: the pids limit of the control group, which counts whoever has not been waited for; behind it RLIMIT_NPROC, which does, too
 * first: cgroup-limits
 * second: rlimits
 */
#include "attack.h"
int main(void) {
    unsigned long long limit = figure("ATTACK_PIDS"), made = 0;
    for (; made <= limit; made++) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) _exit(0);
    }
    if (made > limit) reached("%llu processes, nearly all of them dead", made);
    return tried();
}
