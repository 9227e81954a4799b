/* Fills segments of System V shared memory, and detaches them, so that no process has them.
 * goal: half as much memory again as the limit
 * stopped by: the memory limit of the control group
 * first: cgroup-limits
 * second: -
 * alone: a limit on address space (RLIMIT_AS) would break what reserves it without using it, AddressSanitizer first of all; the kernel kills what runs inside before anything else of the host (oom_score_adj)
 * ends: memory-limit, exit
 */
#include "attack.h"
int main(void) {
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0, size = 1 << 20;
    int ids[4096], count = 0;
    while (got < wanted && count < 4096) {
        int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
        char *memory = id < 0 ? (char *)-1 : shmat(id, 0, 0);
        if (memory == (char *)-1) break;
        ids[count++] = id;
        memset(memory, 1, size);
        shmdt(memory);
        got += size;
    }
    if (got >= wanted) reached("%zu bytes", got);
    /* Where it got so far they are the host's, perhaps, and do not end with a namespace. */
    while (count > 0) shmctl(ids[--count], IPC_RMID, 0);
    return tried();
}
