//! The pipeline of one task: fetch → prepare → build → test → verdict.

pub mod bound;
pub mod build;
pub mod fetch;
mod index;
pub mod outward;
pub mod prepare;
mod shipped;
mod starter;
pub mod suite;
pub mod test;

use crate::config::{Grading, Limits, lab_section};
use crate::contain::slots::Slot;
use crate::contain::work::WorkTree;
use crate::contain::{ContainError, Host};
use crate::steps;
use crate::verdict::Verdict;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// What is to be graded.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// For the suite (OSTEST_ATTEMPT) and the log.
    pub attempt: String,
    /// Where the submission is.
    pub source: Source,
    /// Laboratory numbers, as given.
    pub labs: Vec<u32>,
    /// Names of tests; empty: all.
    pub connected_tests: Vec<String>,
}

/// Where a submission comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A branch of a git repository.
    Git {
        /// Its URL, already checked against what is allowed.
        url: String,
        /// The branch.
        branch: String,
    },
    /// A directory of the operator's, which is never written to.
    Directory(PathBuf),
}

/// What a graded task gives back.
#[derive(Debug)]
pub struct Graded {
    /// What the backend is told.
    pub verdict: Verdict,
    /// The commit that was graded.
    pub commit: Option<String>,
    /// Whether the host, and not the submission, is to blame for an error.
    pub host_failed: bool,
    /// The test stage's outcome, where it ran.
    pub outcome: Option<sandbox::outcome::Outcome>,
    /// The step at which it ended: the one that broke, or the last.
    pub reached: Step,
}

/// A step of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Making the work tree.
    Tree,
    /// Bringing the submission.
    Fetch,
    /// Bringing the suite.
    Suite,
    /// Making or finding the environment.
    Prepare,
    /// Building the project.
    Build,
    /// Running the suite.
    Test,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Tree => "work tree",
            Step::Fetch => "fetch",
            Step::Suite => "suite",
            Step::Prepare => "prepare",
            Step::Build => "build",
            Step::Test => "test",
        })
    }
}

/// Why a task ended before its tests could be judged.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Something a student or a teacher can act on.
    #[error("{0}")]
    Theirs(String),
    /// Something the operator has to act on.
    #[error("{0}")]
    Host(String),
    /// The runner was told to stop.
    #[error("the run was interrupted; it can be started again")]
    Interrupted,
}

impl From<ContainError> for TaskError {
    fn from(error: ContainError) -> Self {
        match error {
            ContainError::Host { .. } => TaskError::Host(error.to_string()),
            ContainError::Command { .. } => TaskError::Theirs(error.to_string()),
        }
    }
}

impl From<anyhow::Error> for TaskError {
    fn from(error: anyhow::Error) -> Self {
        TaskError::Host(format!("{error:#}"))
    }
}

/// Everything that a stage needs to know of the task it belongs to.
#[derive(Debug)]
pub struct Context<'a> {
    /// The host.
    pub host: &'a Host,
    /// How it is graded.
    pub grading: &'a Grading,
    /// Where it is graded.
    pub slot: &'a Slot,
    /// What is graded.
    pub assignment: &'a Assignment,
    /// The operator's limits, with those of the laboratory.
    pub limits: Limits,
    /// Ends the task early.
    pub cancel: &'a CancellationToken,
}

/// How far a test stage has come: tests that ended, and tests that there are.
pub type Progress<'a> = &'a mut (dyn FnMut(usize, usize) + Send);

/// Grades one assignment. Whatever goes wrong becomes part of the verdict; nothing is left behind.
pub async fn grade(
    host: &Host,
    grading: &Grading,
    slot: &Slot,
    assignment: &Assignment,
    cancel: &CancellationToken,
    progress: Progress<'_>,
) -> Graded {
    let lab = assignment.labs.iter().max().copied();
    let limits = grading.limits.with(lab_section(&grading.labs, lab));
    let context = Context { host, grading, slot, assignment, limits, cancel };
    let (mut commit, mut reached) = (None, Step::Tree);
    match stages(&context, lab, &mut commit, &mut reached, progress).await {
        Ok((verdict, outcome)) => Graded { verdict, commit, host_failed: false, outcome: Some(outcome), reached },
        Err(error) => {
            let host_failed = matches!(error, TaskError::Host(_));
            Graded { verdict: Verdict::broken(error.to_string()), commit, host_failed, outcome: None, reached }
        }
    }
}

async fn stages(
    context: &Context<'_>,
    lab: Option<u32>,
    commit: &mut Option<String>,
    reached: &mut Step,
    progress: Progress<'_>,
) -> Result<(Verdict, sandbox::outcome::Outcome), TaskError> {
    let path = context.host.state_dir.join("work").join(format!("slot{}-{}", context.slot.number, std::process::id()));
    let work = WorkTree::make(path, context.slot.ids, context.limits.disk)?;
    steps::at("task: the work tree is there");
    *reached = Step::Fetch;
    *commit = fetch::submission(context, &work).await?;
    steps::at("task: the submission is there");
    *reached = Step::Suite;
    let suite = suite::take(context, &work).await?;
    let limits = context.limits.lowered_by(lab_section(&suite.options.lab, lab));
    let context = &Context { limits, ..*context };
    steps::at("task: the suite is there");
    *reached = Step::Prepare;
    let venv = prepare::environment(context, &suite.requirements).await?;
    steps::at("task: the environment is there");
    *reached = Step::Build;
    build::project(context, &work, &suite).await?;
    steps::at("task: the project is built");
    *reached = Step::Test;
    test::run(context, &work, &suite, &venv, progress).await
}
