/* Connects to what listens on the host's loopback, and sends there, over TCP and UDP.
 * goal: a connection or a packet at the host's
 * stopped by: a network namespace of its own
 * first: network
 * second: -
 * alone: labs are about sockets, so a filter cannot refuse them; Landlock knows TCP ports and not whose they are
 */
#include "attack.h"
int main(void) {
    int port = figure("ATTACK_PORT");
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    TRY("TCP", connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&v4, sizeof v4));
    TRY("TCP over IPv6", connect(socket(AF_INET6, SOCK_STREAM, 0), (void *)&v6, sizeof v6));
    /* Whether a datagram has arrived is seen outside. */
    sendto(socket(AF_INET, SOCK_DGRAM, 0), "here", 4, 0, (void *)&v4, sizeof v4);
    sendto(socket(AF_INET6, SOCK_DGRAM, 0), "here", 4, 0, (void *)&v6, sizeof v6);
    return tried();
}
