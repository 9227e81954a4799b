/* Touches private memory without end.
 * goal: half as much memory again as the limit
 * stopped by: the memory limit of the control group
 * first: cgroup-limits
 * second: -
 * alone: a limit on address space (RLIMIT_AS) would break what reserves it without using it, AddressSanitizer first of all; the kernel kills what runs inside before anything else of the host (oom_score_adj)
 * ends: memory-limit, exit
 */
#include "attack.h"
int main(void) {
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3;
    char *memory = mmap(0, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return tried();
    for (size_t at = 0; at < wanted; at += 4096) memory[at] = 1;
    reached("%zu bytes", wanted);
    return tried();
}
