/* Fills a file in memory that has no name.
 * goal: half as much memory again as the limit
 * stopped by: the memory limit of the control group
 * first: cgroup-limits
 * second: -
 * alone: a limit on address space (RLIMIT_AS) would break what reserves it without using it, AddressSanitizer first of all; the kernel kills what runs inside before anything else of the host (oom_score_adj)
 * ends: memory-limit, exit
 */
#include "attack.h"
int main(void) {
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0;
    static char part[1 << 16];
    memset(part, 1, sizeof part);
    /* Several of them, each below the limit on files. */
    for (int fd; got < wanted && (fd = memfd_create("memory", MFD_CLOEXEC)) >= 0;)
        for (ssize_t length = 0, done = 1; length < 4 << 20 && done > 0; length += done, got += done) done = write(fd, part, sizeof part);
    if (got >= wanted) reached("%zu bytes", got);
    return tried();
}
