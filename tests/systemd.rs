//! The runner on a host that systemd runs: as a unit it uses what it was given, started by hand it gets a scope of its
//! own, and what is systemd's it never writes.
//!
//! Only for the machine that `scripts/vm/systemd-tests.sh` boots: these tests start units and log in as root, which is not
//! for anybody's own host. So cargo does not run them unasked (`test = false`), and they fail elsewhere.

mod common;

use common::{Place, Run, pids_below, wait_until};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};

const TREE: &str = "/sys/fs/cgroup";

/// One at a time: they compare the whole tree before and after.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let machine = std::fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd")
        && Path::new("/run/ostest-vm").exists();
    assert!(machine, "these tests are for the machine that scripts/vm/systemd-tests.sh boots");
    LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How a person or systemd starts `exec`.
#[derive(Clone, Copy)]
enum By {
    /// `systemd-run` with these properties makes a unit of this name.
    Unit(&'static str, &'static [&'static str]),
    /// Typed by root after a login.
    Hand,
}

impl By {
    fn command(self, arguments: &[String]) -> Command {
        match self {
            By::Unit(name, properties) => {
                let mut command = Command::new("systemd-run");
                command.args(["--quiet", "--collect", "--wait", "--pipe", &format!("--unit={name}")]);
                command.args(properties.iter().flat_map(|p| ["-p", p]));
                command.args(arguments);
                command
            }
            By::Hand => {
                let quoted: Vec<String> = arguments.iter().map(|a| format!("'{}'", a.replace('\'', r"'\''"))).collect();
                let mut command = Command::new("su");
                // The shell steps aside, so that signals reach the program.
                command.args(["-l", "-c", &format!("exec {}", quoted.join(" "))]);
                command
            }
        }
    }
}

fn arguments(place: &Place, report: &Path, flags: &[&str], script: &str) -> Vec<String> {
    let (state, report) = (place.state(), report.to_path_buf());
    let path = |p: &Path| p.to_str().expect("a plain path").to_string();
    let mut all = vec![common::BINARY.to_string(), "exec".into(), "--state-dir".into(), path(&state)];
    all.extend(["--report".into(), path(&report)]);
    all.extend(flags.iter().map(|f| (*f).to_string()));
    all.extend(["--", "sh", "-c", script].map(str::to_string));
    all
}

/// Runs a script inside, started in this way, to its end.
fn exec(by: By, place: &Place, flags: &[&str], script: &str) -> Run {
    let report = place.path().join("report.json");
    let Output { status, stdout, stderr } =
        by.command(&arguments(place, &report, flags, script)).output().expect("it starts");
    Run {
        code: status.code(),
        signal: None,
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        report: serde_json::from_slice(&std::fs::read(&report).unwrap_or_default()).unwrap_or_default(),
    }
}

/// Starts a script inside and leaves it running.
fn start(by: By, place: &Place, flags: &[&str], script: &str) -> Child {
    let report = place.path().join(format!("report-{}.json", script.len()));
    let mut command = by.command(&arguments(place, &report, flags, script));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// Every group of the tree.
fn groups() -> Vec<PathBuf> {
    fn add(dir: &Path, all: &mut Vec<PathBuf>) {
        all.push(dir.into());
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                add(&entry.path(), all);
            }
        }
    }
    let mut all = Vec::new();
    add(Path::new(TREE), &mut all);
    all
}

fn read(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap_or_default().trim().to_string()
}

/// The groups of runners: bases, stages and leaves, and scopes.
fn ours() -> Vec<PathBuf> {
    let is_ours =
        |dir: &PathBuf| dir.components().any(|c| c.as_os_str().to_string_lossy().starts_with("ostest-sandbox-"));
    groups().into_iter().filter(is_ours).collect()
}

/// The controllers that each group of systemd's hands down.
fn handed_down() -> BTreeMap<PathBuf, String> {
    let ours = ours();
    let others = groups().into_iter().filter(|dir| !ours.contains(dir));
    others.map(|dir| (dir.clone(), read(&dir, "cgroup.subtree_control"))).collect()
}

/// The group of the one stage that is running, once its command is in it.
#[track_caller]
fn stage() -> PathBuf {
    let mut found = None;
    wait_until("a stage with its command", || {
        found = ours().into_iter().find(|dir| dir.ends_with("payload") && !pids_below(dir).is_empty());
        found.is_some()
    });
    found.and_then(|leaf| leaf.parent().map(Path::to_path_buf)).expect("a leaf lies in a stage")
}

/// Tells the runner of a stage to end.
fn terminate(stage: &Path) {
    let group = stage.ancestors().nth(2).expect("a stage lies in a base, and that in the runner's own group");
    for pid in pids_below(&group.join("supervisor")) {
        if common::cmdline(pid).contains(common::BINARY) {
            common::send_signal(pid, 15);
        }
    }
}

#[track_caller]
fn nothing_is_left() {
    wait_until("all groups of runners to be gone", || ours().is_empty());
}

#[track_caller]
fn limits_hold(by: By) {
    let place = Place::new();
    let hungry = exec(by, &place, &["--mem-limit", "64M"], "exec python3 -c 'b = bytearray(200 << 20)'");
    assert_eq!((hungry.code, hungry.verdict()), (Some(137), "memory-limit"), "{}{:#}", hungry.stderr, hungry.report);
    assert_eq!(hungry.report["peakMemorySource"], "memory.peak");
    let bomb = "python3 -c 'import os\nn = 0\ntry:\n  while os.fork() or os.read(0, 1) is None: n += 1\nexcept OSError: print(n)'";
    let crowd = exec(by, &place, &["--pids-limit", "20", "--timeout", "60"], bomb);
    assert!(crowd.number("pidsDenied") >= 1.0, "{}{:#}", crowd.stderr, crowd.report);
    let spin = "python3 -c 'import time\nwhile time.process_time() < 2: pass'";
    let slow = exec(by, &place, &["--cpu-limit", "0.2"], spin);
    assert!(slow.number("throttledSeconds") > 0.0, "{}{:#}", slow.stderr, slow.report);
    nothing_is_left();
}

#[test]
fn limits_hold_in_a_unit_with_delegation() {
    let _alone = alone();
    limits_hold(By::Unit("grader", &["Delegate=yes"]));
}

#[test]
fn limits_hold_for_one_who_starts_it_by_hand() {
    let _alone = alone();
    limits_hold(By::Hand);
}

#[test]
fn a_unit_with_delegation_works_below_its_own_group_and_ends_with_it() {
    let _alone = alone();
    let place = Place::new();
    let mut unit = start(By::Unit("grader", &["Delegate=yes"]), &place, &[], "sleep 600");
    let stage = stage();
    let own = Path::new(TREE).join("system.slice/grader.service");
    assert!(stage.starts_with(&own), "{}", stage.display());
    assert!(!pids_below(&own.join("supervisor")).is_empty(), "the runner sits in a leaf of its own");
    let inside = pids_below(&stage);
    let stopped = Command::new("systemctl").args(["stop", "grader"]).status().expect("systemctl starts");
    assert!(stopped.success());
    unit.wait().expect("it ends");
    wait_until("the sandbox's processes to be gone", || inside.iter().all(|pid| common::is_gone(*pid)));
    nothing_is_left();
    assert!(!own.exists(), "the unit's group is gone");
}

#[test]
fn a_unit_without_delegation_is_refused_and_nothing_is_written() {
    let _alone = alone();
    let place = Place::new();
    // systemd enables what a unit's own settings need; this one is like the next.
    exec(By::Unit("first", &[]), &place, &[], "true");
    let before = handed_down();
    let run = exec(By::Unit("second", &[]), &place, &[], "true");
    assert_eq!(run.code, Some(125), "{}", run.stderr);
    assert!(run.stderr.contains("Delegate=yes") && run.stderr.contains("second.service"), "{}", run.stderr);
    assert_eq!(handed_down(), before);
    assert!(ours().is_empty(), "nothing was made");
}

#[test]
fn started_by_hand_it_has_a_scope_that_is_its_own() {
    let _alone = alone();
    let place = Place::new();
    let session = Command::new("su").args(["-l", "-c", "cat /proc/self/cgroup"]).output().expect("su starts").stdout;
    let session = String::from_utf8_lossy(&session).into_owned();
    assert!(session.contains("/session-"), "a login is a session here: {session}");

    let mut first = start(By::Hand, &place, &[], "sleep 600");
    let stage = stage();
    let base = stage.parent().expect("a base").to_path_buf();
    let scope = base.parent().expect("a scope").to_path_buf();
    let name = scope.file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(scope.parent(), Some(Path::new("/sys/fs/cgroup/system.slice")));
    assert!(name.starts_with("ostest-sandbox-") && name.ends_with(".scope"), "{name}");
    let show = |property: &str| {
        let out = Command::new("systemctl").args(["show", "--value", "-p", property, &name]).output();
        String::from_utf8_lossy(&out.expect("systemctl starts").stdout).trim().to_string()
    };
    assert_eq!((show("Delegate"), show("ActiveState")), ("yes".into(), "active".into()));
    let sessions: Vec<_> =
        handed_down().into_iter().filter(|(dir, _)| dir.to_string_lossy().contains("/session-")).collect();
    assert!(sessions.iter().all(|(_, handed)| handed.is_empty()), "nothing is handed down in a session: {sessions:?}");

    // A second one beside it has its own, and the end of one is not the end of the other.
    let run = exec(By::Hand, &place, &[], "cat /proc/self/cgroup");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(stage.exists(), "the first goes on");
    let scopes: Vec<_> = ours().into_iter().filter(|dir| dir.extension().is_some_and(|e| e == "scope")).collect();
    assert_eq!(scopes, std::slice::from_ref(&scope), "the second's is gone with it");

    terminate(&stage);
    first.wait().expect("it ends");
    nothing_is_left();
    assert!(!scope.exists());
}

#[test]
fn a_killed_one_leaves_nothing_that_the_next_does_not_find() {
    let _alone = alone();
    let place = Place::new();
    let mut first = start(By::Hand, &place, &[], "sleep 600");
    let stage = stage();
    let scope = stage.ancestors().nth(2).expect("a scope").to_path_buf();
    let inside = pids_below(&stage);
    // Runner and launcher at once: nobody is left who could tidy up.
    let both = pids_below(&scope.join("supervisor"));
    assert!(both.len() >= 2, "{both:?}");
    let all: Vec<String> = both.iter().map(i32::to_string).collect();
    // The launcher may be quicker than the signal that follows the runner's.
    Command::new("sh").args(["-c", &format!("kill -9 {}", all.join(" "))]).status().expect("sh starts");
    first.wait().expect("it ends");
    let run = exec(By::Hand, &place, &[], "true");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(inside.iter().all(|pid| common::is_gone(*pid)), "the sandbox outlived its runner and the next one's start");
    nothing_is_left();
}

#[test]
fn systemd_takes_nothing_away_while_a_stage_runs() {
    let _alone = alone();
    for by in [By::Unit("grader", &["Delegate=yes"]), By::Hand] {
        let place = Place::new();
        let flags = ["--mem-limit", "96M", "--pids-limit", "33", "--cpu-limit", "0.5"];
        let mut child = start(by, &place, &flags, "sleep 600");
        let stage = stage();
        let base = stage.parent().expect("a base");
        let seen = || {
            let of = |file: &str| read(&stage, file);
            [
                of("memory.max"),
                of("memory.swap.max"),
                of("pids.max"),
                of("cpu.max"),
                read(base, "cgroup.subtree_control"),
            ]
        };
        let before = seen();
        assert_eq!(before[..4], ["100663296", "0", "33", "50000 100000"]);
        // Whatever makes systemd walk its tree: its configuration again, units that come with controllers and go.
        let done = |words: &[&str]| {
            let status = Command::new(words[0]).args(&words[1..]).status().expect("it starts");
            assert!(status.success(), "{words:?}");
        };
        done(&["systemctl", "daemon-reload"]);
        done(&["systemd-run", "--quiet", "--wait", "-p", "MemoryMax=50M", "-p", "CPUQuota=10%", "true"]);
        done(&["systemd-run", "--quiet", "--wait", "true"]);
        done(&["systemctl", "daemon-reexec"]);
        assert_eq!(seen(), before);
        terminate(&stage);
        child.wait().expect("it ends");
        nothing_is_left();
    }
}

#[test]
fn check_says_whose_the_group_is() {
    let _alone = alone();
    let cgroups = |by: By| {
        let place = Place::new();
        let state = place.state().to_str().expect("a plain path").to_string();
        let arguments = [common::BINARY, "check", "--json", "--state-dir", &state].map(str::to_string);
        let out = by.command(&arguments).output().expect("it starts");
        let answer: serde_json::Value = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)));
        let findings = answer["findings"].as_array().expect("a list").clone();
        findings.into_iter().find(|f| f["name"] == "cgroups").expect("a finding on control groups")
    };
    let delegated = cgroups(By::Unit("grader", &["Delegate=yes"]));
    assert_eq!(delegated["grade"], "green", "{delegated}");
    assert!(delegated["found"].as_str().is_some_and(|f| f.contains("grader.service/")), "{delegated}");
    let by_hand = cgroups(By::Hand);
    assert_eq!(by_hand["grade"], "green", "{by_hand}");
    assert!(by_hand["found"].as_str().is_some_and(|f| f.contains(".scope/")), "{by_hand}");
    let refused = cgroups(By::Unit("grader", &[]));
    assert_eq!(refused["grade"], "red", "{refused}");
    assert!(refused["remedy"].as_str().is_some_and(|r| r.contains("systemctl edit grader.service")), "{refused}");
    nothing_is_left();
}
