/* Traces init, reads its memory, takes its descriptors, kills it, stops it.
 * goal: init's descriptors, of which one leads to the launcher; or its death
 * stopped by: another id, not dumpable, and pid 1 of its namespace; behind it the system call filter and the Landlock domain
 * first: ids
 * second: seccomp landlock
 * unproven: it is the machine's own init where there is no pid namespace
 */
#include "attack.h"
int main(void) {
    char path[64], text[64];
    struct iovec ours = { text, 1 }, theirs = { (void *)0x400000, 1 };
    TRY("PTRACE_SEIZE", ptrace(PTRACE_SEIZE, 1, 0, 0));
    TRY("process_vm_readv", syscall(SYS_process_vm_readv, 1, &ours, 1, &theirs, 1, 0));
    TRY("process_vm_writev", syscall(SYS_process_vm_writev, 1, &ours, 1, &theirs, 1, 0));
    int pidfd = syscall(SYS_pidfd_open, 1, 0);
    for (int fd = 0; fd < 64; fd++) {
        TRY("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd, fd, 0));
        sprintf(path, "/proc/1/fd/%d", fd);
        TRY(path, open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    }
    TRY("kcmp", syscall(SYS_kcmp, getpid(), 1, 0, 0, 0));
    TRY("its memory", open("/proc/1/mem", O_RDWR | O_CLOEXEC));
    kill(1, SIGSTOP), kill(1, SIGKILL), kill(1, SIGTERM), kill(1, SIGSEGV);
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, 0, 0);
    /* If it was stopped nobody says how this one ends; if it was killed this line is never written. */
    usleep(100000);
    sprintf(path, "/proc/1/status");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char status[1024] = "";
    if (fd < 0 || read(fd, status, sizeof status - 1) <= 0 || strstr(status, "State:\tT")) reached("init is stopped");
    return tried();
}
