//! Groups of system calls that the operator allows a laboratory: for each a lab in C that works with its group, and that is told
//! what was refused without. Real programs, pytest and kernel. Needs root.

mod common;
mod support;

use sandbox::groups::host::obstacle;
use sandbox::groups::{Group, Groups};
use std::path::{Path, PathBuf};
use support::{Graded, Place, need_root};

/// A lab that prints `done`.
const TESTS: &str = r#"
import os, subprocess
PROJECT = os.environ["OSTEST_PROJECT"]
def test_lab():
    done = subprocess.run([PROJECT + "/lab"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
    print(done.stdout)
    assert done.stdout.endswith("done\n") and done.returncode == 0, done.stdout
"#;

const BUILD: &str = "[build]\ncommand = [\"cc\", \"-O1\", \"-pthread\", \"-o\", \"lab\", \"lab.c\"]\n";

fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/groups").join(name);
    std::fs::read_to_string(path).expect("the lab's source")
}

/// A project with the lab of a group.
fn project(place: &Place, group: Group) -> PathBuf {
    let files = [("lab.c", source(&format!("{group}.c"))), ("lab.h", source("lab.h")), ("ring.h", source("ring.h"))];
    place.tree("project", &files.each_ref().map(|(name, text)| (*name, text.as_str())))
}

/// A suite with these lines in its file.
fn suite(place: &Place, name: &str, lines: &str) -> PathBuf {
    place.tree(name, &[("ostest.toml", &*format!("{lines}{BUILD}")), ("test_groups.py", TESTS)])
}

fn graded(place: &Place, project: &Path, suite: &Path, operator: &str) -> Graded {
    let file = place.path("operator.toml");
    std::fs::write(&file, operator).expect("it is written");
    place.grade(project, suite, &["--lab", "5", "--config", &file.display().to_string()])
}

/// Grades the lab of a group with it and without. `told`: what a student reads without it.
fn lab(group: Group, told: &[&str]) {
    let name = format!("the lab of {group}");
    if !need_root(&name) {
        return;
    }
    let groups: Groups = [group].into_iter().collect();
    let place = Place::new();
    let (project, suite) = (project(&place, group), suite(&place, "suite", ""));

    let without = graded(&place, &project, &suite, "[lab.4]\nallow = []\n");
    let (status, text) = without.case("test_groups::test_lab");
    assert_eq!((status.as_str(), without.code()), ("failed", 1), "{without:?}");
    assert!(told.iter().all(|part| text.contains(part)), "{told:?}: {text}");
    assert_eq!(without.result["policy"], "test");
    // What another laboratory is allowed this one is not.
    let other = graded(&place, &project, &suite, &format!("[lab.4]\nallow = [\"{group}\"]\n"));
    assert_eq!(other.case("test_groups::test_lab").0, "failed", "{other:?}");

    if let Some(obstacle) = obstacle(groups) {
        println!("SKIPPED: {name}: {}", obstacle.found);
        return;
    }
    let with = graded(&place, &project, &suite, &format!("[lab.5]\nallow = [\"{group}\"]\n"));
    assert_eq!((with.case("test_groups::test_lab").0.as_str(), with.code()), ("passed", 0), "{with:?}");
    assert_eq!(with.result["policy"], format!("test+{group}"));
    assert_eq!(with.result["outcome"]["allowed"][0], group.name());
}

macro_rules! labs {
    ($($name:ident: $group:expr, $told:expr;)+) => {$(
        #[test]
        fn $name() {
            lab($group, &$told);
        }
    )+};
}

labs! {
    a_program_confines_itself_by_landlock: Group::Landlock, ["sandbox: ", "landlock_create_ruleset", "refused here"];
    // The answer of a file system without attributes: nobody is told, since cp and install ask at each file.
    a_file_has_attributes: Group::Xattrs, ["setxattr: Operation not supported"];
    a_program_fills_its_pages: Group::Userfaultfd, ["sandbox: ", "called userfaultfd", "refused here"];
    a_program_counts_what_it_does: Group::Perf, ["sandbox: ", "called perf_event_open", "refused here"];
    the_kernel_works_off_a_ring: Group::IoUring, ["sandbox: ", "called io_uring_setup", "refused here"];
    // The kernel's own answer where there is a listener already; it cannot be told.
    a_thread_decides_on_anothers_calls: Group::SeccompNotify, ["seccomp: Device or resource busy"];
    a_container_is_made: Group::Containers, ["sandbox: ", "called clone(CLONE_NEWNS|", "refused here"];
}

/// A ring runs its requests with the domain of whoever made it.
#[test]
fn a_domain_holds_on_a_ring() {
    if !need_root("a_domain_holds_on_a_ring") {
        return;
    }
    let both: Groups = [Group::IoUring, Group::Landlock].into_iter().collect();
    if let Some(obstacle) = obstacle(both) {
        println!("SKIPPED: a_domain_holds_on_a_ring: {}: {}", obstacle.group, obstacle.found);
        return;
    }
    let place = Place::new();
    let project = project(&place, Group::IoUring);
    let tests = TESTS.replace("endswith(\"done\\n\")", "endswith(\"ring that is older\\ndone\\n\")");
    assert_ne!(tests, TESTS);
    let suite = place.tree("suite", &[("ostest.toml", BUILD), ("test_groups.py", &*tests)]);
    let graded = graded(&place, &project, &suite, "[test]\nallow = [\"landlock\"]\n[lab.5]\nallow = [\"io_uring\"]\n");
    assert_eq!(graded.case("test_groups::test_lab").0, "passed", "{graded:?}");
    assert_eq!(graded.result["policy"], "test+landlock+io_uring");
}

/// The operator decides, the suite says what it needs, and the submission has no say.
#[test]
fn what_a_suite_needs_and_the_operator_does_not_allow_is_told_before_anything_is_graded() {
    if !need_root("what_a_suite_needs_and_the_operator_does_not_allow_is_told_before_anything_is_graded") {
        return;
    }
    let place = Place::new();
    let project = project(&place, Group::Xattrs);
    // One that grants itself something grants nothing.
    place.tree("project", &[("ostest.toml", "[test]\nallow = [\"xattrs\", \"containers\"]\n")]);
    let asking = suite(&place, "asking", "[lab.5]\nallow = [\"xattrs\", \"landlock\"]\n");
    let refused = graded(&place, &project, &asking, "[lab.5]\nallow = [\"landlock\"]\n");
    assert_eq!(refused.code(), 2, "{refused:?}");
    assert!(refused.cases().is_empty(), "{refused:?}");
    for part in [
        "does not allow system calls that the test suite needs: xattrs",
        "[lab.5]",
        "allow = [\"landlock\", \"xattrs\"]",
        "Access lists",
    ] {
        assert!(refused.error().contains(part), "{part}: {}", refused.error());
    }
    let silent = suite(&place, "silent", "");
    let plain = graded(&place, &project, &silent, "");
    assert_eq!((plain.code(), &plain.result["policy"]), (1, &"test".into()), "{plain:?}");
    // A suite that says what its laboratories need gets no more in others.
    let other = suite(&place, "other", "[lab.6]\nallow = [\"landlock\"]\n");
    let narrowed = graded(&place, &project, &other, "[test]\nallow = [\"xattrs\", \"landlock\"]\n");
    assert_eq!((narrowed.code(), &narrowed.result["policy"]), (1, &"test".into()), "{narrowed:?}");

    let wrong = place.path("wrong.toml");
    std::fs::write(&wrong, "[lab.5]\nallow = [\"io_urnig\"]\n").expect("it is written");
    let mut command = place.command(&["grade"]);
    let output =
        command.arg(&project).arg("--tests").arg(&silent).arg("--config").arg(&wrong).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && Group::ALL.iter().all(|group| said.contains(group.name())), "{output:?}");
}

