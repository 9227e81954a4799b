//! `check` and the runner's start: the same findings, the same sentences, and the exit code that fits. Needs root.
//!
//! Kernels that lack something are for unit tests and for the virtual machines; here is what can be taken from a host.

mod common;
mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use support::{Place, need_root};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `check --json`: the exit code, the verdict and the findings.
fn check(command: &mut Command) -> (i32, String, Vec<Value>) {
    let output = command.output().expect("the program starts");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
    let findings = answer["findings"].as_array().expect("a list").clone();
    let verdict = answer["verdict"].as_str().expect("a word").to_string();
    (output.status.code().expect("it exits"), verdict, findings)
}

fn finding<'a>(findings: &'a [Value], name: &str) -> &'a Value {
    findings.iter().find(|f| f["name"] == name).unwrap_or_else(|| panic!("no {name} in {findings:#?}"))
}

#[test]
fn this_host_is_fit_and_a_task_of_our_own_shows_it() {
    if !need_root("this_host_is_fit_and_a_task_of_our_own_shows_it") {
        return;
    }
    let place = Place::new();
    let (code, verdict, findings) = check(&mut place.command(&["check", "--json"]));
    assert!(findings.iter().all(|f| f["grade"] != "red"), "{findings:#?}");
    // A host may be degraded; the exit code says what the findings say.
    let worst = if findings.iter().any(|f| f["grade"] == "yellow") { ("yellow", 1) } else { ("green", 0) };
    assert_eq!((verdict.as_str(), code), worst);
    for finding in &findings {
        let keys: Vec<&String> = finding.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["found", "grade", "name", "remedy"]);
        assert_eq!(finding["remedy"] == "", finding["grade"] == "green", "a remedy for what is wrong: {finding}");
    }
    for name in ["canary", "canary verdicts", "canary memory", "canary walls"] {
        assert_eq!(finding(&findings, name)["grade"], "green", "{findings:#?}");
    }

    let lines = place.command(&["check"]).output().expect("the program starts");
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    assert!(lines.lines().all(|l| !l.contains('\x1b')), "no colour where nobody sees it");
    assert!(lines.contains("  canary walls"), "{lines}");
}

#[test]
fn what_is_red_stops_check_and_runner_with_the_same_sentence() {
    if !need_root("what_is_red_stops_check_and_runner_with_the_same_sentence") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let config = place.path("config.toml");
    std::fs::write(&config, "python = \"/nowhere/python3\"\n").expect("a configuration");
    let config = config.to_str().expect("a plain path");

    let (code, verdict, findings) = check(place.command(&["check", "--json"]).args(["--config", config]));
    assert_eq!((code, verdict.as_str()), (2, "red"));
    let python = finding(&findings, "python");
    assert_eq!(python["grade"], "red");
    assert!(python["remedy"].as_str().is_some_and(|r| r.contains("apt-get install python3")), "{python}");
    assert!(findings.iter().all(|f| f["name"] != "canary"), "no task is tried where something is missing");

    let mut runner = place.command(&["--once", "--config", config, "--backend-url", "http://127.0.0.1:9"]);
    let output = runner.arg("--tests").arg(&suite).output().expect("the runner starts");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("not fit to grade"), "{error}");
    assert!(error.contains(python["found"].as_str().expect("a sentence")), "{error}");
    assert!(error.contains(python["remedy"].as_str().expect("a sentence")), "{error}");
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(log.contains("ERROR") && log.contains("check=\"python\""), "{log}");
}

#[test]
fn a_disk_that_is_full_is_said_before_a_task_is_lost() {
    if !need_root("a_disk_that_is_full_is_said_before_a_task_is_lost") {
        return;
    }
    let place = Place::new();
    // A small file system in a mount namespace of this command's own.
    let script = r#"mount -t tmpfs -o size=512k tmpfs "$1" && exec "$2" check --json --state-dir "$1/state""#;
    let small = place.tree("small", &[]);
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&small)
        .arg(support::BIN)
        .output()
        .expect("unshare starts");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
    assert_eq!(output.status.code(), Some(2));
    let dir = finding(answer["findings"].as_array().expect("a list"), "state directory");
    assert_eq!(dir["grade"], "red");
    assert!(dir["remedy"].as_str().is_some_and(|r| r.contains("--state-dir")), "{dir}");
}

/// A server that answers every request in these words, and remembers the first lines of what it was asked.
fn server(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).unwrap_or(0);
            let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
            log.lock().expect("a lock").push(text.lines().next().unwrap_or_default().to_string());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

