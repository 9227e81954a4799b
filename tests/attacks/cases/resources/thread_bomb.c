/* Starts threads until it is refused.
 * goal: more threads than the limit
 * stopped by: the pids limit of the control group, which counts threads; behind it RLIMIT_NPROC, which does, too
 * first: cgroup-limits
 * second: rlimits
 */
#include "attack.h"
static void *idle(void *nothing) {
    for (;;) pause();
    return nothing;
}
int main(void) {
    unsigned long long limit = figure("ATTACK_PIDS"), made = 0;
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN + 4096);
    while (made <= limit && pthread_create(&thread, &small, idle, 0) == 0) made++;
    if (made > limit) reached("%llu threads", made);
    return tried();
}
