//! Runs the real pytest with the plugin on suites made on the spot.

use ostest_sandbox::events::Log;
use ostest_sandbox::judge::{InForce, Run, judge};
use ostest_sandbox::junit::{self, Caps, JunitError, Report};
use ostest_sandbox::verdict::Verdict;
use sandbox::outcome::{Ended, Outcome, OutputCount, Usage, Verdict as Word};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// An interpreter with pytest, pytest-dependency and pytest-order: the one in `OSTEST_TEST_PYTHON`, or one of a virtual
/// environment that is made here once. Where neither can be had the tests fail.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        if let Some(given) = std::env::var_os("OSTEST_TEST_PYTHON") {
            return given.into();
        }
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("harness-venv");
        let (python, complete) = (venv.join("bin/python"), venv.join("complete"));
        // Each test may be a process of its own: one builds, the others wait.
        let lock = std::fs::File::create(venv.with_extension("lock")).expect("a lock file");
        lock.lock().expect("the lock can be taken");
        // Its interpreter goes where the host gets another one.
        if !(complete.exists() && python.exists()) {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
            let packages = ["pytest", "pytest-dependency", "pytest-order"];
            run(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(packages));
            std::fs::write(&complete, "").expect("the virtual environment can be written to");
        }
        python
    })
}

/// The gate: the launcher's program under that name, where programs that are started as other users reach it.
fn gate(dir: &Path) -> PathBuf {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    let gate = dir.join("ostest-gate");
    std::fs::copy(env!("CARGO_BIN_EXE_ostest-launch"), &gate).expect("a copy of the launcher");
    gate
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| {
        panic!("{command:?} cannot be started ({e}): OSTEST_TEST_PYTHON can name a Python with pytest")
    });
    assert!(
        output.status.success(),
        "{command:?} failed; OSTEST_TEST_PYTHON can name a Python with pytest:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A suite in a folder of its own.
pub struct Suite {
    dir: tempfile::TempDir,
    mode: &'static str,
    select: Option<String>,
    env: Vec<(&'static str, &'static str)>,
    command: Vec<String>,
    gate: Option<PathBuf>,
}

/// What a run of a suite gave.
pub struct Ran {
    pub log: Log,
    pub report: Option<Result<Report, JunitError>>,
    /// Exit code, or a signal's number below zero.
    pub code: i32,
    pub output: String,
    pub sizes: Vec<usize>,
    /// What the launcher saw of leaves and gates, in order; empty without a gate.
    pub leaves: Vec<Seen>,
    /// What the suite wrote into `seen.json`.
    pub seen: serde_json::Value,
}

/// One thing that the launcher saw.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(untagged)]
pub enum Seen {
    /// `open` or `close`, and the leaf.
    Leaf(String, String),
    /// `enter`, the leaf that was current, and who came.
    Entry(String, Option<String>, i64),
}

impl Suite {
    /// A suite of these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = dir.path().join("suite").join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file of the suite");
        }
        let command = ["-m", "pytest", "-p", "no:cacheprovider", "--junit-xml={report}"];
        Suite {
            dir,
            mode: "socket",
            select: None,
            env: Vec::new(),
            command: command.map(str::to_owned).to_vec(),
            gate: None,
        }
    }

    pub fn mode(mut self, mode: &'static str) -> Self {
        self.mode = mode;
        self
    }

    pub fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.command.push(arg.to_owned());
        self
    }

    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|s| s.to_string()).collect();
        self
    }

    /// With the gate and a leaf for each test. The launcher refuses the leaf of this name, or with `entry` everybody who comes
    /// to the gate, or with `close` to end a leaf.
    pub fn gate(mut self, refused: &'static str) -> Self {
        self.gate = Some(gate(self.dir.path()));
        self.env("OSTEST_TEST_REFUSE", refused)
    }

    /// Only these tests, by a list in JSON.
    pub fn select(mut self, json: &str) -> Self {
        self.select = Some(json.to_owned());
        self
    }

    pub fn run(self) -> Ran {
        let root = env!("CARGO_MANIFEST_DIR");
        let out = self.dir.path();
        let mut command = Command::new(python());
        // Whatever is set for the tests themselves is none of the suite's: its programs may see nothing of that name.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OSTEST_")) {
            command.env_remove(name);
        }
        command
            .arg(format!("{root}/tests/harness/driver.py"))
            .arg(out)
            .arg(format!("{root}/harness"))
            .arg(self.mode)
            .arg(python())
            .args(&self.command)
            .current_dir(out.join("suite"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTEST_ADDOPTS")
            .env_remove("PYTHONPATH")
            .envs(self.env.iter().copied());
        if let Some(json) = &self.select {
            std::fs::write(out.join("select.json"), json).expect("the selection");
            command.env("OSTEST_SELECT", out.join("select.json"));
        }
        if let Some(gate) = &self.gate {
            command.env("OSTEST_GATE", gate);
            let library = out.join("spawn.so");
            std::fs::write(&library, ostest_sandbox::harness::SPAWN).expect("the shared object");
            command.env("OSTEST_SPAWN", library);
        }
        run(&mut command);
        let read = |name: &str| std::fs::read(out.join(name)).expect("the driver wrote it");
        let mut log = Log::new();
        for line in read("events").split_inclusive(|b| *b == b'\n') {
            assert!(line.ends_with(b"\n"), "a message without its newline");
            log.push_line(line);
        }
        let report = read("report");
        Ran {
            log,
            report: (!report.is_empty()).then(|| junit::parse(&report, &Caps::default())),
            code: String::from_utf8_lossy(&read("code")).parse().expect("a number"),
            output: String::from_utf8_lossy(&read("output")).into_owned(),
            sizes: serde_json::from_slice(&read("sizes")).expect("a list of numbers"),
            leaves: serde_json::from_slice::<Option<_>>(&read("leaves")).expect("a list").unwrap_or_default(),
            seen: std::fs::read(out.join("suite/seen.json"))
                .map_or(serde_json::Value::Null, |text| serde_json::from_slice(&text).expect("JSON of the suite")),
        }
    }
}

