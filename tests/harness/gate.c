/* Stands in for the gate where the real one is not what is tested. Static, so that what a suite says to the dynamic
 * linker in a program's environment is said to that program alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int enter(int sock) {
    int ends[2];
    char byte = 'g';
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } rights = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    rights.head.cmsg_level = SOL_SOCKET;
    rights.head.cmsg_type = SCM_RIGHTS;
    rights.head.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&rights.head), &ends[1], sizeof(int));
    if (sendmsg(sock, &message, MSG_NOSIGNAL) != 1)
        return -1;
    close(ends[1]);
    ssize_t got;
    do
        got = read(ends[0], &byte, 1);
    while (got < 0 && errno == EINTR);
    close(ends[0]);
    return close(sock) == 0 && got == 1 && byte == 'k' ? 0 : -1;
}

int main(int count, char **words) {
    if (count < 5)
        return 2;
    int errors = atoi(words[1]), programs = atoi(words[3]), first = 0;
    char **arguments = words + 4 + programs;
    char text[128] = "SubprocessError:0:the process cannot be counted, and was not started: the launcher did not let it in";
    /* Whoever started this may have closed it, and then nobody is told. */
    if (errors >= 0)
        fcntl(errors, F_SETFD, FD_CLOEXEC);
    if (enter(atoi(words[2])) == 0) {
        for (int i = 0; i < programs; i++) {
            execv(words[4 + i], arguments);
            if (errno != ENOENT && errno != ENOTDIR && first == 0)
                first = errno;
        }
        snprintf(text, sizeof text, "OSError:%x:", first ? first : errno);
    }
    if (errors < 0)
        return 127;
    return write(errors, text, strlen(text)) < 0 ? 127 : 255;
}
