/* For the programs beside it: each does what one part of an operating-systems course is about, and ends with 0 if all of it worked. */
#ifndef LAB_H
#define LAB_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* What must hold. */
#define MUST(what)                                                                       \
    do {                                                                                 \
        if (!(what)) {                                                                   \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno)); \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

/* A call that must not fail; its value. */
#define DO(call)                        \
    ({                                  \
        long done_ = (long)(call);      \
        MUST(done_ != -1 && #call);     \
        done_;                          \
    })

/* Waits for a child, which must end with 0. */
static inline void reap(pid_t child) {
    int status;
    DO(waitpid(child, &status, 0));
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif
