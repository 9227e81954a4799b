//! The unit as it is shipped: installed by the operators' recipe, it grades under everything that it takes away, is watched, and
//! ends in good order; and a second runner from the same file beside it.

use crate::common::{BINARY, all_pids, cmdline, field, is_gone, send_signal, wait_until};
use crate::machine::{TREE, alone, done, journal, nothing_is_left, ours, read, show, stage};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::mpsc::{Receiver, channel};

const FIRST: &str = "ostest-sandbox.service";
const SECOND: &str = "ostest-sandbox@two.service";
const PASSWORD: &str = "swordfish";

/// What a test machine needs otherwise: quick restarts, and a watchdog that is waited for. A password for nobody to see.
const DROP_IN: &str = "[Service]\nRestartSec=1s\nWatchdogSec=20s\n";

/// The suite sleeps as long as the submission says.
const SUITE: &str = "import os, pathlib, time\n\
    def test_sleeps(): time.sleep(int(pathlib.Path(os.environ['OSTEST_PROJECT'], 'seconds').read_text()))\n";

fn write(path: &str, text: &str) {
    let path = Path::new(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}

/// Once for all tests: both programs, the unit under its two names, repositories and a suite.
fn install() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
        let built = Path::new(BINARY);
        let put =
            |mode: &str, from: PathBuf, to: &str| done(&["install", "-D", "-m", mode, from.to_str().unwrap(), to]);
        put("755", built.into(), "/usr/local/bin/ostest-sandbox");
        put("755", built.with_file_name("ostest-launch"), "/usr/local/libexec/ostest-sandbox/ostest-launch");
        for name in ["ostest-sandbox.service", "ostest-sandbox@.service"] {
            put("644", deploy.join("ostest-sandbox.service"), &format!("/etc/systemd/system/{name}"));
            write(&format!("/etc/systemd/system/{name}.d/test.conf"), DROP_IN);
        }
        let tmpfiles = "/usr/local/lib/tmpfiles.d/ostest-sandbox.conf";
        put("644", deploy.join("ostest-sandbox.tmpfiles.conf"), tmpfiles);
        let sysusers = "/usr/local/lib/sysusers.d/ostest-sandbox.conf";
        put("644", deploy.join("ostest-sandbox.sysusers.conf"), sysusers);
        done(&["systemd-sysusers", sysusers]);
        done(&["systemd-tmpfiles", "--create", tmpfiles]);
        write("/srv/suite/test_sleep.py", SUITE);
        write("/srv/other-suite/test_other.py", "def test_nothing(): pass\n");
        for (name, seconds) in [("quick", "0"), ("slow", "8"), ("endless", "3000")] {
            write(&format!("/srv/git/{name}/seconds"), seconds);
            let script = "cd /srv/git/$0 && git init -q -b main && git add -A && \
                git -c user.name=S -c user.email=s@course.example commit -q -m 'My solution'";
            done(&["sh", "-c", script, name]);
        }
        for unit in [FIRST, SECOND] {
            environments(unit.trim_end_matches(".service"));
        }
        done(&["systemctl", "daemon-reload"]);
    });
}

/// What pip has installed on the host where the tests were built, where this runner looks for it: the machine has no network.
fn environments(name: &str) {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd/cache");
    for entry in std::fs::read_dir(&built).expect("scripts/vm/systemd-tests.sh has made it").flatten() {
        let from = entry.path();
        let file = entry.file_name().into_string().expect("a plain name");
        if file.starts_with("venv-") && from.extension().is_none() {
            let to = format!("/var/lib/{name}/cache/{file}");
            std::fs::create_dir_all(&to).expect("a directory");
            done(&["mount", "--bind", from.to_str().expect("a plain path"), &to]);
        }
    }
}

/// A backend with a few tasks, ended with the test.
struct Backend {
    child: Child,
    results: Receiver<Value>,
}

impl Backend {
    /// At a port of its own, with a task for each of these repositories, numbered from the port's number on; and the configuration
    /// of a runner that asks it.
    fn start(unit: &str, port: u16, repositories: &[&str], login: bool) -> Backend {
        let dir = format!("/etc/{}", unit.trim_end_matches(".service"));
        let tasks = format!("/run/tasks-{port}.json");
        let task = |(name, attempt): (&&str, u16)| json!({"attempt": attempt, "repositoryUrl": format!("https://course.example/{name}"), "branch": "main"});
        write(&tasks, &repositories.iter().zip(port..).map(task).collect::<Value>().to_string());
        let config = format!(
            "backend-url = 'http://127.0.0.1:{port}'\nauth = {login}\nlogin = 'teacher'\ntests = '/srv/suite'\n\
             logger-level = 'info'\nconcurrent = 1\ncheck-interval = 1\n[git-mirror]\n'https://course.example/' = '/srv/git'\n"
        );
        write(&format!("{dir}/config.toml"), &config);
        let mut command = Command::new(BINARY);
        command.args(["mock-backend", "--json", "--listen", &format!("127.0.0.1:{port}"), "--tasks", &tasks]);
        if login {
            let password = format!("{dir}/password");
            write(&password, &format!("{PASSWORD}\n"));
            std::fs::set_permissions(&password, PermissionsExt::from_mode(0o600)).expect("chmod");
            command.args(["--auth", &format!("teacher:{PASSWORD}")]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the mock backend starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        lines.next().expect("it says where it listens").expect("text");
        let (send, results) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).expect("a result is JSON"));
            }
        });
        Backend { child, results }
    }

    /// The next result, which must be of this attempt.
    #[track_caller]
    fn result(&self, attempt: u16) -> Value {
        let result = self.results.recv_timeout(crate::common::PATIENCE).expect("a result");
        assert_eq!(result["attempt"], attempt, "{result:#}");
        result["testResults"].clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main_pid(unit: &str) -> i32 {
    show(unit, "MainPID").parse().expect("a number")
}

/// Units that are started, and ended at the latest with the test.
struct Started(&'static [&'static str]);

impl Started {
    #[track_caller]
    fn now(units: &'static [&'static str]) -> Started {
        let started = Started(units);
        let out = Command::new("systemctl").arg("start").args(units).output().expect("systemctl starts");
        let said: String = units.iter().map(|unit| journal(unit, "short")).collect();
        assert!(out.status.success(), "{}{said}", String::from_utf8_lossy(&out.stderr));
        started
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Also one that is frozen, or waits to be started again.
        let _ = Command::new("systemctl").args(["kill", "--signal=KILL"]).args(self.0).stderr(Stdio::null()).status();
        let _ = Command::new("systemctl").arg("stop").args(self.0).status();
    }
}

/// The kernel's numbers of these capabilities, as /proc shows sets.
fn set_of(bits: &[u32]) -> String {
    format!("{:016x}", bits.iter().fold(0u64, |all, bit| all | 1 << bit))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_files() {
    let _alone = alone();
    install();
    let out = Command::new("systemd-analyze").args(["verify", FIRST, SECOND]).output().expect("systemd-analyze starts");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && !said.contains("ostest-sandbox"), "{said}");
    let out = Command::new("systemd-analyze").args(["security", "--no-pager", FIRST]).output();
    println!("{}", String::from_utf8_lossy(&out.expect("systemd-analyze starts").stdout));
}

#[test]
fn two_runners_from_the_shipped_unit_grade_side_by_side_and_come_back() {
    let _alone = alone();
    install();
    let first = Backend::start(FIRST, 5001, &["quick"], true);
    let second = Backend::start(SECOND, 5002, &["quick"], false);
    // The canary has passed on this host, where another test was first: once is enough.
    let passed = "cp -p /var/lib/ostest-sandbox/cache/canary-* /var/lib/ostest-sandbox@two/cache/ 2>/dev/null || true";
    done(&["sh", "-c", passed]);
    // Returns when both have said that they are ready.
    let _started = Started::now(&[FIRST, SECOND]);
    for unit in [FIRST, SECOND] {
        let state = [show(unit, "ActiveState"), show(unit, "SubState"), show(unit, "NRestarts")];
        assert_eq!(state, ["active", "running", "0"], "{}", journal(unit, "short"));
        let status = show(unit, "StatusText");
        assert!(status.starts_with("1 slot, "), "{status}");
    }
    for (backend, attempt) in [(&first, 5001), (&second, 5002)] {
        let result = backend.result(attempt);
        assert_eq!(result["isPassed"], true, "{result:#}");
    }
    // Nobody has taken the other's task.
    assert!(first.results.try_recv().is_err() && second.results.try_recv().is_err());

    let pid = main_pid(FIRST);
    // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, SYS_ADMIN.
    assert_eq!(field(pid, "CapBnd"), Some(set_of(&[0, 1, 3, 5, 6, 7, 21])), "what the unit takes away is taken away");
    assert_eq!(field(pid, "NoNewPrivs").as_deref(), Some("1"));
    let locks = std::fs::metadata("/run/ostest-sandbox/ids").expect("the locks").permissions().mode();
    assert_eq!(locks & 0o7777, 0o700);

    // The journal has the priority as such, and nobody's password.
    let text = journal(FIRST, "json");
    let taken = text.lines().find(|line| line.contains("taken")).expect("the journal has it");
    let taken: Value = serde_json::from_str(taken).expect("an object");
    assert_eq!(taken["PRIORITY"], "6", "{taken:#}");
    assert!(taken["MESSAGE"].as_str().is_some_and(|m| m.starts_with("INFO taken task=")), "{taken:#}");
    assert!(!text.contains(PASSWORD));

    // Killed, it is started again, and its neighbour does not notice.
    let neighbour = main_pid(SECOND);
    send_signal(pid, 9);
    wait_until("it to be started again", || show(FIRST, "NRestarts") == "1" && show(FIRST, "SubState") == "running");
    let pid = main_pid(FIRST);
    // It hangs, whole: the watchdog finds out.
    send_signal(pid, 19);
    wait_until("the watchdog", || show(FIRST, "NRestarts") == "2" && show(FIRST, "SubState") == "running");
    assert!(is_gone(pid) && journal(FIRST, "short").contains("Watchdog timeout"), "{}", journal(FIRST, "short"));
    assert_eq!((main_pid(SECOND), show(SECOND, "NRestarts")), (neighbour, "0".into()));

    done(&["systemctl", "stop", FIRST]);
    assert!(!is_gone(neighbour), "the end of one is not the end of the other");
    done(&["systemctl", "stop", SECOND]);
    for unit in [FIRST, SECOND] {
        assert_eq!(
            [show(unit, "Result"), show(unit, "ExecMainStatus")],
            ["success", "0"],
            "{}",
            journal(unit, "short")
        );
    }
    nothing_is_left();
}

