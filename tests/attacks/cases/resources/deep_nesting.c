/* Makes directories in directories, far beyond the longest path, and hard links to one file.
 * goal: something that nobody can remove
 * stopped by: the file system is in memory and ends with the mount namespace: nobody has to walk it
 * first: mounts
 * second: -
 * alone: without a file tree of its own there is no place where it may make a directory; a file system that is not thrown away would have to be walked
 * unproven: it is the host's tree that would hold it, and nothing may be left there
 */
#include "attack.h"
int main(void) {
    static char name[256];
    memset(name, 'd', 255);
    int file = open("/tmp/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (chdir("/tmp")) return 2;
    for (int depth = 0; depth < 1500 && mkdir(name, 0700) == 0 && chdir(name) == 0; depth++) {
        char other[32];
        sprintf(other, "link-%d", depth);
        if (link("/tmp/file", other)) break;
    }
    close(file);
    return tried();
}
