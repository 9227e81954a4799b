/* Puts a key into a keyring, where the next run of the same user would find it, and fills the quota.
 * goal: a key
 * stopped by: the system call filter
 * first: seccomp
 * second: -
 * alone: the kernel asks for no privilege; the ring belongs to an id of the slot's range, so no other slot has it
 */
#include "attack.h"
int main(void) {
    const char *mark = aim("ATTACK_MARK");
    for (int ring = -5; ring < 0; ring++) TRY("a key", syscall(SYS_add_key, "user", mark, "x", 1, ring));
    TRY("a session ring", syscall(SYS_keyctl, 1, mark));
    TRY("a request", syscall(SYS_request_key, "user", mark, 0, -4));
    return tried();
}
