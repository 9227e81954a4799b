/* Leaves links and pipes where pytest will write: its own report, its events, its memory, a pipe that nobody reads.
 * stopped by: the report is written anew at pytest's end; without that: events and report have to agree
 * says: -
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    static const char *const places[] = { "/proc/self/fd/4", "/proc/self/fd/3", "/proc/self/mem", "/dev/fd/4", "/proc/thread-self/fd/4" };
    static int turn;
    turn = getpid();
    unlink("/task/project/config.conf");
    (void)!symlink(places[turn % 5], "/task/project/config.conf");
    for (int i = 0; i < 5; i++) {
        char path[64];
        sprintf(path, "/task/project/config-%d.conf", i);
        unlink(path);
        (void)!symlink(places[i], path);
    }
    return puts("17") < 0;
}
