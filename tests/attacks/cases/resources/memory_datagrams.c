/* Sends datagrams to sockets that nobody reads.
 * goal: twice as much memory as the limit
 * stopped by: the memory limit of the control group; on v1, which does not count them, the launcher, which looks at the sandbox's sockets
 * first: cgroup-limits
 * second: -
 * alone: nothing else counts what the kernel holds for a socket by whose it is
 * ends: memory-limit, exit
 */
#include "attack.h"
int main(void) {
    many_descriptors();
    size_t wanted = figure("ATTACK_MEMORY") * 2, got = 0;
    static char part[32000];
    while (got < wanted) {
        struct sockaddr_in place = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof place;
        int from = socket(AF_INET, SOCK_DGRAM, 0), to = socket(AF_INET, SOCK_DGRAM, 0), space = 1 << 20, waits = 0;
        if (from < 0 || to < 0 || bind(to, (struct sockaddr *)&place, size) || getsockname(to, (struct sockaddr *)&place, &size)) break;
        setsockopt(to, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
        /* What does not fit is thrown away, and no error. So it sends some, and asks what is there. */
        for (int i = 0; i < 6; i++) sendto(from, part, sizeof part, MSG_DONTWAIT, (struct sockaddr *)&place, size);
        close(from);
        for (char byte; recv(to, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1 && waits < 1;) waits++;
        if (!waits) break;
        got += 3 * sizeof part;
    }
    if (got >= wanted) reached("%zu bytes", got);
    /* For as long as somebody may look. */
    usleep(500000);
    return tried();
}
