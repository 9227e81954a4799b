/* Crashes, so that the kernel starts the host's program for crashes, as the host's root and outside of everything (CVE-2022-28655
 * and its kin).
 * goal: that program started
 * stopped by: a limit of one byte on core files, which means to the kernel that no program is started either
 * first: rlimits
 * second: -
 * alone: the kernel starts that program in the host's namespaces, and asks nothing but this limit
 * unproven: whether there is such a program the host says (kernel.core_pattern)
 */
#include "attack.h"
int main(void) {
    char pattern[2] = "";
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY | O_CLOEXEC), status = 0;
    if (fd < 0 || read(fd, pattern, 1) < 0) return 1;
    setrlimit(RLIMIT_CORE, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
    pid_t child = fork();
    if (child == 0) abort();
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) return 1;
    if (*pattern == '|' && WCOREDUMP(status)) reached("the host's program for crashes was started");
    return tried();
}
