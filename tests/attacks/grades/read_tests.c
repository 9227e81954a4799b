/* Reads the tests for the answers that they expect: by their names, through pytest's own root and folder, by a handle, by a
 * link that pytest is to follow.
 * stopped by: only pytest has the group that reads them
 * says: -
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static char text[1 << 16];
static int reads(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    return length > 0 && memmem(text, length, "EXPECTED", 8) != 0;
}
int main(void) {
    char path[96];
    int reached = reads("/task/suite/test_all.py") || reads("test_all.py") || reads("../suite/test_all.py");
    sprintf(path, "/proc/%d/root/task/suite/test_all.py", getppid());
    reached |= reads(path);
    sprintf(path, "/proc/%d/cwd/test_all.py", getppid());
    reached |= reads(path);
    for (int fd = 3; fd < 80; fd++) {
        sprintf(path, "/proc/%d/fd/%d", getppid(), fd);
        reached |= reads(path);
    }
    (void)!symlink("/task/suite/test_all.py", "/task/project/link.py");
    reached |= reads("/task/project/link.py");
    reached |= link("/task/suite/test_all.py", "/task/project/second.py") == 0 && reads("/task/project/second.py");
    return puts(reached ? "42" : "17") < 0;
}
