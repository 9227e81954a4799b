/* Signals: handlers, masks, waiting for them, with values, real-time ones, on a stack of their own, by descriptor; and jumps. */
#include "lab.h"
#include <setjmp.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

static volatile sig_atomic_t got;
static sigjmp_buf before;

static void handler(int number) { got = number; }
static void with_value(int number, siginfo_t *info, void *unused) {
    (void)unused;
    got = number + info->si_value.sival_int;
}
static void jump(int number) { siglongjmp(before, number); }

static void handling(void) {
    struct sigaction action = {.sa_handler = handler};
    DO(sigaction(SIGUSR1, &action, NULL));
    DO(kill(getpid(), SIGUSR1));
    MUST(got == SIGUSR1);
    DO(raise(SIGUSR1));
    DO(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1));
    struct sigaction queued = {.sa_sigaction = with_value, .sa_flags = SA_SIGINFO};
    DO(sigaction(SIGRTMIN, &queued, NULL));
    DO(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 7}));
    MUST(got == SIGRTMIN + 7);
    siginfo_t info = {.si_code = SI_QUEUE};
    info.si_value.sival_int = 8;
    DO(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGRTMIN, &info));
    MUST(got == SIGRTMIN + 8);
    static char stack[65536];
    stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    DO(sigaltstack(&own, NULL));
    struct sigaction fault = {.sa_handler = jump, .sa_flags = SA_ONSTACK};
    DO(sigaction(SIGSEGV, &fault, NULL));
    if (sigsetjmp(before, 1) == 0) {
        *(volatile int *)NULL = 1;
        MUST(!"reached");
    }
}

static void waiting(void) {
    sigset_t set, none, pending;
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGALRM);
    DO(sigprocmask(SIG_BLOCK, &set, NULL));
    DO(raise(SIGUSR2));
    DO(sigpending(&pending));
    MUST(sigismember(&pending, SIGUSR2));
    siginfo_t info;
    MUST(sigwaitinfo(&set, &info) == SIGUSR2);
    struct timespec soon = {.tv_nsec = 1000000};
    MUST(sigtimedwait(&set, &info, &soon) == -1 && errno == EAGAIN);
    DO(raise(SIGUSR2));
    int number, fd = DO(signalfd(-1, &set, SFD_CLOEXEC));
    struct signalfd_siginfo read_one;
    MUST(read(fd, &read_one, sizeof read_one) == sizeof read_one && read_one.ssi_signo == SIGUSR2);
    DO(raise(SIGUSR2));
    MUST(sigwait(&set, &number) == 0 && number == SIGUSR2);
    struct sigaction action = {.sa_handler = handler};
    DO(sigaction(SIGALRM, &action, NULL));
    struct itimerval interval = {.it_value.tv_usec = 1000};
    DO(setitimer(ITIMER_REAL, &interval, NULL));
    DO(getitimer(ITIMER_REAL, &interval));
    MUST(sigsuspend(&none) == -1 && got == SIGALRM);
    DO(sigprocmask(SIG_UNBLOCK, &set, NULL));
    alarm(1);
    pause();
}

static void stopping(void) {
    pid_t child = DO(fork());
    if (child == 0) {
        DO(raise(SIGSTOP));
        _exit(0);
    }
    int status;
    DO(waitpid(child, &status, WUNTRACED));
    MUST(WIFSTOPPED(status));
    DO(kill(child, SIGCONT));
    reap(child);
    /* A sleep that is stopped goes on where it was: the kernel's restart_syscall. */
    child = DO(fork());
    if (child == 0) {
        struct timespec sleep = {.tv_nsec = 200000000};
        _exit(nanosleep(&sleep, NULL) != 0);
    }
    usleep(50000);
    DO(kill(child, SIGSTOP));
    DO(waitpid(child, &status, WUNTRACED));
    DO(kill(child, SIGCONT));
    reap(child);
}

static ucontext_t caller, other;
static void coroutine(void) {
    got = 99;
    swapcontext(&other, &caller);
}

static void contexts(void) {
    static char stack[65536];
    DO(getcontext(&other));
    other.uc_stack.ss_sp = stack;
    other.uc_stack.ss_size = sizeof stack;
    other.uc_link = &caller;
    makecontext(&other, coroutine, 0);
    DO(swapcontext(&caller, &other));
    MUST(got == 99);
}

int main(void) {
    handling();
    waiting();
    stopping();
    contexts();
    return 0;
}
