/* Makes empty files until it is refused: they cost the kernel memory that no size counts.
 * goal: more files than the memory limit has room for
 * stopped by: the number of inodes of the file systems; behind it the memory limit, which inodes are charged to
 * first: sizes
 * second: cgroup-limits
 * ends: exit, memory-limit, time-limit
 */
#include "attack.h"
int main(void) {
    /* An inode with its name takes about a KiB. */
    unsigned long made = 0, most = figure("ATTACK_MEMORY") / 640;
    for (char path[64]; made < most; made++) {
        if (made % 256 == 0) {
            sprintf(path, "/tmp/d%lu", made / 256);
            if (mkdir(path, 0700)) break;
        }
        sprintf(path, "/tmp/d%lu/%lu", made / 256, made);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0) break;
        close(fd);
    }
    if (made >= most) reached("%lu files", made);
    return tried();
}
