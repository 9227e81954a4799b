/* Looks at every descriptor that it was started with: a directory outside would be a way out (CVE-2024-21626).
 * goal: a descriptor beside the three standard ones, or one of these that is more than a pipe
 * stopped by: everything else is closed by exec
 * first: mounts
 * second: -
 * alone: a descriptor is a right in itself; that none is left is looked at here
 * unproven: a switch that leaves descriptors open would be a hole kept for a test
 */
#include "attack.h"
int main(void) {
    for (int fd = 3; fd < 1024; fd++) if (fcntl(fd, F_GETFD) >= 0) reached("descriptor %d is open", fd);
    for (int fd = 0; fd < 3; fd++) {
        struct stat is;
        if (fstat(fd, &is) || S_ISDIR(is.st_mode) || S_ISSOCK(is.st_mode) || S_ISBLK(is.st_mode)) reached("descriptor %d is more than a pipe", fd);
    }
    return tried();
}
