/* Enters parts of the kernel that are open to everybody, and through which others have become root: bpf, io_uring, perf,
 * userfaultfd, fanotify.
 * goal: a descriptor of one of them
 * stopped by: the system call filter
 * first: seccomp
 * second: -
 * alone: the kernel asks for no privilege; a host can close some of them by its settings (kernel.io_uring_disabled, kernel.unprivileged_bpf_disabled, vm.unprivileged_userfaultfd, kernel.perf_event_paranoid)
 */
#include "attack.h"
int main(void) {
    static unsigned char some[256];
    TRY("io_uring", syscall(SYS_io_uring_setup, 8, some));
    memset(some, 0, sizeof some);
    some[0] = 2, some[4] = 4, some[8] = 8, some[12] = 1;
    TRY("a bpf map", syscall(SYS_bpf, 0, some, 72));
    TRY("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC));
    TRY("userfaultfd for user mode", syscall(SYS_userfaultfd, O_CLOEXEC | 1));
    memset(some, 0, sizeof some);
    some[0] = 1, some[4] = 112;
    TRY("perf", syscall(SYS_perf_event_open, some, 0, -1, -1, 0));
    TRY("fanotify", syscall(SYS_fanotify_init, 0, O_RDONLY));
    TRY("a line discipline", ({ int pty = open("/dev/ptmx", O_RDWR | O_NOCTTY), kind = 21; pty < 0 ? -1 : ioctl(pty, TIOCSETD, &kind); }));
    return tried();
}
