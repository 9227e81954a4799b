/* A container: namespaces, a root of its own with a /proc, a name. */
#include "lab.h"
static char stack[1 << 16];
static void note(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) fail(path);
    close(fd);
}
static int inside(void *ready) {
    char byte, name[64];
    if (read(*(int *)ready, &byte, 1) != 1) return 1;
    if (getpid() != 1 || getuid() != 0) return printf("pid %d, user %d\n", getpid(), getuid()), 1;
    MUST("sethostname", sethostname("box", 3));
    MUST("private mounts", mount(0, "/", 0, MS_REC | MS_PRIVATE, 0));
    mkdir("/tmp/root", 0700);
    MUST("a tmpfs", mount("root", "/tmp/root", "tmpfs", MS_NOSUID, "size=1m"));
    MUST("folders", mkdir("/tmp/root/usr", 0755) | mkdir("/tmp/root/proc", 0755) | mkdir("/tmp/root/old", 0755) | mkdir("/tmp/root/up", 0755) | mkdir("/tmp/root/work", 0755) | mkdir("/tmp/root/both", 0755));
    MUST("links", symlink("usr/bin", "/tmp/root/bin") | symlink("usr/lib", "/tmp/root/lib") | symlink("usr/lib64", "/tmp/root/lib64"));
    MUST("/usr", mount("/usr", "/tmp/root/usr", 0, MS_BIND | MS_REC, 0));
    MUST("pivot_root", syscall(SYS_pivot_root, "/tmp/root", "/tmp/root/old"));
    MUST("the new root", chdir("/"));
    MUST("/proc", mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
    MUST("the old root", umount2("/old", MNT_DETACH));
    if (readlink("/proc/self", name, sizeof name) != 1 || name[0] != '1') return puts("/proc is another's"), 1;
    REFUSED("a file of the old root", open("/tmp/root", O_RDONLY), ENOENT);
    if (mount("over", "/both", "overlay", 0, "lowerdir=/usr/share,upperdir=/up,workdir=/work,userxattr")) printf("no overlay: %s\n", strerror(errno));
    /* What is the host's, or the sandbox's, is so in here, too. */
    REFUSED("/usr again, writable", mount(0, "/usr", 0, MS_REMOUNT | MS_BIND, 0), EPERM);
    REFUSED("sysfs", mount("sys", "/up", "sysfs", 0, 0), EPERM);
    REFUSED("a setting of the host's", open("/proc/sys/kernel/core_pattern", O_WRONLY), EACCES);
    REFUSED("a packet socket", socket(AF_PACKET, SOCK_RAW, 0), EPERM);
    REFUSED("a key", syscall(SYS_add_key, "user", "x", "x", 1, -2), EPERM);
    REFUSED("a program in the kernel", syscall(SYS_bpf, 0, name, 64), EPERM);
    pid_t child = fork();
    if (child == 0) execl("/bin/sh", "sh", "-c", "read name </proc/sys/kernel/hostname; echo in $name as $$", (char *)0), _exit(127);
    int status;
    if (waitpid(child, &status, 0) != child || status) return printf("the shell ended with %#x\n", status), 1;
    return 0;
}
int main(void) {
    int ready[2], status;
    char path[64], map[64];
    setvbuf(stdout, 0, _IONBF, 0);
    MUST("a pipe", pipe(ready));
    int flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;
    pid_t child = MUST("clone", clone(inside, stack + sizeof stack, flags | SIGCHLD, &ready[0]));
    snprintf(path, sizeof path, "/proc/%d/setgroups", child), note(path, "deny");
    snprintf(path, sizeof path, "/proc/%d/uid_map", child), snprintf(map, sizeof map, "0 %d 1", getuid()), note(path, map);
    snprintf(path, sizeof path, "/proc/%d/gid_map", child), snprintf(map, sizeof map, "0 %d 1", getgid()), note(path, map);
    MUST("begin", write(ready[1], "x", 1));
    if (waitpid(child, &status, 0) != child || status) return printf("the container ended with %#x\n", status), 1;
    /* Without a user namespace there is no capability for any of it. */
    REFUSED("a mount namespace", unshare(CLONE_NEWNS), EPERM);
    REFUSED("a mount", mount("none", "/tmp", "tmpfs", 0, 0), EPERM);
    REFUSED("a name", sethostname("x", 1), EPERM);
    return done();
}
