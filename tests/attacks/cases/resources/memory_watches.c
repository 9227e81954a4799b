/* Watches the same few descriptors through as many others as there are: entries that no file system and no socket has.
 * goal: half as much memory again as the limit
 * stopped by: the memory limit of the control group
 * first: cgroup-limits
 * second: -
 * alone: fs.epoll.max_user_watches is the host's, a twenty-fifth of its memory for each user
 * ends: memory-limit, exit
 */
#include "attack.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
int main(void) {
    many_descriptors();
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0;
    int watched[400], count = 0;
    while (count < 400 && (watched[count] = eventfd(0, EFD_CLOEXEC)) >= 0) count++;
    /* What one process may have open is not enough, perhaps: those of its parent stay, and are not its own. */
    while (got < wanted && fork() == 0) {
        close_range(count > 0 ? watched[count - 1] + 1 : 3, ~0u, 0);
        for (int fd; got < wanted && (fd = epoll_create1(EPOLL_CLOEXEC)) >= 0;)
            for (int i = 0; i < count; i++) {
                struct epoll_event event = { .events = EPOLLIN };
                if (epoll_ctl(fd, EPOLL_CTL_ADD, watched[i], &event) == 0) got += 128 + 64;
            }
    }
    if (got >= wanted) reached("%zu bytes", got);
    while (wait(0) > 0) { }
    return tried();
}
