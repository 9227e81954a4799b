//! `policy`, the real binary: what it prints, and how it ends. Needs no root.

use serde_json::Value;
use std::process::{Command, Output};

fn policy(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ostest-sandbox")).arg("policy").args(args).output().unwrap()
}

#[track_caller]
fn text(args: &[&str], code: i32) -> String {
    let output = policy(args);
    let said = String::from_utf8_lossy(if code == 2 { &output.stderr } else { &output.stdout }).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

#[track_caller]
fn parsed(args: &[&str], code: i32) -> Value {
    serde_json::from_str(&text(&[args, &["--json"]].concat(), code)).unwrap()
}

#[test]
fn show_has_every_call_once_and_counts_them() {
    for arch in ["x86_64", "aarch64"] {
        let shown = parsed(&["show", "test", "--arch", arch], 0);
        let calls = shown["calls"].as_array().unwrap();
        let count = |verdict: &str| calls.iter().filter(|call| call["verdict"] == verdict).count();
        for verdict in ["allowed", "conditional", "refused"] {
            assert_eq!(shown[verdict], count(verdict), "{verdict} on {arch}");
        }
        assert_eq!(calls.len(), count("allowed") + count("conditional") + count("refused"));
        assert!(calls.iter().all(|call| call["number"].is_u64()), "a call has no number on {arch}");
        let last = text(&["show", "test", "--arch", arch], 0);
        let wanted = format!("test: {} allowed, ", count("allowed"));
        assert!(last.lines().last().unwrap().starts_with(&wanted), "{last}");
    }
    let all = text(&["show"], 0);
    assert!(
        all.lines().any(|line| line.split_whitespace().eq(["ptrace", "EPERM", "allowed", "allowed", "EPERM"])),
        "{all}"
    );
}

#[test]
fn explain_tells_by_name_and_by_number() {
    let by_name = text(&["explain", "io_uring_setup", "--arch", "x86_64"], 0);
    assert_eq!(by_name, text(&["explain", "425", "--arch", "x86_64"], 0));
    assert!(
        by_name.contains("fetch, build, test, init: refused with EPERM") && by_name.contains("instead: "),
        "{by_name}"
    );
    let explained = parsed(&["explain", "socket"], 0);
    let build = &explained["stages"]["build"];
    assert_eq!((&build["verdict"], &build["errno"]), (&Value::from("conditional"), &Value::from("EPERM")));
    assert!(explained["stages"]["fetch"]["seen"].as_array().unwrap().contains(&Value::from("git-remote-https")));
    let nobody = text(&["explain", "9999"], 0);
    assert!(nobody.contains("No call has the number 9999") && nobody.contains("answered ENOSYS"), "{nobody}");
    assert!(text(&["explain", "nonsense"], 2).contains("there is no system call \"nonsense\""));
}

#[test]
fn diff_ends_as_diff_does() {
    assert_eq!(text(&["diff", "test", "test"], 0), "");
    let found = parsed(&["diff", "build", "test"], 1);
    assert!(found["more"].as_array().unwrap().contains(&Value::from("vmsplice")), "{found}");
    assert_eq!(found["less"], Value::Array(Vec::new()));
    // The policy's own file is the policy.
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/test.json");
    assert_eq!(text(&["diff", "test", file], 0), "");
    assert!(text(&["diff", "test", "no-such.json"], 2).contains("no-such.json cannot be read"));
    assert!(text(&["diff", "test", "tset"], 2).contains("the stages are fetch, build, test, init"));
}

#[test]
fn the_manual_has_the_figures() {
    let manual = include_str!("../docs/operators.md");
    for (stage, row) in [("fetch", "fetch, prepare"), ("build", "build"), ("test", "test"), ("init", "pid 1 (`init`)")]
    {
        let shown = parsed(&["show", stage, "--arch", "x86_64"], 0);
        let line = format!("| {row} | {} | {} | {} |", shown["allowed"], shown["conditional"], shown["refused"]);
        assert!(manual.contains(&line), "docs/operators.md, System calls: the line of {stage} is now {line:?}");
        assert!(
            manual.contains(&format!("Of the {} calls", shown["kernel"])),
            "docs/operators.md: {}",
            shown["kernel"]
        );
    }
}

#[test]
fn groups_say_what_they_open_and_what_is_given_up() {
    let groups = parsed(&["groups"], 0);
    let groups = groups.as_array().unwrap();
    let plain = text(&["groups"], 0);
    for group in groups {
        let name = group["group"].as_str().unwrap();
        let risk = group["risk"].as_str().unwrap();
        assert!(
            plain.contains(&format!("\n    risk: {risk}\n")) && plain.contains(&format!("{name}\n    ")),
            "{plain}"
        );
        // Each opens something: diff finds differences.
        assert!(text(&["diff", "test", &format!("test+{name}")], 1).contains('+'), "{name}");
    }
    assert_eq!(groups.len(), 7);
    let shown = parsed(&["show", "test", "--allow", "perf", "--allow", "io_uring"], 0);
    let verdict = |call: &str| {
        shown["calls"].as_array().unwrap().iter().find(|one| one["call"] == call).unwrap()["verdict"].clone()
    };
    assert_eq!((verdict("perf_event_open"), verdict("io_uring_enter")), ("conditional".into(), "allowed".into()));
    assert!(text(&["show", "build", "--allow", "perf"], 2).contains("test stage alone"));
    assert!(text(&["diff", "test", "test+nothing"], 2).contains("seccomp-notify"));
    assert!(text(&["explain", "mount"], 0).contains("allow = [\"containers\"]"));
    assert!(!text(&["explain", "fsopen"], 0).contains("allow = "), "it stays refused");
}
