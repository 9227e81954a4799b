/* Makes the kernel kill others for the memory that it takes.
 * goal: an oom_score_adj below the one that it was given
 * stopped by: no capability of the host's (CAP_SYS_RESOURCE); the launcher has set the floor
 * first: ids capabilities
 * second: -
 * alone: the file has one check, and the floor is a part of it
 */
#include "attack.h"
int main(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    TRY("oom_score_adj -1000", fd < 0 ? -1 : write(fd, "-1000", 5));
    TRY("oom_score_adj -1", fd < 0 ? -1 : write(fd, "-1", 2));
    return tried();
}
