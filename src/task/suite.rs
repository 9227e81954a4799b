//! The suite: found, copied for the sandbox's root, and read for how it wants to be run.

mod blame;
mod bytecode;
mod fingerprint;
mod still;

use super::{Context, TaskError, fetch, sandbox_failed};
use crate::config::SuiteOptions;
use crate::contain::work::WorkTree;
use crate::fault::{Blame, Fault};
use blame::Limits;
use sandbox::copy::read_small;
use std::path::Path;
use std::time::Duration;

/// Largest `ostest.toml` or `requirements.txt` in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Where a suite states its requirements.
const REQUIREMENTS: &str = "requirements.txt";

/// Where a suite says how it wants to be run.
const OPTIONS: &str = "ostest.toml";

/// Requirements of a suite that states none.
pub const DEFAULT_REQUIREMENTS: &str = "pytest\n";

/// Pauses before a suite that changed while it was copied is copied again.
const AGAIN: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// A suite that is ready in the work tree.
#[derive(Debug)]
pub struct Suite {
    /// Its own `ostest.toml`.
    pub options: SuiteOptions,
    /// The text of its `requirements.txt`.
    pub requirements: String,
    /// Whether it has a `run_tests.py`.
    pub has_run_tests: bool,
    /// What it is (`fingerprint`).
    pub fingerprint: String,
}

/// Whether `tests` names a git repository and not a directory.
pub fn is_git(tests: &str) -> bool {
    tests.contains("://")
}

/// The requirements of a suite that is a directory.
pub fn read_requirements(dir: &Path) -> std::io::Result<String> {
    Ok(read_small(dir, REQUIREMENTS, MAX_FILE)?.unwrap_or_else(|| DEFAULT_REQUIREMENTS.into()))
}

/// The options of a suite that is a directory.
///
/// # Errors
/// What is wrong with them.
pub fn read_options(dir: &Path) -> Result<SuiteOptions, String> {
    match read_small(dir, OPTIONS, MAX_FILE).map_err(|e| e.to_string())? {
        Some(text) => SuiteOptions::parse(&text),
        None => Ok(SuiteOptions::default()),
    }
}

/// Brings the suite into the work tree.
pub async fn take(context: &Context<'_>, work: &WorkTree) -> Result<Suite, TaskError> {
    let tests = &context.grading.tests;
    if is_git(tests) {
        let branch = context.grading.tests_branch.as_deref();
        let commit =
            fetch::git(context, tests, branch, &work.suite_source(), "/task/suite-source").await.map_err(|e| {
                match e {
                    // A suite that cannot be had is no fault of the submission.
                    TaskError::Fault(fault) if fault.blame == Blame::Submission => {
                        Fault::suite("the test suite cannot be had").with_detail(fault.whole()).into()
                    }
                    other => other,
                }
            })?;
        tracing::debug!(suite = %fetch::shown(tests), %commit, "fetched the suite");
        copy(context, work, &work.suite_source())?;
        // The submission needs the room.
        std::fs::remove_dir_all(work.suite_source()).map_err(|error| sandbox_failed(error.into()))?;
    } else {
        copy_while_still(context, work, Path::new(tests)).await?;
    }
    let read = |name: &str| -> Result<Option<String>, TaskError> {
        read_small(&work.suite(), name, MAX_FILE).map_err(|e| {
            Fault::suite(format!("{name} of the test suite cannot be read"))
                .with_detail(format!("{}: {e}", fetch::shown(tests)))
                .into()
        })
    };
    let options = match read(OPTIONS)? {
        Some(text) => SuiteOptions::parse(&text).map_err(Fault::suite)?,
        None => SuiteOptions::default(),
    };
    let fingerprint = fingerprint::of(&work.suite()).map_err(|error| sandbox_failed(error.into()))?;
    // Before anything of the submission runs beside it.
    bytecode::close(&work.suite()).map_err(|error| sandbox_failed(error.into()))?;
    let hidden = work.hide_from_students(&|path| options.test.hides(path)).map_err(sandbox_failed)?;
    tracing::debug!(files = hidden, "hid the suite's tests from students' programs");
    let requirements = read(REQUIREMENTS)?.unwrap_or_else(|| DEFAULT_REQUIREMENTS.into());
    let has_run_tests = read("run_tests.py")?.is_some();
    Ok(Suite { options, requirements, has_run_tests, fingerprint })
}

fn copy(context: &Context<'_>, work: &WorkTree, from: &Path) -> Result<(), Fault> {
    let limits = Limits { project: &work.project(), suite: from, disk: context.limits.disk };
    let copied = work.take_suite(from).map_err(|error| blame::untaken(&error, &limits))?;
    // Tests that need it would fail for everybody without it.
    match still::first_special(from).filter(|_| copied.left_out > 0) {
        Some(path) => {
            Err(Fault::suite("the test suite holds a pipe, a socket or a device, which cannot be taken along")
                .with_detail(format!("{}: {path}; remove it, and have the tests make it", from.display())))
        }
        None => Ok(()),
    }
}

/// Copies a directory that somebody may be changing: what is copied is all of one state of it, as far as times of change tell.
async fn copy_while_still(context: &Context<'_>, work: &WorkTree, from: &Path) -> Result<(), TaskError> {
    let mut pauses = AGAIN.iter();
    loop {
        let before = still::look(from)?;
        let copied = copy(context, work, from);
        let Some(changed) = still::changed(before.as_ref(), still::look(from)?.as_ref()) else { return Ok(copied?) };
        let Some(pause) = pauses.next() else {
            return Err(still::never_still(&changed, copied.err()).into());
        };
        tracing::info!(suite = %from.display(), "the test suite changed while it was copied ({changed}); copying it again");
        still::clear(&work.suite()).map_err(sandbox_failed)?;
        tokio::select! {
            () = context.cancel.cancelled() => return Err(TaskError::Interrupted),
            () = tokio::time::sleep(*pause) => {}
        }
    }
}
