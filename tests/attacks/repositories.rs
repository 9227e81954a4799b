//! Hostile repositories, one a file: what each brings, what stops it and what has to come of it stand at its head. All are
//! handed out to one runner, which has to answer each and to go on.

use crate::said_by_shell as said;
use crate::support::backend::Counting;
use crate::support::{Place, need_root, traces};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Before each attack: a good submission in a repository of its own. The functions are what an attack ends with.
const BEFORE: &str = r#"
set -eu
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=Student GIT_AUTHOR_EMAIL=s@course.example GIT_COMMITTER_NAME=Student GIT_COMMITTER_EMAIL=s@course.example
commit_index() { git commit --quiet --message attack; }
commit() { git add --all --force && commit_index; }
commit_tree() { git update-ref refs/heads/main "$(git commit-tree -p HEAD -m attack "$1")"; }
git init --quiet --template= --initial-branch=main .
export GIT_DIR=$PWD/.git
printf 'int main(void) { return 0; }\n' >prog.c
git add prog.c
git commit --quiet --message good
"#;

/// What a good submission passes; it looks at what an attack would have left in the sandbox.
const TESTS: &str = r#"
import os, subprocess

PROJECT = os.environ["OSTEST_PROJECT"]

def test_program():
    subprocess.run(["cc", "-o", "/tmp/prog", os.path.join(PROJECT, "prog.c")], check=True)
    assert subprocess.run(["/tmp/prog"]).returncode == 0

def test_no_git_and_nothing_left():
    assert ".git" not in os.listdir(PROJECT)
    assert not [name for name in os.listdir("/tmp") if name.startswith("ostest-owned") or name == "owned"]

def test_links_lead_nowhere():
    for name in ("secret", "root/etc/shadow", "up/shadow"):
        try:
            text = open(os.path.join(PROJECT, name)).read()
        except OSError:
            continue
        assert False, text
"#;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks/repositories")
}

#[test]
fn hostile_repositories_reach_nothing_and_each_is_answered() {
    if !need_root("hostile_repositories_reach_nothing_and_each_is_answered") {
        return;
    }
    let place = Place::new();
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mark = format!("/tmp/ostest-owned-{}", std::process::id());
    for name in &names {
        let dir = place.path("git").join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        let attack = std::fs::read_to_string(folder().join(format!("{name}.sh"))).expect("the attack");
        let made = Command::new("bash")
            .arg("-c")
            .arg(format!("{BEFORE}\n{attack}"))
            .env("MARK", &mark)
            .current_dir(&dir)
            .output();
        let made = made.expect("bash starts");
        assert!(made.status.success(), "{name} could not be made: {made:?}");
    }
    // What ran here, while it was made, is none of the runner's.
    let _ = std::fs::remove_file(&mark);
    let suite = place.tree("suite", &[("test_all.py", TESTS)]);
    let task = |name: &String| json!({"attempt": name, "repositoryUrl": format!("https://course.example/{name}"), "branch": "main"});
    let backend = Counting::start(names.iter().map(task), || {});
    let output =
        place.runner(&backend.url, &suite).args(["--once", "--disk-limit", "64M"]).output().expect("the runner starts");
    assert!(output.status.success(), "{output:?}");
    let taken = backend.books().taken.clone();
    for name in &names {
        let attack = std::fs::read_to_string(folder().join(format!("{name}.sh"))).expect("the attack");
        let wanted = said(&attack, "result");
        let [result] = taken.iter().filter(|result| result["attempt"] == **name).collect::<Vec<_>>()[..] else {
            panic!("{name} is answered once: {taken:#?}");
        };
        let got = outcome(&result["testResults"]);
        println!("{name:20} {}", got.lines().next().unwrap_or_default());
        assert!(wanted.split('|').any(|end| got.contains(end)), "{name} should be {wanted:?}: {result:#}");
    }
    assert!(!Path::new(&mark).exists(), "a command of a repository's ran on the host");
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}

/// `passed`, or what the student reads.
fn outcome(result: &Value) -> String {
    match result["isPassed"] == true {
        true => "passed".into(),
        false => format!("{} {}", result["errorDetails"].as_str().unwrap_or_default(), result["testCases"]),
    }
}
