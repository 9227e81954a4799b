/* Asks for a real-time class, a better priority and a core that it was not given.
 * goal: to run before everybody else on the host
 * stopped by: no capability of the host's (CAP_SYS_NICE), RLIMIT_RTPRIO and RLIMIT_NICE of 0
 * first: ids capabilities
 * second: -
 * alone: whoever has CAP_SYS_NICE on the host is not asked for a limit
 */
#include "attack.h"
int main(void) {
    struct sched_param highest = { .sched_priority = 1 };
    TRY("SCHED_FIFO", sched_setscheduler(0, SCHED_FIFO, &highest) == 0 ? 0 : -1);
    TRY("SCHED_RR", sched_setscheduler(0, SCHED_RR, &highest) == 0 ? 0 : -1);
    TRY("a better priority", setpriority(PRIO_PROCESS, 0, -1));
    sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){ 0 });
    return tried();
}
