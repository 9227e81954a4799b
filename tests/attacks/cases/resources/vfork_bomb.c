/* Starts processes that share their parent's memory, each from the last one, until it is refused.
 * goal: more processes than the limit
 * stopped by: the pids limit of the control group; behind it RLIMIT_NPROC
 * first: cgroup-limits
 * second: rlimits
 */
#include "attack.h"
static volatile unsigned long long made;
int main(void) {
    unsigned long long limit = figure("ATTACK_PIDS");
    pid_t first = getpid(), child;
    /* Whoever has a child sleeps until it ends: only the youngest runs. */
    while (made <= limit && (child = vfork()) == 0) made++;
    if (getpid() != first) _exit(0);
    if (made > limit) reached("%llu processes", made);
    return tried();
}
