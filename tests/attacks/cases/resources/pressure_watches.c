/* Has the kernel watch for it how busy the host is: each watch takes it a grace period when it ends, and nothing hurries that.
 * goal: one watch
 * stopped by: /proc/pressure, which is read-only inside
 * first: mounts
 * second: -
 * alone: the kernel lets everybody watch who may open the file (since Linux 6.5)
 */
#include "attack.h"
int main(void) {
    const char *watch = "some 1000000 2000000";
    int fd = open("/proc/pressure/cpu", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && write(fd, watch, strlen(watch) + 1) > 0) reached("a watch");
    return tried();
}
