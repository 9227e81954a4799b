//! Makes a verdict out of what is known about a run: the harness's events, the suite's report and the sandbox's outcome.
//!
//! Pure. Three sources that do not know of one another have to agree, and where they do not, the worse word counts and
//! the verdict says so: a test passes only if it was listed, ended, and the report says the same.

use crate::config::Skips;
use crate::events::Log;
use crate::junit::{About, JunitError, Outcome as TestOutcome, Report, ReportCase};
use crate::text::{cut_middle, last_lines, quoted, some_of};
use crate::units::show_bytes;
use crate::verdict::{Case, Status, Verdict, memory_of};
use parts::{skipped_parts, tell_apart};
use reasons::Met;
use sandbox::confine::told::Refusal;
use sandbox::outcome::{Ended, LeafUsage, Outcome, Verdict as Word};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use words::{exit_status, show_seconds, show_signal};

mod called;
#[cfg(test)]
mod limit_tests;
mod named;
mod parts;
mod reasons;
mod starved;
mod tampering;
#[cfg(test)]
mod tests;
mod words;

/// Names in one sentence at the most.
const NAMES: usize = 10;

/// Bytes of a foreign text inside an error at the most.
const QUOTE: usize = 4000;

/// All that is known about one run of a suite.
#[derive(Debug)]
pub struct Run<'a> {
    /// What the harness said.
    pub log: &'a Log,
    /// The suite's report; `None` when nothing was written at all.
    pub report: Option<Result<Report, JunitError>>,
    /// How the sandbox ended.
    pub outcome: &'a Outcome,
    /// What was measured of each test, by [`leaf_name`].
    pub leaves: &'a BTreeMap<String, LeafUsage>,
    /// Whether the harness was to set itself apart from what it starts.
    pub apart: bool,
    /// The end of what the suite wrote to its standard error (or output).
    pub suite_stderr_tail: &'a str,
    /// Which tests may be skipped.
    pub skips: &'a Skips,
    /// Calls that were refused without a word when they were made.
    pub quiet: &'a [Refusal],
    /// The limits that were in force.
    pub limits: InForce,
    /// The wall clock that the stage was given.
    pub time_limit: Duration,
}

/// Limits that a test can meet, as they were in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// Bytes of memory.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes of the largest file.
    pub file: u64,
    /// How far a program may raise the limit on core files, in bytes.
    pub cores: u64,
    /// Time of each phase of a test, where it has a limit.
    pub test_time: Option<Duration>,
}

/// The leaf of the test at this place in the list, as the harness names it.
pub fn leaf_name(index: usize) -> String {
    format!("t{index}")
}

