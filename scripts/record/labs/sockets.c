/* Sockets: TCP, UDP, local ones and pairs, options, descriptors and credentials passed along, names and interfaces. */
#include "lab.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>

static void tcp(int family) {
    struct sockaddr_storage address = {.ss_family = family};
    socklen_t length = sizeof address;
    if (family == AF_INET) ((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else ((struct sockaddr_in6 *)&address)->sin6_addr = in6addr_loopback;
    int yes = 1, server = DO(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    DO(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    /* A machine may have no IPv6. */
    if (bind(server, (struct sockaddr *)&address, sizeof address) != 0) {
        MUST(family == AF_INET6);
        return;
    }
    DO(listen(server, 8));
    DO(getsockname(server, (struct sockaddr *)&address, &length));
    pid_t child = DO(fork());
    if (child == 0) {
        int client = DO(socket(family, SOCK_STREAM, IPPROTO_TCP));
        DO(connect(client, (struct sockaddr *)&address, length));
        DO(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
        DO(send(client, "hello", 5, MSG_NOSIGNAL));
        DO(shutdown(client, SHUT_WR));
        char text[16];
        MUST(recv(client, text, sizeof text, 0) == 5);
        _exit(0);
    }
    int client = DO(accept(server, NULL, NULL));
    char text[16];
    MUST(recv(client, text, 5, MSG_WAITALL) == 5);
    DO(getpeername(client, (struct sockaddr *)&address, &length));
    socklen_t size = sizeof yes;
    DO(getsockopt(client, SOL_SOCKET, SO_ERROR, &yes, &size));
    DO(write(client, text, 5));
    DO(close(client));
    reap(child);
    DO(fcntl(server, F_SETFL, O_NONBLOCK));
    MUST(accept4(server, NULL, NULL, SOCK_NONBLOCK) == -1 && errno == EAGAIN);
    DO(close(server));
}

static void udp(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int to = DO(socket(AF_INET, SOCK_DGRAM, 0)), from = DO(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP));
    DO(bind(to, (struct sockaddr *)&address, sizeof address));
    DO(getsockname(to, (struct sockaddr *)&address, &length));
    DO(sendto(from, "datagram", 8, 0, (struct sockaddr *)&address, length));
    char text[64];
    MUST(recvfrom(to, text, sizeof text, 0, NULL, NULL) == 8);
    DO(connect(from, (struct sockaddr *)&address, length));
    struct iovec part = {text, 4};
    struct mmsghdr two[2] = {{.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}}};
    DO(sendmmsg(from, two, 2, 0));
    DO(recvmmsg(to, two, 2, MSG_WAITFORONE, NULL));
}

static void local(void) {
    int pair[2], sent = DO(open("/dev/null", O_RDONLY));
    DO(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    char byte = 'x', control[CMSG_SPACE(sizeof sent)] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof sent);
    memcpy(CMSG_DATA(head), &sent, sizeof sent);
    DO(sendmsg(pair[0], &message, 0));
    DO(recvmsg(pair[1], &message, 0));
    MUST(CMSG_FIRSTHDR(&message));
    struct ucred who;
    socklen_t length = sizeof who;
    DO(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &who, &length));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "local-%d", getpid());
    for (int kind = 0; kind < 3; kind++) {
        int server = DO(socket(AF_UNIX, (int[]){SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}[kind], 0));
        DO(bind(server, (struct sockaddr *)&address, sizeof address));
        DO(unlink(address.sun_path));
        DO(close(server));
    }
}

static void names(void) {
    struct ifaddrs *all;
    DO(getifaddrs(&all));
    freeifaddrs(all);
    struct if_nameindex *indexes = if_nameindex();
    MUST(indexes);
    if_freenameindex(indexes);
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    MUST(getaddrinfo("localhost", "80", &hints, &found) == 0);
    freeaddrinfo(found);
    struct ifreq interface = {.ifr_name = "lo"};
    int any = DO(socket(AF_INET, SOCK_DGRAM, 0));
    DO(ioctl(any, SIOCGIFFLAGS, &interface));
    /* Needs privileges, as a program finds out. */
    MUST(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) == -1 && errno == EPERM);
}

static void terminals(void) {
    int master;
    struct winsize size;
    pid_t child = DO(forkpty(&master, NULL, NULL, NULL));
    if (child == 0) _exit(!isatty(0) || tcgetpgrp(0) != getpgrp() || ioctl(0, TIOCGWINSZ, &size) != 0);
    reap(child);
    DO(ioctl(master, TIOCGWINSZ, &size));
    DO(ioctl(master, TIOCSWINSZ, &size));
}

int main(void) {
    tcp(AF_INET);
    tcp(AF_INET6);
    udp();
    local();
    names();
    terminals();
    return 0;
}
