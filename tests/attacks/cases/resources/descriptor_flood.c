/* Opens files until it is refused.
 * goal: more descriptors than a process may have
 * stopped by: RLIMIT_NOFILE; behind it the memory limit, which open files are charged to
 * first: rlimits
 * second: cgroup-limits
 * ends: exit, memory-limit
 */
#include "attack.h"
int main(void) {
    struct rlimit all = { 1 << 20, 1 << 20 };
    setrlimit(RLIMIT_NOFILE, &all);
    int made = 0;
    while (made < 1 << 20 && dup(1) >= 0) made++;
    if (made >= 1 << 19) reached("%d descriptors", made);
    return tried();
}
