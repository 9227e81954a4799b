//! Control groups on the kernel at hand: what a stage's group does, whichever driver makes it. Needs root.

#[path = "../../tests/common/freezer.rs"]
mod freezer;
mod groups;

use freezer::Freezer;
use groups::{LIMITS, MIB, Waiting, root, value};
use sandbox::cgroup::{Base, CgroupError, PAYLOAD, StageGroup};
use sandbox::plan::Limits;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

#[test]
fn a_stage_holds_its_limits_and_its_process_and_leaves_nothing() {
    let Some(base) = root("a_stage_holds_its_limits_and_its_process_and_leaves_nothing") else {
        return;
    };
    let (group, settings, _) = StageGroup::create(&base.0, "stage", &LIMITS, &BTreeSet::new()).unwrap();
    let held = |name: &str| {
        let found = settings.iter().find(|setting| setting.file == name);
        found.map(|setting| setting.value.clone())
    };
    let expected: &[(&str, &str)] = match base.0 {
        Base::Unified { .. } => &[("memory.max", "268435456"), ("pids.max", "64"), ("cpu.max", "150000 100000")],
        Base::Hybrid { .. } => {
            &[("memory.limit_in_bytes", "268435456"), ("pids.max", "64"), ("cpu.cfs_quota_us", "150000")]
        }
    };
    for (file, value) in expected {
        assert_eq!(held(file).as_deref(), Some(*value), "{file}");
    }

    assert!(!group.is_populated().unwrap());
    let mut sleeper = Waiting::new(&["sleep", "600"]);
    group.place_init(sleeper.pid()).unwrap();
    group.place_init(sleeper.pid()).unwrap();
    sleeper.go();
    assert!(group.is_populated().unwrap());
    assert_eq!(group.sample_pids(), Some(1));
    let membership = std::fs::read_to_string(format!("/proc/{}/cgroup", sleeper.pid())).unwrap();
    let places = membership.lines().filter(|line| line.ends_with("/stage/init")).count();
    let hierarchies = BTreeSet::from_iter(base.dirs()).len();
    assert_eq!(places, hierarchies, "{membership}");

    let again = StageGroup::create(&base.0, "stage", &LIMITS, &BTreeSet::new());
    assert!(matches!(again, Err(CgroupError::Exists { .. })));
    assert!(group.is_populated().unwrap(), "the other one is left alone");

    group.remove().unwrap();
    assert_eq!(sleeper.end().0.signal(), Some(9));
    assert_eq!(base.left(), Vec::<PathBuf>::new());
}

#[test]
fn the_peak_is_that_of_the_program() {
    let Some(base) = root("the_peak_is_that_of_the_program") else {
        return;
    };
    let group = base.stage("stage", &LIMITS);
    let program = Waiting::new(&["python3", "-c", "b = bytearray(100 << 20)"]);
    group.place_payload(program.pid()).unwrap();
    assert!(program.finish().0.success());
    for usage in [group.usage().unwrap(), group.leaf_usage(PAYLOAD).unwrap()] {
        let peak = value(usage.memory_peak);
        assert!((100 * MIB..130 * MIB).contains(&peak), "{peak}");
        assert!(value(usage.cpu_us) > 0);
        assert_eq!(value(usage.oom_kills), 0);
    }
    group.remove().unwrap();
}