#[test]
fn a_backend_is_looked_at_and_never_asked_for_a_task() {
    if !need_root("a_backend_is_looked_at_and_never_asked_for_a_task") {
        return;
    }
    let place = Place::new();
    let broken = "allow-degraded = []\npython = \"/nowhere/python3\"\n";
    let config = place.path("config.toml");
    // Red for another reason, so that no canary is run: this is about the backend alone.
    std::fs::write(&config, broken).expect("a configuration");
    let look = |url: &str| {
        let mut command = place.command(&["check", "--json"]);
        let (_, _, findings) = check(command.arg("--config").arg(&config).args(["--backend-url", url]));
        findings
    };
    let (url, asked) =
        server("HTTP/1.1 404 Not Found\r\nDate: Tue, 01 Jan 2019 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n");
    let findings = look(&url);
    assert_eq!(finding(&findings, "backend")["grade"], "green");
    let clock = finding(&findings, "clocks");
    assert_eq!(clock["grade"], "yellow", "{clock}");
    assert_eq!(*asked.lock().expect("a lock"), ["HEAD / HTTP/1.1"]);

    let gone = look("http://127.0.0.1:9");
    let backend = finding(&gone, "backend");
    assert_eq!(backend["grade"], "yellow", "a backend may come up later: {backend}");
    let wrong = look("ftp://127.0.0.1/");
    assert_eq!(finding(&wrong, "backend")["grade"], "red");
}

#[test]
fn limits_that_the_host_has_no_memory_for_are_a_warning() {
    if !need_root("limits_that_the_host_has_no_memory_for_are_a_warning") {
        return;
    }
    let place = Place::new();
    let (code, _, findings) =
        check(place.command(&["check", "--json"]).args(["--concurrent", "500", "--mem-limit", "64G"]));
    let memory = finding(&findings, "memory");
    assert_eq!((code, &memory["grade"]), (1, &"yellow".into()), "{memory}");
    assert_eq!(finding(&findings, "canary")["grade"], "green", "grading works all the same");
}

#[test]
fn the_canary_is_remembered_until_something_changes() {
    if !need_root("the_canary_is_remembered_until_something_changes") {
        return;
    }
    let place = Place::new();
    let state = place.path("own-state");
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    // A cache of its own, with the environment that the others share.
    let cache = state.join("cache");
    std::fs::create_dir_all(&cache).expect("a cache");
    let shared = std::fs::canonicalize(place.path("state").join("cache")).expect("the shared cache");
    for entry in std::fs::read_dir(shared).expect("the shared cache").flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("venv-") && entry.path().is_dir() {
            std::os::unix::fs::symlink(entry.path(), cache.join(name)).expect("a link");
        }
    }
    let records = || {
        let all = std::fs::read_dir(&cache).expect("a cache").flatten().map(|e| e.file_name());
        let mut all: Vec<_> = all.filter(|n| n.to_string_lossy().starts_with("canary-")).collect();
        all.sort();
        all
    };
    let tasks = place.path("tasks.json");
    std::fs::write(&tasks, "[]").expect("no tasks");
    let mut backend = Command::new(support::BIN)
        .args(["mock-backend", "--listen", "127.0.0.1:0", "--tasks"])
        .arg(&tasks)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the mock backend starts");
    let mut line = String::new();
    BufReader::new(backend.stdout.take().expect("a pipe")).read_line(&mut line).expect("it says where it listens");
    let url = line.split_whitespace().find(|w| w.starts_with("http://")).expect("a URL");
    let start = |more: &[&str]| {
        let mut command = Command::new(support::BIN);
        command.arg("--state-dir").arg(&state).arg("--tests").arg(&suite).args(["--once", "--logger-level", "info"]);
        let output = command.args(["--backend-url", url]).args(more).output().expect("the runner starts");
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let log = start(&[]);
    assert!(log.contains("fetched the submission"), "{log}");
    let first = records();
    assert_eq!(first.len(), 1);
    let again = start(&[]);
    assert!(!again.contains("fetched the submission"), "it was run again: {again}");
    assert_eq!(records(), first);
    let waived = start(&["--allow-degraded", "swap-limit"]);
    assert!(waived.contains("fetched the submission"), "on other terms it is run again: {waived}");
    assert_eq!(records().len(), 2);
    assert!(!state.join("work").read_dir().is_ok_and(|mut all| all.next().is_some()), "nothing is left");
    backend.kill().expect("it can be killed");
    backend.wait().expect("it ends");
}
