/* Opens sockets that see and make packets: raw ones, and those of the wire.
 * goal: such a socket
 * stopped by: the system call filter; behind it no capability over its network namespace (CAP_NET_RAW)
 * first: seccomp
 * second: ids capabilities
 */
#include "attack.h"
int main(void) {
    TRY("a raw socket", socket(AF_INET, SOCK_RAW, IPPROTO_TCP));
    TRY("a raw socket of IPv6", socket(AF_INET6, SOCK_RAW, IPPROTO_TCP));
    TRY("a packet socket", socket(AF_PACKET, SOCK_RAW, htons(3)));
    TRY("a packet socket of datagrams", socket(AF_PACKET, SOCK_DGRAM, htons(3)));
    TRY("a packet socket of the old kind", socket(AF_INET, SOCK_PACKET, htons(3)));
    return tried();
}
