/* Fills the buffers of TCP connections that nobody reads.
 * goal: half as much memory again as the limit
 * stopped by: the memory limit of the control group, on v1 a second one, on TCP's buffers
 * first: cgroup-limits
 * second: -
 * alone: nothing else counts what the kernel holds for a socket by whose it is
 * ends: memory-limit, exit
 */
#include "attack.h"
int main(void) {
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0;
    static char part[1 << 16];
    struct sockaddr_in place = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof place;
    int all = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(all, (struct sockaddr *)&place, size) || listen(all, 100) || getsockname(all, (struct sockaddr *)&place, &size)) return 1;
    while (got < wanted) {
        int one = socket(AF_INET, SOCK_STREAM, 0), space = 1 << 20;
        if (one < 0 || connect(one, (struct sockaddr *)&place, size) < 0) break;
        int other = accept(all, 0, 0);
        if (other < 0) break;
        setsockopt(one, SOL_SOCKET, SO_SNDBUF, &space, sizeof space);
        setsockopt(other, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
        fcntl(one, F_SETFL, O_NONBLOCK);
        size_t before = got;
        for (ssize_t done; (done = write(one, part, sizeof part)) > 0;) got += done;
        /* Where a limit holds, the kernel takes less and less. */
        if (got - before < sizeof part / 4) break;
    }
    if (got >= wanted) reached("%zu bytes", got);
    return tried();
}
