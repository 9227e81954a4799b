//! The pipeline of one task: suite → environment → fetch → build → test → verdict.

pub mod allowed;
pub mod bound;
pub mod build;
pub mod fetch;
mod index;
mod needs;
pub mod outward;
mod planted;
pub mod prepare;
mod shadow;
mod shipped;
mod starter;
pub mod suite;
pub mod test;

use crate::config::{Grading, Limits, lab_section};
use crate::contain::Host;
use crate::contain::slots::Slot;
use crate::contain::work::WorkTree;
use crate::fault::{Blame, Cause, Fault};
use crate::steps;
use crate::verdict::{Status, Verdict};
use sandbox::groups::Groups;
use std::path::PathBuf;
use std::time::Instant;
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
    /// Pytest ran and did not come to its list of tests, or could not collect a part of the suite, and no limit was the reason. Whose
    /// fault that is the run does not show: the suite's, or a submission's on which the suite chokes.
    pub suite_does_not_start: bool,
}

/// A step of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Making the work tree.
    Tree,
    /// Bringing the suite.
    Suite,
    /// Making or finding the environment.
    Prepare,
    /// Bringing the submission.
    Fetch,
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
    /// Groups of system calls that the tests have beyond those of their stage.
    pub allow: Groups,
    /// Ends the task early.
    pub cancel: &'a CancellationToken,
}

/// What a task has come to, for whoever waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step begins.
    Begins(Step),
    /// The suite is there; what it is (`suite::fingerprint`).
    Suite(String),
    /// The list of the suite's tests is complete: it has started.
    Collected,
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

/// Grades one assignment, by `deadline` where there is one. Whatever goes wrong becomes part of the verdict; nothing is left behind.
pub async fn grade(
    host: &Host,
    grading: &Grading,
    slot: &Slot,
    assignment: &Assignment,
    deadline: Option<Instant>,
    cancel: &CancellationToken,
    progress: Progress<'_>,
) -> Graded {
    let ends = Ends::at(deadline, cancel);
    let context = Context::new(host, grading, slot, assignment, &ends.token);
    let (mut commit, mut reached) = (None, Step::Tree);
    let mut done = stages(&context, Step::Test, &mut commit, &mut reached, progress).await;
    if matches!(done, Ok(Staged::InDamaged)) {
        // From the beginning: what the tests have left in the trees would be another submission than the one that was handed in.
        tracing::warn!("the tests ran in a damaged environment, and are run again in a new one");
        done = stages(&context, Step::Test, &mut commit, &mut reached, progress).await;
    }
    let late = || {
        Fault::new(
            Blame::Host,
            Cause::Deadline,
            "it could not be graded in the time that the backend gives for an answer",
        )
    };
    match done {
        Ok(Staged::Ran(ran)) => {
            let test::Ran { mut verdict, outcome, collected, .. } = *ran;
            let mut fault = None;
            // Its tests were ended by us, so the verdict is no word on the submission.
            if outcome.verdict == sandbox::outcome::Verdict::Interrupted && ends.is_late(cancel) {
                verdict.error = Some(late().message);
                fault = Some(late());
            }
            let suite_does_not_start = !collected && fault.is_none();
            Graded { verdict, commit, fault, outcome: Some(outcome), reached, suite_does_not_start }
        }
        Err(error) => {
            let (sentence, fault) = match error {
                TaskError::Interrupted if ends.is_late(cancel) => (late().message, Some(late())),
                TaskError::Interrupted => (error.to_string(), None),
                TaskError::Fault(fault) => (fault.whole(), Some(fault)),
            };
            let verdict = Verdict::broken(sentence);
            Graded { verdict, commit, fault, outcome: None, reached, suite_does_not_start: false }
        }
        Ok(Staged::InDamaged) => {
            let fault =
                Fault::host(Cause::Environment, "the suite's Python environment was damaged while its tests ran");
            let verdict = Verdict::broken(fault.message.clone());
            Graded { verdict, commit, fault: Some(fault), outcome: None, reached, suite_does_not_start: false }
        }
        // Only a rehearsal ends before the tests.
        Ok(Staged::Enough) => Graded {
            verdict: Verdict::broken("it was not graded"),
            commit,
            fault: Some(Fault::host(Cause::Runner, "it was not graded")),
            outcome: None,
            reached,
            suite_does_not_start: false,
        },
    }
}

/// Does all steps of an assignment up to this one, which is before any that runs student code, and keeps nothing of it: shows
/// whether the step works.
///
/// # Errors
/// What kept it from working.
pub async fn rehearse(
    host: &Host,
    grading: &Grading,
    slot: &Slot,
    assignment: &Assignment,
    through: Step,
    cancel: &CancellationToken,
) -> Result<(), TaskError> {
    let context = Context::new(host, grading, slot, assignment, cancel);
    stages(&context, through.min(Step::Fetch), &mut None, &mut Step::Tree, &mut |_| {}).await?;
    Ok(())
}

