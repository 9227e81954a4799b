/* Sleeps, ignores every signal that can be ignored, and stops itself when it is woken.
 * goal: a slot for ever
 * stopped by: the wall clock of the launcher, which kills the control group; behind it the pid namespace, which ends with its init
 * first: wall-clock
 * second: -
 * alone: the runner's own bound on a task and the watchdog of the service come after it, not beside it
 * wall: 1
 * ends: time-limit
 * unproven: it would sleep for ever
 */
#include "attack.h"
int main(void) {
    for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
    if (fork() == 0) raise(SIGSTOP);
    for (;;) sleep(600);
}