/// Says what the backend is told about a run.
pub fn judge(input: &Run<'_>) -> Verdict {
    // Whoever could reach the harness could have said all the rest.
    if input.apart && input.log.greeting().is_some_and(|hello| !hello.apart) {
        return Verdict {
            cases: Vec::new(),
            error: Some(
                "the harness was not out of the submission's reach, so nothing that the tests said counts: the suite has to \
                 be started by the Python of its environment, which reads PYTHONPATH"
                    .into(),
            ),
            tampering: Vec::new(),
            remarks: Vec::new(),
            duration: Duration::from_millis(input.outcome.wall_ms),
        };
    }
    let reported = Reported::new(input);
    let starved = starved::reason(input);
    let mut errors = if starved.is_some() { Vec::from_iter(collect_errors(input)) } else { run_errors(input) };
    let cause = starved.clone().unwrap_or_else(|| cause(input));
    let mut cases: Vec<Case> = Vec::new();
    let (mut disagreements, mut uncalled) = (Vec::new(), Vec::new());
    for (index, test) in input.log.tests().iter().enumerate() {
        let found = reported.of(index, &test.name);
        let mut case = Case {
            name: test.name.clone(),
            status: Status::NotRun,
            description: String::new(),
            duration: found.map(|(_, c)| c.time).unwrap_or_default(),
            memory: 0,
            measured: input.leaves.get(&leaf_name(index)).cloned(),
        };
        case.memory = case.measured.as_ref().map_or(0, |leaf| memory_of(leaf).0);
        match &test.end {
            Some(end) => {
                case.status = status(end.status);
                if end.status != TestOutcome::Passed {
                    case.description = quoted(&end.text);
                }
                case.duration = end.duration.unwrap_or(case.duration);
                if input.report_is_due() {
                    let ended = reported.ended(index, &test.name, end.status);
                    disagreements.extend(compare(&mut case, ended, found));
                }
                if case.status == Status::Passed && !test.ran {
                    case.status = Status::Failed;
                    case.description = called::NEVER.into();
                    uncalled.push(&*test.name);
                }
                // It failed as the suite says that it does: so has it gone well outside, too.
                if case.status == Status::Skipped && end.expected {
                    case.status = Status::SkipAllowed;
                }
            }
            None if test.started || input.log.running() == Some(index) => {
                case.status = if starved.is_some() { Status::Failed } else { Status::Stopped };
                case.description = format!("stopped: {cause}");
            }
            None => {
                case.description = format!("not run: the run ended before this test began: {cause}");
                case.duration = Duration::ZERO;
            }
        }
        explain(input, &mut case, &leaf_name(index), test.end.is_none());
        starved::is_no_error(input, &mut case);
        cases.push(case);
    }
    if starved.is_none() {
        disagreements.extend(reported.strangers(input));
    }
    if !disagreements.is_empty() {
        errors.push(format!(
            "pytest's report and what pytest said while it ran disagree, and the worse counts: {}",
            some_of(disagreements.iter().map(String::as_str), NAMES)
        ));
    }
    errors.extend(called::uncalled(input.log, &uncalled));
    errors.extend(called::student_code(input.log));
    errors.extend(called::made(input.log));
    cases.extend(skipped_parts(input));
    cases.extend(missing_names(input));
    tell_apart(input, &mut cases);
    for case in cases.iter_mut().filter(|case| case.status == Status::Skipped && input.skips.allow(&case.name)) {
        case.status = Status::SkipAllowed;
    }
    errors.extend(broken_cases(&cases));
    errors.extend(contradictions(input));
    if !errors.is_empty() && tampering::has_broken_it(input) {
        tampering::no_errors(input, &mut cases, &errors);
        errors.clear();
    }
    Verdict {
        cases,
        error: (!errors.is_empty()).then(|| errors.join("\n")),
        tampering: all_cut(input.log.tampering()),
        remarks: [all_cut(input.log.loaded()), all_cut(input.log.remarks()), starved::orphans(input)].concat(),
        duration: Duration::from_millis(input.outcome.wall_ms),
    }
}

/// Puts what the sandbox knows in front of what is said of a test that did not pass. `stopped`: it has no end of its own.
fn explain(input: &Run<'_>, case: &mut Case, leaf: &str, stopped: bool) {
    hold_to_the_limit(input, case);
    if !matches!(case.status, Status::Failed | Status::Error | Status::Stopped) {
        return;
    }
    let measured = case.measured.as_ref();
    // A server that a fixture has started is refused things in its own leaf.
    let is_about = |name: &str| name == leaf || measured.is_some_and(|leaf| leaf.uses.iter().any(|used| used == name));
    let denied: Vec<_> = input.outcome.denied.iter().filter(|denied| is_about(&denied.leaf)).collect();
    let took = measured.map(|leaf| Duration::from_millis(leaf.wall_ms));
    let late = match stopped {
        true => input.outcome.verdict == Word::TimeLimit,
        false => input.limits.test_time.is_some_and(|limit| took.is_some_and(|took| took >= limit)),
    };
    let full = match (stopped, measured) {
        // It ended with the stage.
        (true, _) => &input.outcome.full[..],
        (false, leaf) => leaf.map_or(&[][..], |leaf| &leaf.meanwhile.full),
    };
    let text = case.description.as_str();
    let clauses = reasons::of(&Met {
        leaf: measured,
        denied: &denied,
        full,
        late,
        quiet: input.quiet,
        text,
        limits: &input.limits,
    });
    case.description = match stopped {
        // What stopped it is the sandbox's word, too, and the first.
        true => [text.to_owned(), reasons::in_front(&clauses, "")].join("\n").trim_end().to_owned(),
        false => reasons::in_front(&clauses, text),
    };
}

