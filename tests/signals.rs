//! Signals mean what they say from the first instant, and whoever ends a command by one finds nothing left of it.

mod common;
mod support;

use common::{PATIENCE, field, is_gone, send_signal, wait_until};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::backend::Counting;
use support::{Place, need_root, traces};

const HUP: i32 = 1;
const STOP: i32 = 19;
const CONT: i32 = 18;
const INT: i32 = 2;
const TERM: i32 = 15;

/// How many instants are tried.
const INSTANTS: u32 = 24;

/// A runner whose log goes to a file. It ends with the test.
struct Runner {
    child: Child,
    log: PathBuf,
}

impl Runner {
    fn start(command: Command, log: PathBuf) -> Runner {
        let mut command = common::on_a_terminal(&command);
        let file = File::create(&log).expect("a file for the log");
        command.args(["--logger-level", "info"]).stdout(file.try_clone().expect("a file")).stderr(file);
        Runner { child: command.stdin(Stdio::null()).spawn().expect("the runner starts"), log }
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The exit code; none where a signal ended it.
    #[track_caller]
    fn wait(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().expect("it is ours") {
                Some(status) => return status.code(),
                None => assert!(Instant::now() < until, "it does not end: {}", self.said()),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration that is a pipe: whoever reads it waits until something is written.
struct Fifo(PathBuf);

impl Fifo {
    fn make(path: PathBuf) -> Fifo {
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo starts");
        assert!(made.success());
        Fifo(path)
    }

    /// Waits until it is being read.
    #[track_caller]
    fn reader(&self) -> File {
        let mut opened = None;
        wait_until("the configuration is read", || {
            // ENXIO as long as nobody reads.
            opened = File::options().write(true).custom_flags(libc_nonblock()).open(&self.0).ok();
            opened.is_some()
        });
        opened.expect("just opened")
    }
}

/// O_NONBLOCK.
fn libc_nonblock() -> i32 {
    0o4000
}

fn suite(place: &Place) -> PathBuf {
    place.tree("suite", &[("test_a.py", "def test_a(): pass\n")])
}

fn runner(place: &Place, url: &str, suite: &Path) -> Command {
    std::fs::create_dir_all(place.path("git")).expect("a directory");
    place.runner(url, suite)
}

/// Whether a process has a handler for a signal.
fn catches(pid: i32, signal: i32) -> bool {
    let mask = field(pid, "SigCgt").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    mask.unwrap_or(0) >> (signal - 1) & 1 == 1
}

#[test]
fn a_runner_that_has_read_nothing_yet_ends_or_reads_again_as_it_is_told() {
    if !need_root("a_runner_that_has_read_nothing_yet_ends_or_reads_again_as_it_is_told") {
        return;
    }
    let place = Place::new();
    let (suite, backend) = (suite(&place), Counting::start([], || ()));
    for signal in [TERM, INT, HUP] {
        let fifo = Fifo::make(place.path(&format!("config-{signal}.toml")));
        let mut command = runner(&place, &backend.url, &suite);
        command.arg("--config").arg(&fifo.0);
        let mut runner = Runner::start(command, place.path(&format!("log-{signal}")));
        let mut config = fifo.reader();
        // Whoever reads it a second time reads an ordinary file.
        let next = place.tree("next", &[("config.toml", "concurrent = 1\n")]).join("config.toml");
        std::fs::rename(next, &fifo.0).expect("it is put in its place");
        send_signal(runner.pid(), signal);
        config.write_all(b"concurrent = 1\n").expect("it reads");
        drop(config);
        if signal == HUP {
            wait_until("the configuration was read again", || runner.said().contains("was read again, and holds"));
            assert!(runner.child.try_wait().expect("it is ours").is_none(), "{}", runner.said());
            send_signal(runner.pid(), TERM);
        }
        assert_eq!(runner.wait(), Some(0), "signal {signal}: {}", runner.said());
    }
    assert_eq!(place.groups(), Vec::<PathBuf>::new());
}

#[test]
fn whenever_it_is_told_to_stop_a_runner_ends_in_good_order() {
    if !need_root("whenever_it_is_told_to_stop_a_runner_ends_in_good_order") {
        return;
    }
    let place = Place::new();
    let (suite, backend) = (suite(&place), Counting::start([], || ()));
    let mut ends = Vec::new();
    for number in 0..INSTANTS {
        let mut runner = Runner::start(runner(&place, &backend.url, &suite), place.path("log"));
        let pid = runner.pid();
        wait_until("the runner's first instruction", || catches(pid, TERM) || is_gone(pid));
        // At another point of its start each time.
        std::thread::sleep(Duration::from_millis(u64::from(number * number)));
        send_signal(pid, TERM);
        ends.push(runner.wait());
        assert_eq!(traces(&place.path("state")), Vec::<String>::new(), "{}", runner.said());
    }
    assert!(ends.iter().all(|end| *end == Some(0)), "{ends:?}");
    assert_eq!(place.groups(), Vec::<PathBuf>::new());
}

#[test]
fn whenever_it_is_told_to_read_again_a_runner_goes_on() {
    if !need_root("whenever_it_is_told_to_read_again_a_runner_goes_on") {
        return;
    }
    let place = Place::new();
    let (suite, backend) = (suite(&place), Counting::start([], || ()));
    let mut runner = Runner::start(runner(&place, &backend.url, &suite), place.path("log"));
    let pid = runner.pid();
    wait_until("the runner's first instruction", || catches(pid, HUP) || is_gone(pid));
    for number in 0..INSTANTS {
        send_signal(pid, HUP);
        std::thread::sleep(Duration::from_millis(u64::from(number * 4)));
    }
    backend.wait("it asks", |books| books.asked > 0);
    wait_until("the configuration was read again", || runner.said().contains("was read again, and holds"));
    send_signal(pid, TERM);
    assert_eq!(runner.wait(), Some(0), "{}", runner.said());
}

#[test]
fn a_terminal_that_is_closed_ends_exec_and_leaves_nothing() {
    if !need_root("a_terminal_that_is_closed_ends_exec_and_leaves_nothing") {
        return;
    }
    let place = common::Place::new();
    let groups = place.groups();
    let running = place.start_by(common::on_a_terminal(&place.exec(&[])), &["sleep", "600"]);
    let inside = place.wait_for_pids(&groups, 2);
    running.signal(HUP);
    let run = running.wait();
    assert_eq!((run.code, run.verdict()), (Some(137), "interrupted"), "{}", run.stderr);
    assert!(inside.into_iter().all(is_gone));
    place.nothing_left(&groups);
}

#[test]
fn whenever_its_terminal_is_closed_exec_says_that_it_was_interrupted() {
    if !need_root("whenever_its_terminal_is_closed_exec_says_that_it_was_interrupted") {
        return;
    }
    let place = common::Place::new();
    let groups = place.groups();
    for number in 0..24 {
        let running = place.start_by(common::on_a_terminal(&place.exec(&[])), &["sleep", "600"]);
        // From the first instruction that hears of it to when the command is about to begin.
        match number % 4 {
            0 => wait_until("the first instruction", || catches(running.pid(), HUP) || is_gone(running.pid())),
            3 => {
                // The launcher hears at once that the command is there and that it is to end.
                let launcher = running.launcher();
                place.wait_for_pids(&groups, 2);
                send_signal(launcher, STOP);
                running.signal(HUP);
                send_signal(launcher, CONT);
            }
            processes => drop(place.wait_for_pids(&groups, processes)),
        }
        running.signal(HUP);
        let run = running.wait();
        assert_eq!(run.code, Some(137), "{number}: {}", run.stderr);
        assert!(!run.stderr.contains("could not be made"), "{number}: {}", run.stderr);
        place.nothing_left(&groups);
    }
}

#[test]
fn a_terminal_that_is_closed_ends_a_grading_and_leaves_nothing() {
    if !need_root("a_terminal_that_is_closed_ends_a_grading_and_leaves_nothing") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", &[("main.c", "int main(void) { return 0; }\n")]);
    let suite = place.tree("suite", &[("ostest.toml", "[build]\ncommand = [\"sleep\", \"600\"]\n"), ("test_a.py", "")]);
    let mut command = place.command(&["grade"]);
    command.arg(&project).arg("--tests").arg(suite);
    let mut grading = Runner::start(command, place.path("log"));
    wait_until("the build sleeps", || has_sleep(grading.pid()));
    send_signal(grading.pid(), HUP);
    assert_eq!(grading.wait(), Some(2), "{}", grading.said());
    assert!(grading.said().contains("interrupted"), "{}", grading.said());
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
    assert_eq!(place.groups(), Vec::<PathBuf>::new());
}

fn has_sleep(parent: i32) -> bool {
    common::children(parent).into_iter().any(|pid| common::cmdline(pid).starts_with("sleep 600") || has_sleep(pid))
}

#[test]
fn who_was_started_by_nohup_outlives_its_terminal() {
    if !need_root("who_was_started_by_nohup_outlives_its_terminal") {
        return;
    }
    let place = common::Place::new();
    let groups = place.groups();
    let program = place.exec(&["--", "sleep", "600"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
    let mut child = shell.env_clear().env("PATH", "/usr/bin:/bin").spawn().expect("sh starts");
    let inside = place.wait_for_pids(&groups, 2);
    send_signal(child.id() as i32, HUP);
    // The second signal is told from the first one by what it does.
    send_signal(child.id() as i32, HUP);
    assert!(child.try_wait().expect("it is ours").is_none() && !inside.iter().any(|pid| is_gone(*pid)));
    send_signal(child.id() as i32, TERM);
    assert_eq!(child.wait().expect("it is ours").code(), Some(137));
    place.nothing_left(&groups);
}

#[test]
fn a_log_that_was_moved_away_while_a_runner_starts_is_opened_anew() {
    if !need_root("a_log_that_was_moved_away_while_a_runner_starts_is_opened_anew") {
        return;
    }
    let place = Place::new();
    place.own_cache();
    let (suite, backend) = (suite(&place), Counting::start([], || ()));
    // A start that takes as long as this index lets it: it answers nobody.
    let index = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = index.local_addr().expect("an address").port();
    let mut command = runner(&place, &backend.url, &suite);
    let log = place.path("runner.log");
    command.args(["--allow-internal", &format!("127.0.0.1:{port}"), "--logger-output"]).arg(&log);
    command.env("PIP_INDEX_URL", format!("http://127.0.0.1:{port}/simple")).env("PIP_NO_INDEX", "0");
    command.env("PIP_FIND_LINKS", "");
    let mut runner = Runner::start(command, place.path("output"));
    let (_pip, _) = index.accept().expect("pip asks");
    std::fs::rename(&log, place.path("moved.log")).expect("it is moved");
    send_signal(runner.pid(), HUP);
    wait_until("a new file", || log.exists());
    send_signal(runner.pid(), TERM);
    assert_eq!(runner.wait(), Some(0), "{}", runner.said());
}
