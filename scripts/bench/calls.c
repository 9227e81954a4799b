/* What calls cost: the name of each, and nanoseconds for one, in the best of many short rounds: whatever else runs on the host
 * takes the processor away from some of them, and not from all. Files lie in /dev/shm. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static int fd, ends[2], one, other;
static char page[4096], large[1 << 16];

static void lock(void) {
    struct flock lock = { .l_type = F_WRLCK, .l_len = 1 };
    if (fcntl(fd, F_SETLK, &lock)) perror("lock"), exit(1);
    lock.l_type = F_UNLCK;
    if (fcntl(fd, F_SETLK, &lock)) perror("unlock"), exit(1);
}
static void whole(void) {
    if (flock(fd, LOCK_EX) || flock(fd, LOCK_UN)) perror("flock"), exit(1);
}
static void attribute(void) { (void)!fsetxattr(fd, "user.bench", "value", 5, 0); }
static void create(void) {
    int made = open("/dev/shm/bench-made", O_RDWR | O_CREAT, 0600);
    if (made < 0 || close(made) || unlink("/dev/shm/bench-made")) perror("create"), exit(1);
}
static void parent(void) { getppid(); }
static void pipes(void) {
    if (write(ends[1], page, sizeof page) != sizeof page || read(ends[0], page, sizeof page) != sizeof page) exit(1);
}
static void stream(void) {
    if (send(one, large, sizeof large, 0) != sizeof large) exit(1);
    for (size_t got = 0, n; got < sizeof large; got += n)
        if ((ssize_t)(n = recv(other, large, sizeof large - got, 0)) <= 0) exit(1);
}
static void touch(void) {
    char *place = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int at = 0; at < 1 << 20; at += 4096) place[at] = 1;
    munmap(place, 1 << 20);
}
static void start(void) {
    pid_t child = fork();
    if (child == 0) execl("/bin/true", "true", (char *)NULL), _exit(1);
    waitpid(child, NULL, 0);
}

static void measure(const char *name, void (*call)(void), int times) {
    enum { ROUNDS = 60 };
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int i = 0; i < times; i++) call();
        clock_gettime(CLOCK_MONOTONIC, &end);
        double took = ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / times;
        if (round == 0 || took < best) best = took;
    }
    printf("%s\t%.1f\n", name, best);
}

int main(void) {
    struct sockaddr_in place = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof place;
    int all = socket(AF_INET, SOCK_STREAM, 0);
    fd = open("/dev/shm/bench-locked", O_RDWR | O_CREAT, 0600);
    one = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || pipe(ends) || bind(all, (void *)&place, size) || listen(all, 1) || getsockname(all, (void *)&place, &size)) return 1;
    if (connect(one, (void *)&place, size) || (other = accept(all, NULL, NULL)) < 0) return 1;
    measure("lock and unlock (fcntl)", lock, 1000);
    measure("lock and unlock (flock)", whole, 1000);
    measure("setxattr", attribute, 1000);
    measure("create, close, unlink", create, 50);
    measure("getppid", parent, 3000);
    measure("4 KiB through a pipe", pipes, 500);
    measure("64 KiB through TCP", stream, 30);
    measure("touch 1 MiB of memory", touch, 2);
    measure("fork, exec, wait", start, 1);
    unlink("/dev/shm/bench-locked");
    return 0;
}
