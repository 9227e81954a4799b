/* What attacks share. An attack says `REACHED: …` when it has what it wanted, and `tried` when it has done all it can: one
 * that says neither, and that no limit has ended, has not been tried. What it aims at is in its environment:
 *
 *   ATTACK_SECRET    a file of the host's root with a secret word in it
 *   ATTACK_FILE      a file of the host that everybody there may write
 *   ATTACK_DIR       a directory of the host in which everybody may make files
 *   ATTACK_PORT      a port of the host's loopback, TCP and UDP
 *   ATTACK_SOCKET    a socket of the host's root
 *   ATTACK_ABSTRACT  the name of an abstract socket of the host
 *   ATTACK_PID       a process of the host's root with the secret word in its environment
 *   ATTACK_MARK      a name for what it makes, by which it is found outside
 *   ATTACK_ALLOWED   groups of calls that the operator allows it: what these are for is no prize
 *   ATTACK_MEMORY, ATTACK_DISK, ATTACK_PIDS    its limits, in bytes and in processes
 */
#ifndef ATTACK_H
#define ATTACK_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline void reached(const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    dprintf(1, "REACHED: %s\n", text);
}

/* The last line: everything was tried. */
static inline int tried(void) {
    dprintf(1, "tried\n");
    return 0;
}

static inline const char *aim(const char *name) {
    const char *value = getenv(name);
    if (value) return value;
    dprintf(1, "there is no %s\n", name);
    _exit(2);
}

static inline unsigned long long figure(const char *name) { return strtoull(aim(name), 0, 10); }

/* Whether the operator allows a group of calls. */
static inline int granted(const char *group) { return strstr(aim("ATTACK_ALLOWED"), group) != 0; }

/* Prints what a file says; whoever looks on knows the secret word. */
static inline void show(const char *path) {
    char text[4096];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length > 0) {
        for (ssize_t i = 0; i < length; i++) if (!text[i]) text[i] = '\n';
        dprintf(1, "%s: %.*s\n", path, (int)length, text);
    }
    if (fd >= 0) close(fd);
}

/* A file that was opened for writing, without writing to it; unless it is /dev/null, which was put over it. */
static inline void can_write(const char *path) {
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    struct stat is;
    int null = fstat(fd, &is) == 0 && S_ISCHR(is.st_mode) && is.st_rdev == makedev(1, 3);
    close(fd);
    if (null) return;
    reached("%s was opened for writing", path);
}

/* As many descriptors as it can get. */
static inline void many_descriptors(void) {
    struct rlimit most = { 1 << 20, 1 << 20 };
    if (setrlimit(RLIMIT_NOFILE, &most) && getrlimit(RLIMIT_NOFILE, &most) == 0) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
    }
}

/* A system call that should have been refused. */
#define TRY(what, call) do { if ((call) >= 0) reached("%s", what); } while (0)
#endif
