/* Memory: the heap, maps private and shared, protections, advice, locking, memory files, keys, random numbers. */
#include "lab.h"
#include <sys/random.h>
#include <sys/syscall.h>

int main(void) {
    long page = sysconf(_SC_PAGESIZE);
    void *top = sbrk(page);
    MUST(top != (void *)-1);
    char *map = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(map != MAP_FAILED);
    map[0] = 1;
    DO(mprotect(map + page, page, PROT_NONE));
    DO(madvise(map, page, MADV_WILLNEED));
    DO(madvise(map + 2 * page, page, MADV_DONTNEED));
    unsigned char resident[4];
    DO(mincore(map, page, resident));
    DO(mlock(map, page));
    DO(mlock2(map, page, MLOCK_ONFAULT));
    DO(munlock(map, page));
    if (mlockall(MCL_CURRENT) != 0) MUST(errno == ENOMEM || errno == EPERM);
    DO(munlockall());
    map = mremap(map, page, 8 * page, MREMAP_MAYMOVE);
    MUST(map != MAP_FAILED);
    DO(munmap(map, 8 * page));
    int fd = DO(memfd_create("lab", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    DO(ftruncate(fd, page));
    char *shared = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(shared != MAP_FAILED);
    DO(msync(shared, page, MS_SYNC));
    pid_t child = DO(fork());
    if (child == 0) {
        shared[0] = 'c';
        _exit(0);
    }
    reap(child);
    MUST(shared[0] == 'c');
    DO(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    /* Protection keys are there or not by the processor. */
    int key = pkey_alloc(0, 0);
    if (key >= 0) {
        DO(pkey_mprotect(shared, page, PROT_READ, key));
        DO(pkey_free(key));
    }
    /* A compiler that makes code as it runs. */
    unsigned char *code = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(code != MAP_FAILED);
    DO(mprotect(code, page, PROT_READ | PROT_EXEC));
    char random[16];
    MUST(getrandom(random, sizeof random, 0) == sizeof random);
    return 0;
}
