//! What the kernel charges to no control group, or to the wrong user: held by the launcher, and honest programs do not notice.

mod common;

use common::{Place, need_root};
use std::process::Command;

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
    // Whoever looks at sockets comes in steps, and the ledger may have seen as much before: each says it in its own words.
    let by_sockets = run.message().starts_with("its sockets took up to ")
        && run.message().contains("beyond the memory limit of 32.0 MiB");
    let by_ledger = run.message().starts_with("the kernel held ")
        && run.message().contains("the memory limit of 32.0 MiB is the limit of that, too");
    assert!(by_sockets || by_ledger, "{}", run.message());
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

/// Locks as many bytes as it is told, each by itself, under an interval timer whose handler does not restart calls; then says how
/// often a lock failed, and why.
const LOCK: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
static void nothing(int signal) { (void)signal; }
int main(int argc, char **argv) {
    int count = atoi(argv[1]), refused = 0, why = 0, fd = -1;
    struct sigaction interrupted = { .sa_handler = nothing };
    struct itimerval often = { { 0, 500 }, { 0, 500 } };
    (void)argc;
    sigaction(SIGALRM, &interrupted, NULL);
    if (setitimer(ITIMER_REAL, &often, NULL)) return 2;
    for (int i = 0; i < count; i++) {
        char path[32];
        /* A new file now and then: the kernel goes through all locks of one for each. */
        if (i % 500 == 0) snprintf(path, sizeof path, "/tmp/locked-%d", i / 500), fd = open(path, O_RDWR | O_CREAT, 0600);
        struct flock lock = { .l_type = F_WRLCK, .l_start = 1000 - i % 500 * 2, .l_len = 1 };
        if (fcntl(fd, i % 2 ? F_SETLK : 37 /* F_OFD_SETLK */, &lock)) refused++, why = errno;
    }
    printf("%d %s\n", refused, refused ? strerror(why) : "");
    return refused > 0;
}"#;

#[test]
fn locks_are_never_refused_nor_interrupted_and_too_many_end_the_command() {
    if !need_root("locks_are_never_refused_nor_interrupted_and_too_many_end_the_command") {
        return;
    }
    let place = Place::new();
    let (program, groups) = (place.compile("lock", LOCK), place.groups());
    let flags = ["--mem-limit", "32M", "--ro", &program];
    // 10 MiB of them.
    assert_eq!(place.run(&flags, &[&program, "50000"]).good().text(), "0 \n");
    let run = place.run(&flags, &[&program, "1000000"]);
    assert_eq!(run.verdict(), "memory-limit", "{:#}", run.report);
    assert!(run.message().starts_with("the kernel held 32."), "{}", run.message());
    assert!(run.message().contains("the memory limit of 32.0 MiB"), "{}", run.message());
    place.nothing_left(&groups);
}

#[test]
fn where_the_kernel_does_not_say_how_it_is_built_nothing_runs_without_the_operators_word() {
    if !need_root("where_the_kernel_does_not_say_how_it_is_built_nothing_runs_without_the_operators_word") {
        return;
    }
    let place = Place::new();
    // As on a kernel that was built without BTF.
    let hidden = |flags: &[&str]| {
        let inner = place.exec(flags);
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"", "sh"]);
        command.arg(inner.get_program()).args(inner.get_args()).args(["--", "true"]);
        command.output().expect("unshare starts")
    };
    let report = place.path().join("hidden.json");
    let report = report.to_str().expect("a plain path");
    let refused = hidden(&["--report", report]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("has no BTF") && said.contains("say --allow-degraded ledger"), "{said}");
    let waived = hidden(&["--report", report, "--allow-degraded", "ledger"]);
    assert!(waived.status.success(), "{}", String::from_utf8_lossy(&waived.stderr));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).expect("a report")).expect("JSON");
    assert_eq!(report["degraded"], serde_json::json!(["ledger"]), "{report:#}");
    // Where it is there, the operator's word changes nothing.
    let kept = place.run(&["--allow-degraded", "ledger"], &["true"]).good();
    assert_eq!(kept.report["degraded"], serde_json::json!([]));
}

#[test]
fn message_queues_and_terminals_work_in_their_bounds_and_there_are_no_attributes() {
    let name = "message_queues_and_terminals_work_in_their_bounds_and_there_are_no_attributes";
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
    int fd = open("/tmp/file", O_RDWR | O_CREAT, 0600);
    int done = fsetxattr(fd, "user.lab", text, 7, 0);
    printf("%d %s\n", done, strerror(errno));
    return 0;
}"#,
    );
    let run = place.run(&["--mem-limit", "32M", "--ro", &program], &[&program]).good();
    let text = run.text();
    let lines: Vec<&str> = text.lines().collect();
    let expected = ["message", "64 No space left on device", "-1 Operation not supported"];
    assert_eq!(lines, expected, "{}", run.stderr);
}
