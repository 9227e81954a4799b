//! The build stage: the configured build command, without network and without the suite in sight.

use super::fetch::Fetched;
use super::suite::Suite;
use super::{Context, TaskError};
use crate::contain::Stage;
use crate::contain::tree::{self, inside};
use crate::contain::work::WorkTree;
use crate::fault::{Cause, Fault};
use sandbox::outcome::Verdict;
use sandbox::plan::{Beyond, Policy};

/// Lines of the compiler's output that a student is shown.
const SHOWN_LINES: usize = 100;

/// Builds the project, if the suite or the operator says how.
pub async fn project(
    context: &Context<'_>,
    work: &WorkTree,
    suite: &Suite,
    fetched: &Fetched,
) -> Result<(), TaskError> {
    let (own, suites) = (&context.grading.build, &suite.options.build);
    let Some(command) = own.command.as_ref().or(suites.command.as_ref()).filter(|c| !c.is_empty()) else {
        return Ok(());
    };
    let mut stage = Stage::new("build", Policy::Build, &context.limits);
    stage.argv.clone_from(command);
    stage.cwd = inside::PROJECT.into();
    let wished = own.timeout.or(suites.timeout).map(|t| t.0);
    stage.wall =
        wished.unwrap_or(context.limits.timeout).min(context.limits.timeout).min(context.grading.longest_build());
    stage.output.beyond = Beyond::Kill;
    stage.mounts.push(tree::bind(work.project(), inside::PROJECT, true));
    let plan = context.host.plan(context.slot, &stage);
    // Both streams in the order in which they came: a compiler's message belongs to the command before it.
    let mut both = crate::contain::Tail::default();
    let finished = context.host.run("build", &plan, context.cancel, &mut |_, bytes| both.push(bytes)).await;
    let finished = finished.and_then(|done| done.unless_killed("build"));
    let finished = finished.map_err(|error| error.fault(|said| cannot_start(command, said)))?;
    let outcome = finished.outcome;
    tracing::info!(verdict = ?outcome.verdict, wall_ms = outcome.wall_ms, "built the project");
    match outcome.verdict {
        Verdict::Ok => Ok(()),
        Verdict::Interrupted => Err(TaskError::Interrupted),
        _ => {
            let command = command.join(" ");
            let said = both.lines(SHOWN_LINES);
            let lacks = fetched.submodules_sentence();
            Err(Fault::submission(format!("the build failed: `{command}`: {}{lacks}\n{said}", outcome.message)).into())
        }
    }
}

/// Who is to blame for a build command that cannot be started. A program that is looked for in PATH is the host's; one that is
/// named by its path is the project's own, such as `./configure`.
fn cannot_start(command: &[String], said: String) -> Fault {
    match command.first().is_some_and(|program| program.contains('/')) {
        true => Fault::submission(said),
        false => {
            // The suite's or the operator's word, which no submission can do without.
            Fault::host(Cause::Suite, "the build command does not work on the grading machine").with_detail(said)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Blame;

    #[test]
    fn a_program_of_the_hosts_that_is_missing_is_not_the_submissions() {
        let blame = |program: &str| cannot_start(&[program.to_string()], "no such file".into()).blame;
        assert_eq!((blame("make"), blame("./configure")), (Blame::Host, Blame::Submission));
    }
}
