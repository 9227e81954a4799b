/* Opens performance counters, each of more than a KiB of the kernel's memory, in all of its processes, as many as it has descriptors.
 * goal: half as much memory again as the limit
 * stopped by: the system call filter; where counters are allowed the ledger of pages that no control group pays for
 * first: seccomp
 * second: cgroup-limits ledger
 * ends: exit, memory-limit, killed, signal
 */
#include "attack.h"
#include <linux/perf_event.h>
int main(void) {
    struct perf_event_attr what = { .size = sizeof what, .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1, .exclude_hv = 1, .disabled = 1 };
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3, *got = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int processes = figure("ATTACK_PIDS") - 4;
    many_descriptors();
    for (int i = 0; i < processes; i++) if (fork() == 0) {
        while (syscall(SYS_perf_event_open, &what, 0, -1, -1, 0) >= 0 && *got < wanted) __sync_fetch_and_add(got, 1024);
        pause();
    }
    for (size_t before = -1; *got < wanted && before != *got; usleep(500000)) before = *got;
    if (*got >= wanted) reached("%zu bytes", *got);
    return tried();
}
