/* Starts programs that stand in no file system, or no longer (memfd_create, O_TMPFILE, a removed file), by a descriptor, and one
 * that the dynamic loader starts in their place: what was set for the file that began could be missing for them.
 * goal: a program without filters or with other rights, which reads the secret word
 * stopped by: filters, no_new_privs, ids and Landlock stay through every exec; a file tree in which the secret does not exist, and behind it an id range that owns nothing outside
 * first: mounts
 * second: ids
 */
#include "attack.h"
static int status(char *text, size_t size) {
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
    close(fd);
    return got > 0;
}
static void inside(const char *how) {
    char text[4096] = "";
    const char *before = aim("STATUS");
    if (!status(text, sizeof text)) return;
    const char *const kept[] = { "\nUid:", "\nGid:", "\nGroups:", "\nCapInh:", "\nCapPrm:", "\nCapEff:", "\nCapBnd:", "\nCapAmb:", "\nNoNewPrivs:", "\nSeccomp:", "\nSeccomp_filters:" };
    for (unsigned i = 0; i < sizeof kept / sizeof *kept; i++) {
        const char *now = strstr(text, kept[i]), *was = strstr(before, kept[i]);
        if (!now || !was) continue;
        size_t length = strcspn(now + 1, "\n") + 1;
        if (strncmp(now, was, length)) reached("%s: %.*s, and it was %.*s", how, (int)length, now + 1, (int)length, was + 1);
    }
    show(aim("ATTACK_SECRET"));
}
/* Waits for it, so that one after the other speaks. */
static int start(const char *how, int fd, const char *loader) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    pid_t child = fork();
    if (child == 0) {
        char *words[] = { (char *)loader, loader ? path : (char *)"attack", "inside", (char *)how, 0 };
        if (loader) execv(loader, words);
        else syscall(SYS_execveat, fd, "", words + 1, environ, AT_EMPTY_PATH), execv(path, words + 1);
        _exit(127);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}
static int copy(int to) {
    static char part[1 << 16];
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    for (ssize_t got; to >= 0 && (got = read(from, part, sizeof part)) > 0;) if (write(to, part, got) != got) return -1;
    close(from);
    return to;
}
int main(int count, char **words) {
    if (count > 2 && !strcmp(words[1], "inside")) return inside(words[2]), 0;
    char mine[4096] = "", path[64];
    if (!status(mine, sizeof mine) || setenv("STATUS", mine, 1)) return 2;
    int started = 0, memory = copy(memfd_create("program", 0));
    started += start("from memory", memory, 0);
    int unnamed = copy(open("/tmp", O_TMPFILE | O_RDWR, 0700)), removed = copy(open("program", O_CREAT | O_WRONLY, 0700));
    snprintf(path, sizeof path, "/proc/self/fd/%d", unnamed);
    int readable = open(path, O_RDONLY);
    close(unnamed);
    started += start("a file without a name", readable, 0);
    close(removed);
    removed = open("program", O_RDONLY);
    unlink("program");
    started += start("a file that was removed", removed, 0);
    started += start("by the loader", memory, "/lib64/ld-linux-x86-64.so.2");
    if (!started) return 2;
    return tried();
}
