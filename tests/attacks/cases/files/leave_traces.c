/* Leaves something everywhere, for the next one to find: files, System V objects, queues, sockets, a key.
 * goal: something that is still there when the stage has ended
 * stopped by: places that end with their namespaces
 * first: mounts ipc network
 * second: -
 * alone: what may be written at all (/tmp, /dev/shm, IPC objects) has to be of its own, or it is shared
 */
#include "attack.h"
#include <mqueue.h>
int main(void) {
    char path[PATH_MAX];
    const char *mark = aim("ATTACK_MARK"), *const places[] = { "/tmp", "/dev/shm", "/var/tmp", "/run", "/run/lock", "/run/user", "." };
    int made = 0;
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", places[i], mark);
        made += open(path, O_CREAT | O_WRONLY, 0666) >= 0;
    }
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0666);
    made += id >= 0;
    made += msgget(IPC_PRIVATE, IPC_CREAT | 0666) >= 0;
    snprintf(path, sizeof path, "/%s", mark);
    made += mq_open(path, O_CREAT | O_RDWR, 0666, (void *)0) != (mqd_t)-1;
    syscall(SYS_add_key, "user", mark, "x", 1, -4);
    if (made < 4) return 2;
    /* That they are there outside is seen from there. */
    return tried();
}
