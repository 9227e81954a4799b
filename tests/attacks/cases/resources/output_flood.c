/* Writes to its standard output and error without end, one line that never ends.
 * goal: the runner's memory or disk full of it
 * stopped by: the launcher passes on as much as the limit says, and throws the rest away; behind it the wall clock
 * first: sizes
 * second: -
 * alone: nobody but the reader can tell how much is too much; what is read is never kept whole
 * wall: 2
 * ends: time-limit
 * unproven: it ends by its time in any case; that no more than the limit is passed on is looked at outside
 */
#include "attack.h"
int main(void) {
    static char part[1 << 16];
    memset(part, '#', sizeof part);
    for (int fd = 1;; fd ^= 3) if (write(fd, part, sizeof part) < 0) return 2;
}
