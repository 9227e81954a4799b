//! CPython's own tests of everything that starts programs: in the harness each has to come out as it does in a sandbox without
//! one, with the same interpreter and the same user.
//!
//! The interpreter's `test` package has to be installed (Debian: libpython3.11-testsuite, or whatever its version is).

#[path = "../common/mod.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use std::process::Command;
use support::{Place, need_root};

const OUTCOMES: &str = include_str!("outcomes.py");

/// What the line that begins with OUTCOMES says.
fn told(text: &str) -> Value {
    let line = text.lines().find_map(|line| line.strip_prefix("OUTCOMES "));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no outcomes in: {text}"))).expect("a line of JSON")
}

#[test]
fn what_starts_programs_works_in_the_harness_as_without_it() {
    let name = "what_starts_programs_works_in_the_harness_as_without_it";
    if !need_root(name) {
        return;
    }
    let python = |code: &str| {
        let output = Command::new("python3").args(["-c", code]).output().expect("python3 starts");
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    assert_eq!(
        python("import test.test_subprocess, test.test_posix; print('there')"),
        "there",
        "the interpreter's own tests are missing: apt-get install libpython3.11-testsuite, or of whatever version it is"
    );
    let place = Place::new();
    let project = place.tree("project", &[("README", "")]);
    let suite = place.tree("suite", &[("test_outcomes.py", OUTCOMES)]);
    let limits = ["--mem-limit", "1G", "--timeout", "900"];
    // Some of them are left out in a virtual environment, which the suite's Python is.
    let venv = place.path("venv");
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&venv).status();
    assert!(made.expect("python3 starts").success());

    let both = || {
        std::thread::scope(|scope| {
            let with =
                scope.spawn(|| told(&place.grade(&project, &suite, &limits).case("test_outcomes::test_outcomes").1));
            let without = scope.spawn(|| {
                let mut command = place.command(&["exec"]);
                let base = python("import sys; print(sys.base_prefix)");
                command.args(["--ro", &base]).arg("--ro").arg(&suite).arg("--ro").arg(&venv).args(limits).arg("--");
                command.arg(venv.join("bin/python")).arg(suite.join("test_outcomes.py"));
                let output = command.output().expect("the program starts");
                told(&String::from_utf8_lossy(&output.stdout))
            });
            (with.join().expect("it is told"), without.join().expect("it is told"))
        })
    };
    let (mut with, mut without) = both();
    // Some of these tests ask how fast the machine is, on either side. A difference that is one is there again.
    for _ in 0..2 {
        if with["rest"] == without["rest"] {
            break;
        }
        println!("once more: with the harness {}, without it {}", with["rest"], without["rest"]);
        (with, without) = both();
    }
    println!("without the harness {}, with it {}", without["count"], with["count"]);
    assert_eq!(with["rest"], without["rest"]);
    assert!(with["count"]["success"].as_u64().is_some_and(|count| count > 500), "{}", with["count"]);
}
