/* Asks where it runs: a program that knows the host, or whose attempt another one is, could be told from outside what to answer.
 * That it is graded it can know (the host name, OSTEST_ATTEMPT, a short list of processes), and nothing follows from it; how long the
 * host is up the kernel tells all.
 * stopped by: a host name of the sandbox's own, an environment of documented names, /etc of a few files made up
 * says: -
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
extern char **environ;
static char host[256];
static int tells(const char *path) {
    static char text[1 << 16];
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    for (char *word = strtok(text, " \t\n:,="); word; word = strtok(NULL, " \t\n:,="))
        if (!strcmp(word, host)) return 1;
    return 0;
}
int main(void) {
    static const char *const known[] = { "PATH", "HOME", "LANG", "USER", "LOGNAME", "VIRTUAL_ENV", "OSTEST_PROJECT", "OSTEST_LAB", "OSTEST_ATTEMPT", "OSTEST_PROXY_TIMEOUT",
        "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "COLUMNS", "LINES", "PWD" };
    static const char *const files[] = { "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/proc/sys/kernel/hostname", "/etc/machine-id", "/var/lib/dbus/machine-id" };
    int found = 0;
    struct utsname names;
    FILE *file = fopen("host.txt", "r");
    if (!file || fscanf(file, "%255s", host) != 1 || uname(&names))
        return 1;
    found |= !strcmp(names.nodename, host);
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        if (tells(files[i])) found |= 2;
    found |= access("/etc/machine-id", F_OK) ? 0 : 4;
    for (char **entry = environ; *entry; entry++) {
        char *value = strchr(*entry, '=');
        unsigned i = 0;
        while (i < sizeof known / sizeof *known && !(value - *entry == (long)strlen(known[i]) && !strncmp(*entry, known[i], value - *entry)))
            i++;
        if (i == sizeof known / sizeof *known || !strcmp(value + 1, host)) found |= 8;
    }
    fprintf(stderr, "%d\n", found);
    puts(found ? "42" : "17");
    return 0;
}
