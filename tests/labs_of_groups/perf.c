/* Counts what it does itself: instructions, or processor time where the processor does not count for us. */
#include "lab.h"
#include <linux/perf_event.h>
static long count(struct perf_event_attr *what, int pid, int cpu, unsigned long flags) {
    return syscall(SYS_perf_event_open, what, pid, cpu, -1, flags);
}
int main(void) {
    struct perf_event_attr what = { .size = sizeof what, .type = PERF_TYPE_HARDWARE, .config = PERF_COUNT_HW_INSTRUCTIONS, .exclude_kernel = 1, .exclude_hv = 1, .disabled = 1 };
    int fd = count(&what, 0, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0 && errno != EPERM && errno != ENOSYS && errno != EACCES) {
        what.type = PERF_TYPE_SOFTWARE, what.config = PERF_COUNT_SW_TASK_CLOCK;
        fd = count(&what, 0, -1, PERF_FLAG_FD_CLOEXEC);
    }
    MUST("perf_event_open", fd);
    uint64_t before = 0, after = 0;
    MUST("enable", ioctl(fd, PERF_EVENT_IOC_ENABLE, 0));
    MUST("read", read(fd, &before, sizeof before));
    for (volatile int i = 0; i < 10000000; i++) { }
    MUST("read", read(fd, &after, sizeof after));
    if (after < before + 1000000) return printf("%llu counted\n", (unsigned long long)(after - before)), 1;
    printf("%s: %llu\n", what.type == PERF_TYPE_HARDWARE ? "instructions" : "nanoseconds", (unsigned long long)(after - before));
    /* Neither the kernel's work, nor others', nor a core's. */
    struct perf_event_attr kernel = what;
    kernel.exclude_kernel = 0;
    REFUSED("the kernel's work", count(&kernel, 0, -1, 0), EACCES);
    REFUSED("another process", count(&what, getppid(), -1, 0), EPERM);
    REFUSED("a core", count(&what, -1, 0, 0), EPERM);
    REFUSED("a control group", count(&what, 0, 0, PERF_FLAG_PID_CGROUP), EPERM);
    return done();
}
