//! What breaks in a suite because the submission has put a file in the place of one that pytest loads: no error of the suite's.

use super::{Case, QUOTE, Run, Status};
use crate::text::{cut_middle, quoted, visible_line};
use sandbox::outcome::{Ended, Verdict as Word};
use std::time::Duration;

/// Whether pytest began, was refused what only the submission could have wanted to be loaded, and ended by itself. A program that is
/// built while the suite is collected can put a package in a module's place, and what the suite wants of its own module is not there
/// then: fixtures, names, whole files.
pub(super) fn has_broken_it(input: &Run<'_>) -> bool {
    let log = input.log;
    let by_itself =
        matches!(input.outcome.ended, Ended::Exited { .. }) && matches!(input.outcome.verdict, Word::Ok | Word::Failed);
    // What the suite wanted to load itself is its own affair, whatever else was refused.
    let wanted = !log.student_code().is_empty() || !log.made().is_empty();
    !log.tampering().is_empty() && !wanted && log.greeting().is_some() && by_itself
}

/// Errors that are the submission's doing are failures. What could not be collected is in the list, so that the rest does not pass the
/// whole. And where nothing is, its start is.
pub(super) fn no_errors(input: &Run<'_>, cases: &mut Vec<Case>, errors: &[String]) {
    for case in cases.iter_mut().filter(|case| matches!(case.status, Status::Error | Status::Stopped)) {
        case.status = Status::Failed;
    }
    let failed = |name: &str, description: String| Case {
        name: visible_line(&cut_middle(name, 200)),
        status: Status::Failed,
        description,
        duration: Duration::ZERO,
        memory: 0,
        measured: None,
    };
    cases.extend(input.log.collect_errors().iter().map(|error| {
        let text = quoted(&cut_middle(&error.text, QUOTE));
        let why = "it could not be collected after a file of the submission's had taken the place of another";
        failed(&error.nodeid, format!("{why}:\n{text}"))
    }));
    let is_failed =
        cases.iter().any(|case| !matches!(case.status, Status::Passed | Status::Skipped | Status::SkipAllowed));
    if !is_failed {
        cases.push(failed("the suite's start", errors.join("\n")));
    }
}
