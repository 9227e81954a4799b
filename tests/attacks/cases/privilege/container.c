/* Makes itself root of namespaces of its own, with every capability there, and goes for what is outside of them: mounts that are
 * read-only or hidden, control groups, other processes, the network, the host's files by way of other mounts' and processes' roots.
 * goal: anything of the host's or of the sandbox's, that it could not have without; or more namespaces than it may have
 * stopped by: the system call filter, and a user namespace in which none may be made; where containers are allowed ids that are nobody's outside, locked mounts, a count of namespaces
 * first: seccomp
 * second: ids
 */
#include "attack.h"
static void note(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, text, strlen(text)) < 0) dprintf(1, "%s: %s\n", path, strerror(errno));
    if (fd >= 0) close(fd);
}
static int become_root(int flags) {
    char map[64];
    unsigned user = getuid(), group = getgid();
    if (unshare(CLONE_NEWUSER | flags)) return -1;
    note("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", user), note("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", group), note("/proc/self/gid_map", map);
    return 0;
}
static void walk(const char *dir, int depth) {
    DIR *listed = opendir(dir);
    for (struct dirent *entry; listed && (entry = readdir(listed));) {
        char path[PATH_MAX];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (strstr(entry->d_name, "release_agent") || strstr(entry->d_name, "cgroup.procs") || strstr(entry->d_name, ".max") || strstr(entry->d_name, "limit_in_bytes")) can_write(path);
        if (entry->d_type == DT_DIR && depth < 3) walk(path, depth + 1);
    }
    if (listed) closedir(listed);
}
/* What is the host's, below a root. */
static void aims(const char *root) {
    const char *const names[] = { "ATTACK_SECRET", "ATTACK_FILE", "ATTACK_DIR" };
    for (unsigned i = 0; i < 3; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s%s", root, aim(names[i]));
        if (i == 0) show(path);
        if (i == 1) can_write(path);
        if (i == 2) strncat(path, "/made", sizeof path - strlen(path) - 1), close(open(path, O_CREAT | O_WRONLY, 0600));
    }
}
static void go(void) {
    const char *const kinds[] = { "cgroup2", "cgroup", "sysfs", "devpts", "mqueue", "ramfs", "binfmt_misc", "bpf", "debugfs", "tracefs", "securityfs", "devtmpfs", "ext4", "fuse", "efivarfs", "configfs", "nfs" };
    char path[PATH_MAX];
    mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
    mkdir("/tmp/at", 0700);
    /* What is mounted, again and otherwise. */
    TRY("/usr again, writable", mount(0, "/usr", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("/usr's file system, writable", mount(0, "/usr", 0, MS_REMOUNT, 0));
    TRY("/ again, writable", mount(0, "/", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("/proc/sys again, writable", mount(0, "/proc/sys", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("set-user-id and devices in /tmp", mount(0, "/tmp", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("a larger /dev/shm", mount(0, "/dev/shm", 0, MS_REMOUNT, "size=1g"));
    TRY("a mask taken away", umount2("/proc/kcore", MNT_DETACH));
    TRY("/proc/sys taken away", umount2("/proc/sys", MNT_DETACH));
    TRY("/proc without its masks", mount("/proc", "/tmp/at", 0, MS_BIND, 0));
    TRY("a device", mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0)));
    if (mount("/", "/tmp/at", 0, MS_BIND | MS_REC, 0) == 0) {
        TRY("a copy of /, writable", mount(0, "/tmp/at", 0, MS_REMOUNT | MS_BIND, 0));
        can_write("/tmp/at/usr/bin/env");
        show("/tmp/at/run/ostest-sight/proc/kallsyms");
        aims("/tmp/at");
        umount2("/tmp/at", MNT_DETACH);
    }
    TRY("the /proc that is kept in sight", open("/run/ostest-sight/proc", O_RDONLY | O_CLOEXEC));
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (mount(aim("ATTACK_MARK"), "/tmp/at", kinds[i], 0, strcmp(kinds[i], "cgroup") ? 0 : "memory")) continue;
        dprintf(1, "%s is mounted\n", kinds[i]);
        if (i < 2) walk("/tmp/at", 0);
        /* Some are each user namespace's own. */
        else if (i > 6) reached("a mount of %s", kinds[i]);
        umount2("/tmp/at", MNT_DETACH);
    }
    /* A /proc without masks: what in it acts on the host, or tells of it, is the host's root's. */
    if (mount("proc", "/tmp/at", "proc", 0, 0) == 0) {
        const char *const acts[] = { "sysrq-trigger", "sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/vm/drop_caches", "sys/kernel/perf_event_paranoid", "sys/fs/file-max", "sys/kernel/pty/max", "irq/default_smp_affinity", "mtrr" };
        const char *const tells[] = { "kcore", "timer_list", "kmsg", "kpagecount", "kpageflags", "slabinfo", "vmallocinfo" };
        for (unsigned i = 0; i < sizeof acts / sizeof *acts; i++) snprintf(path, sizeof path, "/tmp/at/%s", acts[i]), can_write(path);
        for (unsigned i = 0; i < sizeof tells / sizeof *tells; i++) {
            char text[16];
            snprintf(path, sizeof path, "/tmp/at/%s", tells[i]);
            int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
            if (fd >= 0 && read(fd, text, sizeof text) > 0) reached("%s was read", tells[i]);
        }
    }
    aims("");
}
/* From here everybody outside is in sight: init, and what started this. */
static void others(void) {
    char path[PATH_MAX];
    const int pids[] = { 1, 2, getppid() };
    const char *const spaces[] = { "user", "mnt", "net", "pid", "ipc", "uts", "cgroup" };
    for (unsigned i = 0; i < 3; i++) {
        if (pids[i] == getppid() && i) continue;
        for (unsigned k = 0; k < 7; k++) {
            snprintf(path, sizeof path, "/proc/%d/ns/%s", pids[i], spaces[k]);
            int space = open(path, O_RDONLY | O_CLOEXEC);
            if (space >= 0) TRY(path, setns(space, 0));
        }
        snprintf(path, sizeof path, "/proc/%d/root", pids[i]);
        if (pids[i] == 1) TRY("init's root", open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (pids[i] == 1) snprintf(path, sizeof path, "/proc/1/mem"), can_write(path);
        if (pids[i] == 1) TRY("init is traced", ptrace(PTRACE_SEIZE, 1, 0, 0));
        /* One that hurts nobody: with all layers off this is the machine's own init. */
        if (pids[i] == 1) TRY("init's limits", prlimit(1, RLIMIT_CORE, &(struct rlimit){ 0, 0 }, 0));
    }
    can_write("/proc/sys/user/max_user_namespaces");
    struct rlimit more = { RLIM_INFINITY, RLIM_INFINITY };
    TRY("more descriptors", setrlimit(RLIMIT_NOFILE, &more));
    TRY("more locked memory", setrlimit(RLIMIT_MEMLOCK, &more));
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "-1000", 5) == 5) reached("no end by a lack of memory");
    /* The sandbox's own network is not ours. */
    TRY("a raw socket", socket(AF_INET, SOCK_RAW, 1));
    TRY("a packet socket", socket(AF_PACKET, SOCK_RAW, 0));
    TRY("netfilter", socket(AF_NETLINK, SOCK_RAW, 12));
    int port = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in host = { .sin_family = AF_INET, .sin_port = htons(figure("ATTACK_PORT")), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    connect(port, (void *)&host, sizeof host);
    char none[256] = "";
    TRY("a table of packets", setsockopt(port, 0, 64, none, sizeof none));
    TRY("the clock", clock_settime(CLOCK_REALTIME, &(struct timespec){ 1, 0 }));
    TRY("a key", syscall(SYS_add_key, "user", "x", "x", 1, -2));
    TRY("a handle", syscall(SYS_open_by_handle_at, AT_FDCWD, none, O_RDONLY));
}
static int ended(pid_t child) {
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
int main(void) {
    pid_t child = fork();
    if (child == 0) {
        if (become_root(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP)) _exit(1);
        child = fork();
        if (child == 0) go(), _exit(0);
        ended(child);
        others();
        _exit(0);
    }
    int made = ended(child) == 0;
    child = fork();
    if (child == 0) {
        /* Without others than that of users: what is outside is still in sight. */
        if (become_root(0)) _exit(1);
        others(), aims("");
        _exit(0);
    }
    ended(child);
    /* One within the other, as deep as it goes: the kernel stops at 33 by itself. And beside each other: 64 at a time, of whatever depth. */
    enum { PLACES = 24, DEEP = 4 };
    int hold[2], told[2], count = 0;
    if (made && pipe(hold) == 0 && pipe(told) == 0) {
        for (int i = 0; i < PLACES; i++) if (fork() == 0) {
            char byte = 0;
            close(hold[1]);
            for (int k = 0; k < DEEP; k++) if (become_root(0) == 0) byte++;
            if (write(told[1], &byte, 1) == 1 && read(hold[0], &byte, 1) == 0) _exit(0);
            _exit(1);
        }
        for (int i = 0; i < PLACES; i++) {
            char byte = 0;
            if (read(told[0], &byte, 1) == 1) count += byte;
        }
        close(hold[1]);
        if (count > 64) reached("%d user namespaces at a time", count);
        dprintf(1, "%d user namespaces\n", count);
    }
    return tried();
}
