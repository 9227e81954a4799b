/* Has the kernel write and read by a ring; and, where it may confine itself, sees that its domain holds there, too. */
#include "lab.h"
#include "ring.h"
#include <linux/landlock.h>
static int answer(int result) { return result < 0 ? errno = -result, -1 : result; }
int main(void) {
    char text[16] = "";
    MUST("io_uring_setup", ring_open());
    MUST("nop", answer(ring_do((struct io_uring_sqe){ .opcode = IORING_OP_NOP })));
    int fd = MUST("openat", answer(ring_do((struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)"/tmp/ring", .len = 0600, .open_flags = O_CREAT | O_RDWR })));
    MUST("write", answer(ring_do((struct io_uring_sqe){ .opcode = IORING_OP_WRITE, .fd = fd, .addr = (uintptr_t)"hello", .len = 5 })));
    MUST("read", answer(ring_do((struct io_uring_sqe){ .opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)text, .len = 5, .off = 0 })));
    if (strcmp(text, "hello")) return printf("it read %s\n", text), 1;
    struct landlock_ruleset_attr rights = { .handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG };
    int rules = syscall(SYS_landlock_create_ruleset, &rights, sizeof rights, 0);
    if (rules < 0) return done();
    MUST("landlock_restrict_self", syscall(SYS_landlock_restrict_self, rules, 0));
    REFUSED("a file outside of the domain", answer(ring_do((struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)"/tmp/ring", .open_flags = O_WRONLY })), EACCES);
    puts("the domain holds on a ring that is older");
    close(ring.fd);
    MUST("another ring", ring_open());
    REFUSED("a file outside of the domain", answer(ring_do((struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)"/tmp/ring", .open_flags = O_WRONLY, .flags = IOSQE_ASYNC })), EACCES);
    return done();
}
