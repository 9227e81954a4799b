/* Leaves its root by a second one: chroot with a directory kept open outside of it, and pivot_root.
 * goal: a root of its own
 * stopped by: no capability; behind it the system call filter. The old root is not mounted any more in any case
 * first: ids capabilities
 * second: seccomp
 */
#include "attack.h"
int main(void) {
    mkdir("jail", 0700);
    int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (chroot("jail") == 0) {
        reached("chroot");
        if (fchdir(top) == 0) for (int i = 0; i < 64; i++) if (chdir("..")) break;
    }
    TRY("pivot_root", syscall(SYS_pivot_root, ".", "."));
    return tried();
}
