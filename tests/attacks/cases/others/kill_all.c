/* Signals everybody whom it may signal.
 * goal: anything outside that dies of it
 * stopped by: a pid namespace of its own; behind it ids that own no process outside
 * first: pids
 * second: ids
 * unproven: everybody whom root may signal is the machine
 */
#include "attack.h"
int main(void) {
    signal(SIGTERM, SIG_IGN);
    kill(-1, SIGTERM);
    kill(-1, SIGKILL); /* not the caller */
    return tried();
}
