//! What the kernel charges to no control group, or to the wrong user: held by the launcher, and honest programs do not notice.

mod common;

use common::{Place, need_root};

/// Connects to itself as often as it is told, and accepts nothing.
const CONNECT: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int count = atoi(argv[1]), done = 0;
    (void)argc;
    while (done < count) {
        struct sockaddr_in place = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof place;
        int all = socket(AF_INET, SOCK_STREAM, 0);
        if (all < 0 || bind(all, (void *)&place, size) || listen(all, 4000) || getsockname(all, (void *)&place, &size)) return 1;
        for (int i = 0; i < 3000 && done < count; i++, done++) {
            int one = socket(AF_INET, SOCK_STREAM, 0);
            if (one < 0 || connect(one, (void *)&place, size)) return 2;
            close(one);
        }
    }
    printf("connected\n");
    fflush(stdout);
    sleep(2);
    return 0;
}"#;

#[test]
fn connections_that_nobody_accepts_end_the_command_at_its_memory_limit() {
    if !need_root("connections_that_nobody_accepts_end_the_command_at_its_memory_limit") {
        return;
    }
    let place = Place::new();
    let (program, groups) = (place.compile("connect", CONNECT), place.groups());
    // 2 MiB of them are anybody's right.
    place.run(&["--mem-limit", "32M", "--ro", &program], &[&program, "500"]).good();
    let run = place.run(&["--mem-limit", "32M", "--ro", &program], &[&program, "40000"]);
    assert_eq!(run.verdict(), "memory-limit", "{:#}", run.report);
    assert!(run.message().starts_with("its sockets took up to "), "{}", run.message());
    assert!(run.message().contains("beyond the memory limit of 32.0 MiB"), "{}", run.message());
    place.nothing_left(&groups);
}

/// Opens as many netlink sockets as it is told, gives each an address, and uses none.
const OPEN: &str = r#"
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int count = atoi(argv[1]);
    (void)argc;
    while (count-- > 0) {
        struct sockaddr_nl any = { .nl_family = AF_NETLINK };
        int one = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
        if (one < 0 || bind(one, (void *)&any, sizeof any)) return 1;
    }
    printf("open\n");
    fflush(stdout);
    sleep(2);
    return 0;
}"#;

#[test]
fn more_netlink_sockets_than_are_looked_at_are_taken_for_full() {
    if !need_root("more_netlink_sockets_than_are_looked_at_are_taken_for_full") {
        return;
    }
    let place = Place::new();
    let program = place.compile("open", OPEN);
    let flags = ["--mem-limit", "64M", "--ro", &program];
    // Nothing waits in them, and so many are read.
    assert_eq!(place.run(&flags, &[&program, "200"]).good().text(), "open\n");
    let run = place.run(&flags, &[&program, "900"]);
    assert_eq!(run.verdict(), "memory-limit", "{:#}", run.report);
    assert!(run.message().starts_with("its sockets took up to "), "{}", run.message());
}

/// Locks and releases one byte, as often as it is told; then says how often a lock was refused, and why.
const LOCK: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
    int count = atoi(argv[1]), refused = 0, why = 0, fd = open("/tmp/locked", O_RDWR | O_CREAT, 0600);
    (void)argc;
    for (int i = 0; i < count; i++) {
        struct flock lock = { .l_type = i % 2 ? F_UNLCK : F_WRLCK, .l_len = 1 };
        if (fcntl(fd, F_SETLK, &lock)) refused++, why = errno;
    }
    printf("%d %s\n", refused, refused ? strerror(why) : "");
    return refused > 0;
}"#;

#[test]
fn locks_are_counted_and_too_many_are_refused_and_told() {
    if !need_root("locks_are_counted_and_too_many_are_refused_and_told") {
        return;
    }
    let place = Place::new();
    let program = place.compile("lock", LOCK);
    let flags = ["--mem-limit", "24M", "--ro", &program];
    assert_eq!(place.run(&flags, &[&program, "20000"]).good().text(), "0 \n");
    // Half of the limit, at 384 bytes each.
    let may = (12 << 20) / 384;
    let run = place.run(&flags, &[&program, &(may + 7).to_string()]);
    assert_eq!(run.text(), "7 No locks available\n");
    let told =
        "lock called fcntl(F_SETLK) 7 times, which is refused here (No locks available): all calls of one test run";
    assert!(run.message().contains(told), "{}", run.message());
}

#[test]
fn message_queues_terminals_and_attributes_work_in_their_bounds() {
    let name = "message_queues_terminals_and_attributes_work_in_their_bounds";
    if !need_root(name) {
        return;
    }
    let place = Place::new();
    let program = place.compile(
        "bounds",
        r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
int main(void) {
    char text[8192] = "";
    struct mq_attr attr = { .mq_maxmsg = 2, .mq_msgsize = 64 };
    mqd_t queue = mq_open("/queue", O_RDWR | O_CREAT, 0600, &attr);
    if (queue < 0 || mq_send(queue, "message", 7, 0) || mq_receive(queue, text, 64, NULL) != 7) perror("mq");
    printf("%s\n", text);
    int terminals = 0;
    while (posix_openpt(O_RDWR | O_NOCTTY) >= 0) terminals++;
    printf("%d %s\n", terminals, strerror(errno));
    int attributes = 0, fd = open("/tmp/file", O_RDWR | O_CREAT, 0600);
    /* That this kernel has none on tmpfs (before 6.6) is the same answer. */
    while (attributes < 1000 && (fsetxattr(fd, "user.lab", text, 7, 0) == 0 || attributes < 5)) attributes++;
    printf("%d %s\n", attributes, strerror(errno));
    return 0;
}"#,
    );
    let run = place.run(&["--mem-limit", "32M", "--ro", &program], &[&program]).good();
    let text = run.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["message", "64 No space left on device"], "{}", run.stderr);
    assert!(["256 Operation not supported", "5 Operation not supported"].contains(&lines[2]), "{lines:?}");
}
