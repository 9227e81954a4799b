/* Connects to a socket of the host's root by its path, as one would to an engine of containers.
 * goal: a connection
 * stopped by: a file tree of its own; behind it an id range that owns nothing outside
 * first: mounts
 * second: ids
 */
#include "attack.h"
int main(void) {
    const char *const paths[] = { aim("ATTACK_SOCKET"), "/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/notify", "/dev/log" };
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct sockaddr_un to = { .sun_family = AF_UNIX };
        snprintf(to.sun_path, sizeof to.sun_path, "%s", paths[i]);
        TRY(paths[i], connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&to, sizeof to));
        /* Some of them everybody may speak to, where they are: only the first is a matter of ids. */
        if (access(paths[0], F_OK) == 0) break;
    }
    return tried();
}
