/* Attaches to pytest as a debugger, writes into its memory, steals its descriptors, reads what it is.
 * stopped by: pytest is another user, and not dumpable; the filter refuses process_vm_writev and pidfd_getfd
 * says: -
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
static int reached;
static void attack(int pid) {
    char path[64], text[64] = "x";
    struct iovec ours = { text, 1 }, theirs = { (void *)0x400000, 1 };
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 || ptrace(PTRACE_ATTACH, pid, 0, 0) == 0) reached = 1, fprintf(stderr, "traced %d\n", pid);
    if (syscall(SYS_process_vm_readv, pid, &ours, 1, &theirs, 1, 0) > 0) reached = 1, fprintf(stderr, "memory of %d\n", pid);
    if (syscall(SYS_process_vm_writev, pid, &ours, 1, &theirs, 1, 0) > 0) reached = 1, fprintf(stderr, "memory of %d\n", pid);
    for (int fd = 0, pidfd = syscall(SYS_pidfd_open, pid, 0); fd < 64; fd++)
        if (syscall(SYS_pidfd_getfd, pidfd, fd, 0) >= 0) reached = 1, fprintf(stderr, "descriptor of %d\n", pid);
    static const char *const files[] = { "mem", "maps", "environ", "auxv", "exe", "root/task", "cwd", "fd/3", "fd/4", "map_files", "stack", "syscall" };
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
        sprintf(path, "/proc/%d/%s", pid, files[i]);
        if (open(path, O_RDONLY | O_NONBLOCK) >= 0) {
            if (read(open(path, O_RDONLY | O_NONBLOCK), text, sizeof text) > 0 || i >= 4) reached = 1, fprintf(stderr, "opened %s\n", path);
        }
        if (i != 4 && open(path, O_WRONLY | O_NONBLOCK) >= 0) reached = 1, fprintf(stderr, "could write %s\n", path);
    }
    static const char *const settings[] = { "oom_score_adj", "coredump_filter", "comm", "clear_refs", "timerslack_ns", "sched" };
    for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++) {
        sprintf(path, "/proc/%d/%s", pid, settings[i]);
        /* Some may be opened by all, and are refused when they are written. */
        if (write(open(path, O_WRONLY), "1", 1) > 0) reached = 1, fprintf(stderr, "could write %s\n", path);
    }
}
int main(void) {
    attack(getppid());
    attack(1);
    /* What it prints is right if it got anywhere: the test would pass. */
    return puts(reached ? "42" : "17") < 0;
}
