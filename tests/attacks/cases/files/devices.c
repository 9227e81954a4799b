/* Opens every node below /dev, and makes nodes for disks and memory.
 * goal: a device that holds more than nothing, zeros, random numbers or its own terminal
 * stopped by: a /dev of six harmless nodes, and mounts without devices; behind it an id range that owns no device, and the filter
 * first: mounts
 * second: ids seccomp
 */
#include "attack.h"
static const char *const harmless[] = { "null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd", "stdin", "stdout", "stderr" };
static void walk(const char *dir, int depth) {
    DIR *open_dir = opendir(dir);
    if (!open_dir) return;
    for (struct dirent *entry; (entry = readdir(open_dir));) {
        char path[PATH_MAX];
        struct stat node;
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (lstat(path, &node)) continue;
        if (S_ISDIR(node.st_mode) && depth < 4 && strcmp(entry->d_name, "pts")) walk(path, depth + 1);
        if (!S_ISCHR(node.st_mode) && !S_ISBLK(node.st_mode)) continue;
        int known = 0;
        for (unsigned i = 0; i < sizeof harmless / sizeof *harmless; i++) known |= !strcmp(entry->d_name, harmless[i]);
        int fd = known ? -1 : open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) reached("%s was opened", path), close(fd);
    }
    closedir(open_dir);
}
int main(void) {
    walk("/dev", 0);
    const struct { const char *name; mode_t kind; int major, minor; } nodes[] = {
        { "mem", S_IFCHR, 1, 1 }, { "kmsg", S_IFCHR, 1, 11 }, { "disk", S_IFBLK, 8, 0 }, { "vda", S_IFBLK, 254, 0 }, { "fuse", S_IFCHR, 10, 229 },
    };
    for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        char path[PATH_MAX];
        const char *const places[] = { ".", "/tmp", "/dev/shm" };
        for (unsigned place = 0; place < 3; place++) {
            snprintf(path, sizeof path, "%s/%s-%s", places[place], nodes[i].name, aim("ATTACK_MARK"));
            if (mknod(path, nodes[i].kind | 0600, makedev(nodes[i].major, nodes[i].minor)) == 0) {
                int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
                if (fd >= 0) reached("%s was made and opened", path), close(fd);
                unlink(path);
            }
        }
    }
    return tried();
}