/// What is allowed is told with its risk, and stands in the plan.
#[test]
fn check_tells_the_risk_and_the_plan_has_what_is_allowed() {
    if !need_root("check_tells_the_risk_and_the_plan_has_what_is_allowed") {
        return;
    }
    let place = Place::new();
    let printed = |groups: &[&str]| {
        let mut command = place.command(&["exec", "--print-plan"]);
        for group in groups {
            command.args(["--allow", group]);
        }
        let output = command.args(["--", "true"]).output().expect("it starts");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("a plan")
    };
    assert_eq!(printed(&[]).get("allow"), None);
    assert_eq!(printed(&["io_uring", "perf"])["allow"], serde_json::json!(["perf", "io_uring"]));
    let file = place.path("operator.toml");
    std::fs::write(&file, "[test]\nallow = [\"landlock\"]\n[lab.3]\nallow = [\"xattrs\"]\n").expect("it is written");
    let suite = suite(&place, "suite", "[lab.3]\nallow = [\"xattrs\", \"userfaultfd\"]\n");
    let mut command = place.command(&["check", "--json", "--config", &file.display().to_string()]);
    let output = command.arg("--tests").arg(&suite).output().expect("it starts");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("findings");
    let findings = found["findings"].as_array().expect("a list");
    let told = |name: &str, part: &str| {
        let found = |finding: &&serde_json::Value| {
            finding["name"] == name && finding["found"].as_str().is_some_and(|text| text.contains(part))
        };
        findings.iter().find(found).unwrap_or_else(|| panic!("{name}, {part}: {findings:#?}"))["grade"].clone()
    };
    let able = |group: Group| if obstacle([group].into_iter().collect()).is_none() { "yellow" } else { "red" };
    assert_eq!(told("allowed calls", "landlock, in every laboratory: "), able(Group::Landlock));
    assert_eq!(told("allowed calls", "xattrs, in laboratory 3: "), able(Group::Xattrs));
    if able(Group::Landlock) == "yellow" && able(Group::Xattrs) == "yellow" {
        told("allowed calls", "the ledger alone holds them");
        assert_eq!(
            told("suite's programs", "for laboratory 3: the grading machine does not allow system calls"),
            "yellow"
        );
    }

    // A stage that is not the tests' has none.
    let output = place.command(&["exec", "--policy", "build", "--allow", "perf"]).args(["--", "true"]).output();
    let output = output.expect("it starts");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
}
