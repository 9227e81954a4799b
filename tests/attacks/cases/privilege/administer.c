/* Calls what administers a machine: modules, kernels, swap, clocks, names, accounting, the log.
 * goal: a single one that is done
 * stopped by: no capability of the host's; behind it the system call filter
 * first: ids capabilities
 * second: seccomp
 */
#include "attack.h"
#include <sys/timex.h>
int main(void) {
    char text[64];
    const char *mark = aim("ATTACK_MARK");
    int empty = memfd_create("empty", 0);
    TRY("the host name", sethostname(mark, strlen(mark)));
    TRY("the domain name", setdomainname(mark, strlen(mark)));
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    TRY("the clock", clock_settime(CLOCK_REALTIME, &now));
    struct timex little = { .modes = ADJ_TICK, .tick = 10000 };
    TRY("the clock's tick", adjtimex(&little));
    TRY("the kernel's log", syscall(SYS_syslog, 3, text, sizeof text));
    TRY("accounting", syscall(SYS_acct, "/tmp/none") == 0 ? 0 : -1);
    TRY("swap", syscall(SYS_swapoff, "/none") == 0 || errno == ENOENT ? 0 : -1);
    /* Nothing that they are given makes sense: that the kernel looked at it is what they aim at. */
    TRY("a module", syscall(SYS_finit_module, empty, "", 0) == 0 || errno == ENOEXEC ? 0 : -1);
    TRY("a module taken out", syscall(SYS_delete_module, "none", O_NONBLOCK) == 0 || errno == ENOENT ? 0 : -1);
    TRY("a kernel", syscall(SYS_kexec_load, 0, 0, 0, 0));
    TRY("ports", syscall(SYS_iopl, 3));
    TRY("hanging up", syscall(SYS_vhangup));
    return tried();
}
