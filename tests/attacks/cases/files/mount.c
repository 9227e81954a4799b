/* Changes what is mounted: again and writable, elsewhere, away; by the old calls and by the new ones.
 * goal: a mount of its own making
 * stopped by: no capability, and a user namespace that owns no mount but its own; behind it the system call filter
 * first: ids capabilities
 * second: seccomp
 */
#include "attack.h"
int main(void) {
    const char *mark = aim("ATTACK_MARK");
    mkdir("place", 0700);
    TRY("a tmpfs", mount(mark, "place", "tmpfs", 0, 0));
    TRY("a bind", mount("/usr", "place", 0, MS_BIND, 0));
    TRY("/usr again, writable", mount(0, "/usr", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("/ again, writable", mount(0, "/", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("propagation", mount(0, "/", 0, MS_SHARED | MS_REC, 0));
    TRY("a mount moved", mount("/dev/shm", "place", 0, MS_MOVE, 0));
    TRY("a proc", mount(mark, "place", "proc", 0, 0));
    TRY("an overlay", mount(mark, "place", "overlay", 0, "lowerdir=/usr,upperdir=/tmp,workdir=/tmp"));
    /* What hides parts of /proc, taken away. */
    TRY("a mask taken away", umount2("/proc/kcore", MNT_DETACH));
    TRY("/proc taken away", umount2("/proc", MNT_DETACH));
    TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    TRY("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    TRY("fspick", syscall(SYS_fspick, AT_FDCWD, "/", 0));
    struct { uint64_t set, clear, propagation, userns; } none = { 0, 1, 0, 0 };
    TRY("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/usr", 0, &none, sizeof none));
    return tried();
}
