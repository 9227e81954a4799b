/* Puts a filter of its own on a thread, with a listener, and lets go on what the sandbox refuses.
 * goal: a call that is refused without it
 * stopped by: the system call filter: no listener; where one is allowed an error of ours, which is stricter than its question; behind it no capability
 * first: seccomp
 * second: ids capabilities
 */
#include "attack.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
static int listener = -1;
static void *supervise(void *unused) {
    struct seccomp_notif call;
    for (;;) {
        memset(&call, 0, sizeof call);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) return unused;
        struct seccomp_notif_resp answer = { .id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer)) return unused;
    }
}
static void *refused(void *state) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mount, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sethostname, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    /* Whoever answers must not be under the filter; this thread alone is. */
    if (listener >= 0) *(volatile int *)state = 1;
    while (listener >= 0 && *(volatile int *)state == 1) sched_yield();
    mkdir("place", 0700);
    TRY("a mount", mount("none", "place", "tmpfs", 0, 0));
    TRY("a name", sethostname("x", 1));
    TRY("a namespace", unshare(CLONE_NEWUTS));
    return 0;
}
int main(void) {
    volatile int state = 0;
    pthread_t asks, answers;
    if (pthread_create(&asks, 0, refused, (void *)&state)) return 2;
    while (state == 0 && pthread_tryjoin_np(asks, 0)) sched_yield();
    if (state == 1) {
        pthread_create(&answers, 0, supervise, 0);
        state = 2;
        pthread_join(asks, 0);
    }
    return tried();
}
