//! Failures that come of a limit, where pytest calls them errors: a submission that fills /tmp or takes every process makes a fixture
//! fail, or pytest itself. To pytest that is the suite's trouble. It is shown to be none where the kernel says that the limit was
//! reached and programs of the run were there to reach it.

use super::{Case, Run, Status};
use crate::junit::About;
use sandbox::outcome::{Figure, LeafUsage};
use sandbox::words;

/// How Python says that a place is full.
const NO_SPACE: &str = "[Errno 28]";

/// pytest's exit status after an error inside it.
const INTERNAL_ERROR: i64 = 3;

/// Why pytest could not go on, where a full place has ended it; in words that follow "stopped: ".
pub(super) fn reason(input: &Run<'_>) -> Option<String> {
    let log = input.log;
    // Before the list of tests is complete nothing of a submission has run that was to be tested.
    if !log.is_collected() || input.limit().is_some() || !has_programs(input) {
        return None;
    }
    let ended = log.exit_status().filter(|status| *status != INTERNAL_ERROR);
    if ended.is_some() && super::cases_about(input, About::Internal).next().is_none() {
        return None;
    }
    let full = input.outcome.full.first();
    let named =
        input.suite_stderr_tail.contains(NO_SPACE) || input.suite_stderr_tail.contains("No space left on device");
    match (full, named) {
        (Some(full), _) => Some(format!("pytest itself could not go on: {}", words::full(full))),
        (None, true) => Some("pytest itself could not go on: it could not write (No space left on device)".into()),
        (None, false) => None,
    }
}

/// A test whose set-up or tear-down broke by a limit has failed.
pub(super) fn is_no_error(input: &Run<'_>, case: &mut Case) {
    if case.status != Status::Error || !has_programs(input) {
        return;
    }
    if case.measured.as_ref().is_some_and(has_met_a_limit) || is_full(&case.description) {
        case.status = Status::Failed;
    }
}

/// Whether anything has run that could have reached a limit.
fn has_programs(input: &Run<'_>) -> bool {
    input.leaves.values().any(|leaf| leaf.entered > 0)
}

fn has_met_a_limit(leaf: &LeafUsage) -> bool {
    let counted = |figure: &Option<Figure>| figure.as_ref().is_some_and(|figure| figure.value > 0);
    !leaf.meanwhile.full.is_empty()
        || counted(&leaf.usage.oom_kills)
        || counted(&leaf.usage.pids_denied)
        || counted(&leaf.meanwhile.pids_denied)
}

/// Whether pytest names a full place as the error; not what a program has printed.
fn is_full(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("E ") && line.contains(NO_SPACE))
}
