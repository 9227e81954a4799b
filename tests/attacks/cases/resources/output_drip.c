/* Says a letter ten times a second, so that whoever waits until it is silent waits for ever.
 * goal: a slot for ever
 * stopped by: the wall clock of the launcher, which counts from the start and not from the last word
 * first: wall-clock
 * second: -
 * alone: the runner's own bound on a task and the watchdog of the service come after it, not beside it
 * wall: 1
 * ends: time-limit
 * unproven: it would go on for ever
 */
#include "attack.h"
int main(void) {
    for (;; usleep(100000)) if (write(1, "#", 1) < 0) return 2;
}
