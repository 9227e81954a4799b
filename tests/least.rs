//! Limits under which nothing can start are refused before a task is taken, and what works instead is found out. Needs root.

mod common;
mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use support::backend::Counting;
use support::{Place, need_root};

/// The finding of this name: its grade and what was found.
fn finding(output: &Output, name: &str) -> (String, String) {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let found = report["findings"].as_array().expect("a list").iter().find(|finding| finding["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no finding {name}: {report:#}"));
    let text = |key: &str| found[key].as_str().expect("text").to_string();
    (text("grade"), text("found"))
}

fn check(place: &Place, suite: &Path, flags: &[&str]) -> Output {
    let mut command = place.command(&["check", "--json"]);
    command.arg("--tests").arg(suite).args(flags).output().expect("check starts")
}

#[test]
fn limits_that_let_nothing_start_are_red_and_the_least_that_does_is_told() {
    if !need_root("limits_that_let_nothing_start_are_red_and_the_least_that_does_is_told") {
        return;
    }
    let place = Place::new();
    std::fs::create_dir_all(place.path("git")).expect("a directory");
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let output = check(&place, &suite, &["--mem-limit", "1M"]);
    assert_eq!(output.status.code(), Some(2));
    let (grade, found) = finding(&output, "task limits");
    assert!(grade == "red" && found.starts_with("--mem-limit 1.0 MiB: nothing can be graded with it ("), "{found}");
    let least = found.rsplit_once("works here is ").expect("the least").1.strip_suffix(" MiB").expect("MiB");
    let least: f64 = least.parse().expect("a number");

    let backend = Counting::start([json!({"attempt": 1, "repositoryUrl": "https://course.example/x"})], || ());
    let output = place.runner(&backend.url, &suite).args(["--once", "--mem-limit", "1M"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("the least that works here is"), "{said}");
    assert_eq!(backend.books().asked, 0, "no task is taken");

    // What was told is a tenth of a MiB off at the most, and a kernel charges in batches.
    let enough = format!("{}M", (least + 2.0).ceil());
    let (grade, found) = finding(&check(&place, &suite, &["--mem-limit", &enough]), "task limits");
    assert_eq!(grade, "green", "{enough}: {found}");
}

#[test]
fn a_laboratory_with_limits_that_let_nothing_start_is_named() {
    if !need_root("a_laboratory_with_limits_that_let_nothing_start_is_named") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    place.tree(".", &[("config.toml", "[lab.2]\npids-limit = 1\n")]);
    let output = check(&place, &suite, &["--config", &place.path("config.toml").display().to_string()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("[lab.2] pids-limit 1: nothing can be graded with it"), "{said}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn too_few_open_files_are_said_at_the_start_and_a_low_soft_limit_is_none() {
    if !need_root("too_few_open_files_are_said_at_the_start_and_a_low_soft_limit_is_none") {
        return;
    }
    let place = Place::new();
    std::fs::create_dir_all(place.path("git")).expect("a directory");
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let limited = |limit: &str, command: &Command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\"")]);
        shell.arg(command.get_program()).args(command.get_args()).output().expect("sh starts")
    };
    let mut command = place.command(&["check", "--json"]);
    let output = limited("-n 128", command.arg("--tests").arg(&suite));
    let (grade, found) = finding(&output, "open files");
    assert!(grade == "red" && found.contains("128 files open") && found.contains("2 slots need up to"), "{found}");
    let backend = Counting::start([], || ());
    let output = limited("-n 128", place.runner(&backend.url, &suite).arg("--once"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("LimitNOFILE="), "{said}");
    let output = limited("-n 128", &{
        let mut exec = place.command(&["exec"]);
        exec.args(["--", "true"]);
        exec
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(125) && said.contains("LimitNOFILE="), "{said}");

    let output = limited("-S -n 64", &{
        let mut exec = place.command(&["exec"]);
        exec.args(["--", "sh", "-c", "ulimit -n"]);
        exec
    });
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"4096\n"[..]), "{output:?}");
}
