//! What twenty sandboxes leave on the host, however they ended: nothing. Needs root.

mod common;

use common::{FIRST_ID, Place, all_pids, field, is_gone, need_root, wait_until};
use std::collections::BTreeSet;
use std::path::Path;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Mounts of the host as lines of mountinfo.
fn mounts() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    text.lines().map(String::from).collect()
}

/// Every cgroup whose path holds this instance's name.
fn groups_named(name: &str, dir: &Path, depth: u32) -> Vec<String> {
    let mut found = Vec::new();
    // cgroups come and go meanwhile: what cannot be read is gone.
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        let path = entry.path();
        if path.file_name().is_some_and(|n| n == name) {
            found.push(path.display().to_string());
        }
        if depth > 0 {
            found.extend(groups_named(name, &path, depth - 1));
        }
    }
    found
}

/// Every file below a directory.
fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        found.insert(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(files(&entry.path()));
        }
    }
    found
}

#[test]
fn twenty_sandboxes_leave_nothing() {
    if !need_root("twenty_sandboxes_leave_nothing") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let instance = groups[0].file_name().and_then(|n| n.to_str()).expect("a name").to_string();
    let before = mounts();
    let mut seen = BTreeSet::new();
    for number in 0..20 {
        let argv: &[&str] = match number % 4 {
            0 => &["sh", "-c", "echo x > /tmp/x; echo y > /task/y; mkdir -p /dev/shm/a/b; exit 3"],
            1 => &["sh", "-c", "(setsid sleep 600 &); head -c 2M /dev/zero > /task/z"],
            _ => &["sh", "-c", "trap '' TERM; setsid sleep 600 & sleep 600"],
        };
        let running = place.start(&["--mem-limit", "64M", "--disk-limit", "8M"], argv);
        if number % 4 >= 2 {
            seen.extend(place.wait_for_pids(&groups, 4));
            running.signal(if number % 4 == 2 { SIGTERM } else { SIGKILL });
        }
        let run = running.wait();
        let (code, signal) = [(Some(3), None), (Some(0), None), (Some(137), None), (None, Some(SIGKILL))][number % 4];
        assert_eq!((run.code, run.signal), (code, signal), "{}", run.stderr);
        if signal.is_some() {
            wait_until("the sandbox's end", || common::pids_below(&groups[0]).is_empty());
        }
    }
    // The last one was killed; the next run sweeps, and is the last to hold anything.
    place.run(&[], &["true"]).good();

    assert!(seen.len() >= 40, "the killed ones had processes: {seen:?}");
    let alive: Vec<_> = seen.iter().filter(|pid| !is_gone(**pid) && uid(**pid) >= FIRST_ID).collect();
    assert!(alive.is_empty(), "processes are left: {alive:?}");
    place.nothing_left(&groups);
    let named = groups_named(&instance, Path::new("/sys/fs/cgroup"), 6);
    assert!(named.is_empty(), "cgroups are left: {named:?}");
    let new: Vec<_> = mounts().difference(&before).cloned().collect();
    assert!(new.is_empty(), "mounts of the host are left: {new:#?}");
    let state = place.state();
    let lock = state.join("users.lock").display().to_string();
    assert_eq!(files(&state), BTreeSet::from([lock]), "files below the state directory");
    let of_ours =
        |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("ostest-launch"));
    let held = all_pids().into_iter().filter(of_ours).find(|pid| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path.starts_with(place.path()))
    });
    assert_eq!(held, None, "a launcher still holds a file of this test");
}

#[test]
fn a_sandbox_is_not_seen_in_the_hosts_mounts_while_it_runs() {
    if !need_root("a_sandbox_is_not_seen_in_the_hosts_mounts_while_it_runs") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let before = mounts();
    let running = place.start(&[], &["sleep", "600"]);
    let pids = place.wait_for_pids(&groups, 2);
    let new: Vec<_> = mounts().difference(&before).cloned().collect();
    assert!(new.is_empty(), "{new:#?}");
    running.signal(SIGTERM);
    running.wait();
    assert!(pids.into_iter().all(is_gone));
    place.nothing_left(&groups);
}

fn uid(pid: i32) -> u32 {
    field(pid, "Uid").and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn the_next_run_need_not_wait_for_the_launcher_of_a_killed_one() {
    if !need_root("the_next_run_need_not_wait_for_the_launcher_of_a_killed_one") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    for _ in 0..12 {
        let running = place.start(&[], &["sh", "-c", "sleep 600 & sleep 600 & wait"]);
        place.wait_for_pids(&groups, 4);
        running.signal(SIGKILL);
        assert_eq!(running.wait().signal, Some(SIGKILL));
        // Its launcher is about to kill and to remove what it made: it must not be what is made now.
        let next = place.sh(&[], "sleep 0.1; exit 3");
        assert_eq!((next.code, next.verdict()), (Some(3), "failed"), "{}", next.stderr);
    }
    wait_until("the last launcher's end", || groups.iter().all(|dir| pids_or_none(dir)));
    place.run(&[], &["true"]).good();
    place.nothing_left(&groups);
}

fn pids_or_none(dir: &Path) -> bool {
    !dir.exists() || std::fs::read_dir(dir).into_iter().flatten().flatten().all(|e| !e.path().is_dir())
}

#[test]
fn no_zombie_is_left_to_the_hosts_init() {
    if !need_root("no_zombie_is_left_to_the_hosts_init") {
        return;
    }
    let place = Place::new();
    // Orphans come to the nearest subreaper: this script is one, and counts what it is left.
    let script = "import ctypes, os, subprocess, sys\n\
        assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0\n\
        code = subprocess.call(sys.argv[1:])\n\
        left = 0\n\
        try:\n    \
        while True: os.waitpid(-1, 0); left += 1\n\
        except ChildProcessError: pass\n\
        print(code, left)\n";
    let exec = place.exec(&[]);
    let done = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(exec.get_program())
        .args(exec.get_args())
        .args(["--", "sh", "-c", "(setsid sleep 100 &) ; exit 3"])
        .output()
        .expect("python3 starts");
    let text = String::from_utf8_lossy(&done.stdout);
    assert_eq!(text.lines().last(), Some("3 0"), "{done:?}");
}