#[test]
fn stopping_waits_for_the_task_that_runs() {
    let _alone = alone();
    install();
    let backend = Backend::start(FIRST, 5003, &["slow"], true);
    let _started = Started::now(&[FIRST]);
    testing();
    done(&["systemctl", "stop", FIRST]);
    let result = backend.result(5003);
    assert_eq!(result["isPassed"], true, "{result:#}");
    assert_eq!([show(FIRST, "Result"), show(FIRST, "ExecMainStatus")], ["success", "0"], "{}", journal(FIRST, "short"));
    nothing_is_left();
}

#[test]
fn a_runner_that_does_not_answer_is_killed_with_all_it_has_started() {
    let _alone = alone();
    install();
    let drop_in = format!("/run/systemd/system/{FIRST}.d/impatient.conf");
    write(&drop_in, "[Service]\nTimeoutStopSec=3s\n");
    done(&["systemctl", "daemon-reload"]);
    let _backend = Backend::start(FIRST, 5004, &["endless"], true);
    let _started = Started::now(&[FIRST]);
    let stage = testing();
    let sandbox = crate::common::pids_below(&stage);
    // Frozen, it cannot ask for more time. (systemd wakes one that was only stopped.)
    let unit = Path::new(TREE).join("system.slice").join(FIRST);
    std::fs::write(unit.join("supervisor/cgroup.freeze"), "1").expect("the kernel takes it");
    wait_until("it to be frozen", || read(&unit.join("supervisor"), "cgroup.events").contains("frozen 1"));
    done(&["systemctl", "stop", FIRST]);
    std::fs::remove_file(drop_in).expect("it was there");
    done(&["systemctl", "daemon-reload"]);
    assert_eq!(show(FIRST, "Result"), "timeout");
    assert!(!sandbox.is_empty() && sandbox.iter().all(|pid| is_gone(*pid)), "{sandbox:?}");
    let left: Vec<_> = all_pids().into_iter().filter(|pid| cmdline(*pid).starts_with("/usr/local/")).collect();
    assert!(left.is_empty(), "{left:?}");
    nothing_is_left();
}

#[test]
fn reloading_changes_the_next_task_and_not_the_one_that_runs() {
    let _alone = alone();
    install();
    let backend = Backend::start(FIRST, 5005, &["slow", "quick"], true);
    let _started = Started::now(&[FIRST]);
    testing();
    let pid = main_pid(FIRST);
    let config = Path::new("/etc/ostest-sandbox/config.toml");
    let text = std::fs::read_to_string(config).expect("the configuration");
    write("/etc/ostest-sandbox/config.toml", &text.replace("/srv/suite", "/srv/other-suite"));
    done(&["systemctl", "reload", FIRST]);
    for (attempt, test) in [(5005, "test_sleeps"), (5006, "test_nothing")] {
        let result = backend.result(attempt);
        assert!(result["isPassed"] == true && result.to_string().contains(test), "{result:#}");
    }
    assert_eq!((main_pid(FIRST), show(FIRST, "NRestarts")), (pid, "0".into()), "{}", journal(FIRST, "short"));
    done(&["systemctl", "stop", FIRST]);
    nothing_is_left();
}

/// The group of the test stage, once the suite runs.
fn testing() -> PathBuf {
    wait_until("the test stage", || {
        ours().iter().any(|dir| dir.to_string_lossy().contains("-test-") && !read(dir, "cgroup.procs").is_empty())
    });
    stage()
}

#[test]
fn who_is_in_the_group_reads_log_files_and_nobody_else() {
    let _alone = alone();
    install();
    let log = "/var/log/ostest-sandbox/log";
    write(log, "a line\n");
    let entry = Command::new("getent").args(["group", "ostest-sandbox"]).output().expect("getent starts");
    let entry = String::from_utf8(entry.stdout).expect("text");
    let group = entry.split(':').nth(2).unwrap_or_else(|| panic!("no group: {entry:?}"));
    let reads = |groups: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", groups, "cat", log]);
        command.output().expect("setpriv starts").status.success()
    };
    assert!(reads(&format!("--groups={group}")));
    assert!(!reads("--clear-groups"));
}
