//! The runner as a service manager sees it: what it says on the manager's socket, and what it keeps from the programs that it
//! starts. The manager is played by the test; systemd itself is in tests/systemd/.

mod common;
mod support;

use serde_json::json;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use support::{BIN, Place, need_root};

/// The socket of a manager, which is always read: who speaks to one that is full waits.
struct Socket {
    heard: Receiver<String>,
    path: PathBuf,
    said: Vec<String>,
}

impl Socket {
    fn bind(place: &Place) -> Socket {
        let path = place.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let (send, heard) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if text.lines().any(|line| send.send(line.to_string()).is_err()) {
                    return;
                }
            }
        });
        Socket { heard, path, said: Vec::new() }
    }

    /// Reads until something is said that begins like this; the whole line.
    #[track_caller]
    fn wait_for(&mut self, line: &str) -> String {
        loop {
            let heard = self.heard.recv_timeout(common::PATIENCE);
            let heard = heard.unwrap_or_else(|e| panic!("{line}: {e}; so far {:#?}", self.said));
            self.said.push(heard.clone());
            if heard.starts_with(line) {
                return heard;
            }
        }
    }
}

/// A process that ends with the test, whatever becomes of it.
struct Started(Child);

impl Started {
    /// Told to stop; its exit code.
    fn stop(mut self) -> Option<i32> {
        common::send_signal(self.0.id() as i32, 15);
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mock backend.
struct Backend {
    url: String,
    _process: Started,
}

impl Backend {
    fn start(place: &Place, tasks: &serde_json::Value) -> Backend {
        let file = place.path("tasks.json");
        std::fs::write(&file, tasks.to_string()).expect("the tasks are written");
        let mut child = Command::new(BIN)
            .args(["mock-backend", "--listen", "127.0.0.1:0", "--tasks"])
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the mock backend starts");
        let mut first = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut first).expect("it says where it listens");
        let url = first.split_whitespace().find(|w| w.starts_with("http://")).expect("a URL").to_string();
        Backend { url, _process: Started(child) }
    }
}

/// The runner as the manager would start it.
fn runner(place: &Place, socket: &Socket, url: &str, suite: &Path) -> Started {
    let mut runner = place.command(&["--backend-url", url, "--check-interval", "0.2"]);
    runner
        .arg("--tests")
        .arg(suite)
        .env("NOTIFY_SOCKET", &socket.path)
        .env("WATCHDOG_USEC", "400000")
        .env_remove("WATCHDOG_PID");
    Started(runner.args(["--allow-url", "https://course.example/"]).spawn().expect("the runner starts"))
}

#[test]
fn the_manager_hears_that_it_is_ready_alive_and_stopping() {
    if !need_root("the_manager_hears_that_it_is_ready_alive_and_stopping") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let backend = Backend::start(&place, &json!([]));
    let mut socket = Socket::bind(&place);
    let runner = runner(&place, &socket, &backend.url, &suite);
    socket.wait_for("READY=1");
    let before: Vec<_> = socket.said.iter().filter(|line| !line.starts_with("STATUS=looking")).collect();
    assert_eq!(before, ["READY=1"], "nothing is promised before it is ready");
    assert_eq!(socket.wait_for("STATUS="), "STATUS=2 slots, 0 busy");
    for _ in 0..3 {
        socket.wait_for("WATCHDOG=1");
    }
    // Without a backend it is alive all the same, and the line says what is wrong.
    drop(backend);
    let said = socket.wait_for("STATUS=2 slots, 0 busy; ");
    assert!(said.contains("no tasks come: asking for a task failed"), "{said}");
    socket.wait_for("WATCHDOG=1");

    assert_eq!(runner.stop(), Some(0));
    socket.wait_for("STOPPING=1");
    let more = socket.wait_for("EXTEND_TIMEOUT_USEC=");
    let micros: u64 = more.split_once('=').and_then(|(_, n)| n.parse().ok()).expect("a number");
    // A task may run for ten minutes.
    assert!(micros > 600_000_000, "{more}");
    socket.wait_for("STATUS=finishing what runs, no new tasks");
}

#[test]
fn a_result_that_waits_is_in_the_line() {
    if !need_root("a_result_that_waits_is_in_the_line") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    // Refused before anything is fetched, so the answer is made at once.
    let task = json!([{"attempt": 7, "repositoryUrl": "https://elsewhere.example/x", "branch": "main"}]);
    let backend = Backend::start(&place, &task);
    let mut socket = Socket::bind(&place);
    let runner = runner(&place, &socket, &backend.url, &suite);
    let waits = socket.wait_for("STATUS=2 slots, 0 busy; 1 result waits for the backend");
    assert!(waits.ends_with("backend"), "{waits}");
    assert_eq!(runner.stop(), Some(0));
    socket.wait_for("STOPPING=1");
}

#[test]
fn programs_outside_learn_neither_the_socket_nor_the_password() {
    if !need_root("programs_outside_learn_neither_the_socket_nor_the_password") {
        return;
    }
    let place = Place::new();
    let (seen, wrapper, file) = (place.path("seen"), place.path("python"), place.path("config.toml"));
    // An interpreter that notes with what it was started.
    let script = format!("#!/bin/sh\nenv >>{}\nexec python3 \"$@\"\n", seen.display());
    std::fs::write(&wrapper, script).expect("a file");
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::write(&file, format!("python = {:?}\n", wrapper.display().to_string())).expect("a file");
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let socket = Socket::bind(&place);
    let output = place
        .command(&["check", "--json"])
        .arg("--config")
        .arg(&file)
        .arg("--tests")
        .arg(&suite)
        .env("NOTIFY_SOCKET", &socket.path)
        .env("WATCHDOG_USEC", "400000")
        .env("CREDENTIALS_DIRECTORY", "/run/credentials/x")
        .env("OSTEST_PASSWORD", "swordfish")
        .output()
        .expect("check starts");
    let seen = std::fs::read_to_string(&seen).unwrap_or_else(|e| panic!("it was not asked ({e}): {output:?}"));
    assert!(seen.contains("PATH="), "{seen}");
    for kept in ["NOTIFY_SOCKET", "WATCHDOG", "CREDENTIALS_DIRECTORY", "OSTEST", "swordfish"] {
        assert!(!seen.contains(kept), "{kept} is handed down: {seen}");
    }
    let said = format!("{output:?}");
    assert!(!said.contains("swordfish"), "{said}");
}

/// A run that fails for an empty password file; what it says, to a file that `stream` tells of as the journal's.
fn last_words(place: &Place, stream: impl Fn(&std::fs::Metadata) -> String) -> String {
    let (password, said) = (place.path("password"), place.path("said"));
    std::fs::write(&password, "\n").expect("a file");
    let output = std::fs::File::create(&said).expect("a file");
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let mut command = place.command(&["--auth", "--once"]);
    command.arg("--tests").arg(suite).arg("--password-file").arg(&password).env_remove("OSTEST_PASSWORD");
    command.env("JOURNAL_STREAM", stream(&output.metadata().expect("metadata"))).stderr(output);
    assert_eq!(command.status().expect("it starts").code(), Some(2));
    std::fs::read_to_string(&said).expect("text")
}

#[test]
fn a_password_that_was_forgotten_is_said_with_a_priority_only_where_the_journal_listens() {
    let place = Place::new();
    let to_the_journal = last_words(&place, |file| format!("{}:{}", file.dev(), file.ino()));
    assert!(to_the_journal.starts_with("<3>ostest-sandbox: --password-file: the password file"), "{to_the_journal}");
    assert!(to_the_journal.contains("has no first line"), "{to_the_journal}");
    // The variable of a service that has put a file in the journal's place.
    let to_a_file = last_words(&place, |file| format!("{}:{}", file.dev(), file.ino() + 1));
    assert!(to_a_file.starts_with("ostest-sandbox: --password-file: the password file"), "{to_a_file}");
}
