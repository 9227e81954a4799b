//! The canary: a small task of our own that goes through every stage as a student's does, and must come out as expected.
//!
//! Single checks say that a feature is there; only a task says that all of them together grade rightly. It is fetched by
//! git, prepared by pip (or from the cache), built by make and gcc, and tested by pytest: tests that must pass, one that
//! must fail, a program that must be killed for its memory, and memory that must have been measured up to the limit.

use crate::check::{Finding, Grade};
use crate::config::{FileOptions, Grading, Limits, Mirror, StageOptions};
use crate::contain::Host;
use crate::contain::slots::Slot;
use crate::task::{Assignment, Graded, Source, grade};
use crate::verdict::Status;
use anyhow::Context as _;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "canary";

const SUBMISSION: [(&str, &str); 3] = [
    ("Makefile", include_str!("../canary/submission/Makefile")),
    ("hello.c", include_str!("../canary/submission/hello.c")),
    ("eat.c", include_str!("../canary/submission/eat.c")),
];

const SUITE: [(&str, &str); 2] = [
    ("ostest.toml", include_str!("../canary/suite/ostest.toml")),
    ("test_canary.py", include_str!("../canary/suite/test_canary.py")),
];

/// The test that must fail.
const MUST_FAIL: &str = "test_canary::test_a_wrong_program_fails";

/// Tests that there are.
const TESTS: usize = 10;

/// Bytes. The suite's last word, `eat 1000`, goes beyond it on any host, and pytest fits in.
const MEMORY: u64 = 128 << 20;

/// How far the measured peak may be from the limit that was reached: the kernel charges in batches for each CPU.
const SLACK: u64 = 1 << 20;

/// Nobody's address; a mirror stands for it.
const URL: &str = "https://canary.invalid/submission";

/// Runs it. `tests`: the operator's suite, whose environment is the one that will be needed.
pub async fn sing(host: &Host, slot: &Slot, grading: Option<&Grading>, file: &FileOptions) -> Finding {
    let dir = match lay_out(&host.state_dir, grading) {
        Ok(dir) => dir,
        Err(error) => {
            return Finding::red(NAME, format!("it could not be laid out: {error:#}"), "see the sentence before");
        }
    };
    let assignment = Assignment {
        attempt: NAME.into(),
        source: Source::Git { url: URL.into(), branch: "main".into() },
        labs: Vec::new(),
        connected_tests: Vec::new(),
    };
    let limits = Limits {
        memory: MEMORY,
        disk: 64 << 20,
        timeout: Duration::from_secs(300),
        ..Limits::from_options(crate::config::LimitOptions::default(), 1)
    };
    let own = Grading {
        tests: dir.path().join("suite").display().to_string(),
        tests_branch: None,
        limits,
        proxy_timeout: Duration::from_secs(10),
        allow_url: vec![URL.into()],
        mirrors: vec![Mirror { prefix: "https://canary.invalid/".into(), dir: dir.path().join("git") }],
        fetch: file.fetch.clone(),
        prepare: file.prepare.clone(),
        build: StageOptions::default(),
        test: StageOptions::default(),
        labs: BTreeMap::new(),
    };
    let graded = grade(host, &own, slot, &assignment, &CancellationToken::new(), &mut |_, _| {}).await;
    judge(&graded, has_environment(&host.state_dir))
}

/// A repository with the submission, and the suite, in a directory that goes away with its handle.
fn lay_out(state_dir: &Path, grading: Option<&Grading>) -> anyhow::Result<tempfile::TempDir> {
    // Where the next start sweeps, should this one be killed.
    let work = state_dir.join("work");
    std::fs::create_dir_all(&work)?;
    let dir = tempfile::Builder::new().prefix("canary-").tempdir_in(work)?;
    // git reads it as the sandbox's user.
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
    let write = |name: &str, files: &[(&str, &str)]| -> anyhow::Result<PathBuf> {
        let to = dir.path().join(name);
        std::fs::create_dir_all(&to)?;
        for (file, text) in files {
            std::fs::write(to.join(file), text)?;
        }
        Ok(to)
    };
    let suite = write("suite", &SUITE)?;
    if let Some(text) = requirements(grading) {
        std::fs::write(suite.join("requirements.txt"), text)?;
    }
    let repository = write("git/submission", &SUBMISSION)?;
    for words in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "The canary"]] {
        let out = Command::new("git")
            .args(["-c", "user.name=canary", "-c", "user.email=canary@canary.invalid", "-c", "init.defaultBranch=main"])
            .args(["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"])
            .args(words)
            .current_dir(&repository)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .context("git cannot be started")?;
        anyhow::ensure!(out.status.success(), "git {}: {}", words[0], String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(dir)
}

/// Those of the operator's suite, where it is a directory: its environment is needed anyway, and is ready then.
fn requirements(grading: Option<&Grading>) -> Option<String> {
    let tests = &grading?.tests;
    if crate::task::suite::is_git(tests) {
        return None;
    }
    std::fs::read_to_string(Path::new(tests).join("requirements.txt")).ok()
}

/// Whether some suite's environment is in the cache.
fn has_environment(state_dir: &Path) -> bool {
    let entries = std::fs::read_dir(state_dir.join("cache")).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).any(|n| n.starts_with("venv-") && !n.contains('.'))
}