/// Takes leave of a leaf whose process has ended, and waits until the kernel has let go of it.
fn remove(group: &mut StageGroup, leaf: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let wait = || {
        assert!(std::time::Instant::now() < deadline, "{leaf} does not go away");
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    while !group.retire_leaf_if_empty(leaf).unwrap() {
        wait();
    }
    while group.bury().unwrap() > 0 {
        wait();
    }
}

#[test]
fn too_much_memory_is_an_oom_kill() {
    let Some(base) = root("too_much_memory_is_an_oom_kill") else {
        return;
    };
    let limits = Limits { memory: 64 * MIB, ..LIMITS };
    let mut group = base.stage("stage", &limits);
    group.make_leaf("test-1").unwrap();
    let program = Waiting::new(&["python3", "-c", "b = bytearray(200 << 20)"]);
    group.place("test-1", program.pid()).unwrap();
    assert_eq!(program.finish().0.signal(), Some(9));
    assert_eq!(value(group.leaf_usage("test-1").unwrap().oom_kills), 1);
    assert_eq!(value(group.leaf_usage(PAYLOAD).unwrap().oom_kills), 0);
    remove(&mut group, "test-1");
    let usage = group.usage().unwrap();
    assert_eq!(value(usage.oom_kills), 1, "a leaf's figures outlive it");
    let peak = value(usage.memory_peak);
    assert!((60 * MIB..=64 * MIB).contains(&peak), "{peak}");
    group.remove().unwrap();
}

#[test]
fn a_limit_above_is_not_taken_for_the_stages_own() {
    let Some(base) = root("a_limit_above_is_not_taken_for_the_stages_own") else {
        return;
    };
    let group = base.stage("stage", &LIMITS);
    // As the unit or container in which a runner was started may have one.
    let Base::Unified { dir } = &base.0 else {
        // v1 does not tell whose limit it was.
        return;
    };
    std::fs::write(dir.join("memory.max"), (64 * MIB).to_string()).unwrap();
    let program = Waiting::new(&["python3", "-c", "b = bytearray(200 << 20)"]);
    group.place_payload(program.pid()).unwrap();
    assert_eq!(program.finish().0.signal(), Some(9));
    let error = group.usage().unwrap_err();
    assert!(matches!(error, CgroupError::MemoryAbove { kills: 1, .. }), "{error}");
    group.remove().unwrap();
}

#[test]
fn too_many_processes_are_denied() {
    let Some(base) = root("too_many_processes_are_denied") else {
        return;
    };
    let limits = Limits { pids: 8, ..LIMITS };
    let mut group = base.stage("stage", &limits);
    group.make_leaf("test-1").unwrap();
    let forks = "import os\nn = 0\ntry:\n  while n < 50:\n    if os.fork() == 0:\n      os.read(0, 1)\n      os._exit(0)\n    n += 1\nexcept BlockingIOError:\n  pass\nprint(n, flush=True)";
    let mut program = Waiting::new(&["python3", "-c", forks]);
    group.place("test-1", program.pid()).unwrap();
    // The children wait for the end of this pipe.
    let mut stdin = program.0.stdin.take().unwrap();
    stdin.write_all(b"go\n").unwrap();
    let mut line = [0u8; 2];
    program.0.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"7\n");
    let usage = group.usage().unwrap();
    assert_eq!(value(usage.pids_denied), 1);
    if let Some(peak) = usage.pids_peak {
        assert_eq!(peak.value, 8);
    }
    drop(stdin);
    program.0.wait().unwrap();
    remove(&mut group, "test-1");
    assert_eq!(value(group.usage().unwrap().pids_denied), 1, "a leaf's figures outlive it");
    group.remove().unwrap();
}

#[test]
fn killing_reaches_every_leaf_and_descendant() {
    let Some(base) = root("killing_reaches_every_leaf_and_descendant") else {
        return;
    };
    let mut group = base.stage("stage", &LIMITS);
    group.make_leaf("test-1").unwrap();
    let family = "trap '' TERM INT HUP; sleep 600 & setsid sleep 600 & echo ready; wait";
    let mut programs = Vec::new();
    for leaf in ["init", "payload", "test-1"] {
        let mut program = Waiting::new(&["sh", "-c", family]);
        group.place(leaf, program.pid()).unwrap();
        program.go();
        let mut line = [0u8; 6];
        program.0.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        programs.push(program);
    }
    group.kill().unwrap();
    for program in programs {
        // The end of the output means that its children are gone as well.
        assert_eq!(program.end().0.signal(), Some(9));
    }
    group.remove().unwrap();
    assert_eq!(base.left(), Vec::<PathBuf>::new());
}

#[test]
fn what_a_crash_left_is_swept() {
    let Some(base) = root("what_a_crash_left_is_swept") else {
        return;
    };
    let mut sleepers = Vec::new();
    for name in ["one", "two"] {
        let group = base.stage(name, &LIMITS);
        let mut sleeper = Waiting::new(&["sleep", "600"]);
        group.place_payload(sleeper.pid()).unwrap();
        sleeper.go();
        sleepers.push(sleeper);
        std::mem::forget(group);
    }
    assert!(base.0.release().is_err(), "there is something in it");
    assert_eq!(base.swept(), (2, 0));
    for sleeper in sleepers {
        assert_eq!(sleeper.end().0.signal(), Some(9));
    }
    assert_eq!(base.left(), Vec::<PathBuf>::new());
    assert_eq!(base.swept(), (0, 0));
}

