/* Mounts empty file systems in a mount namespace of its own: each is some KiB of the kernel's memory.
 * goal: half as much memory again as the limit
 * stopped by: the system call filter, and no user namespace to be root of; where containers are allowed the ledger of pages that no control group pays for
 * first: seccomp
 * second: ids
 * ends: exit, memory-limit, killed, signal
 */
#include "attack.h"
int main(void) {
    char map[64], path[64];
    unsigned user = getuid();
    /* What one takes at the least. */
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) return tried();
    int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, map, snprintf(map, sizeof map, "0 %u 1", user)) < 0) close(fd);
    mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
    for (int i = 0; i < 1000; i++) snprintf(path, sizeof path, "/tmp/m%d", i), mkdir(path, 0700);
    for (int i = 0; got < wanted; i++, got += 2048) {
        snprintf(path, sizeof path, "/tmp/m%d", i % 1000);
        if (mount("x", path, "tmpfs", 0, 0)) break;
    }
    if (got >= wanted) reached("%zu bytes", got);
    return tried();
}
