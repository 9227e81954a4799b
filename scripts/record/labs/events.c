/* Waiting for many things at once: select, poll and epoll in all spellings, eventfd, timerfd, inotify; clocks and sleeping. */
#include "lab.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

static void waiting(int readable) {
    struct timeval none = {0};
    struct timespec nothing = {0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(readable, &set);
    MUST(select(readable + 1, &set, NULL, NULL, &none) == 1);
    MUST(pselect(readable + 1, &set, NULL, NULL, &nothing, NULL) == 1);
#ifdef SYS_select
    MUST(syscall(SYS_select, readable + 1, &set, NULL, NULL, &none) == 1);
#endif
    struct pollfd one = {.fd = readable, .events = POLLIN};
    MUST(poll(&one, 1, 0) == 1);
    MUST(ppoll(&one, 1, &nothing, NULL) == 1);
    int epoll = DO(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    DO(epoll_ctl(epoll, EPOLL_CTL_ADD, readable, &event));
    MUST(epoll_wait(epoll, &event, 1, 0) == 1);
    (void)epoll_pwait(epoll, &event, 1, 0, NULL);
    (void)epoll_pwait2(epoll, &event, 1, &nothing, NULL);
    DO(close(epoll));
#ifdef SYS_epoll_create
    DO(close(DO(epoll_create(1))));
#endif
}

static void watching(void) {
    int fd = DO(inotify_init1(IN_CLOEXEC));
    int watched = DO(inotify_add_watch(fd, ".", IN_CREATE));
    DO(close(DO(open("watched", O_CREAT | O_WRONLY, 0600))));
    char text[4096];
    MUST(read(fd, text, sizeof text) > 0);
    DO(inotify_rm_watch(fd, watched));
    DO(unlink("watched"));
    DO(close(DO(inotify_init())));
}

static void clocks(void) {
    struct timespec now, short_ = {.tv_nsec = 1000000};
    struct timeval day;
    DO(clock_gettime(CLOCK_MONOTONIC, &now));
    DO(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now));
    DO(clock_getres(CLOCK_REALTIME, &now));
    DO(gettimeofday(&day, NULL));
    time(NULL);
    /* The C library reads these without the kernel, which a lab on the vdso compares with the calls. */
    DO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now));
    DO(syscall(SYS_clock_getres, CLOCK_MONOTONIC, &now));
    DO(syscall(SYS_gettimeofday, &day, NULL));
#ifdef SYS_time
    DO(syscall(SYS_time, NULL));
#endif
    DO(nanosleep(&short_, NULL));
    DO(syscall(SYS_nanosleep, &short_, NULL));
    MUST(clock_nanosleep(CLOCK_MONOTONIC, 0, &short_, NULL) == 0);
    int timer = DO(timerfd_create(CLOCK_MONOTONIC, 0));
    struct itimerspec soon = {.it_value.tv_nsec = 1000000};
    DO(timerfd_settime(timer, 0, &soon, NULL));
    unsigned long long fired;
    MUST(read(timer, &fired, sizeof fired) == sizeof fired);
    DO(timerfd_gettime(timer, &soon));
}

int main(void) {
    int event = DO(eventfd(1, EFD_CLOEXEC));
    waiting(event);
    watching();
    clocks();
    return 0;
}
