//! The suite: found, copied for the sandbox's root, and read for how it wants to be run.

use super::{Context, TaskError, fetch, sandbox_failed};
use crate::config::SuiteOptions;
use crate::contain::work::WorkTree;
use crate::fault::{Blame, Fault};
use sandbox::copy::read_small;
use std::path::Path;

/// Largest `ostest.toml` or `requirements.txt` in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Where a suite states its requirements.
const REQUIREMENTS: &str = "requirements.txt";

/// Requirements of a suite that states none.
pub const DEFAULT_REQUIREMENTS: &str = "pytest\n";

/// A suite that is ready in the work tree.
#[derive(Debug)]
pub struct Suite {
    /// Its own `ostest.toml`.
    pub options: SuiteOptions,
    /// The text of its `requirements.txt`.
    pub requirements: String,
    /// Whether it has a `run_tests.py`.
    pub has_run_tests: bool,
}

/// Whether `tests` names a git repository and not a directory.
pub fn is_git(tests: &str) -> bool {
    tests.contains("://")
}

/// The requirements of a suite that is a directory.
pub fn read_requirements(dir: &Path) -> std::io::Result<String> {
    Ok(read_small(dir, REQUIREMENTS, MAX_FILE)?.unwrap_or_else(|| DEFAULT_REQUIREMENTS.into()))
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
        tracing::debug!(suite = %tests, %commit, "fetched the suite");
        work.take_suite(&work.suite_source()).map_err(untaken)?;
    } else {
        work.take_suite(Path::new(tests)).map_err(untaken)?;
    }
    let read = |name: &str| -> Result<Option<String>, TaskError> {
        read_small(&work.suite(), name, MAX_FILE).map_err(|e| {
            Fault::suite(format!("{name} of the test suite cannot be read")).with_detail(format!("{tests}: {e}")).into()
        })
    };
    let options = match read("ostest.toml")? {
        Some(text) => SuiteOptions::parse(&text).map_err(Fault::suite)?,
        None => SuiteOptions::default(),
    };
    // Before anything of the submission runs beside it.
    let hidden = work.hide_from_students(&|path| options.test.hides(path)).map_err(sandbox_failed)?;
    tracing::debug!(files = hidden, "hid the suite's tests from students' programs");
    let requirements = read(REQUIREMENTS)?.unwrap_or_else(|| DEFAULT_REQUIREMENTS.into());
    let has_run_tests = read("run_tests.py")?.is_some();
    Ok(Suite { options, requirements, has_run_tests })
}

fn untaken(error: anyhow::Error) -> Fault {
    Fault::suite("the test suite cannot be taken").with_detail(format!("{error:#}"))
}
