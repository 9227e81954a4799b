//! What the tests of the program share: a place of their own, and ways to run `exec` in it.
//!
//! Every test has its own temporary directory with its own state directory, so that tests do not meet. Times in here
//! are guards against hanging, far above what anything takes; no test measures time.

#![allow(dead_code, reason = "each test file uses a part of it")]

use sandbox::cgroup::Base;
use sandbox::plan::Plan;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ostest-sandbox");

/// First host id that the program gives to sandboxes.
pub const FIRST_ID: u32 = 0x7000_0000;

/// How long anything may take before the test gives up; on an emulated processor one sandbox takes 5 to 15 s.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A C program that touches as many MiB as its first argument says, in as many processes as its second one says, all at the
/// same time; with a third one it says `up` when they have it, and holds them for that many tenths of a second.
pub const TOUCH: &str = r#"#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    size_t size = strtoul(argv[1], 0, 10) << 20;
    int more = argc > 2 ? atoi(argv[2]) - 1 : 0, parent = 1, ready[2], go[2];
    char c = 0;
    if (pipe(ready) || pipe(go)) return 4;
    for (int i = 0; i < more && parent; i++) parent = fork() != 0;
    if (size) {
        volatile char *m = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m == MAP_FAILED) return 3;
        for (size_t i = 0; i < size; i += 4096) m[i] = 1;
    }
    if (argc > 3) {
        if (write(1, "up\n", 3) != 3) return 5;
        usleep(atoi(argv[3]) * 100000);
    }
    // All of them have theirs before the first lets go.
    if (!parent) {
        close(go[1]);
        if (write(ready[1], &c, 1) != 1) return 5;
        return read(go[0], &c, 1) != 0;
    }
    for (int i = 0; i < more; i++) if (read(ready[0], &c, 1) != 1) return 5;
    close(go[1]);
    while (wait(0) > 0) { }
    return 0;
}
"#;

/// Whether the test can run. Where it cannot it says so aloud; with OSTEST_REQUIRE_ROOT=1, with which nothing may be
/// skipped, it fails.
pub fn need_root(test: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0) || skip(test, "root")
}

/// Whether a tool that only some hosts have is there; the rest as with [`need_root`].
pub fn need_tool(test: &str, tool: &str) -> bool {
    let there = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|dir| Path::new(dir).join(tool).exists());
    there || skip(test, tool)
}

fn skip(test: &str, needs: &str) -> bool {
    let required = std::env::var_os("OSTEST_REQUIRE_ROOT").is_some_and(|value| value == "1");
    assert!(!required, "OSTEST_REQUIRE_ROOT=1, but {test} needs {needs}");
    println!("SKIPPED: {test}: needs {needs}");
    false
}

/// A directory of one test's own, with a state directory in it. Removed at the end.
#[derive(Debug)]
pub struct Place {
    dir: tempfile::TempDir,
}

/// What one `exec` gave.
#[derive(Debug)]
pub struct Run {
    /// Exit code of the program; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended the program.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    /// The report; null where none was written.
    pub report: Value,
}

