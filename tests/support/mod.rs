//! What the end-to-end tests of grading share: state directories with a common cache, suites written on the spot,
//! and results as JSON.

#![allow(dead_code, reason = "each test program uses a part of it")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub mod backend;
pub mod disk;
pub mod running;
pub mod servers;

pub use crate::common::need_root;

/// The program under test.
pub const BIN: &str = env!("CARGO_BIN_EXE_ostest-sandbox");

/// A directory for one test: its state directory, suites and submissions. Gone at its end.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// With a cache of suites' environments that all tests share: building one takes seconds.
    pub fn new() -> Place {
        let dir = tempfile::Builder::new().prefix("ostest-").tempdir().expect("a temporary directory");
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
        std::fs::create_dir_all(&shared).expect("a shared cache");
        std::fs::create_dir(dir.path().join("state")).expect("a state directory");
        std::os::unix::fs::symlink(shared, dir.path().join("state/cache")).expect("a link to the cache");
        Place { dir }
    }

    /// One with a submission, and a suite of one test that it passes.
    pub fn with_good() -> (Place, PathBuf) {
        let place = Place::new();
        place.repository("good", &[("main.c", "int main(void) { return 0; }\n")]);
        let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
        (place, suite)
    }

    /// Has environments of its own instead.
    pub fn own_cache(&self) {
        let cache = self.path("state/cache");
        std::fs::remove_file(&cache).expect("the link to the common cache is removed");
        std::fs::create_dir(&cache).expect("a cache");
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes files, with their directories, below `name`.
    pub fn tree(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let top = self.path(name);
        std::fs::create_dir_all(&top).expect("a directory");
        for (file, text) in files {
            let path = top.join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
        top
    }

    /// A git repository with these files on its branch `main`, below `git/`.
    pub fn repository(&self, name: &str, files: &[(&str, &str)]) {
        let tree = self.tree(&format!("git/{name}"), files);
        let git = |arguments: &[&str]| {
            let done = Command::new("git")
                .args(["-c", "user.name=Student", "-c", "user.email=s@course.example", "-c", "init.defaultBranch=main"])
                .args(arguments)
                .current_dir(&tree)
                .output()
                .expect("git starts");
            assert!(done.status.success(), "{done:?}");
        };
        git(&["init", "-q"]);
        git(&["add", "-A"]);
        git(&["commit", "-q", "-m", "My solution"]);
    }

    /// The runner for this backend, with the repositories of [`Place::repository`] below `https://course.example/`.
    pub fn runner(&self, url: &str, suite: &Path) -> Command {
        let mirror = format!("https://course.example/={}", self.path("git").display());
        let mut command = self.command(&["--backend-url", url, "--git-mirror", &mirror, "--check-interval", "0.1"]);
        command.arg("--tests").arg(suite);
        command
    }

    /// Directories of this state directory's control groups that are there.
    pub fn groups(&self) -> Vec<PathBuf> {
        let out = self.command(&["exec", "--print-plan"]).args(["--", "true"]).output().expect("the program starts");
        let plan: Value = serde_json::from_slice(&out.stdout).expect("the printed plan can be read");
        let mut found = Vec::new();
        let mut left = vec![plan["cgroup"].clone()];
        while let Some(value) = left.pop() {
            match value {
                Value::Object(fields) => left.extend(fields.into_iter().map(|(_, value)| value)),
                Value::String(path) if path.starts_with("/sys/fs/cgroup/") => found.push(PathBuf::from(path)),
                _ => {}
            }
        }
        assert!(!found.is_empty(), "the plan names groups: {plan}");
        found.into_iter().filter(|dir| dir.exists()).collect()
    }

    /// `ostest-sandbox COMMAND --state-dir …` with more arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BIN);
        command.args(arguments).arg("--state-dir").arg(self.path("state"));
        command
    }

    /// Grades a project with a suite; the exit code, the result and everything printed.
    pub fn grade(&self, project: &Path, suite: &Path, more: &[&str]) -> Graded {
        let json = self.path(&format!("result-{}.json", uuid()));
        let mut command = self.command(&["grade"]);
        command.arg(project).arg("--tests").arg(suite).arg("--json").arg(&json).args(more);
        let output = command.output().expect("the program starts");
        let text = std::fs::read_to_string(&json).unwrap_or_else(|e| panic!("no result ({e}): {output:?}"));
        Graded { result: serde_json::from_str(&text).expect("a result is JSON"), output }
    }
}

/// A number that no other call in this process gives.
fn uuid() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// What `grade` gave.
#[derive(Debug)]
pub struct Graded {
    /// The JSON result.
    pub result: Value,
    /// Exit code and output.
    pub output: Output,
}

impl Graded {
    /// The exit code.
    pub fn code(&self) -> i32 {
        self.output.status.code().expect("it exits")
    }

    /// The part of the first dialect that says everything.
    pub fn body(&self) -> &Value {
        &self.result["testResults"]
    }

    /// `errorDetails`.
    pub fn error(&self) -> &str {
        self.body()["errorDetails"].as_str().expect("errorDetails is a string")
    }

    /// `(name, status, description)` of every case.
    pub fn cases(&self) -> Vec<(String, String, String)> {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let cases = self.body()["testCases"].as_array().expect("testCases is a list");
        cases.iter().map(|c| (text(&c["name"]), text(&c["status"]), text(&c["description"]))).collect()
    }

    /// Status and description of one case.
    pub fn case(&self, name: &str) -> (String, String) {
        let found: Vec<_> = self.cases().into_iter().filter(|(n, _, _)| n == name).collect();
        assert_eq!(found.len(), 1, "{name} stands once in {:#}", self.result);
        (found[0].1.clone(), found[0].2.clone())
    }
}

/// What a machine holds of sandboxes: processes with ids of slots, groups, mounts. Compared before and after.
pub fn traces(state: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(state).into_iter().flatten().flatten() {
        if entry.file_name() == "work" {
            let below = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
            found.extend(below.map(|e| format!("file {}", e.path().display())));
        }
    }
    let shown = state.display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().filter(|l| l.contains(&shown)).map(|l| format!("mount {l}")));
    found
}
