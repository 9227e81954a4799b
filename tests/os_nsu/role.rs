//! A login that is good and not good enough, and the configuration that has another.

use super::{Backend, TOP, task};
use crate::common::{self, wait_until};
use crate::support::{Place, need_root};
use serde_json::{Value, json};
use std::path::Path;

#[test]
fn a_runner_without_the_role_says_so_and_asks_slowly() {
    if !need_root("a_runner_without_the_role_says_so_and_asks_slowly") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    place.repository("good.git", &[("a.c", "")]);
    let rest = json!({"repositoryUrl": "https://course.example/good.git", "branch": "main"});
    let backend = Backend::start(&place, &json!([task(1, true, &rest)]), &[]);
    let log = place.path("log");
    // The default login, at the default level.
    let mut runner = place.runner(&backend.url(), &suite);
    let mut runner = runner.arg("--auth").arg("--logger-output").arg(&log).spawn().expect("it starts");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_until("the log to name the role", || said().contains("the role STUDENT"));
    common::send_signal(i32::try_from(runner.id()).expect("a pid"), 15);
    assert!(runner.wait().expect("it ends").success());
    let said = said();
    assert_eq!(said.matches("HTTP 403").count(), 1, "{said}");
    assert!(said.contains("\"dora_explorer\" has the role STUDENT, and this takes the role ADMIN"), "{said}");
    assert!(said.contains("--login") && said.contains("the next try is in 30 s"), "{said}");
    assert_eq!(backend.page("/counts")["handedOut"], 0);

    // Once is enough for --once.
    let once = place.runner(&backend.url(), &suite).args(["--auth", "--once"]).output().expect("it starts");
    assert!(!once.status.success());
    assert!(String::from_utf8_lossy(&once.stderr).contains("the role ADMIN"), "{once:?}");

    // And `check` says it before.
    let check = |user: &str, password: &str| {
        let mut command =
            place.command(&["check", "--json", "--auth", "--backend-url", &backend.url(), "--login", user]);
        let output = command.arg("--tests").arg(&suite).env("OSTEST_PASSWORD", password).output().expect("it starts");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let findings = report["findings"].as_array().expect("a list").clone();
        let login = findings.into_iter().find(|finding| finding["name"] == "login").expect("a finding");
        let text = |name: &str| login[name].as_str().expect("text").to_string();
        (text("grade"), text("found"), text("remedy"))
    };
    let (grade, found, remedy) = check("dora_explorer", "dora_explorer");
    assert!(grade == "red" && found.contains("the role STUDENT") && remedy.contains("ADMIN"), "{found}; {remedy}");
    let (grade, found, remedy) = check("runner", "wr0ng");
    assert!(
        grade == "red" && found.contains("Wrong password") && remedy.contains("OSTEST_PASSWORD"),
        "{found}; {remedy}"
    );
    assert!(!found.contains("wr0ng"));
    let (grade, found, _) = check("runner", "runner");
    assert!(grade == "green" && found.contains("the role ADMIN"), "{found}");
    assert_eq!(backend.page("/counts")["handedOut"], 0, "no task was taken");
}

#[test]
fn the_example_configuration_is_for_this_backend() {
    let text = std::fs::read_to_string(Path::new(TOP).join("examples/os-nsu.toml")).expect("it can be read");
    let file = ostest_sandbox::config::FileOptions::parse(&text).unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(file.error_limit.map(|limit| limit.0.get()), Some(255));
    assert_eq!(file.memory_unit.map(|unit| unit.0.to_string()).as_deref(), Some("MiB"));
    assert_eq!(file.auth, Some(true));
    assert!(file.login.is_some_and(|login| login != "dora_explorer"));
    assert_eq!(file.password, None, "no password stands in a file that everybody reads");
}