/// A page that somebody else was charged for is no way around the limit.
fn hold_to_the_limit(input: &Run<'_>, case: &mut Case) {
    let Some(leaf) = case.measured.as_ref().filter(|_| case.status == Status::Passed) else { return };
    // At one time: the sum of two peaks need not have been.
    let whole = leaf.memory.with_mapped;
    if whole > input.limits.memory {
        case.status = Status::Failed;
        case.description = format!(
            "it passed, but its programs took up to {} of memory, {} of them in files that others had written and that they had \
             mapped; the limit is {}",
            show_bytes(whole),
            show_bytes(leaf.memory.mapped),
            show_bytes(input.limits.memory)
        );
    }
}

impl Run<'_> {
    /// Whether the sandbox ended the run itself, and why, in words that follow "stopped: ".
    fn limit(&self) -> Option<String> {
        Some(match self.outcome.verdict {
            Word::TimeLimit => {
                format!("time limit of {} reached, which is for all tests together", show_seconds(self.time_limit))
            }
            Word::MemoryLimit => match (self.outcome.sockets, self.outcome.uncharged) {
                (Some(held), _) => sandbox::words::sockets(held, self.limits.memory),
                (None, Some(held)) => sandbox::words::uncharged(held, self.limits.memory),
                (None, None) => format!(
                    "memory limit of {} reached, peak {}",
                    show_bytes(self.limits.memory),
                    show_bytes(self.outcome.memory_peak().unwrap_or(0))
                ),
            },
            Word::OutputLimit => format!(
                "output limit reached, {} written",
                show_bytes(self.outcome.output.stdout + self.outcome.output.stderr)
            ),
            Word::Interrupted => "the run was interrupted".to_owned(),
            Word::Ok | Word::Failed | Word::Signaled => return None,
        })
    }

    /// Whether events and report can be held against each other: pytest writes the report when it is through, so that
    /// half a one of a run that was killed says nothing.
    fn report_is_due(&self) -> bool {
        matches!(self.report, Some(Ok(_)))
    }
}

/// Why the run was over before all tests had ended, in words that follow "stopped: ".
fn cause(input: &Run<'_>) -> String {
    if let Some(limit) = input.limit() {
        return limit;
    }
    match (input.log.exit_status(), &input.outcome.ended) {
        (Some(status), _) => format!("pytest ended early with exit status {status} ({})", exit_status(status)),
        (None, Ended::Exited { code }) => format!("pytest ended early with exit code {code}"),
        (None, Ended::Signaled { signal }) => {
            format!("pytest was ended by signal {}", show_signal(*signal))
        }
        (None, Ended::Killed) => "the sandbox was killed, and how pytest ended is not known".to_owned(),
    }
}

/// What broke the run as a whole, the most telling first.
fn run_errors(input: &Run<'_>) -> Vec<String> {
    let log = input.log;
    let mut errors = Vec::new();
    let (done, total) = log.progress();
    let collected = log.is_collected();
    if !collected {
        let how = match log.greeting() {
            None => "the suite did not start: pytest never began",
            Some(_) => "the suite did not start: pytest began, but never had its list of tests complete",
        };
        errors.push(format!("{how}; {}{}", cause(input), output(input)));
    } else if let Some(limit) = input.limit() {
        errors.push(format!("the run was stopped: {limit}; {done} of {total} tests had ended"));
    } else {
        match (log.exit_status(), &input.outcome.ended) {
            (None, _) => errors.push(format!("{}; {done} of {total} tests had ended{}", cause(input), output(input))),
            // Results are complete, but a pytest that crashes on its way out is not a run to be trusted.
            (Some(_), Ended::Signaled { signal }) => errors.push(format!(
                "pytest was ended by signal {} after its last test{}",
                show_signal(*signal),
                output(input)
            )),
            (Some(_), Ended::Killed) => {
                errors.push("the sandbox was killed after pytest's last test".into());
            }
            (Some(_), Ended::Exited { .. }) => {}
        }
    }
    errors.extend(collect_errors(input));
    if collected {
        errors.extend(log.exit_status().and_then(|s| finish_error(input, s)));
    }
    errors.extend(report_error(input));
    errors
}

/// The parts of the suite that could not be collected.
fn collect_errors(input: &Run<'_>) -> Option<String> {
    let all = input.log.collect_errors();
    let texts = all
        .iter()
        .take(NAMES)
        .map(|e| format!("{}: {}", cut_middle(&e.nodeid, 200), quoted(&cut_middle(&e.text, QUOTE))));
    (!all.is_empty()).then(|| {
        let texts = texts.collect::<Vec<_>>().join("\n");
        format!("{} of the suite's files or folders could not be collected:\n{texts}", all.len())
    })
}

