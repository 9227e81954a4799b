/* Makes a user namespace, in which it would have every capability again, in each way that there is.
 * goal: a user namespace of its own, where it is allowed none; another namespace without; or init's
 * stopped by: the system call filter; behind it the sandbox's own user namespace, in which none may be made
 * first: seccomp
 * second: ids
 */
#include "attack.h"
int main(void) {
    const int flags[] = { CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWNS, CLONE_NEWUSER | CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWUTS, CLONE_NEWIPC };
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        pid_t child = fork();
        int own = flags[i] & CLONE_NEWUSER && granted("containers");
        if (child == 0) _exit(unshare(flags[i]) == 0 ? 7 : 0);
        int status;
        waitpid(child, &status, 0);
        if (!own && WIFEXITED(status) && WEXITSTATUS(status) == 7) reached("unshare(%#x)", flags[i]);
        child = syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0);
        if (child == 0) _exit(0);
        if (child > 0 && !own) reached("clone(%#x)", flags[i]);
        if (child > 0) waitpid(child, 0, 0);
        struct { uint64_t flags, pidfd, child, parent, signal, rest[6]; } more = { .flags = flags[i], .signal = SIGCHLD };
        child = syscall(SYS_clone3, &more, sizeof more);
        if (child == 0) _exit(0);
        if (child > 0) reached("clone3(%#x)", flags[i]), waitpid(child, 0, 0);
    }
    int own = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC), first = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (own >= 0) TRY("setns into its own", syscall(SYS_setns, own, 0));
    if (first >= 0) TRY("setns into init's", syscall(SYS_setns, first, 0));
    return tried();
}
