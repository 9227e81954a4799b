/* Writes to a file of the host that everybody there may write, and makes one where everybody may.
 * goal: a change outside
 * stopped by: a file tree of its own; behind it the Landlock domain
 * first: mounts
 * second: landlock
 * second needs: landlock 3
 */
#include "attack.h"
int main(void) {
    char path[PATH_MAX];
    int fd = open(aim("ATTACK_FILE"), O_WRONLY | O_TRUNC | O_CLOEXEC);
    TRY("the file was written", fd < 0 ? -1 : write(fd, "changed", 7));
    TRY("the file was cut", truncate(aim("ATTACK_FILE"), 0));
    snprintf(path, sizeof path, "%s/%s", aim("ATTACK_DIR"), aim("ATTACK_MARK"));
    TRY("a file was made", open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    return tried();
}
