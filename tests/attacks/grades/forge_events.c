/* Says over every descriptor that it has been given, or can find, that all tests have passed, and asks for leaves.
 * stopped by: events go over a socket that no child keeps; without that: the first word about a test counts, and a contradiction is told
 * says: -
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static void say(int fd, const char *text) {
    send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)!write(fd, text, strlen(text));
}
int main(void) {
    char text[128];
    int found = 0;
    for (int fd = 3; fd < 1024; fd++) {
        if (dup(fd) < 0) continue;
        found++;
        for (int test = 0; test < 4; test++) {
            sprintf(text, "{\"event\":\"end\",\"index\":%d,\"status\":\"passed\",\"duration\":0.1,\"text\":\"\"}\n", test);
            say(fd, text);
        }
        say(fd, "{\"event\":\"finish\",\"exitstatus\":0}\n");
        say(fd, "{\"ask\":\"close\"}");
    }
    /* Found counts its own copies as well; a program starts with three. */
    return puts(found ? "42" : "17") < 0;
}
