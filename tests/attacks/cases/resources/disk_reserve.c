/* Reserves room for a file that is never written, and asks for a file that is longer than anything.
 * goal: half as much again as the memory limit
 * stopped by: the sizes of the file systems in memory; behind them the memory limit, because reserved room is memory there
 * first: sizes
 * second: cgroup-limits
 * ends: exit, memory-limit, signal
 */
#include "attack.h"
int main(void) {
    unsigned long long wanted = figure("ATTACK_MEMORY") / 2 * 3;
    signal(SIGXFSZ, SIG_IGN);
    int fd = open("/tmp/reserved", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    struct stat now;
    if (fallocate(fd, 0, 0, wanted) == 0 && fstat(fd, &now) == 0 && (unsigned long long)now.st_blocks * 512 >= wanted)
        reached("%llu bytes reserved", wanted);
    if (ftruncate(fd, 1LL << 50) == 0 && fallocate(fd, 0, (1LL << 50) - 4096, wanted) == 0) reached("room at the far end");
    return tried();
}
