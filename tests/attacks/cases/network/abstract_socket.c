/* Connects to an abstract socket of the host, which has no path.
 * goal: a connection
 * stopped by: a network namespace of its own, to which abstract names belong; behind it the Landlock domain (6.12 and newer)
 * first: network
 * second: landlock
 * second needs: landlock 6
 */
#include "attack.h"
int main(void) {
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int length = snprintf(to.sun_path + 1, sizeof to.sun_path - 1, "%s", aim("ATTACK_ABSTRACT"));
    TRY("a connection", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&to, offsetof(struct sockaddr_un, sun_path) + 1 + length));
    return tried();
}