impl Run {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output that consists of lines `name=value`; what has no `=` is left out.
    pub fn values(&self) -> BTreeMap<String, String> {
        let text = self.text();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_string(), value.trim().to_string())).collect()
    }

    /// The report's verdict.
    pub fn verdict(&self) -> &str {
        self.report["verdict"].as_str().unwrap_or("(no report)")
    }

    /// A number of the report.
    pub fn number(&self, name: &str) -> f64 {
        self.report[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {:#}", self.report))
    }

    /// The report's sentence.
    pub fn message(&self) -> &str {
        self.report["message"].as_str().unwrap_or_default()
    }

    /// Fails, with everything that is known, unless the command exited with 0.
    #[track_caller]
    pub fn good(self) -> Run {
        assert_eq!((self.code, self.verdict()), (Some(0), "ok"), "{}\n{}\n{:#}", self.text(), self.stderr, self.report);
        self
    }
}

impl Default for Place {
    fn default() -> Self {
        Place::new()
    }
}

impl Place {
    /// A new one.
    pub fn new() -> Place {
        Place { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory, which need not exist yet.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The program, with PATH as its only variable: a developer's own interpreter must not become visible inside.
    pub fn program(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    /// `exec` with these flags, before the report and the command.
    pub fn exec(&self, flags: &[&str]) -> Command {
        let mut command = self.program();
        command.arg("exec").arg("--state-dir").arg(self.state()).args(flags);
        command
    }

    /// Runs a command inside under these flags.
    #[track_caller]
    pub fn run(&self, flags: &[&str], argv: &[&str]) -> Run {
        self.start(flags, argv).wait()
    }

    /// Runs a shell script inside.
    #[track_caller]
    pub fn sh(&self, flags: &[&str], script: &str) -> Run {
        self.run(flags, &["sh", "-c", script])
    }

    /// Starts a command inside and leaves it running.
    pub fn start(&self, flags: &[&str], argv: &[&str]) -> Running {
        self.start_by(self.exec(flags), argv)
    }

    /// The same, by this `exec`.
    pub fn start_by(&self, mut command: Command, argv: &[&str]) -> Running {
        let report = tempfile::Builder::new().suffix(".json").tempfile_in(self.path()).expect("a file for the report");
        let report = report.into_temp_path();
        command.arg("--report").arg(&report).arg("--").args(argv);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        Running { child: Some(child), report, stdout, stderr }
    }

    /// The plan that would be carried out.
    pub fn plan(&self, flags: &[&str]) -> Plan {
        let out = self.exec(flags).args(["--print-plan", "--", "true"]).output().expect("the program starts");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).expect("the printed plan can be read")
    }

    /// Directories of this state directory's cgroups, one in each hierarchy; they need not exist.
    pub fn groups(&self) -> Vec<PathBuf> {
        match self.plan(&[]).cgroup {
            Base::Unified { dir } => vec![dir],
            Base::Hybrid { dir, memory, pids, cpu, cpuacct } => vec![dir, memory, pids, cpu, cpuacct],
        }
    }

    /// Waits until there are at least `count` processes in sandboxes of this state directory; gives their host pids.
    #[track_caller]
    pub fn wait_for_pids(&self, groups: &[PathBuf], count: usize) -> Vec<i32> {
        let mut pids = Vec::new();
        wait_until(&format!("{count} processes in {}", groups[0].display()), || {
            pids = pids_below(&groups[0]);
            pids.len() >= count
        });
        pids
    }

    /// Compiles a C program; the path is good for `--ro`.
    #[track_caller]
    pub fn compile(&self, name: &str, source: &str) -> String {
        self.compile_with(&[], name, source)
    }

    /// The same with more of gcc's options.
    #[track_caller]
    pub fn compile_with(&self, options: &[&str], name: &str, source: &str) -> String {
        let (code, program) = (self.path().join(format!("{name}.c")), self.path().join(name));
        std::fs::write(&code, source).expect("the source is written");
        let out =
            Command::new("gcc").args(["-O1", "-pthread"]).args(options).arg("-o").arg(&program).arg(&code).output();
        let out = out.expect("gcc, which these tests need, starts");
        assert!(out.status.success(), "gcc: {}", String::from_utf8_lossy(&out.stderr));
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("chmod");
        program.to_str().expect("a plain path").to_string()
    }

    /// Fails if anything of this state directory's sandboxes is still there: cgroups or work trees.
    #[track_caller]
    pub fn nothing_left(&self, groups: &[PathBuf]) {
        let left: Vec<_> = groups.iter().filter(|dir| dir.exists()).collect();
        assert!(left.is_empty(), "cgroups are left: {left:?}");
        let entries = std::fs::read_dir(self.state()).map(|all| all.flatten().map(|e| e.file_name()).collect());
        let strange: Vec<_> =
            entries.unwrap_or_else(|_| Vec::new()).into_iter().filter(|n| n != "users.lock" && n != "cache").collect();
        assert!(strange.is_empty(), "the state directory holds {strange:?}");
    }
}

/// A running `exec`. It is ended if the test forgets it.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    report: tempfile::TempPath,
    stdout: std::thread::JoinHandle<Vec<u8>>,
    stderr: std::thread::JoinHandle<Vec<u8>>,
}

impl Running {
    /// Pid of the program (the runner).
    pub fn pid(&self) -> i32 {
        self.child.as_ref().map_or(-1, |c| c.id() as i32)
    }

    /// Pid of its launcher.
    #[track_caller]
    pub fn launcher(&self) -> i32 {
        let mut found = None;
        wait_until("the launcher", || {
            found = children(self.pid()).into_iter().find(|pid| cmdline(*pid).contains("ostest-launch"));
            found.is_some()
        });
        found.expect("just found")
    }

    /// Sends a signal to the runner.
    pub fn signal(&self, number: i32) {
        send_signal(self.pid(), number);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Run {
        let mut child = self.child.take().expect("waited for once");
        let until = Instant::now() + PATIENCE;
        let status: ExitStatus = loop {
            match child.try_wait().expect("wait") {
                Some(status) => break status,
                None if Instant::now() > until => {
                    child.kill().expect("kill");
                    child.wait().expect("wait");
                    panic!("exec did not end within {PATIENCE:?}");
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let text = std::fs::read(&self.report).unwrap_or_default();
        let stdout = std::mem::replace(&mut self.stdout, std::thread::spawn(Vec::new));
        let stderr = std::mem::replace(&mut self.stderr, std::thread::spawn(Vec::new));
        Run {
            code: status.code(),
            signal: status.signal(),
            stdout: stdout.join().expect("the reader"),
            stderr: String::from_utf8_lossy(&stderr.join().expect("the reader")).into_owned(),
            report: serde_json::from_slice(&text).unwrap_or(Value::Null),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // In good order first, so that a test that has failed leaves no groups; nothing more can be done than that.
            let _ = Command::new("sh").args(["-c", &format!("kill {}", child.id())]).status();
            let until = Instant::now() + Duration::from_secs(10);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn collect(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes).expect("the program's output is read");
        }
        bytes
    })
}

/// Sends a signal to a process that this test started, directly or through the program. By the shell: a small system has
/// no program for it.
pub fn send_signal(pid: i32, number: i32) {
    assert!(pid > 1, "no process to signal");
    let done = Command::new("sh").args(["-c", &format!("kill -{number} {pid}")]).status().expect("kill starts");
    assert!(done.success(), "signal {number} to {pid}");
}

/// Polls until it is so.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same command with all signals as they are on a terminal: whoever runs the tests by nohup, or in the background of a script, has
/// SIGHUP, SIGINT and SIGQUIT ignored in all that they start. Of its environment what was set comes along, not that the rest was cleared.
pub fn on_a_terminal(inner: &Command) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Host pids in a v2 cgroup and everything below it, sorted.
pub fn pids_below(group: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            pids.extend(pids_below(&entry.path()));
        }
    }
    pids.sort_unstable();
    pids
}

/// Children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let parent = |child: &i32| field(*child, "PPid").and_then(|v| v.parse::<i32>().ok());
    all_pids().into_iter().filter(|child| parent(child) == Some(pid)).collect()
}

/// Every process of the host.
pub fn all_pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|e| e.file_name().to_str().and_then(|n| n.parse().ok())).collect()
}

/// A process's command line, with spaces; empty where it is gone.
pub fn cmdline(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Processes whose command line holds a word that only this test uses, and that are no zombies.
pub fn marked(word: &str) -> Vec<i32> {
    all_pids().into_iter().filter(|pid| cmdline(*pid).contains(word)).collect()
}

/// A line of /proc/PID/status.
pub fn field(pid: i32, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(":").map(|v| v.trim().to_string()))
}

/// Whether a process is gone, or only waits to be reaped.
pub fn is_gone(pid: i32) -> bool {
    field(pid, "State").is_none_or(|state| state.starts_with('Z') || state.starts_with('X'))
}
