//! What the tests of control groups share: a base of their own on the kernel at hand, and programs that wait to be
//! placed. Needs root; see [`root`].
//!
//! On a hybrid host the groups lie below `ostest-sandbox-dev`, apart from those of a runner.

#![allow(dead_code, reason = "each test file uses a part of it")]

use nix::unistd::Pid;
use sandbox::cgroup::{Base, StageGroup};
use sandbox::plan::Limits;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes in a MiB.
pub const MIB: u64 = 1 << 20;
/// Limits that nothing here reaches.
pub const LIMITS: Limits = Limits { memory: 256 * MIB, pids: 64, cpu_millis: 1500, wall_ms: 1 };

/// A base for one test, or `None`, said aloud, where the test cannot run. With OSTEST_REQUIRE_ROOT=1
/// a test that cannot run fails.
pub fn root(test: &str) -> Option<Claimed> {
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
pub struct Claimed(pub Base);

impl Claimed {
    /// A stage's group with every layer in force.
    pub fn stage(&self, name: &str, limits: &Limits) -> StageGroup {
        let (group, settings, degraded) =
            StageGroup::create(&self.0, name, limits, &BTreeSet::new()).expect("a stage's group");
        assert!(settings.len() >= 4, "{settings:?}");
        assert_eq!(degraded, []);
        group
    }

    /// The base's directories, one in each hierarchy.
    pub fn dirs(&self) -> Vec<&Path> {
        match &self.0 {
            Base::Unified { dir } => vec![dir],
            Base::Hybrid { dir, memory, pids, cpu, cpuacct } => vec![dir, memory, pids, cpu, cpuacct],
        }
    }

    /// Sweeps it: how many groups are gone, and how many are left.
    pub fn swept(&self) -> (usize, usize) {
        let swept = self.0.sweep().expect("the base can be read");
        (swept.groups, swept.left.len())
    }

    /// Every group that is left in it.
    pub fn left(&self) -> Vec<PathBuf> {
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
pub struct Waiting(pub Child);

impl Waiting {
    /// Not placed yet.
    pub fn new(program: &[&str]) -> Waiting {
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

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"))
    }

    /// Lets it run.
    pub fn go(&mut self) {
        let mut stdin = self.0.stdin.take().expect("a pipe");
        stdin.write_all(b"go\n").expect("it listens");
    }

    /// Lets it run, and waits for its end.
    pub fn finish(mut self) -> (ExitStatus, String) {
        self.go();
        self.end()
    }

    /// Its end, and what it printed.
    pub fn end(mut self) -> (ExitStatus, String) {
        let mut output = String::new();
        let mut stdout = self.0.stdout.take().expect("a pipe");
        stdout.read_to_string(&mut output).expect("text");
        (self.0.wait().expect("its end"), output)
    }
}

/// A figure that this kernel must have.
pub fn value(figure: Option<sandbox::outcome::Figure>) -> u64 {
    figure.expect("this kernel counts it").value
}
