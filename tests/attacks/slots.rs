//! Two submissions that are graded at the same time, and whether they can meet.

use crate::common::{self, Place, need_root, wait_until};
use std::path::Path;

#[test]
fn two_at_once_find_no_way_to_each_other_but_a_lock_on_the_hosts_own_files() {
    if !need_root("two_at_once_find_no_way_to_each_other_but_a_lock_on_the_hosts_own_files") {
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks/slots/meet.c");
    let place = Place::new();
    let program = place.compile("meet", &std::fs::read_to_string(source).expect("the source"));
    let word = format!("ostest-mark-{}", std::process::id());
    let first = place.start(&["--ro", &program], &[&program, "leave", &word]);
    wait_until("the marks", || common::all_pids().into_iter().any(|pid| common::cmdline(pid).starts_with(&word)));
    // Shown to be marks: where they were left one finds them.
    let alone = format!(
        "{program} leave {word} >/tmp/left & while [ ! -s /tmp/left ]; do sleep 0.1; done; {program} look {word}"
    );
    let found = place.sh(&["--ro", &program], &alone).good().text();
    for kind in [
        "abstract-socket",
        "tcp-port",
        "udp-port",
        "shared-memory",
        "semaphores",
        "message-queue",
        "file",
        "process",
        "lock",
    ] {
        assert!(found.lines().any(|line| line == kind), "{kind} is no mark here: {found}");
    }
    for kind in ["posix-shared-memory", "posix-message-queue"] {
        assert!(found.lines().any(|line| line == kind), "{kind} is no mark here: {found}");
    }
    // A lock belongs to the file, and that one is the host's, which all of them have. docs/suites.md says so.
    let other = place.run(&["--ro", &program], &[&program, "look", &word]).good();
    assert_eq!(other.text(), "lock\n");
    first.signal(15);
    first.wait();
}

/// The kernel counts these for each user, and once more for whoever made the user namespace: each slot has to have an account of its own.
#[test]
fn what_one_uses_up_the_other_still_has() {
    if !need_root("what_one_uses_up_the_other_still_has") {
        return;
    }
    let place = Place::new();
    let program = place.compile("take", TAKE);
    let first = place.start(&["--ro", &program], &[&program, "all"]);
    wait_until("the greedy one", || {
        common::all_pids().into_iter().any(|pid| common::cmdline(pid).starts_with("has-taken"))
    });
    let other = place.run(&["--ro", &program], &[&program, "one"]).good();
    assert_eq!(other.text(), "inotify terminal timer queue\n");
    first.signal(15);
    first.wait();
}

/// Takes all that it gets of what the kernel counts, or one of each.
const TAKE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>
static int inotify(int i) { (void)i; return inotify_init() >= 0; }
static int terminal(int i) { (void)i; return posix_openpt(O_RDWR | O_NOCTTY) >= 0; }
static int timer(int i) {
    struct sigevent none = { .sigev_notify = SIGEV_NONE };
    timer_t made;
    (void)i;
    return timer_create(CLOCK_MONOTONIC, &none, &made) == 0;
}
static int queue(int i) {
    char name[32];
    snprintf(name, sizeof name, "/queue-%d", i);
    return mq_open(name, O_RDWR | O_CREAT, 0600, NULL) >= 0;
}
int main(int argc, char **argv) {
    struct { const char *name; int (*take)(int); } all[] = {{"inotify", inotify}, {"terminal", terminal}, {"timer", timer}, {"queue", queue}};
    int greedy = argc > 1 && strcmp(argv[1], "all") == 0;
    for (int kind = 0; kind < 4; kind++) {
        int got = 0;
        while (all[kind].take(got) && ++got && greedy) { }
        if (!greedy && got) printf("%s%s", kind ? " " : "", all[kind].name);
    }
    printf("\n");
    fflush(stdout);
    if (greedy) {
        /* By this name it is found. */
        memset(argv[0], 0, strlen(argv[0]));
        strcpy(argv[0], "has-taken");
        pause();
    }
    return 0;
}
"#;
