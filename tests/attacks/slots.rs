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
    assert!(found.lines().any(|line| line == "posix-shared-memory"), "{found}");
    // A lock belongs to the file, and that one is the host's, which all of them have. docs/suites.md says so.
    let other = place.run(&["--ro", &program], &[&program, "look", &word]).good();
    assert_eq!(other.text(), "lock\n");
    first.signal(15);
    first.wait();
}
