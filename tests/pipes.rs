//! Whoever reads what a command prints may go at any time, and a disk may be full: that is an end in good order or an error, and
//! never a panic.

mod common;
mod support;

use serde_json::json;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use support::backend::Counting;
use support::{BIN, Place, need_root, traces};

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A disk without space.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

fn run(command: &mut Command, stdout: Stdio) -> Output {
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().expect("it starts");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{command:?}: {said}");
    output
}

/// What needs neither root nor time, with a state directory to look into.
fn quick(place: &Place) -> Vec<Vec<String>> {
    let state = place.path("state").display().to_string();
    let lines = [
        "--help",
        "--version",
        "grade --help",
        "policy show",
        "policy show test",
        "policy show --json",
        "policy explain ptrace",
        "policy explain ptrace --json",
        "policy diff build test",
        "policy diff build test --json",
        "spool list --state-dir STATE",
        "spool list --json --state-dir STATE",
        "mock-backend --listen 127.0.0.1:0",
    ];
    let words = |line: &str| line.split(' ').map(|word| word.replace("STATE", &state)).collect();
    lines.into_iter().map(words).collect()
}

#[test]
fn a_closed_pipe_ends_any_command_quietly() {
    let place = Place::new();
    for words in quick(&place) {
        let output = run(Command::new(BIN).args(&words), closed());
        let differ = i32::from(words.get(1).is_some_and(|word| word == "diff"));
        assert_eq!(output.status.code(), Some(differ), "{words:?}: {output:?}");
        // Its last line, which is on standard error.
        assert!(output.stderr.is_empty() || words[0] == "mock-backend", "{words:?}: {output:?}");
    }
}

#[test]
fn a_full_disk_is_an_error_and_says_so() {
    let place = Place::new();
    for words in
        quick(&place).into_iter().filter(|words| !words.iter().any(|word| word.starts_with("--v") || word == "--help"))
    {
        let output = run(Command::new(BIN).args(&words), full());
        assert!(matches!(output.status.code(), Some(1 | 2)), "{words:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("standard output cannot be written to: No space left"), "{words:?}: {said}");
    }
}

#[test]
fn streams_that_were_closed_beforehand_change_no_exit_code() {
    for script in ["exec \"$0\" policy show >&- 2>&-", "exec \"$0\" policy show nowhere 2>&-"] {
        let code = Command::new("sh").args(["-c", script, BIN]).stdout(Stdio::null()).status().expect("sh").code();
        assert_eq!(code, Some(if script.contains("nowhere") { 2 } else { 0 }), "{script}");
    }
}

#[test]
fn a_command_that_nobody_reads_ends_as_if_it_had_written_itself() {
    if !need_root("a_command_that_nobody_reads_ends_as_if_it_had_written_itself") {
        return;
    }
    let place = common::Place::new();
    let groups = place.groups();
    let output = run(place.exec(&["--timeout", "600"]).args(["--", "sh", "-c", "while echo y; do :; done"]), closed());
    assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0), "{output:?}");
    let output = run(place.exec(&["--timeout", "600"]).args(["--", "sh", "-c", "while echo y; do :; done"]), full());
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("output cannot be written: No space left"), "{output:?}");
    let output = run(place.exec(&["--print-plan"]).args(["--", "true"]), closed());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    place.nothing_left(&groups);
}

#[test]
fn a_grading_that_nobody_reads_keeps_its_files_and_leaves_nothing() {
    if !need_root("a_grading_that_nobody_reads_keeps_its_files_and_leaves_nothing") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", &[("Makefile", "all:\n")]);
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    for (stdout, code) in [(closed(), 0), (full(), 2)] {
        let json = place.path("result.json");
        let mut command = place.command(&["grade"]);
        command.arg(&project).arg("--tests").arg(&suite).arg("--json").arg(&json);
        let output = run(&mut command, stdout);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        std::fs::remove_file(&json).expect("the result is there");
    }
    let output = run(place.command(&["check"]).arg("--tests").arg(&suite), closed());
    assert!(matches!(output.status.code(), Some(0 | 1)) && output.stderr.is_empty(), "{output:?}");
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
    assert_eq!(place.groups(), Vec::<PathBuf>::new());
}

#[test]
fn a_runner_whose_log_nobody_reads_goes_on_grading() {
    if !need_root("a_runner_whose_log_nobody_reads_goes_on_grading") {
        return;
    }
    let place = Place::new();
    place.repository("good", &[("Makefile", "all:\n")]);
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let task = json!({"attempt": 7, "repositoryUrl": "https://course.example/good", "branch": "main"});
    let backend = Counting::start([task], || ());
    let mut runner = place.runner(&backend.url, &suite);
    runner.args(["--once", "--logger-level", "debug"]).stdin(Stdio::null()).stdout(closed()).stderr(closed());
    assert_eq!(runner.status().expect("it starts").code(), Some(0));
    assert_eq!(backend.books().taken[0]["testResults"]["isPassed"], true);
}
