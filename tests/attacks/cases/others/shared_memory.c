/* Attaches every segment of System V shared memory that it can find.
 * goal: the secret word in a segment of the host's
 * stopped by: an IPC namespace of its own; behind it ids that own no segment outside
 * first: ipc
 * second: ids
 */
#include "attack.h"
int main(void) {
    struct shmid_ds segment;
    struct shminfo all;
    int last = shmctl(0, IPC_INFO, (struct shmid_ds *)&all);
    for (int slot = 0; slot <= last; slot++) {
        int id = shmctl(slot, SHM_STAT, &segment);
        char *memory = id < 0 ? (char *)-1 : shmat(id, 0, SHM_RDONLY);
        if (memory != (char *)-1) reached("a segment of %zu bytes, of somebody else's", (size_t)segment.shm_segsz);
    }
    for (int id = 0; id < 64; id++) if (shmat(id, 0, SHM_RDONLY) != (void *)-1) reached("segment %d", id);
    return tried();
}
