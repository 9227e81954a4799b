/* Looks for a capability in any of its sets, a group beside its own, and a way to get one back.
 * goal: a capability, or another user
 * stopped by: five empty sets, locked securebits, no_new_privs, and ids that it cannot change
 * first: capabilities
 * second: -
 * alone: this looks at the layer itself; that nothing comes of it where it is missing is shown by `administer`, `mount` and others
 */
#include "attack.h"
int main(void) {
    char text[8192] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) return 2;
    const char *const sets[] = { "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:" };
    for (unsigned i = 0; i < 5; i++) {
        const char *line = strstr(text, sets[i]);
        if (!line) return 2;
        if (strtoull(line + 7, 0, 16)) reached("%.24s", line);
    }
    if (getgroups(0, 0) > 0) reached("%d supplementary groups", getgroups(0, 0));
    TRY("another user", setresuid(1001, 1001, 1001));
    TRY("root", setuid(0));
    TRY("another group", setgroups(1, (gid_t[]){ 1002 }));
    TRY("keeping capabilities", prctl(PR_SET_SECUREBITS, 0));
    TRY("an ambient capability", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
    TRY("no_new_privs taken off", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    TRY("another executable's name", prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, fd, 0, 0));
    return tried();
}
