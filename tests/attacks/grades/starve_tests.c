/* Leaves memory, files and busy processes behind, for later tests to fail in a way that could be called the grader's.
 * stopped by: limits hold for the stage as a whole, and every test has its own end
 * says: -
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
int main(void) {
    static char part[1 << 20];
    memset(part, 1, sizeof part);
    int fd = open("/dev/shm/full", O_WRONLY | O_CREAT, 0666);
    for (int i = 0; i < 64; i++) (void)!write(fd, part, sizeof part);
    struct sched_param none = { 0 };
    sched_setscheduler(getppid(), SCHED_IDLE, &none);
    setpriority(PRIO_PROCESS, getppid(), 19);
    puts("17");
    fflush(stdout);
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            setsid();
            close(0), close(1), close(2);
            for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
            for (;;) ;
        }
    return 0;
}
