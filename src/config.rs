//! What the operator wants: the command line, the environment and the configuration file, put together.
//!
//! The command line wins over the environment, that over the file, that over the defaults. Keys of the file are the
//! flags without their dashes; unknown keys are errors. The suite's own `ostest.toml` may say how it is built and
//! started, and may lower limits, never raise them.

mod limits;
mod needs;
mod operator;
mod skips;
mod suite;
mod values;

use crate::proxy::{Internal, Place};
use sandbox::groups::Groups;
use sandbox::plan::Layer;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use limits::{Leftovers, LimitOptions, Limits};
pub use needs::{Need, Version};
pub use operator::{CredentialOptions, FetchOptions, FileOptions, Labs, PrepareOptions, TestOptions, lab_section};
pub use skips::Skips;
pub use suite::{HIDDEN, Hidden, Home, Imports, SuiteLabOptions, SuiteOptions, SuiteTestOptions};
pub use values::*;

/// How `[build]` is run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StageOptions {
    /// The command.
    pub command: Option<Vec<String>>,
    /// Wall clock.
    pub timeout: Option<Span>,
}

fn check_labs<T>(labs: &BTreeMap<String, T>) -> Result<(), String> {
    // A section of another spelling, such as 01, would be valid and never found.
    let plain = |key: &str| key.parse::<u32>().is_ok_and(|number| number.to_string() == key);
    match labs.keys().find(|key| !plain(key)) {
        Some(wrong) => Err(format!("[lab.{wrong}] names no laboratory: write its number, such as [lab.1]")),
        None => Ok(()),
    }
}

/// How tasks are graded: everything but the backend.
#[derive(Debug, Clone)]
pub struct Grading {
    /// The suite: a directory or a git URL.
    pub tests: String,
    /// Branch of a suite that is a git repository; none: its default branch.
    pub tests_branch: Option<String>,
    /// Limits without a laboratory's.
    pub limits: Limits,
    /// Handed to the suite.
    pub proxy_timeout: Duration,
    /// URL prefixes that repositories may have.
    pub allow_url: Vec<String>,
    /// Local places of repositories.
    pub mirrors: Vec<Mirror>,
    /// Parts of the operator's network that fetch and prepare may reach.
    pub allow_internal: Vec<Internal>,
    /// The backend, which they may not.
    pub backend: Option<Place>,
    /// Within what time of its hand-out a task is answered; none: whenever.
    pub answer_within: Option<Duration>,
    /// By URL prefix: who git is to servers with private repositories.
    pub credentials: BTreeMap<String, CredentialOptions>,
    /// The operator's sections.
    pub fetch: FetchOptions,
    /// The operator's sections.
    pub prepare: PrepareOptions,
    /// The operator's sections.
    pub build: StageOptions,
    /// The operator's sections.
    pub test: TestOptions,
    /// The operator's sections.
    pub labs: Labs,
}

impl Grading {
    /// The groups of system calls that the operator allows in a laboratory.
    pub fn allowed(&self, lab: Option<u32>) -> Groups {
        self.test.allow.unwrap_or_default().and(lab_section(&self.labs, lab).allow.unwrap_or_default())
    }

    /// The longest time that a build may take where an answer is due: two eighths of the whole. A build or a suite that ends by
    /// its own limit is the submission's; one that ends because the answer is due is nobody's. So these limits come first.
    pub fn longest_build(&self) -> Duration {
        self.answer_within.map_or(Duration::MAX, |within| within / 8 * 2)
    }

    /// The same for the suite: five eighths. The last eighth is for fetch and for what lies between.
    pub fn longest_test(&self) -> Duration {
        self.answer_within.map_or(Duration::MAX, |within| within / 8 * 5)
    }
}

/// What a host gives to every sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOptions {
    /// Everything that the runner keeps.
    pub state_dir: PathBuf,
    /// Waived layers.
    pub waived: Vec<Layer>,
    /// The interpreter for suites; none: `python3` from PATH.
    pub python: Option<PathBuf>,
    /// More host directories that are visible inside, read-only, at their own path.
    pub toolchain: Vec<PathBuf>,
}

#[cfg(test)]
mod tests;
