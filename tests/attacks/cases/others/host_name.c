/* Renames the host.
 * goal: another name of the host
 * stopped by: a UTS namespace of its own; behind it no capability, and the system call filter
 * first: names
 * second: ids capabilities seccomp
 */
#include "attack.h"
int main(void) {
    const char *mark = aim("ATTACK_MARK");
    /* Its own name is its own matter: whether the host has another one is seen outside. */
    sethostname(mark, strlen(mark));
    int fd = open("/proc/sys/kernel/hostname", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, mark, strlen(mark)) < 0) close(fd);
    return tried();
}