/// The end of what the suite wrote, to be put behind a sentence.
fn output(input: &Run<'_>) -> String {
    match last_lines(input.suite_stderr_tail, 30, QUOTE) {
        "" => "; it wrote nothing".to_owned(),
        tail => format!("; the last lines of its output:\n{}", quoted(tail)),
    }
}

/// What is wrong with pytest's own exit status.
fn finish_error(input: &Run<'_>, status: i64) -> Option<String> {
    let tests = input.log.tests();
    let unended = tests.iter().filter(|t| t.end.is_none()).count();
    let fell = |t: &crate::events::Test| t.end.as_ref().is_some_and(|e| e.status > TestOutcome::Skipped);
    match status {
        0 if unended > 0 => Some(format!(
            "pytest says that all went well (exit status 0), but {unended} of {} tests have no result",
            tests.len()
        )),
        0 => None,
        1 if tests.iter().any(fell) || !input.log.collect_errors().is_empty() => None,
        1 => Some("pytest says that tests failed (exit status 1), but no test did".into()),
        // The named tests that do not exist say it themselves.
        5 if tests.is_empty() && !input.log.unknown().is_empty() => None,
        // So do the parts that were skipped.
        5 if tests.is_empty() && !input.log.collect_skips().is_empty() => None,
        5 => Some("the suite has no tests for this task (pytest's exit status 5)".into()),
        // Already said by the list of what could not be collected.
        2 if !input.log.collect_errors().is_empty() => None,
        other => Some(format!("pytest ended with exit status {other} ({}){}", exit_status(other), output(input))),
    }
}

/// What is wrong with the report as a whole. One is only owed by a pytest that came to its end.
fn report_error(input: &Run<'_>) -> Option<String> {
    input.log.exit_status()?;
    match &input.report {
        None => Some(
            "the suite wrote no report although pytest finished: does its command pass --junit-xml on to pytest?"
                .into(),
        ),
        Some(Err(error)) => Some(format!("the suite's report cannot be used: {error}")),
        Some(Ok(_)) => None,
    }
}

