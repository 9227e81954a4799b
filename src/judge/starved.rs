//! Failures that come of a limit, where pytest calls them errors or comes to its own end: a submission that fills /tmp or memory, takes
//! every process, or never ends makes a fixture fail, or pytest itself. To pytest that is the suite's trouble. It is shown to be none
//! where the kernel says that the limit was reached and programs of the run were there to reach it.

use super::{Case, Run, Status, leaf_name};
use crate::junit::About;
use sandbox::outcome::{Figure, LeafUsage, Verdict as Word};
use sandbox::words;

/// How Python says that a place is full.
const NO_SPACE: &str = "[Errno 28]";

/// How Python says that a file is not there, or not what it was: what becomes of one that a program can remove or change. And how pytest
/// says that all names for a folder of a test's are taken.
const NOT_THERE: [&str; 6] =
    ["[Errno 2]", "[Errno 8]", "[Errno 13]", "[Errno 20]", "[Errno 21]", "could not create numbered dir"];

/// What programs can change: the folder in which pytest makes those of tests, and the submission.
const CHANGEABLE: [&str; 2] = ["/pytest-of-", "'/task/project/"];

/// The leaf of what is no test's and no fixture's.
const SESSION: &str = "f0";

/// pytest's exit status after an error inside it.
const INTERNAL_ERROR: i64 = 3;

/// Why pytest could not go on, where a limit or a full place has ended it; in words that follow "stopped: ".
pub(super) fn reason(input: &Run<'_>) -> Option<String> {
    let log = input.log;
    // Before the list of tests is complete nothing of a submission has run that was to be tested; and where every test has ended
    // nothing has failed by it.
    if !log.is_collected() || log.tests().iter().all(|test| test.end.is_some()) || !has_programs(input) {
        return None;
    }
    if let Some(limit) = input.limit() {
        return by_a_limit(input, limit);
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
        // What pytest had written is gone with it.
        (None, true) => {
            let met = |leaf: &LeafUsage| {
                let was = leaf.meanwhile.filled.first().map(words::was_full);
                leaf.meanwhile.full.first().map(words::full).or(was)
            };
            let place = input.leaves.values().find_map(met);
            let place = place.unwrap_or_else(|| "it could not write (No space left on device)".into());
            Some(format!("pytest itself could not go on: {place}"))
        }
        (None, false) => None,
    }
}

/// Why a limit of the sandbox's that ended the run is the doing of the test that was running.
fn by_a_limit(input: &Run<'_>, limit: String) -> Option<String> {
    let running = input.log.running().and_then(|index| input.leaves.get(&leaf_name(index)));
    match input.outcome.verdict {
        Word::TimeLimit if running.is_some_and(|leaf| leaf.alive) => {
            Some(format!("{limit}; programs of the test that was running then had not ended"))
        }
        // It waits for a program that has ended, or never came so far.
        Word::TimeLimit => {
            let pipe = input.log.pipe()?;
            Some(format!("{limit}; pytest was waiting for somebody to open the other end of a pipe: {pipe}"))
        }
        // What pytest itself holds of a program's output counts, and so do files that an earlier test has left.
        Word::MemoryLimit => {
            let own = running.is_some_and(|leaf| has_run(input, leaf));
            let killed = input.leaves.values().any(|leaf| counted(&leaf.usage.oom_kills));
            let pages = (input.outcome.sockets, input.outcome.uncharged) == (None, None);
            let what = "; pytest's own memory is in it, and with it what a test reads of a program's output, and so are files in /tmp and \
                        /dev/shm";
            (own || killed).then(|| limit + if pages { what } else { "" })
        }
        _ => None,
    }
}

/// What is said of programs that were ended because nobody was left who had started them.
pub(super) fn orphans(input: &Run<'_>) -> Vec<String> {
    let ended = input.leaves.values().filter(|leaf| leaf.orphans.ended);
    let told = ended.map(|leaf| {
        let (count, names) = (leaf.orphans.count, leaf.orphans.names.join(", "));
        let when = match &*leaf.leaf {
            SESSION => "when all tests had been collected, programs that had been started until then",
            _ => "when a fixture of a class, a module or the session had been set up, programs that had been started for it",
        };
        let what = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
        format!(
            "{when} had left behind {what} of which nobody in pytest was a parent any more, and which the sandbox ended: {names} \
             (leftovers = \"keep\" lets them go on)"
        )
    });
    told.collect()
}

/// A test whose set-up or tear-down broke by a limit has failed.
pub(super) fn is_no_error(input: &Run<'_>, case: &mut Case) {
    if case.status != Status::Error || !has_programs(input) {
        return;
    }
    if case.measured.as_ref().is_some_and(has_met_a_limit) || is_full(&case.description) || is_gone(&case.description) {
        case.status = Status::Failed;
    }
}

/// Whether anything has run that could have reached a limit.
fn has_programs(input: &Run<'_>) -> bool {
    input.leaves.values().any(|leaf| has_run(input, leaf))
}

/// Whether programs ran in this leaf, or in that of a fixture which it uses. Leaves of fixtures are made with their first process.
fn has_run(input: &Run<'_>, leaf: &LeafUsage) -> bool {
    leaf.entered > 0 || leaf.uses.iter().any(|used| used != SESSION && input.leaves.contains_key(used))
}

fn counted(figure: &Option<Figure>) -> bool {
    figure.as_ref().is_some_and(|figure| figure.value > 0)
}

fn has_met_a_limit(leaf: &LeafUsage) -> bool {
    !leaf.meanwhile.full.is_empty()
        || counted(&leaf.usage.oom_kills)
        || counted(&leaf.usage.pids_denied)
        || counted(&leaf.meanwhile.pids_denied)
}

/// Whether pytest names a full place as the error; not what a program has printed.
fn is_full(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("E ") && line.contains(NO_SPACE))
}

/// Whether the error is that something in the submission or in pytest's own temporary folder is not there, or not as it was: a program has
/// removed it, or has not made what it was to make. The last line is the error itself; earlier ones may be what it came of.
fn is_gone(text: &str) -> bool {
    let last = text.lines().rfind(|line| line.starts_with("E "));
    let names = |line: &str, all: &[&str]| all.iter().any(|text| line.contains(text));
    last.is_some_and(|line| names(line, &NOT_THERE) && names(line, &CHANGEABLE))
}
