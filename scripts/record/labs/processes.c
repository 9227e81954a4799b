/* Processes: every way to start one, to wait for it, groups, sessions, ids, limits, scheduling, the execution domain. */
#include "lab.h"
#include <linux/capability.h>
#include <sched.h>
#include <spawn.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/utsname.h>

extern char **environ;

static int in_clone(void *unused) {
    (void)unused;
    return 0;
}

static void starting(void) {
    char *argv[] = {"true", NULL};
    pid_t child = DO(fork());
    if (child == 0) execvp("true", argv);
    reap(child);
    child = DO(vfork());
    if (child == 0) _exit(0);
    reap(child);
    MUST(posix_spawnp(&child, "true", NULL, NULL, argv, environ) == 0);
    reap(child);
    MUST(system("exit 0") == 0);
    FILE *from = popen("echo popen", "r");
    MUST(from && fgetc(from) == 'p' && fgetc(from) == 'o');
    pclose(from);
    static char stack[65536] __attribute__((aligned(16)));
    reap(DO(clone(in_clone, stack + sizeof stack, SIGCHLD, NULL)));
    reap(DO(clone(in_clone, stack + sizeof stack, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, NULL)));
    child = DO(fork());
    if (child == 0) {
        int program = DO(open("/bin/true", O_RDONLY | O_CLOEXEC));
        fexecve(program, argv, environ);
        _exit(1);
    }
    siginfo_t info;
    DO(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    struct rusage usage;
    int status;
    DO(wait4(child, &status, 0, &usage));
    MUST(info.si_status == 0 && status == 0);
}

static void pidfds(void) {
    pid_t child = DO(fork());
    if (child == 0) {
        /* Where the rest fails, as under valgrind, it does not wait for ever. */
        alarm(10);
        for (;;) pause();
    }
    int fd = DO(syscall(SYS_pidfd_open, child, 0));
    DO(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
    siginfo_t info;
    DO(waitid((idtype_t)3 /* P_PIDFD */, (id_t)fd, &info, WEXITED));
    MUST(info.si_status == SIGKILL);
    close(fd);
}

static void groups_and_ids(void) {
    pid_t child = DO(fork());
    if (child == 0) {
        DO(setsid());
        MUST(getsid(0) == getpid() && getpgid(0) == getpid() && getpgrp() == getpid());
        _exit(0);
    }
    reap(child);
    child = DO(fork());
    if (child == 0) {
        DO(setpgid(0, 0));
        _exit(0);
    }
    reap(child);
    uid_t uid[3];
    gid_t gid[3], groups[64];
    DO(getresuid(&uid[0], &uid[1], &uid[2]));
    DO(getresgid(&gid[0], &gid[1], &gid[2]));
    DO(getgroups(64, groups));
    MUST(getuid() == uid[0] && geteuid() == uid[1] && getgid() == gid[0] && getegid() == gid[1] && getppid() > 0);
    /* A server that gives up what it may; here there is nothing to give up. */
    DO(setgid(getgid()));
    DO(setuid(getuid()));
    DO(setreuid(-1, getuid()));
    DO(setregid(-1, getgid()));
    DO(setresuid(-1, getuid(), -1));
    DO(setresgid(-1, getgid(), -1));
    /* Refused without privileges, as a program finds out. */
    gid_t none = getgid();
    if (syscall(SYS_setgroups, 1, &none) != 0) MUST(errno == EPERM);
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};
    DO(syscall(SYS_capget, &head, data));
    memset(data, 0, sizeof data);
    DO(syscall(SYS_capset, &head, data));
}

static void limits_and_scheduling(void) {
    struct rlimit limit;
    DO(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 256;
    DO(setrlimit(RLIMIT_NOFILE, &limit));
    DO(prlimit(0, RLIMIT_CORE, NULL, &limit));
    struct rusage usage;
    DO(getrusage(RUSAGE_CHILDREN, &usage));
    struct tms ticks;
    DO(times(&ticks));
    struct sysinfo machine;
    DO(sysinfo(&machine));
    struct utsname name;
    DO(uname(&name));
    DO(setpriority(PRIO_PROCESS, 0, 1));
    MUST(getpriority(PRIO_PROCESS, 0) == 1);
    DO(nice(1));
    cpu_set_t cpus;
    DO(sched_getaffinity(0, sizeof cpus, &cpus));
    DO(sched_setaffinity(0, sizeof cpus, &cpus));
    struct sched_param param = {0};
    DO(sched_setscheduler(0, SCHED_BATCH, &param));
    MUST(sched_getscheduler(0) == SCHED_BATCH);
    DO(sched_getparam(0, &param));
    DO(sched_setparam(0, &param));
    MUST(sched_get_priority_max(SCHED_FIFO) > sched_get_priority_min(SCHED_FIFO));
    struct timespec slice;
    DO(sched_rr_get_interval(0, &slice));
    char attr[56] = {0};
    DO(syscall(SYS_sched_getattr, 0, attr, sizeof attr, 0));
    DO(syscall(SYS_sched_setattr, 0, attr, 0));
    DO(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 4));
    DO(syscall(SYS_ioprio_get, 1, 0));
    sched_yield();
    unsigned cpu, node;
    DO(syscall(SYS_getcpu, &cpu, &node, NULL));
}

static void settings(void) {
    DO(prctl(PR_SET_NAME, "lab", 0, 0, 0));
    char name[16];
    DO(prctl(PR_GET_NAME, name, 0, 0, 0));
    DO(prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0));
    DO(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    DO(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    DO(prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0));
    DO(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0);
    DO(personality(0xffffffff));
    DO(personality(ADDR_NO_RANDOMIZE));
}

int main(void) {
    starting();
    pidfds();
    groups_and_ids();
    limits_and_scheduling();
    settings();
    return 0;
}
