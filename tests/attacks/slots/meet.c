/* Two submissions that are graded at the same time try to meet: one leaves marks in whatever a kernel has for that, the other looks.
 *
 *   meet leave WORD     leaves them, and waits under the name WORD
 *   meet look WORD      says which of them it found
 *
 * stopped by: ipc, network, pid and mount namespaces of its own for each; without those: keyrings and io_uring are not allowed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define KEY 0x6f737465
#define SHARED "/usr/bin/env"
static const char *const folders[] = { "/tmp", "/dev/shm", "/var/tmp", "/run", "/run/lock", "/dev", "/dev/mqueue", "/task", "/proc", "/" };
static int leaving;

/* A socket that listens, or whether one does. */
static int meet(int kind, int type, struct sockaddr *address, socklen_t size) {
    int fd = socket(kind, type, 0);
    if (fd < 0)
        return 0;
    if (leaving)
        return bind(fd, address, size) == 0 && (type != SOCK_STREAM || listen(fd, 1) == 0);
    /* Of a datagram's port that nobody has, the second send hears. */
    int found = connect(fd, address, size) == 0;
    if (found && type == SOCK_DGRAM)
        found = send(fd, "x", 1, 0) == 1 && (usleep(50000), send(fd, "x", 1, 0) == 1);
    close(fd);
    return found;
}

static int files(const char *word) {
    char path[256];
    int found = 0;
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s/%s", folders[i], word);
        int fd = open(path, leaving ? O_WRONLY | O_CREAT : O_RDONLY, 0666);
        if (fd >= 0) found++, close(fd);
    }
    return found;
}

/* A process by this name, other than this one and whoever started it. */
static int processes(const char *word) {
    DIR *dir = opendir("/proc");
    int found = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[300], text[256] = "";
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            continue;
        if (read(fd, text, sizeof text - 1) > 0) found += !strcmp(text, word);
        close(fd);
    }
    return found;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        /* The second life of the one that leaves marks: what it holds it holds still. */
        for (;;) pause();
    }
    leaving = !strcmp(argv[1], "leave");
    const char *word = argv[2];
    struct sockaddr_un abstract = { .sun_family = AF_UNIX };
    strcpy(abstract.sun_path + 1, word);
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(word);
    struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_port = htons(47123), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char name[128];
    snprintf(name, sizeof name, "/%s", word);
    int flags = leaving ? IPC_CREAT | 0666 : 0;
    int shared = open(SHARED, O_RDONLY);
    struct { const char *name; int found; } all[] = {
        { "abstract-socket", meet(AF_UNIX, SOCK_STREAM, (struct sockaddr *)&abstract, size) },
        { "tcp-port", meet(AF_INET, SOCK_STREAM, (struct sockaddr *)&loopback, sizeof loopback) },
        { "udp-port", meet(AF_INET, SOCK_DGRAM, (struct sockaddr *)&loopback, sizeof loopback) },
        { "shared-memory", shmget(KEY, 4096, flags) >= 0 },
        { "semaphores", semget(KEY, 1, flags) >= 0 },
        { "message-queue", msgget(KEY, flags) >= 0 },
        { "posix-shared-memory", shm_open(name, leaving ? O_RDWR | O_CREAT : O_RDONLY, 0666) >= 0 },
        { "posix-message-queue", mq_open(name, leaving ? O_RDWR | O_CREAT : O_RDONLY, 0666, NULL) >= 0 },
        { "key", leaving ? syscall(SYS_add_key, "user", word, "x", 1, -4) >= 0 : syscall(SYS_request_key, "user", word, NULL, -4) >= 0 },
        { "file", files(word) },
        { "process", leaving ? 0 : processes(word) },
        { "lock", flock(shared, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK },
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].found) puts(all[i].name);
    fflush(stdout);
    if (!leaving)
        return 0;
    for (int fd = 3; fd < 64; fd++)
        fcntl(fd, F_SETFD, 0);
    execl("/proc/self/exe", word, NULL);
    return 1;
}
