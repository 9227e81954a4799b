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
use crate::contain::Host;
use crate::contain::slots::Slot;
use crate::contain::work::WorkTree;
use crate::fault::{Cause, Fault};
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
    /// Why it was not graded, and who is to blame; none for a verdict, or where the runner was told to stop.
    pub fault: Option<Fault>,
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
    /// Something is broken, and it is known whose it is.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The runner was told to stop.
    #[error("the run was interrupted; it can be started again")]
    Interrupted,
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

/// What a task has come to, for whoever waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step begins.
    Begins(Step),
    /// Something takes its time, in the words of a person: `building the suite's Python environment`.
    Waits(String),
    /// Of the test stage: tests that ended, and tests that there are.
    Tests {
        /// Those that ended.
        done: usize,
        /// All that were collected.
        total: usize,
    },
}

/// Is told of each event as it happens.
pub type Progress<'a> = &'a mut (dyn FnMut(Event) + Send);

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
        Ok((verdict, outcome)) => Graded { verdict, commit, fault: None, outcome: Some(outcome), reached },
        Err(error) => {
            let (sentence, fault) = match error {
                TaskError::Interrupted => (error.to_string(), None),
                TaskError::Fault(fault) => (fault.whole(), Some(fault)),
            };
            Graded { verdict: Verdict::broken(sentence), commit, fault, outcome: None, reached }
        }
    }
}

/// Anything that a sandbox is made of does not work.
pub(crate) fn sandbox_failed(error: anyhow::Error) -> Fault {
    Fault::host(Cause::Sandbox, "the sandbox could not be made on the grading machine")
        .with_detail(format!("{error:#}"))
}

async fn stages(
    context: &Context<'_>,
    lab: Option<u32>,
    commit: &mut Option<String>,
    reached: &mut Step,
    progress: Progress<'_>,
) -> Result<(Verdict, sandbox::outcome::Outcome), TaskError> {
    progress(Event::Begins(Step::Tree));
    let path = context.host.state_dir.join("work").join(format!("slot{}-{}", context.slot.number, std::process::id()));
    let work = WorkTree::make(path, context.slot.ids, context.limits.disk).map_err(sandbox_failed)?;
    steps::at("task: the work tree is there");
    *reached = Step::Fetch;
    progress(Event::Begins(Step::Fetch));
    let fetched = fetch::submission(context, &work).await?;
    commit.clone_from(&fetched.commit);
    steps::at("task: the submission is there");
    *reached = Step::Suite;
    progress(Event::Begins(Step::Suite));
    let suite = suite::take(context, &work).await?;
    let limits = context.limits.lowered_by(lab_section(&suite.options.lab, lab));
    let context = &Context { limits, ..*context };
    steps::at("task: the suite is there");
    *reached = Step::Prepare;
    progress(Event::Begins(Step::Prepare));
    let venv = prepare::environment(context, &suite.requirements, progress).await?;
    steps::at("task: the environment is there");
    *reached = Step::Build;
    progress(Event::Begins(Step::Build));
    build::project(context, &work, &suite, &fetched).await?;
    steps::at("task: the project is built");
    *reached = Step::Test;
    progress(Event::Begins(Step::Test));
    test::run(context, &work, &suite, &venv, progress).await
}
