/* Looks into a process of the host: its environment, memory, files, descriptors; and traces it.
 * goal: the secret word in its environment
 * stopped by: a pid namespace of its own; behind it ids that own no process outside
 * first: pids
 * second: ids
 */
#include "attack.h"
int main(void) {
    char path[PATH_MAX], text[64];
    pid_t other = figure("ATTACK_PID");
    sprintf(path, "/proc/%d/environ", other);
    show(path);
    snprintf(path, sizeof path, "/proc/%d/root%s", other, aim("ATTACK_SECRET"));
    show(path);
    sprintf(path, "/proc/%d/mem", other);
    TRY("its memory", open(path, O_RDONLY | O_CLOEXEC));
    sprintf(path, "/proc/%d/maps", other);
    int maps = open(path, O_RDONLY | O_CLOEXEC);
    if (maps >= 0) TRY("its map", read(maps, text, sizeof text) > 0 ? 0 : -1);
    if (ptrace(PTRACE_SEIZE, other, 0, 0) == 0) reached("it was traced"), ptrace(PTRACE_DETACH, other, 0, 0);
    return tried();
}
