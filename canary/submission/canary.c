/* What the canary's suite runs: each argument does one thing whose end is known. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Touches each page, so that the kernel has to give it. */
static int use_memory(size_t mib)
{
    size_t size = mib << 20, sum = 0;
    unsigned char *bytes = malloc(size);
    if (!bytes)
        return 1;
    memset(bytes, 1, size);
    for (size_t i = 0; i < size; i += 4096)
        sum += bytes[i];
    free(bytes);
    return sum == size / 4096 ? 0 : 1;
}

/* 0 if there is no way out. connect on a datagram socket sends nothing: it asks for a route, and fails where there is none.
   192.0.2.1 is an address for documentation, which nobody has. */
static int has_no_network(void)
{
    struct sockaddr_in away = {.sin_family = AF_INET, .sin_port = htons(9)};
    inet_pton(AF_INET, "192.0.2.1", &away.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd == -1)
        return 0;
    if (connect(fd, (struct sockaddr *)&away, sizeof away) == 0) {
        puts("there is a route out of the sandbox");
        return 1;
    }
    return 0;
}

/* 0 if the file can be neither opened for writing nor made. */
static int cannot_write(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd == -1)
        return 0;
    if (write(fd, "canary\n", 7) != 7)
        perror(path);
    printf("%s can be written\n", path);
    return 1;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "hello"))
        return puts("hello") == EOF;
    if (!strcmp(what, "fail"))
        return 3;
    if (!strcmp(what, "memory") && argc > 2)
        return use_memory(strtoul(argv[2], NULL, 10));
    if (!strcmp(what, "network"))
        return has_no_network();
    if (!strcmp(what, "write") && argc > 2)
        return cannot_write(argv[2]);
    fprintf(stderr, "usage: canary hello | fail | memory MIB | network | write PATH\n");
    return 2;
}
