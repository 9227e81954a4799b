/* Notes something beside a file. */
#include "lab.h"
#include <sys/xattr.h>
int main(void) {
    char text[16] = "";
    int fd = MUST("a file", open("/tmp/noted", O_CREAT | O_RDWR, 0600));
    MUST("setxattr", setxattr("/tmp/noted", "user.lab", "one", 3, XATTR_CREATE));
    REFUSED("a second one of its name", setxattr("/tmp/noted", "user.lab", "two", 3, XATTR_CREATE), EEXIST);
    MUST("fsetxattr", fsetxattr(fd, "user.lab", "two", 3, 0));
    if (getxattr("/tmp/noted", "user.lab", text, sizeof text) != 3 || strcmp(text, "two")) fail("getxattr");
    MUST("removexattr", removexattr("/tmp/noted", "user.lab"));
    return done();
}
