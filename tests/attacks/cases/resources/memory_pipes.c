/* Fills pipes that nobody reads.
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
    for (int both[2]; got < wanted && fork() == 0;)
        while (got < wanted && pipe2(both, O_NONBLOCK) == 0) {
            fcntl(both[1], F_SETPIPE_SZ, 1 << 20);
            for (ssize_t done; (done = write(both[1], part, sizeof part)) > 0;) got += done;
        }
    if (got >= wanted) reached("%zu bytes", got);
    int status = 0;
    while (wait(&status) > 0) { }
    return tried();
}
