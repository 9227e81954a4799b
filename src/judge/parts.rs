//! What is in the list beside tests that ran, and names by which everything in it can be told apart.

use super::{Case, QUOTE, Run, Status};
use crate::text::{apart, cut_middle, visible_line};
use std::time::Duration;

/// Bytes of a name at the most.
const NAME: usize = 2000;

/// Parts of the suite that were skipped as a whole: nothing that was in them has passed.
pub(super) fn skipped_parts(input: &Run<'_>) -> impl Iterator<Item = Case> {
    input.log.collect_skips().iter().map(|part| Case {
        name: part.name.clone(),
        status: Status::Skipped,
        description: format!("skipped as a whole, with all tests in it: {}", cut_middle(&part.text, QUOTE)),
        duration: Duration::ZERO,
        memory: 0,
        measured: None,
    })
}

/// Gives each case a name of its own: files of one name in two folders, or a name that was cut, make two tests look like one.
pub(super) fn tell_apart(input: &Run<'_>, cases: &mut [Case]) {
    let tests = input.log.tests().iter().map(|test| &*test.nodeid);
    let parts = input.log.collect_skips().iter().map(|part| &*part.nodeid);
    let keys = tests.chain(parts).chain(std::iter::repeat(""));
    let names: Vec<(String, &str)> = cases.iter().map(|case| visible_line(&case.name)).zip(keys).collect();
    for (case, name) in cases.iter_mut().zip(apart(&names, NAME)) {
        case.name = name;
    }
}
