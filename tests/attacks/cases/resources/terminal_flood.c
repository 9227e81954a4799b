/* Opens terminals, of which the kernel has 4096 for everybody, and fills them.
 * goal: more than a hundred of them
 * stopped by: a limit of its own file system of terminals
 * first: sizes
 * second: -
 * alone: the kernel counts terminals for the whole host, and for each such file system
 */
#include "attack.h"
int main(void) {
    static char text[4096];
    int made = 0;
    for (; made <= 100; made++) {
        int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) break;
        while (write(fd, text, sizeof text) > 0) { }
    }
    if (made > 100) reached("%d terminals", made);
    return tried();
}