#[test]
fn dropping_a_group_removes_it() {
    let Some(base) = root("dropping_a_group_removes_it") else {
        return;
    };
    let group = base.stage("stage", &LIMITS);
    let mut sleeper = Waiting::new(&["sleep", "600"]);
    group.place_payload(sleeper.pid()).unwrap();
    sleeper.go();
    drop(group);
    assert_eq!(sleeper.end().0.signal(), Some(9));
    assert_eq!(base.left(), Vec::<PathBuf>::new());
}

#[test]
fn who_lives_on_in_a_spared_group_is_told_and_then_ended() {
    let Some(base) = root("who_lives_on_in_a_spared_group_is_told_and_then_ended") else {
        return;
    };
    let mut group = base.stage("stage", &LIMITS);
    let mut sleeper = Waiting::new(&["sleep", "600"]);
    group.place_payload(sleeper.pid()).unwrap();
    sleeper.go();
    group.spare();
    group.kill().unwrap();
    let error = group.remove().unwrap_err();
    let CgroupError::StillPopulated { pids, .. } = &error else { panic!("{error}") };
    assert_eq!(pids, &[sleeper.pid().as_raw()]);
    assert_eq!(sleeper.end().0.signal(), Some(9));
    assert_eq!(base.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_limit_that_cannot_hold_leaves_nothing() {
    let Some(base) = root("a_limit_that_cannot_hold_leaves_nothing") else {
        return;
    };
    let impossible = Limits { cpu_millis: 1, ..LIMITS };
    let error = StageGroup::create(&base.0, "stage", &impossible, &BTreeSet::new()).unwrap_err();
    assert!(matches!(error, CgroupError::Write { .. }), "{error}");
    assert_eq!(base.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_base_that_somebody_took_away_is_made_anew() {
    let Some(base) = root("a_base_that_somebody_took_away_is_made_anew") else {
        return;
    };
    assert_eq!(base.0.mend().unwrap(), None, "nothing is missing");
    for dir in base.dirs() {
        // One after the other is missing, as far as they are different ones.
        std::fs::remove_dir(dir).unwrap();
        let missing = base.0.mend().unwrap().expect("something was missing");
        assert!(missing.contains(&dir.display().to_string()), "{missing}");
        base.stage("stage", &LIMITS).remove().unwrap();
    }
    if let Base::Unified { dir } = &base.0 {
        std::fs::write(dir.join("cgroup.subtree_control"), "-memory").unwrap();
        let missing = base.0.mend().unwrap().expect("something was missing");
        assert!(missing.contains("controller memory"), "{missing}");
        base.stage("stage", &LIMITS).remove().unwrap();
    }
    assert_eq!(base.0.mend().unwrap(), None);
}

#[test]
fn groups_are_removed_by_the_whole_of_their_slot() {
    let Some(base) = root("groups_are_removed_by_the_whole_of_their_slot") else {
        return;
    };
    for name in ["slot1-test-7-0", "slot1-test-7-1", "slot10-test-7-0"] {
        std::mem::forget(base.stage(name, &LIMITS));
    }
    assert_eq!(base.0.remove_like("slot1-").unwrap(), 2);
    assert!(base.left().iter().all(|dir| dir.ends_with("slot10-test-7-0")), "{:?}", base.left());
    assert_eq!(base.0.remove_like("slot1-").unwrap(), 0);
    assert!(base.0.remove_like("../").is_err());
}

#[test]
fn what_cannot_be_killed_is_left_and_the_rest_is_swept() {
    let name = "what_cannot_be_killed_is_left_and_the_rest_is_swept";
    let Some(base) = root(name) else {
        return;
    };
    let Some(freezer) = Freezer::mount(name) else {
        return;
    };
    let mut sleepers = Vec::new();
    for name in ["one", "two"] {
        let group = base.stage(name, &LIMITS);
        let mut sleeper = Waiting::new(&["sleep", "600"]);
        group.place_payload(sleeper.pid()).unwrap();
        sleeper.go();
        sleepers.push(sleeper);
        std::mem::forget(group);
    }
    freezer.freeze(sleepers[0].pid().as_raw());
    let swept = base.0.sweep().unwrap();
    assert_eq!(swept.groups, 1);
    let pid = sleepers[0].pid().as_raw();
    assert!(
        matches!(&swept.left[..], [CgroupError::StillPopulated { pids, .. }] if pids == &[pid]),
        "{:?}",
        swept.left
    );
    drop(freezer);
    for sleeper in sleepers {
        assert_eq!(sleeper.end().0.signal(), Some(9));
    }
    assert_eq!(base.swept(), (1, 0));
}
