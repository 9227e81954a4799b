/* Sends to addresses outside: the cloud's metadata, a name server, everybody on the wire, everybody who listens.
 * goal: a packet that has a way to go
 * stopped by: a network namespace with a loopback and no route
 * first: network
 * second: -
 * alone: labs are about sockets, so a filter cannot refuse them
 * unproven: the machine has no network, and tests send nothing to others
 */
#include "attack.h"
int main(void) {
    const struct { const char *address; int port; } aims[] = {
        { "169.254.169.254", 80 }, { "169.254.170.2", 80 }, { "192.0.2.1", 53 }, { "255.255.255.255", 67 }, { "224.0.0.251", 5353 }, { "10.0.0.1", 80 },
    };
    for (unsigned i = 0; i < sizeof aims / sizeof *aims; i++) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(aims[i].port), .sin_addr.s_addr = inet_addr(aims[i].address) };
        int stream = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), datagram = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(datagram, SOL_SOCKET, SO_BROADCAST, &(int){ 1 }, sizeof(int));
        if (connect(stream, (void *)&to, sizeof to) == 0 || errno == EINPROGRESS) reached("a way to %s", aims[i].address);
        if (sendto(datagram, "x", 1, 0, (void *)&to, sizeof to) == 1) reached("a packet to %s", aims[i].address);
    }
    return tried();
}
