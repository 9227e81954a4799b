/* Takes descriptors away from init by a limit.
 * goal: another limit of init's
 * stopped by: another id
 * first: ids
 * second: -
 * alone: prlimit asks whose a process is, and nothing else; init needs no more than it has
 * unproven: it is the machine's own init where there is no pid namespace
 */
#include "attack.h"
int main(void) {
    TRY("its descriptors", prlimit(1, RLIMIT_NOFILE, &(struct rlimit){ 0, 0 }, 0));
    TRY("its processes", prlimit(1, RLIMIT_NPROC, &(struct rlimit){ 1, 1 }, 0));
    return tried();
}
