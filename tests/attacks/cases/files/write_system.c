/* Makes and changes files among the system's own.
 * goal: a program of the host's changed
 * stopped by: read-only binds; behind them an id range that owns nothing outside, and the Landlock domain
 * first: mounts
 * second: ids landlock
 */
#include "attack.h"
int main(void) {
    char path[PATH_MAX];
    const char *const places[] = { "/usr/bin", "/usr/lib", "/usr/local/bin", "/etc", "/bin", "/lib", "/var", "/boot", "/root", "/" };
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", places[i], aim("ATTACK_MARK"));
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0) continue;
        reached("%s was made", path);
        unlink(path);
    }
    const char *const files[] = { "/usr/bin/env", "/bin/sh", "/etc/hosts", "/etc/passwd", "/etc/ld.so.cache" };
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
        can_write(files[i]);
        if (chmod(files[i], 0755) == 0 || utimensat(AT_FDCWD, files[i], 0, 0) == 0) reached("%s was changed", files[i]);
    }
    return tried();
}
