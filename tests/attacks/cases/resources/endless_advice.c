/* Has the kernel take a file's pages away through a thousand mappings of it: it goes through all of them for each, and looks at no
 * signal meanwhile.
 * goal: that it does
 * stopped by: the system call filter, which knows the advice
 * first: seccomp
 * second: -
 * alone: the kernel has no limit on it
 */
#include "attack.h"
int main(void) {
    enum { MAPPINGS = 1000 };
    const size_t size = 8u << 20;
    int fd = memfd_create("file", 0);
    if (fd < 0 || ftruncate(fd, size)) return tried();
    char *place = mmap(NULL, size * MAPPINGS, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) return tried();
    for (int i = 0; i < MAPPINGS; i++)
        if (mmap(place + size * i, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED) return tried();
    if (madvise(place, size * MAPPINGS, MADV_REMOVE) == 0) reached("the advice was taken, over %d mappings", MAPPINGS);
    return tried();
}
