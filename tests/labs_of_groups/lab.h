/* What the labs share. A lab says `done` where all of it works, else what did not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void fail(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    fflush(stdout);
    _exit(1);
}
#define MUST(what, call) ({ long answer_ = (long)(call); if (answer_ < 0) fail(what); answer_; })
#define REFUSED(what, call, error) do { \
    errno = 0; \
    if ((long)(call) >= 0) errno = 0, fail(what " was not refused"); \
    if (errno != (error)) fail(what); \
} while (0)
static inline int done(void) { return puts("done"), 0; }
