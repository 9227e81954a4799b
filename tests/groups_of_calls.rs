//! Groups of system calls that the operator allows a laboratory: for each a lab in C that works with its group, and that is told
//! what was refused without. Real programs, pytest and kernel. Needs root.

mod common;
mod support;

use common::wait_until;
use sandbox::groups::host::obstacle;
use sandbox::groups::{Group, Groups};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::backend::Counting;
use support::running::{Running, passed, status};
use support::{Graded, Place, need_root};

/// Each is a program that prints `done` at its end.
const TESTS: &str = r#"
import os, pytest, subprocess
PROJECT = os.environ["OSTEST_PROJECT"]
@pytest.mark.parametrize("lab", LABS)
def test_lab(lab):
    done = subprocess.run([PROJECT + "/" + lab], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
    print(done.stdout)
    assert done.stdout.endswith("done\n") and done.returncode == 0, done.stdout
"#;

const BUILD: &str = "[build]\ncommand = [\"make\"]\n";
const MAKEFILE: &str = "all: $(patsubst %.c,%,$(wildcard *.c))\n%: %.c\n\tcc -O1 -pthread -o $@ $<\n";

/// A project with the labs of all groups.
fn project(place: &Place) -> PathBuf {
    let names = Group::ALL.iter().map(|group| format!("{group}.c")).chain(["lab.h".into(), "ring.h".into()]);
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/labs_of_groups");
    let mut files: Vec<(String, String)> =
        names.map(|name| (name.clone(), std::fs::read_to_string(top.join(name)).expect("a lab"))).collect();
    files.push(("Makefile".into(), MAKEFILE.into()));
    place.tree("project", &files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
}

/// A suite with these lines in its file, which runs these labs.
fn suite(place: &Place, name: &str, lines: &str, labs: &[Group]) -> PathBuf {
    let labs: Vec<&str> = labs.iter().map(|group| group.name()).collect();
    let tests = TESTS.replace("LABS", &format!("{labs:?}"));
    place.tree(name, &[("ostest.toml", &*format!("{lines}{BUILD}")), ("test_groups.py", &*tests)])
}

fn graded(place: &Place, project: &Path, suite: &Path, operator: &str) -> Graded {
    let file = place.path("operator.toml");
    std::fs::write(&file, operator).expect("it is written");
    place.grade(project, suite, &["--lab", "5", "--config", &file.display().to_string()])
}

/// Those that this kernel has; the others are named as skipped.
fn able() -> Groups {
    let able = |group: &Group| match obstacle([*group].into_iter().collect()) {
        None => true,
        Some(obstacle) => {
            println!("SKIPPED: the lab of {group}: {}", obstacle.found);
            false
        }
    };
    Group::ALL.into_iter().filter(able).collect()
}

/// What a student reads of the lab without its group.
fn told(group: Group) -> &'static [&'static str] {
    match group {
        Group::Landlock => &["sandbox: ", "called landlock_create_ruleset", "refused here"],
        // The answer of a file system without attributes: nobody is told, since cp and install ask at each file.
        Group::Xattrs => &["setxattr: Operation not supported"],
        Group::Userfaultfd => &["sandbox: ", "called userfaultfd", "refused here"],
        Group::Perf => &["sandbox: ", "called perf_event_open", "refused here"],
        Group::IoUring => &["sandbox: ", "called io_uring_setup", "refused here"],
        // The kernel's own answer where there is a listener already; it cannot be told.
        Group::SeccompNotify => &["seccomp: Device or resource busy"],
        Group::Containers => &["sandbox: ", "called clone(CLONE_NEWNS|", "refused here"],
    }
}

#[test]
fn a_laboratory_works_with_its_groups_and_is_told_what_was_refused_without() {
    if !need_root("a_laboratory_works_with_its_groups_and_is_told_what_was_refused_without") {
        return;
    }
    let place = Place::new();
    let (project, suite) = (project(&place), suite(&place, "suite", "", &Group::ALL));
    // What another laboratory is allowed this one is not.
    let without = graded(&place, &project, &suite, "[lab.4]\nallow = [\"landlock\", \"io_uring\", \"containers\"]\n");
    for group in Group::ALL {
        let (status, text) = without.case(&format!("test_groups::test_lab[{group}]"));
        assert_eq!(status, "failed", "{group}: {without:?}");
        assert!(told(group).iter().all(|part| text.contains(part)), "{group}, {:?}: {text}", told(group));
    }
    assert_eq!((without.code(), &without.result["policy"]), (1, &"test".into()));

    let able = able();
    let of_lab: Vec<String> = able.iter().map(|group| format!("{:?}", group.name())).collect();
    let with = graded(&place, &project, &suite, &format!("[lab.5]\nallow = [{}]\n", of_lab.join(", ")));
    for group in Group::ALL {
        let (status, text) = with.case(&format!("test_groups::test_lab[{group}]"));
        assert_eq!(status == "passed", able.contains(group), "{group}: {text}");
    }
    assert_eq!(with.result["policy"], able.on("test"));
    assert_eq!(with.result["outcome"]["allowed"], serde_json::json!(able));
}

/// No group leans on another. A ring runs its requests with the domain of whoever made it.
#[test]
fn each_group_is_enough_for_its_laboratory() {
    if !need_root("each_group_is_enough_for_its_laboratory") {
        return;
    }
    let place = Place::new();
    let project = project(&place);
    let made = Command::new("make").arg("-C").arg(&project).output().expect("make starts");
    assert!(made.status.success(), "{made:?}");
    let run = |lab: Group, groups: &[Group]| {
        let mut command = place.command(&["exec"]);
        command.arg("--ro").arg(&project);
        for group in groups {
            command.args(["--allow", group.name()]);
        }
        let output = command.arg("--").arg(project.join(lab.name())).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{lab} with {groups:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let able = able();
    for group in able.iter() {
        assert!(run(group, &[group]).ends_with("done\n"));
    }
    if able.contains(Group::IoUring) && able.contains(Group::Landlock) {
        let said = run(Group::IoUring, &[Group::IoUring, Group::Landlock]);
        assert!(said.contains("the domain holds on a ring that is older\ndone\n"), "{said}");
    }
}

/// The operator decides, the suite says what it needs, and the submission has no say.
#[test]
fn what_a_suite_needs_and_the_operator_does_not_allow_is_told_before_anything_is_graded() {
    if !need_root("what_a_suite_needs_and_the_operator_does_not_allow_is_told_before_anything_is_graded") {
        return;
    }
    let place = Place::new();
    let project = project(&place);
    // One that grants itself something grants nothing.
    place.tree("project", &[("ostest.toml", "[test]\nallow = [\"xattrs\", \"containers\"]\n")]);
    let asking = suite(&place, "asking", "[lab.5]\nallow = [\"xattrs\", \"landlock\"]\n", &[Group::Xattrs]);
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
    // A suite that says what its laboratories need gets no more in others.
    let other = suite(&place, "other", "[lab.6]\nallow = [\"landlock\"]\n", &[Group::Xattrs]);
    let narrowed = graded(&place, &project, &other, "[test]\nallow = [\"xattrs\", \"landlock\"]\n");
    assert_eq!((narrowed.code(), &narrowed.result["policy"]), (1, &"test".into()), "{narrowed:?}");

    let wrong = place.path("wrong.toml");
    std::fs::write(&wrong, "[lab.5]\nallow = [\"io_urnig\"]\n").expect("it is written");
    let mut command = place.command(&["grade"]);
    let output =
        command.arg(&project).arg("--tests").arg(&other).arg("--config").arg(&wrong).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && Group::ALL.iter().all(|group| said.contains(group.name())), "{output:?}");
}

/// The runner holds a task of such a laboratory, and grades the others; when the operator's file allows the group and is read again,
/// the task is graded.
#[test]
fn a_task_that_needs_what_is_not_allowed_is_held_and_keeps_no_other() {
    if !need_root("a_task_that_needs_what_is_not_allowed_is_held_and_keeps_no_other") {
        return;
    }
    if !able().contains(Group::Userfaultfd) {
        return;
    }
    let (place, suite) = Place::with_good();
    std::fs::write(suite.join("ostest.toml"), "[lab.2]\nallow = [\"userfaultfd\"]\n").expect("it is written");
    let file = place.path("operator.toml");
    std::fs::write(&file, "").expect("it is written");
    let task = |attempt: u32, lab: u32| {
        json!({"attempt": attempt, "repositoryUrl": "https://course.example/good", "branch": "main", "laboratoryNumber": lab,
            "connectedTests": []})
    };
    let backend = Counting::start([task(1, 2)], || ());
    let config = file.display().to_string();
    let runner = Running::start(&place, &backend, &suite, &["--concurrent", "1", "--config", &config]);
    wait_until("a task is held", || status(&place)["held"].as_array().is_some_and(|held| !held.is_empty()));
    let held = &status(&place)["held"][0];
    assert_eq!(held["blame"], "host", "{}", runner.log());
    assert!(held["message"].as_str().is_some_and(|text| text.ends_with("needs: userfaultfd")), "{held}");
    assert!(runner.log().contains("below [lab.2]: `allow = ["), "{}", runner.log());
    backend.books().queue.extend([task(2, 1)]);
    backend.wait("the other laboratory's result", |books| books.taken.len() == 1);
    assert_eq!(backend.books().taken[0]["attempt"], 2, "{}", runner.log());
    std::fs::write(&file, "[lab.2]\nallow = [\"userfaultfd\"]\n").expect("it is written");
    common::send_signal(runner.pid(), nix::libc::SIGHUP);
    backend.wait("the held task's result", |books| books.taken.len() == 2);
    assert!(passed(&backend.books().taken[1]), "{:#?}", backend.books().taken);
    runner.ends();
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
    let suite = suite(&place, "suite", "[lab.3]\nallow = [\"xattrs\", \"userfaultfd\"]\n", &[]);
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
