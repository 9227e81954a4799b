/* Enters parts of the kernel that are open to everybody, and through which others have become root: bpf, io_uring, perf,
 * userfaultfd, fanotify.
 * goal: a descriptor of one of them that it is not allowed, or of one with more than it is allowed
 * stopped by: the system call filter
 * first: seccomp
 * second: -
 * alone: the kernel asks for no privilege; a host can close some of them by its settings (kernel.io_uring_disabled, kernel.unprivileged_bpf_disabled, vm.unprivileged_userfaultfd, kernel.perf_event_paranoid)
 */
#include "attack.h"
int main(void) {
    static unsigned char some[256];
    if (!granted("io_uring")) TRY("io_uring", syscall(SYS_io_uring_setup, 8, some));
    memset(some, 0, sizeof some);
    some[0] = 2, some[4] = 4, some[8] = 8, some[12] = 1;
    TRY("a bpf map", syscall(SYS_bpf, 0, some, 72));
    TRY("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC));
    if (!granted("userfaultfd")) TRY("userfaultfd for user mode", syscall(SYS_userfaultfd, O_CLOEXEC | 1));
    memset(some, 0, sizeof some);
    some[0] = 1, some[4] = 112;
    TRY("perf", syscall(SYS_perf_event_open, some, 0, -1, -1, 0));
    TRY("perf of another", syscall(SYS_perf_event_open, some, 1, -1, -1, 0));
    TRY("perf of a core", syscall(SYS_perf_event_open, some, -1, 0, -1, 0));
    /* Without the kernel's own work, nor a hypervisor's. */
    some[40] = 0x60;
    if (!granted("perf")) TRY("perf in user mode", syscall(SYS_perf_event_open, some, 0, -1, -1, 0));
    TRY("perf of another in user mode", syscall(SYS_perf_event_open, some, getppid(), -1, -1, 0));
    TRY("fanotify", syscall(SYS_fanotify_init, 0, O_RDONLY));
    TRY("a line discipline", ({ int pty = open("/dev/ptmx", O_RDWR | O_NOCTTY), kind = 21; pty < 0 ? -1 : ioctl(pty, TIOCSETD, &kind); }));
    return tried();
}