impl Ran {
    /// The verdict, had this run been in a sandbox.
    pub fn verdict(&self) -> Verdict {
        let (ended, verdict) = match self.code {
            0 => (Ended::Exited { code: 0 }, Word::Ok),
            code if code > 0 => (Ended::Exited { code }, Word::Failed),
            signal => (Ended::Signaled { signal: -signal }, Word::Signaled),
        };
        let outcome = Outcome {
            ended,
            verdict,
            message: String::new(),
            wall_ms: 1000,
            usage: Usage::default(),
            limits: Vec::new(),
            output: OutputCount::default(),
            degraded: Vec::new(),
            denied: Vec::new(),
            untold: None,
            sockets: None,
            uncharged: None,
            full: Vec::new(),
            allowed: sandbox::groups::Groups::NONE,
        };
        judge(&Run {
            log: &self.log,
            report: self.report.clone(),
            outcome: &outcome,
            leaves: &std::collections::BTreeMap::new(),
            apart: false,
            suite_stderr_tail: &self.output,
            skips: &ostest_sandbox::config::Skips::Refused,
            quiet: &[],
            limits: InForce { memory: 1 << 30, pids: 64, cpu_millis: 1000, file: 1 << 30, cores: 0, test_time: None },
            time_limit: Duration::from_secs(600),
        })
    }

    /// Names of the tests that were run, in order.
    pub fn names(&self) -> Vec<&str> {
        self.log.tests().iter().map(|t| &*t.name).collect()
    }

    /// Fails where the harness contradicted itself or the report, in a status, a name or a text.
    pub fn assert_agrees(&self) {
        assert_eq!(self.log.problems(), [""; 0], "{}", self.output);
        let report = self.report.as_ref().expect("a report").as_ref().expect("a sound report");
        let tests = report.cases.iter().filter(|c| c.about == junit::About::Test);
        let said: Vec<_> = tests.clone().map(|c| (c.number, c.contract_name(), c.outcome)).collect();
        let ended = || self.log.tests().iter().enumerate().filter_map(|(index, t)| Some((index, t, t.end.as_ref()?)));
        let told = ended().map(|(index, t, end)| (Some(index), t.name.clone(), end.status));
        assert_eq!(told.collect::<Vec<_>>(), said, "{}", self.output);
        // The harness tells more; what cannot be shown it shows as Python does, and pytest in a way of its own.
        for ((_, _, end), case) in ended().zip(tests) {
            let lines = case.text.lines().filter(|line| !line.contains("#x"));
            let missing = lines.filter(|line| !end.text.contains(line)).collect::<Vec<_>>();
            assert!(missing.is_empty(), "{missing:?} is not in {}", end.text);
        }
    }
}
