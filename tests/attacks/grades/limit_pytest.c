/* Takes pytest its files, its memory and its time, by prlimit.
 * stopped by: pytest is another user
 * says: -
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
int main(void) {
    struct rlimit none = { 0, 0 };
    int reached = 0;
    for (int limit = 0; limit < RLIMIT_NLIMITS; limit++)
        for (int pid = 1; pid < 200; pid++)
            if (pid != getpid() && pid == getppid() && prlimit(pid, limit, &none, 0) == 0) reached = 1;
    return puts(reached ? "42" : "17") < 0;
}
