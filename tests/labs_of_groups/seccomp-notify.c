/* A thread's system calls, decided on by another thread. */
#include "lab.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
static int listener = -1;
static pthread_barrier_t made;
static void *supervise(void *unused) {
    pthread_barrier_wait(&made);
    struct seccomp_notif call;
    for (;;) {
        memset(&call, 0, sizeof call);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) return unused;
        struct seccomp_notif_resp answer = { .id = call.id, .val = 4242 };
        /* A mount may go on, as far as this one has a say in it. */
        if (call.data.nr == SYS_mount) answer.val = 0, answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}
int main(void) {
    pthread_t thread;
    pthread_barrier_init(&made, 0, 2);
    pthread_create(&thread, 0, supervise, 0);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mount, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    MUST("no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    listener = MUST("seccomp", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
    pthread_barrier_wait(&made);
    if (syscall(SYS_getppid) != 4242) return puts("getppid was not answered"), 1;
    REFUSED("a mount that the other lets go on", mount("none", "/tmp", "tmpfs", 0, 0), EPERM);
    return done();
}
