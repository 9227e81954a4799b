/* Maps one page of a file at many places, which needs page tables and nothing else.
 * goal: half as much memory again as the limit
 * stopped by: the memory limit of the control group
 * first: cgroup-limits
 * second: -
 * alone: a limit on address space (RLIMIT_AS) would break what reserves it without using it, AddressSanitizer first of all; the kernel kills what runs inside before anything else of the host (oom_score_adj)
 * ends: memory-limit, exit
 */
#include "attack.h"
int main(void) {
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3 / 4096, got = 0;
    int fd = memfd_create("page", MFD_CLOEXEC);
    if (ftruncate(fd, 4096)) return 2;
    /* One page in each region of 2 MiB: a table of 4096 bytes for each. */
    for (uintptr_t at = 1ULL << 40; got < wanted; at += 2 << 20, got++) {
        volatile char *page = mmap((void *)at, 4096, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
        if (page == MAP_FAILED) break;
        (void)*page;
    }
    /* A process has 65530 mappings at the most: what is missing, its children have. */
    if (got >= wanted) reached("%zu page tables", got);
    return tried();
}
