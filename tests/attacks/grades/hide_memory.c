/* Takes 64 MiB and wants them counted elsewhere: moves itself to another group, asks the launcher as a gate does.
 * stopped by: no cgroup file system is there, and none can be mounted; the gate closes its socket
 * says: -
 * memory: 64
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    for (int fd = 3; fd < 128; fd++) send(fd, "g", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    mount("none", "/tmp", "cgroup2", 0, 0);
    static const char *const files[] = { "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs", "/tmp/cgroup.procs" };
    for (int i = 0; i < 3; i++) {
        int fd = open(files[i], O_WRONLY);
        if (fd >= 0) (void)!write(fd, "0", 1);
    }
    unshare(CLONE_NEWCGROUP);
    unshare(CLONE_NEWUSER | CLONE_NEWNS);
    volatile char *taken = malloc(64 << 20);
    for (int at = 0; at < 64 << 20; at += 4096) taken[at] = 1;
    return puts("17") < 0;
}
