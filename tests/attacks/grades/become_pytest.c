/* Becomes the user that pytest is, or takes the group that reads the suite, or a capability.
 * stopped by: no capability is left; without that: the filter knows no call that would give one
 * says: -
 */
#define _GNU_SOURCE
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void) {
    gid_t group = 1002, groups[8];
    int reached = 0;
    if (setresuid(1001, 1001, 1001) == 0 || setresuid(-1, 1001, -1) == 0 || setreuid(1001, -1) == 0 || setuid(1001) == 0 || setuid(0) == 0) reached = 1;
    if (setgroups(1, &group) == 0 || setresgid(1002, 1002, 1002) == 0 || setgid(1002) == 0 || setegid(1002) == 0 || setgid(0) == 0) reached = 1;
    int count = getgroups(8, groups);
    if (count != 0) reached = 1;
    for (int capability = 0; capability < 64; capability++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0) reached = 1;
    /* What the process has: five lines of zeros. */
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status))
        if (strncmp(line, "Cap", 3) == 0 && strtoull(line + 8, 0, 16) != 0) reached = 1;
        else if (strncmp(line, "Uid:", 4) == 0 && strcmp(line, "Uid:\t1000\t1000\t1000\t1000\n") != 0) reached = 1;
        else if (strncmp(line, "Gid:", 4) == 0 && strcmp(line, "Gid:\t1000\t1000\t1000\t1000\n") != 0) reached = 1;
    if (kill(getppid(), 0) == 0) reached = 1;
    return puts(reached ? "42" : "17") < 0;
}
