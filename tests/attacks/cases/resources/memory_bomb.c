/* Forks, and each child takes memory: the kernel kills one, and there are others.
 * goal: half as much memory again as the limit, in all of them together
 * stopped by: the memory limit of the control group, which is one for all; the pids limit
 * first: cgroup-limits
 * second: -
 * alone: a limit on address space (RLIMIT_AS) would break what reserves it without using it, AddressSanitizer first of all
 * ends: memory-limit, exit, killed, signal
 */
#include "attack.h"
#define MOST 64
static pid_t children[MOST];
static volatile char *touched;
/* How many have theirs and are alive. */
static size_t count(void) {
    size_t found = 0;
    for (pid_t gone; (gone = waitpid(-1, 0, WNOHANG)) > 0;)
        for (int i = 0; i < MOST; i++) if (children[i] == gone) children[i] = 0, touched[i] = 0;
    for (int i = 0; i < MOST; i++) found += children[i] && touched[i];
    return found;
}
int main(void) {
    size_t each = 4 << 20, wanted = figure("ATTACK_MEMORY") / 2 * 3;
    touched = mmap(0, MOST, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 60; round++) {
        int place = 0;
        while (place < MOST && children[place]) place++;
        if (place < MOST && (children[place] = fork()) == 0) {
            char *memory = malloc(each);
            for (size_t at = 0; memory && at < each; at += 4096) memory[at] = 1;
            touched[place] = memory != 0;
            for (;;) pause();
        }
        if (place < MOST && children[place] < 0) children[place] = 0;
        usleep(2000);
        /* Who is about to die has given his back before he is gone: counted again, a while later. */
        int times = 0;
        while (times < 3 && count() * each >= wanted) times++, usleep(200000);
        if (times == 3) { reached("%zu bytes", count() * each); break; }
    }
    return tried();
}
