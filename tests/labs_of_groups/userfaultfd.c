/* Fills pages when they are touched. */
#include "lab.h"
#include <linux/userfaultfd.h>
static int faults;
static char *memory;
static void *fill(void *page) {
    struct uffd_msg message;
    while (read(faults, &message, sizeof message) == sizeof message) {
        struct uffdio_copy copy = { .dst = message.arg.pagefault.address & ~4095ull, .src = (uintptr_t)page, .len = 4096 };
        memset(page, 'a' + (copy.dst - (uintptr_t)memory) / 4096, 4096);
        if (ioctl(faults, UFFDIO_COPY, &copy)) break;
    }
    return 0;
}
int main(void) {
    faults = MUST("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC | 1));
    struct uffdio_api api = { .api = UFFD_API };
    MUST("UFFDIO_API", ioctl(faults, UFFDIO_API, &api));
    memory = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register range = { .range = { (uintptr_t)memory, 4 * 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };
    MUST("UFFDIO_REGISTER", ioctl(faults, UFFDIO_REGISTER, &range));
    pthread_t thread;
    pthread_create(&thread, 0, fill, aligned_alloc(4096, 4096));
    for (int i = 0; i < 4; i++) if (memory[i * 4096 + 7] != 'a' + i) return printf("page %d\n", i), 1;
    /* The kernel's own faults are not for programs. */
    REFUSED("faults of the kernel's", syscall(SYS_userfaultfd, O_CLOEXEC), EPERM);
    return done();
}
