//! Control groups on the kernel at hand. Needs root; see `root`.
//!
//! On a hybrid host the groups lie below `ostest-sandbox-dev`, apart from those of a runner.

use nix::unistd::Pid;
use sandbox::cgroup::{Base, CgroupError, PAYLOAD, StageGroup};
use sandbox::plan::Limits;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const MIB: u64 = 1 << 20;
const LIMITS: Limits = Limits { memory: 256 * MIB, pids: 64, cpu_millis: 1500, wall_ms: 1 };

/// A base for one test, or `None`, said aloud, where the test cannot run. With OSTEST_REQUIRE_ROOT=1
/// a test that cannot run fails.
fn root(test: &str) -> Option<Claimed> {
    let required = std::env::var_os("OSTEST_REQUIRE_ROOT").is_some_and(|value| value == "1");
    let skip = |why: &str| {
        assert!(!required, "OSTEST_REQUIRE_ROOT=1, but {test} {why}");
        println!("SKIPPED: {why}: {test}");
        None
    };
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let base = match Base::detect(&format!("test-{}-{number}", std::process::id())) {
        Ok(base) => apart(base),
        Err(error) => return skip(&format!("needs control groups ({error})")),
    };
    if let Err(error) = base.claim() {
        return skip(&format!("needs control groups ({error})"));
    }
    base.claim().expect("claiming twice is as good as once");
    Some(Claimed(base))
}

/// The same base in a directory of the tests' own.
fn apart(base: Base) -> Base {
    let moved = |dir: PathBuf| {
        let instance = dir.file_name().expect("an instance").to_owned();
        let above = dir.parent().expect("a directory of all runners");
        above.with_file_name("ostest-sandbox-dev").join(instance)
    };
    match base {
        unified @ Base::Unified { .. } => unified,
        Base::Hybrid { dir, memory, pids, cpu, cpuacct } => Base::Hybrid {
            dir: moved(dir),
            memory: moved(memory),
            pids: moved(pids),
            cpu: moved(cpu),
            cpuacct: moved(cpuacct),
        },
    }
}

/// A base that is given back when the test ends, however it ends.
struct Claimed(Base);

impl Claimed {
    fn stage(&self, name: &str, limits: &Limits) -> StageGroup {
        let (group, settings, degraded) =
            StageGroup::create(&self.0, name, limits, &BTreeSet::new()).expect("a stage's group");
        assert!(settings.len() >= 4, "{settings:?}");
        assert_eq!(degraded, []);
        group
    }

    fn dirs(&self) -> Vec<&Path> {
        match &self.0 {
            Base::Unified { dir } => vec![dir],
            Base::Hybrid { dir, memory, pids, cpu, cpuacct } => vec![dir, memory, pids, cpu, cpuacct],
        }
    }

    /// Every group that is left in it.
    fn left(&self) -> Vec<PathBuf> {
        let entries = self
            .dirs()
            .into_iter()
            .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()));
        entries.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let swept = self.0.sweep();
        let released = self.0.release();
        if !std::thread::panicking() {
            swept.expect("the base can be swept");
            released.expect("the base can be released");
            assert!(self.dirs().iter().all(|dir| !dir.exists()), "nothing is left");
        }
    }
}

/// A command that waits until it has been placed.
struct Waiting(Child);

impl Waiting {
    fn new(program: &[&str]) -> Waiting {
        let child = Command::new("sh")
            .args(["-c", "read go && exec \"$@\"", "sh"])
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        Waiting(child)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"))
    }

    fn go(&mut self) {
        let mut stdin = self.0.stdin.take().expect("a pipe");
        stdin.write_all(b"go\n").expect("it listens");
    }

    fn finish(mut self) -> (ExitStatus, String) {
        self.go();
        self.end()
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut output = String::new();
        let mut stdout = self.0.stdout.take().expect("a pipe");
        stdout.read_to_string(&mut output).expect("text");
        (self.0.wait().expect("its end"), output)
    }
}

fn value(figure: Option<sandbox::outcome::Figure>) -> u64 {
    figure.expect("this kernel counts it").value
}

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
    group.remove_leaf("test-1").unwrap();
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
    group.remove_leaf("test-1").unwrap();
    program.0.wait().unwrap();
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
    assert_eq!(base.0.sweep().unwrap(), 2);
    for sleeper in sleepers {
        assert_eq!(sleeper.end().0.signal(), Some(9));
    }
    assert_eq!(base.left(), Vec::<PathBuf>::new());
    assert_eq!(base.0.sweep().unwrap(), 0);
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
fn a_process_can_be_born_in_the_init_leaf() {
    let Some(base) = root("a_process_can_be_born_in_the_init_leaf") else {
        return;
    };
    let group = base.stage("stage", &LIMITS);
    let fd = group.open_dir().unwrap();
    let stat = rustix::fs::fstat(&fd).unwrap();
    assert!(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
    let flags = rustix::io::fcntl_getfd(&fd).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    drop(fd);
    group.remove().unwrap();
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
