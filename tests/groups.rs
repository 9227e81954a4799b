//! What becomes of control groups that somebody takes away, and of groups that cannot be removed. Needs root.

mod common;
#[path = "common/freezer.rs"]
mod freezer;
mod support;

use common::{is_gone, send_signal, wait_until};
use freezer::Freezer;
use serde_json::json;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;
use support::backend::Counting;
use support::need_root;
use support::running::row;

const KILL: i32 = 9;

#[test]
fn groups_that_are_taken_away_between_two_tasks_are_made_anew() {
    if !need_root("groups_that_are_taken_away_between_two_tasks_are_made_anew") {
        return;
    }
    let place = support::Place::new();
    place.repository("good", &[("Makefile", "all:\n")]);
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let task = |n: u32| json!({"attempt": n, "repositoryUrl": "https://course.example/good", "branch": "main"});
    let backend = Counting::start([task(1)], || ());
    let log = place.path("log");
    let mut command = place.runner(&backend.url, &suite);
    command.args(["--logger-level", "info", "--logger-output"]).arg(&log).stdin(Stdio::null());
    let mut runner = command.spawn().expect("the runner starts");
    backend.wait("the first result", |books| books.taken.len() == 1);
    let groups = place.groups();
    // Whoever is on the way out of them is gone soon.
    for dir in &groups {
        wait_until("the groups are empty", || std::fs::remove_dir(dir).is_ok() || !dir.exists());
    }
    let removed = Instant::now();
    backend.books().queue.push_back(task(2));
    backend.wait("the second result", |books| books.taken.len() == 2);
    let on_after = removed.elapsed();
    assert!(
        backend.books().taken.iter().all(|taken| taken["testResults"]["isPassed"] == true),
        "{:?}",
        backend.books().taken
    );
    send_signal(runner.id() as i32, 15);
    assert_eq!(runner.wait().expect("it is ours").code(), Some(0));
    let said = std::fs::read_to_string(&log).expect("the log");
    let told: Vec<&str> = said.lines().filter(|line| line.contains("was removed; it was put back")).collect();
    assert_eq!(told.len(), 1, "{said}");
    row("control groups removed", "1", 1, on_after, &said, "was removed; it was put back");
    assert_eq!(place.groups(), Vec::<PathBuf>::new());
}

#[test]
fn what_cannot_be_swept_is_told_and_its_ids_are_not_used() {
    let name = "what_cannot_be_swept_is_told_and_its_ids_are_not_used";
    if !need_root(name) {
        return;
    }
    let Some(freezer) = Freezer::mount(name) else { return };
    let place = common::Place::new();
    let groups = place.groups();
    let running = place.start(&[], &["sleep", "600"]);
    let launcher = running.launcher();
    let mut sleeper = 0;
    wait_until("the command runs", || {
        let inside = common::pids_below(&groups[0]);
        sleeper = inside.into_iter().find(|pid| common::cmdline(*pid).starts_with("sleep 600")).unwrap_or(0);
        sleeper > 0
    });
    freezer.freeze(sleeper);
    let owner = |pid| common::field(pid, "Uid").and_then(|ids| ids.split_whitespace().next()?.parse::<u32>().ok());
    let id = owner(sleeper).expect("its user");
    // A crash, with the launcher's.
    send_signal(running.pid(), KILL);
    send_signal(launcher, KILL);
    running.wait();

    let run = place.run(&["--logger-level", "warning"], &["cat", "/proc/self/uid_map"]).good();
    assert!(run.stderr.contains(&format!("still holds processes ({sleeper})")), "{}", run.stderr);
    assert!(run.stderr.contains("which is not in the way"), "{}", run.stderr);
    let base: u32 = run.text().split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a map");
    assert!(!(base..base + 65536).contains(&id), "its ids are used anew: {base}, {id}");
    drop(freezer);
    wait_until("it dies", || is_gone(sleeper));
    place.run(&[], &["true"]).good();
    assert!(groups.iter().all(|dir| !dir.exists()), "the rest is swept");
}
