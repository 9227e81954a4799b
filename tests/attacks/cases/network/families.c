/* Opens sockets of families that lead into other parts of the kernel, or to the hypervisor, and that no namespace holds.
 * goal: such a socket
 * stopped by: the system call filter
 * first: seccomp
 * second: -
 * alone: the kernel asks for no privilege for most of them, and AF_VSOCK knows no network namespace
 */
#include "attack.h"
int main(void) {
    const struct { const char *name; int family, type, protocol; } kinds[] = {
        { "AF_VSOCK", AF_VSOCK, SOCK_STREAM, 0 }, { "AF_ALG", AF_ALG, SOCK_SEQPACKET, 0 }, { "netfilter", AF_NETLINK, SOCK_RAW, 12 },
        { "uevents", AF_NETLINK, SOCK_RAW, 15 }, { "generic netlink", AF_NETLINK, SOCK_RAW, 16 }, { "AF_XDP", 44, SOCK_RAW, 0 }, { "AF_TIPC", 30, SOCK_RDM, 0 },
        { "AF_KEY", 15, SOCK_RAW, 2 }, { "AF_CAN", 29, SOCK_RAW, 1 }, { "AF_BLUETOOTH", 31, SOCK_RAW, 1 }, { "AF_RDS", 21, SOCK_SEQPACKET, 0 },
        { "SCTP", AF_INET, SOCK_STREAM, 132 }, { "DCCP", AF_INET, 6, 33 }, { "MPTCP", AF_INET, SOCK_STREAM, 262 }, { "AF_SMC", 43, SOCK_STREAM, 0 },
    };
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) TRY(kinds[i].name, socket(kinds[i].family, kinds[i].type, kinds[i].protocol));
    return tried();
}
