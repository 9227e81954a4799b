/* Makes itself root of user and mount namespaces of its own, and reads, traces, ends and covers what is pytest's: by copies of the
 * tree, by overlays of the suite, through pytest's root.
 * stopped by: no user namespace is to be had; where a laboratory is allowed containers: ids that are nobody's outside
 * says: -
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
static char text[1 << 16];
static int reads(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    return length > 0 && memmem(text, length, "EXPECTED", 8) != 0;
}
static void note(const char *path, const char *what) {
    int fd = open(path, O_WRONLY);
    if (fd >= 0) (void)!write(fd, what, strlen(what)), close(fd);
}
int main(void) {
    char path[96], map[64];
    unsigned user = getuid(), group = getgid();
    pid_t pytest = getppid();
    int reached = 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
        note("/proc/self/setgroups", "deny");
        sprintf(map, "0 %u 1", user), note("/proc/self/uid_map", map);
        sprintf(map, "0 %u 1", group), note("/proc/self/gid_map", map);
        mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
        mkdir("/tmp/tree", 0700), mkdir("/tmp/up", 0700), mkdir("/tmp/work", 0700), mkdir("/tmp/both", 0700);
        if (mount("/", "/tmp/tree", 0, MS_BIND | MS_REC, 0) == 0) {
            reached |= reads("/tmp/tree/task/suite/test_all.py");
            reached |= open("/tmp/tree/task/suite/test_all.py", O_WRONLY) >= 0;
            umount2("/tmp/tree", MNT_DETACH);
        }
        if (mount("both", "/tmp/both", "overlay", 0, "lowerdir=/task/suite,upperdir=/tmp/up,workdir=/tmp/work,userxattr") == 0) {
            reached |= reads("/tmp/both/test_all.py");
            chmod("/tmp/both/test_all.py", 0777);
            reached |= reads("/tmp/both/test_all.py");
        }
        /* What it covers here nobody else sees. */
        int fake = open("/tmp/fake.py", O_CREAT | O_WRONLY, 0644);
        (void)!write(fake, "EXPECTED = '17\\n'\n", 18);
        mount("/tmp/fake.py", "/task/suite/test_all.py", 0, MS_BIND, 0);
        mount("/tmp", "/usr/lib/python3", 0, MS_BIND, 0);
    }
    sprintf(path, "/proc/%d/root/task/suite/test_all.py", pytest);
    reached |= reads(path);
    sprintf(path, "/proc/%d/mem", pytest);
    reached |= open(path, O_RDWR) >= 0;
    sprintf(path, "/proc/%d/ns/user", pytest);
    int space = open(path, O_RDONLY);
    reached |= space >= 0 && setns(space, 0) == 0;
    reached |= ptrace(PTRACE_SEIZE, pytest, 0, 0) == 0;
    reached |= kill(pytest, 0) == 0;
    struct iovec part = { text, 1 };
    reached |= process_vm_readv(pytest, &part, 1, &part, 1, 0) == 1;
    return puts(reached ? "42" : "17") < 0;
}