/// Ends a task at its deadline as a cancelled one ends.
struct Ends {
    token: CancellationToken,
    timer: Option<tokio::task::JoinHandle<()>>,
}

impl Ends {
    fn at(deadline: Option<Instant>, cancel: &CancellationToken) -> Ends {
        let token = cancel.child_token();
        let timer = deadline.map(|deadline| {
            let token = token.clone();
            tokio::spawn(async move {
                tokio::time::sleep_until(deadline.into()).await;
                token.cancel();
            })
        });
        Ends { token, timer }
    }

    /// Whether it was the deadline that ended it.
    fn is_late(&self, cancel: &CancellationToken) -> bool {
        self.token.is_cancelled() && !cancel.is_cancelled()
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }
}

impl<'a> Context<'a> {
    fn new(
        host: &'a Host,
        grading: &'a Grading,
        slot: &'a Slot,
        assignment: &'a Assignment,
        cancel: &'a CancellationToken,
    ) -> Context<'a> {
        let lab = assignment.labs.iter().max().copied();
        let limits = grading.limits.with(lab_section(&grading.labs, lab));
        Context { host, grading, slot, assignment, limits, allow: Groups::NONE, cancel }
    }
}

/// Anything that a sandbox is made of does not work.
pub(crate) fn sandbox_failed(error: anyhow::Error) -> Fault {
    Fault::host(Cause::Sandbox, "the sandbox could not be made on the grading machine")
        .with_detail(format!("{error:#}"))
}

/// What came of the steps.
enum Staged {
    /// The last one that was asked for is done.
    Enough,
    /// The suite has run, which is judged.
    Ran(Box<test::Ran>),
    /// The suite has run in an environment that was damaged. There is a new one.
    InDamaged,
}

/// All steps through `last`; a verdict where that is the last one.
async fn stages(
    context: &Context<'_>,
    last: Step,
    commit: &mut Option<String>,
    reached: &mut Step,
    progress: Progress<'_>,
) -> Result<Staged, TaskError> {
    let lab = context.assignment.labs.iter().max().copied();
    let mut begin = |step: Step, progress: Progress<'_>| {
        *reached = step;
        progress(Event::Begins(step));
    };
    begin(Step::Tree, progress);
    let path = context.host.state_dir.join("work").join(format!("slot{}-{}", context.slot.number, std::process::id()));
    let work = WorkTree::make(path, context.slot.ids, context.limits.disk).map_err(sandbox_failed)?;
    steps::at("task: the work tree is there");
    if last < Step::Suite {
        return Ok(Staged::Enough);
    }
    // What all tasks need comes first: whether it is there is then known without a submission, which could take its room.
    begin(Step::Suite, progress);
    let suite = suite::take(context, &work).await?;
    test::check_command(context, &suite)?;
    let limits = context.limits.lowered_by(suite.options.of_lab(lab).limits());
    let allow = allowed::of(context, &suite.options)?;
    let context = &Context { limits, allow, ..*context };
    progress(Event::Suite(suite.fingerprint.clone()));
    steps::at("task: the suite is there");
    if last < Step::Prepare {
        return Ok(Staged::Enough);
    }
    begin(Step::Prepare, progress);
    let venv = prepare::environment(context, &suite.requirements, progress).await?;
    // A program that is missing would look like everybody's fault.
    needs::are_met(context, &suite.options.needs_of(lab), &venv).await?;
    steps::at("task: the environment is there");
    if last < Step::Fetch {
        return Ok(Staged::Enough);
    }
    begin(Step::Fetch, progress);
    let fetched = fetch::submission(context, &work).await?;
    commit.clone_from(&fetched.commit);
    steps::at("task: the submission is there");
    if last < Step::Build {
        return Ok(Staged::Enough);
    }
    begin(Step::Build, progress);
    build::project(context, &work, &suite, &fetched).await?;
    steps::at("task: the project is built");
    begin(Step::Test, progress);
    let ran = test::run(context, &work, &suite, &venv, progress).await;
    // An environment that is damaged, or was while the tests ran, looks like a suite that cannot start, or like anything else.
    let doubtful = match &ran {
        Ok(ran) => venv.has_changed() || (ran.silent && !context.cancel.is_cancelled()),
        Err(TaskError::Fault(fault)) => fault.cause == Cause::Sandbox,
        Err(TaskError::Interrupted) => false,
    };
    if doubtful && prepare::renew_if_damaged(context, &suite.requirements, &venv, progress).await?.is_some() {
        return Ok(Staged::InDamaged);
    }
    let mut ran = ran?;
    // A project that is built by the tests fails there.
    let lacks = fetched.submodules_sentence();
    let first = ran.verdict.cases.iter_mut().find(|case| matches!(case.status, Status::Failed | Status::Error));
    if let (false, Some(case)) = (lacks.is_empty(), first) {
        case.description = format!("sandbox: {}\n{}", lacks.trim_start_matches("; "), case.description);
    }
    Ok(Staged::Ran(Box::new(ran)))
}
