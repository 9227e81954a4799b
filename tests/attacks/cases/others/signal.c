/* Signals a process of the host, by its number and by everybody's.
 * goal: a process of the host that is stopped or dead
 * stopped by: a pid namespace of its own; behind it ids that own no process outside, and the Landlock domain
 * first: pids
 * second: ids
 */
#include "attack.h"
int main(void) {
    pid_t other = figure("ATTACK_PID");
    /* Where the number is one of its own namespace's it would be signalled by mistake. */
    char path[64], text[4096] = "";
    sprintf(path, "/proc/%d/cmdline", other);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int seen = fd >= 0 && read(fd, text, sizeof text) > 0;
    if (seen) TRY("SIGCONT", kill(other, SIGCONT));
    if (seen) kill(other, SIGSTOP), kill(other, SIGKILL);
    int pidfd = syscall(SYS_pidfd_open, other, 0);
    if (seen && pidfd >= 0) TRY("a signal by pidfd", syscall(SYS_pidfd_send_signal, pidfd, SIGSTOP, 0, 0));
    if (seen) TRY("a queued signal", syscall(SYS_rt_sigqueueinfo, other, SIGCONT, &(siginfo_t){ .si_code = -1 }));
    return tried();
}
