/* Takes away from a process of the host: its limits, priority, cores.
 * goal: a process of the host that is held back
 * stopped by: a pid namespace of its own; behind it ids that own no process outside
 * first: pids
 * second: ids
 */
#include "attack.h"
int main(void) {
    pid_t other = figure("ATTACK_PID");
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    TRY("its limits", prlimit(other, RLIMIT_NOFILE, &(struct rlimit){ 3, 3 }, 0));
    TRY("its priority", setpriority(PRIO_PROCESS, other, 19));
    TRY("its cores", sched_setaffinity(other, sizeof one, &one));
    TRY("its class", sched_setscheduler(other, SCHED_BATCH, &(struct sched_param){ 0 }));
    char path[64];
    sprintf(path, "/proc/%d/oom_score_adj", other);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) TRY("its oom_score_adj", write(fd, "1000", 4));
    return tried();
}
