/* Writes to what acts on the whole host, and reads what tells of it.
 * goal: a setting of the host's, or its memory
 * stopped by: a user namespace that owns no setting of the host's; behind it masks and a read-only /proc/sys
 * first: ids capabilities
 * second: mounts
 */
#include "attack.h"
int main(void) {
    const char *const files[] = {
        "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/sysrq",
        "/proc/sys/vm/drop_caches", "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/file-max", "/proc/sys/kernel/randomize_va_space",
        "/proc/sys/kernel/hostname", "/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/latency_stats", "/sys/kernel/mm/ksm/run",
        "/sys/power/state", "/sys/kernel/uevent_helper",
    };
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) can_write(files[i]);
    const char *const secrets[] = { "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kmsg", "/proc/kallsyms", "/proc/sched_debug" };
    for (unsigned i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        char text[256] = "";
        int fd = open(secrets[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        /* Addresses that are all zeros tell nothing. */
        if (got > 0 && strncmp(text, "0000000000000000", 16)) reached("%s was read", secrets[i]);
    }
    return tried();
}
