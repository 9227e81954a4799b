/* Starts the system's set-user-id programs, and makes one of its own.
 * goal: a program that runs as somebody else
 * stopped by: mounts without set-user-id, and no_new_privs; behind them an id range in which no program of root's is root's
 * first: mounts capabilities
 * second: ids
 * unproven: whoever is the host's root already becomes nobody else
 */
#include "attack.h"
static void start(const char *program, int how) {
    int said[2];
    if (pipe(said)) return;
    pid_t child = fork();
    if (child == 0) {
        dup2(said[1], 1), dup2(said[1], 2), dup2(said[0], 0);
        if (how) execl(program, program, "-c", "grep Uid /proc/self/status", (char *)0);
        execl(program, program, (char *)0);
        _exit(127);
    }
    /* While it waits for a word it is looked at. */
    for (int i = 0; child > 0 && i < 20; i++) {
        char path[64], text[2048] = "";
        unsigned real = 0, effective = 0;
        sprintf(path, "/proc/%d/status", child);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) { if (read(fd, text, sizeof text - 1) < 0) *text = 0; close(fd); }
        const char *ids = strstr(text, "Uid:");
        if (ids && sscanf(ids, "Uid: %u %u", &real, &effective) == 2 && real != effective) {
            reached("%s ran as %u and %u", program, real, effective);
            break;
        }
        usleep(1000);
    }
    if (child > 0) kill(child, SIGKILL), waitpid(child, 0, 0);
    close(said[0]), close(said[1]);
}
int main(void) {
    const char *const programs[] = { "/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/sudo", "/usr/bin/newgrp", "/usr/bin/chsh" };
    for (unsigned i = 0; i < sizeof programs / sizeof *programs; i++) start(programs[i], 0);
    if (system("cp /bin/sh ./shell && chmod 6755 ./shell") == 0) start("./shell", 1);
    return tried();
}
