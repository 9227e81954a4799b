/* Fills every place that it can write to.
 * goal: half as much again as the memory limit, in one place
 * stopped by: the sizes of the file systems in memory; behind them the memory limit, because what they hold is memory
 * first: sizes
 * second: cgroup-limits
 * ends: exit, memory-limit
 */
#include "attack.h"
int main(void) {
    static char part[1 << 16];
    unsigned long long wanted = figure("ATTACK_MEMORY") / 2 * 3;
    const char *const places[] = { "/tmp", "/dev/shm", "." };
    memset(part, 1, sizeof part);
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        unsigned long long got = 0;
        for (int number = 0, more = 1; got < wanted && more; number++) {
            char path[64];
            sprintf(path, "%s/fill-%d", places[i], number);
            int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
            unsigned long long before = got;
            for (ssize_t done = 1; fd >= 0 && done > 0 && got - before < 4 << 20; got += done > 0 ? done : 0)
                done = write(fd, part, sizeof part);
            more = got > before;
            close(fd);
        }
        if (got >= wanted) reached("%llu bytes in %s", got, places[i]);
        for (int number = 0; number < 4096; number++) {
            char path[64];
            sprintf(path, "%s/fill-%d", places[i], number);
            if (unlink(path)) break;
        }
    }
    return tried();
}
