//! The machine that systemd runs: its units, logins and control groups, and who writes what there.

use crate::common::{self, Place, Run, pids_below, wait_until};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Where systemd mounts the tree.
pub const TREE: &str = "/sys/fs/cgroup";

/// One test at a time: they look at the whole tree. Fails on any other machine than the one that is meant.
pub fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    static LINGERS: OnceLock<()> = OnceLock::new();
    let machine = std::fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd")
        && Path::new("/run/ostest-vm").exists();
    assert!(machine, "these tests are for the machine that scripts/vm/systemd-tests.sh boots");
    let guard = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Or each login would start a manager for root's own units, which would come and go amid the tests.
    LINGERS.get_or_init(|| {
        done(&["loginctl", "enable-linger", "root"]);
        wait_until("root's own systemd", || {
            Command::new("systemctl").args(["is-active", "--quiet", "user@0"]).status().is_ok_and(|s| s.success())
        });
    });
    guard
}

/// Runs a command that must succeed.
#[track_caller]
pub fn done(words: &[&str]) {
    let out = Command::new(words[0]).args(&words[1..]).output().expect("it starts");
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// How a person or systemd starts a program.
#[derive(Clone, Copy)]
pub enum By {
    /// `systemd-run` makes a service of this name with these properties.
    Unit(&'static str, &'static [&'static str]),
    /// `systemd-run` starts it in a scope of this name with these properties.
    Scope(&'static str, &'static [&'static str]),
    /// Typed by root after a login.
    Hand,
}

impl By {
    /// The command that does it.
    pub fn command(self, words: &[String]) -> Command {
        let run = |name: &str, properties: &[&str], how: &[&str]| {
            let mut command = Command::new("systemd-run");
            command.args(["--quiet", "--collect", "--unit", name]).args(how);
            command.args(properties.iter().flat_map(|p| ["-p", p])).args(words);
            command
        };
        match self {
            By::Unit(name, properties) => run(name, properties, &["--wait", "--pipe"]),
            By::Scope(name, properties) => run(name, properties, &["--scope"]),
            By::Hand => {
                let mut command = Command::new("su");
                // The shell steps aside, so that signals reach the program.
                command.args(["-l", "-c", &format!("exec {}", quoted(words))]);
                command
            }
        }
    }
}

/// As a shell reads it.
pub fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ")
}

/// `exec` of a shell script under these flags.
pub fn words(place: &Place, report: &Path, flags: &[&str], script: &str) -> Vec<String> {
    let path = |p: &Path| p.to_str().expect("a plain path").to_string();
    let mut all = vec![common::BINARY.to_string(), "exec".into(), "--state-dir".into(), path(&place.state())];
    all.extend(["--report".into(), path(report)]);
    all.extend(flags.iter().map(|f| (*f).to_string()));
    all.extend(["--", "sh", "-c", script].map(str::to_string));
    all
}

/// Runs a script inside, started in this way, to its end.
pub fn exec(by: By, place: &Place, flags: &[&str], script: &str) -> Run {
    start(by, place, flags, script).wait()
}

/// A program that was started in this way and runs.
pub struct Started {
    child: Child,
    report: tempfile::TempPath,
}

/// Starts a script inside and leaves it running.
pub fn start(by: By, place: &Place, flags: &[&str], script: &str) -> Started {
    let report = tempfile::NamedTempFile::new_in(place.path()).expect("a file for the report").into_temp_path();
    let mut command = by.command(&words(place, &report, flags, script));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    Started { child: child.expect("it starts"), report }
}

impl Started {
    /// Waits for its end.
    pub fn wait(self) -> Run {
        let Output { status, stdout, stderr } = self.child.wait_with_output().expect("it ends");
        Run {
            code: status.code(),
            signal: None,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            report: serde_json::from_slice(&std::fs::read(&self.report).unwrap_or_default()).unwrap_or_default(),
        }
    }
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

/// A file of a group; empty where there is none.
pub fn read(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap_or_default().trim().to_string()
}

/// The groups of runners: scopes and what is in them, and bases, stages and leaves wherever they lie.
pub fn ours() -> Vec<PathBuf> {
    let named = |dir: &PathBuf| dir.iter().any(|part| part.to_string_lossy().starts_with("ostest-sandbox-"));
    groups().into_iter().filter(named).collect()
}

/// The scopes of runners that were started by hand.
pub fn scopes() -> Vec<PathBuf> {
    ours().into_iter().filter(|dir| dir.extension().is_some_and(|e| e == "scope")).collect()
}

/// The group of the one stage that is running, once its command is in it.
#[track_caller]
pub fn stage() -> PathBuf {
    let mut found = None;
    wait_until("a stage with its command", || {
        found = ours().into_iter().find(|dir| dir.ends_with("payload") && !pids_below(dir).is_empty());
        found.is_some()
    });
    found.and_then(|leaf| leaf.parent().map(Path::to_path_buf)).expect("a leaf lies in a stage")
}

/// Waits until no group of a runner is left. Scopes and units are removed by systemd, a moment after their end.
#[track_caller]
pub fn nothing_is_left() {
    wait_until("all groups of runners to be gone", || ours().is_empty());
}

/// A property of a unit.
pub fn show(unit: &str, property: &str) -> String {
    let out = Command::new("systemctl").args(["show", "--value", "-p", property, unit]).output();
    String::from_utf8_lossy(&out.expect("systemctl starts").stdout).trim().to_string()
}

/// What systemd's journal holds of a unit, in this form of `journalctl`.
pub fn journal(unit: &str, form: &str) -> String {
    let out = Command::new("journalctl").args(["--no-pager", "--output", form, "--unit", unit]).output();
    String::from_utf8_lossy(&out.expect("journalctl starts").stdout).into_owned()
}

/// Sees, from now on, every process that writes a `cgroup.subtree_control`.
pub struct Writers {
    listener: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Writers {
    /// Begins.
    pub fn watch() -> Writers {
        let mut listener = Command::new("python3")
            .args(["-c", include_str!("writers.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut said = BufReader::new(listener.stdout.take().expect("its output"));
        let mut line = String::new();
        said.read_line(&mut line).expect("it speaks");
        assert_eq!(line, "ready\n");
        Writers { listener, said }
    }

    /// What was written: the process's name, and the group.
    pub fn end(mut self) -> Vec<(String, PathBuf)> {
        drop(self.listener.stdin.take());
        let mut text = String::new();
        self.said.read_to_string(&mut text).expect("it speaks");
        assert!(self.listener.wait().expect("it ends").success(), "{text}");
        let pair = |line: &str| line.split_once(' ').map(|(who, file)| (who.to_string(), PathBuf::from(file)));
        let all = text.lines().map(|line| pair(line).unwrap_or_else(|| panic!("{line:?}")));
        // Of a file whose group was gone before the listener could look there is no path. What is systemd's stays.
        let known = all.filter(|(_, file)| file.is_absolute());
        known.map(|(who, file)| (who, file.parent().expect("a group").to_path_buf())).collect()
    }
}

/// Fails unless everything outside the groups that begin like this was written by systemd itself; says who wrote inside.
#[track_caller]
pub fn only_systemd_wrote_outside(own: &str, writes: &[(String, PathBuf)]) -> Vec<String> {
    let is_own = |group: &Path| group.to_string_lossy().starts_with(own);
    let (inside, outside): (Vec<_>, Vec<_>) = writes.iter().partition(|(_, group)| is_own(group));
    let foreign: Vec<_> = outside.into_iter().filter(|(who, _)| who != "systemd").collect();
    assert!(foreign.is_empty(), "written beside systemd: {foreign:?}");
    inside.into_iter().map(|(who, _)| who.clone()).collect()
}
