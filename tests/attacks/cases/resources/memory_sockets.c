/* Fills socket buffers that nobody reads, with descriptors in flight that nobody counts.
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
        while (got < wanted && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both) == 0) {
            int size = 1 << 20;
            setsockopt(both[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
            for (ssize_t done; (done = write(both[0], part, sizeof part)) > 0;) got += done;
        }
    if (got >= wanted) reached("%zu bytes", got);
    while (wait(0) > 0) { }
    return tried();
}
