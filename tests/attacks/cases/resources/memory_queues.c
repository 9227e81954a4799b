/* Fills System V message queues, which the kernel holds.
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
    struct { long kind; char text[8192]; } message = { 1, "x" };
    static int ids[1 << 16];
    int count = 0;
    for (int id = 0; got < wanted && count < 1 << 16 && (id = msgget(IPC_PRIVATE, IPC_CREAT | 0600)) >= 0; ids[count++] = id)
        while (got < wanted && msgsnd(id, &message, sizeof message.text, IPC_NOWAIT) == 0) got += sizeof message.text;
    if (got >= wanted) reached("%zu bytes", got);
    /* Where it got so far they are the host's, perhaps, and do not end with a namespace. */
    while (count > 0) msgctl(ids[--count], IPC_RMID, 0);
    return tried();
}