/// The report, arranged for comparison.
struct Reported<'a> {
    /// The worst case of each test, by the number that the harness gave it.
    by_number: HashMap<usize, (TestOutcome, &'a ReportCase)>,
    /// The worst case of each name, of those without a number.
    by_name: HashMap<String, (TestOutcome, &'a ReportCase)>,
    /// The worst end that events tell, by name: different files can give two tests one name.
    ended: HashMap<&'a str, TestOutcome>,
    /// Every name that events tell.
    listed: HashSet<&'a str>,
}

impl<'a> Reported<'a> {
    fn new(input: &'a Run<'_>) -> Self {
        let mut by_name: HashMap<String, (TestOutcome, &ReportCase)> = HashMap::new();
        let mut by_number: HashMap<usize, (TestOutcome, &ReportCase)> = HashMap::new();
        for case in cases_about(input, About::Test) {
            let worst = match case.number {
                Some(number) => by_number.entry(number).or_insert((case.outcome, case)),
                None => by_name.entry(case.contract_name()).or_insert((case.outcome, case)),
            };
            if case.outcome > worst.0 {
                *worst = (case.outcome, case);
            }
        }
        let mut ended: HashMap<&str, TestOutcome> = HashMap::new();
        for test in input.log.tests() {
            if let Some(end) = &test.end {
                let worst = ended.entry(&test.name).or_insert(end.status);
                *worst = end.status.max(*worst);
            }
        }
        let listed = input.log.tests().iter().map(|t| &*t.name).collect();
        Reported { by_number, by_name, ended, listed }
    }

    /// The report's word on a test: by its number, and where the report has none for it by its name.
    fn of(&self, index: usize, name: &str) -> Option<(TestOutcome, &'a ReportCase)> {
        let (numbered, named) = (self.by_number.get(&index).copied(), self.by_name.get(name).copied());
        numbered.into_iter().chain(named).max_by_key(|(outcome, _)| *outcome)
    }

    /// The end of which the report speaks under what it has: a name may be that of several tests.
    fn ended(&self, index: usize, name: &str, end: TestOutcome) -> TestOutcome {
        match self.by_number.contains_key(&index) {
            true => end,
            false => self.ended.get(name).copied().unwrap_or(end),
        }
    }

    /// What the report tells and the events do not.
    fn strangers(&self, input: &Run<'_>) -> Vec<String> {
        let mut strangers = Vec::new();
        for case in cases_about(input, About::Test) {
            let name = case.contract_name();
            let known = match case.number {
                Some(number) => number < input.log.tests().len(),
                None => self.listed.contains(&*name),
            };
            if !known {
                strangers.push(format!("{} ({} in the report, never listed)", cut_middle(&name, 200), case.outcome));
            }
        }
        if input.log.collect_errors().is_empty() {
            let errors = cases_about(input, About::Collection);
            let errors = errors.filter(|c| c.outcome == TestOutcome::Error);
            strangers.extend(errors.map(|c| {
                format!(
                    "{} (not collected according to the report: {})",
                    cut_middle(&c.contract_name(), 200),
                    cut_middle(&c.text, QUOTE)
                )
            }));
        }
        let internal = cases_about(input, About::Internal);
        strangers.extend(internal.map(|c| format!("pytest itself (internal error: {})", cut_middle(&c.text, QUOTE))));
        strangers
    }
}

fn cases_about<'a>(input: &'a Run<'_>, about: About) -> impl Iterator<Item = &'a ReportCase> {
    let report = input.report.as_ref().and_then(|r| r.as_ref().ok());
    let cases = report.map(|r| r.cases.as_slice()).unwrap_or_default();
    cases.iter().filter(move |c| c.about == about)
}

/// Holds the report's word against the event's, lets the worse count and says where they differ.
fn compare(case: &mut Case, ended: TestOutcome, found: Option<(TestOutcome, &ReportCase)>) -> Option<String> {
    let name = cut_middle(&case.name, 200);
    let Some((outcome, report)) = found else {
        if case.status == Status::Passed {
            case.status = Status::Failed;
            case.description =
                "the test passed as far as pytest said while it ran, but the report does not have it".into();
        }
        return Some(format!("{name} ({ended} by events, not in the report)"));
    };
    if outcome == ended {
        return None;
    }
    if outcome > ended {
        case.status = status(outcome);
        case.description = quoted(&report.text);
    }
    Some(format!("{name} ({ended} by events, {outcome} in the report)"))
}

/// A test whose set-up or tear-down broke is the suite's trouble as much as the student's: somebody has to look.
fn broken_cases(cases: &[Case]) -> Option<String> {
    let broken: Vec<&str> = cases.iter().filter(|c| c.status == Status::Error).map(|c| &*c.name).collect();
    (!broken.is_empty()).then(|| {
        format!(
            "pytest reported errors (set-up or tear-down broke) in {} of {} tests: {}",
            broken.len(),
            cases.len(),
            some_of(broken, NAMES)
        )
    })
}

/// The named tests that the suite does not have. They are cases that failed, not a run that broke.
fn missing_names(input: &Run<'_>) -> impl Iterator<Item = Case> {
    input.log.unknown().iter().map(|unknown| {
        let why = match &*unknown.text {
            "" => String::new(),
            text => format!(" ({})", cut_middle(text, QUOTE)),
        };
        Case {
            name: unknown.test.clone(),
            status: Status::NotRun,
            description: format!("the suite has no test of this name: {}{why}", unknown.test),
            duration: Duration::ZERO,
            memory: 0,
            measured: None,
        }
    })
}

fn all_cut(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| cut_middle(text, QUOTE)).collect()
}

/// What the log could not make sense of.
fn contradictions(input: &Run<'_>) -> Option<String> {
    let problems = input.log.problems();
    (!problems.is_empty()).then(|| {
        format!(
            "the harness contradicted itself, and what it said first counts: {}",
            quoted(&cut_middle(&problems.join("; "), QUOTE))
        )
    })
}

fn status(outcome: TestOutcome) -> Status {
    match outcome {
        TestOutcome::Passed => Status::Passed,
        TestOutcome::Skipped => Status::Skipped,
        TestOutcome::Failed => Status::Failed,
        TestOutcome::Error => Status::Error,
    }
}