/// What came out, against what must.
fn judge(graded: &Graded, has_environment: bool) -> Finding {
    let verdict = &graded.verdict;
    if let Some(error) = &verdict.error {
        let found = format!("the task of our own did not come through: {error}");
        // A host behind a mirror may have every environment that it needs, and no index.
        if has_environment && error.contains("environment could not be built") {
            let remedy = "name an index (PIP_INDEX_URL in [prepare] env); until then only suites whose environment is in \
                          the cache can be graded";
            return Finding::new(NAME, Grade::Yellow, found, remedy.into());
        }
        return Finding::red(NAME, found, "the sentence names the stage that failed, and why");
    }
    let remedy = "do not grade on this host; report it with this line";
    let wrong: Vec<String> = verdict
        .cases
        .iter()
        .filter(|case| (case.status == Status::Passed) == (case.name == MUST_FAIL))
        .map(|case| match case.name == MUST_FAIL {
            true => format!("{} passed, and must not", case.name),
            false => format!("{}: {}", case.name, case.description.lines().last().unwrap_or("it did not pass")),
        })
        .collect();
    if !wrong.is_empty() {
        return Finding::red(NAME, format!("wrong verdicts: {}", wrong.join("; ")), remedy);
    }
    if verdict.cases.len() != TESTS {
        return Finding::red(NAME, format!("{} verdicts for {TESTS} tests", verdict.cases.len()), remedy);
    }
    let peak = graded.outcome.as_ref().and_then(|outcome| outcome.usage.memory_peak.clone());
    match peak {
        None => Finding::red(NAME, "memory was not measured", "see the line `memory peak`"),
        Some(peak) if peak.value.abs_diff(MEMORY) > SLACK => Finding::red(
            NAME,
            format!(
                "the limit of {} KiB was reached, and {} says {} KiB",
                MEMORY / 1024,
                peak.source,
                peak.value / 1024
            ),
            remedy,
        ),
        Some(peak) => Finding::new(
            NAME,
            Grade::Green,
            format!(
                "fetched, prepared, built and tested: {} tests passed, the wrong one did not; peak {} KiB by {}, limit {}",
                TESTS - 1,
                peak.value / 1024,
                peak.source,
                MEMORY / 1024
            ),
            String::new(),
        ),
    }
}

/// A place to remember that the canary sang on this host as it is now: since it was booted, with this program, this
/// interpreter, these waivers.
pub struct Memory {
    path: PathBuf,
}

impl Memory {
    /// For this host, as it is.
    pub fn of(host: &Host) -> anyhow::Result<Memory> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("the boot has no name")?;
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update(part.as_bytes());
            hash.update([0]);
        };
        add(&boot);
        for program in [std::env::current_exe()?, host.launcher().to_path_buf()] {
            let meta = std::fs::metadata(&program)?;
            add(&format!("{} {} {} {}", program.display(), meta.len(), meta.mtime(), meta.mtime_nsec()));
        }
        let python = host.python()?;
        add(&format!("{} {}", python.program.display(), python.version));
        add(&host.describe_terms());
        let key: String = hash.finalize().iter().take(10).map(|b| format!("{b:02x}")).collect();
        Ok(Memory { path: host.state_dir.join("cache").join(format!("canary-{key}")) })
    }

    /// Whether it sang.
    pub fn is_good(&self) -> bool {
        self.path.exists()
    }

    /// Remembers that it did. Only the shortest of runs cannot: then it sings again.
    pub fn keep(&self) -> std::io::Result<()> {
        if let Some(cache) = self.path.parent() {
            std::fs::create_dir_all(cache)?;
        }
        std::fs::write(&self.path, "")
    }
}
