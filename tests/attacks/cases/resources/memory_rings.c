/* Makes rings of io_uring, whose memory the kernel takes for it, in all of its processes.
 * goal: half as much memory again as the limit
 * stopped by: the system call filter; where rings are allowed the memory limit, to which they are charged
 * first: seccomp
 * second: cgroup-limits ledger
 * ends: exit, memory-limit, killed, signal
 */
#include "attack.h"
#include <linux/io_uring.h>
int main(void) {
    enum { ENTRIES = 4096 };
    size_t one = ENTRIES * (sizeof(struct io_uring_sqe) + 2 * sizeof(struct io_uring_cqe)), wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0;
    many_descriptors();
    for (; got < wanted; got += one) {
        struct io_uring_params p = { 0 };
        if (syscall(SYS_io_uring_setup, ENTRIES, &p) < 0) break;
    }
    if (got >= wanted) reached("%zu bytes", got);
    return tried();
}
