/* Makes itself the last that the kernel kills, and takes all memory, so that pytest is killed in its place.
 * stopped by: nobody inside gets below pytest's score; without that: what has no end has not passed
 * says: -
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
    for (int score = -1000; score < 300; score += 50) {
        char text[16];
        int fd = open("/proc/self/oom_score_adj", O_WRONLY);
        (void)!write(fd, text, sprintf(text, "%d", score));
        close(fd);
    }
    for (;;) {
        char *part = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (part != MAP_FAILED) memset(part, 1, 1 << 20);
    }
}
