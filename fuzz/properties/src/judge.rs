//! The verdict: events, report and outcome together.

use crate::said::Said;
use ostest_sandbox::backend::contract::{Key, MemoryUnit, Token, render};
use ostest_sandbox::events::Log;
use ostest_sandbox::judge::{InForce, Run, judge};
use ostest_sandbox::junit::{self, About, Caps, JunitError, Report};
use ostest_sandbox::text::visible_line;
use ostest_sandbox::verdict::{Status, Verdict};
use sandbox::outcome::{Ended, Outcome, OutputCount, Usage, Verdict as Word};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// What separates the three parts of an input.
pub const SEPARATOR: &[u8] = b"\n%%\n";

/// Ways in which a sandbox ends, by the letter that names them in an input.
const WORDS: [(u8, Word); 7] = [
    (b'o', Word::Ok),
    (b'f', Word::Failed),
    (b's', Word::Signaled),
    (b't', Word::TimeLimit),
    (b'm', Word::MemoryLimit),
    (b'w', Word::OutputLimit),
    (b'i', Word::Interrupted),
];

/// The bytes are three parts: messages, a line each; the report; and letters for the outcome (one of [`WORDS`], then `e`, `s` or
/// `k` for exited, signaled, killed, then `a` for a harness that must be apart). Without a report there are two separators
/// beside each other, without an outcome all went well.
pub fn check(bytes: &[u8]) -> &'static str {
    let (events, rest) = split(bytes);
    let (report, letters) = split(rest);
    let lines: Vec<&[u8]> = events.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    let said = Said::of(lines.iter().copied());
    let mut log = Log::new();
    lines.iter().for_each(|line| log.push_line(line));
    let report = (!report.is_empty()).then(|| junit::parse(report, &Caps::default()));
    let outcome = outcome(letters);
    let apart = letters.get(2) == Some(&b'a');
    let judged = |log: &Log, report: Option<Result<Report, JunitError>>, outcome: &Outcome| {
        judge(&Run {
            log,
            report,
            outcome,
            leaves: &BTreeMap::new(),
            apart,
            suite_stderr_tail: "the suite's last words",

            skips: &ostest_sandbox::config::Skips::Refused,
            quiet: &[],
            limits: InForce {
                memory: 512 << 20,
                pids: 256,
                cpu_millis: 1000,
                file: 512 << 20,
                cores: 0,
                test_time: None,
            },
            time_limit: Duration::from_secs(600),
        })
    };
    let verdict = judged(&log, report.clone(), &outcome);
    every_pass_is_confirmed(&verdict, &log, &said, report.as_ref());
    every_test_is_told(&verdict, &log);
    a_pass_of_the_whole_is_clean(&verdict, &log, report.as_ref(), &outcome, apart);
    what_is_sent_says_the_same(&verdict);
    worse_news_never_helps(&verdict, report, &|report| judged(&log, report, &outcome));
    let silent = Said::of([]);
    let unended: Vec<&[u8]> = lines.iter().copied().filter(|line| Said::of([*line]).ended.is_empty()).collect();
    if unended.len() < lines.len() {
        let mut log = Log::new();
        unended.iter().for_each(|line| log.push_line(line));
        every_pass_is_confirmed(&judged(&log, None, &outcome), &log, &silent, None);
    }
    match (verdict.is_passed(), verdict.error) {
        (true, _) => "passed",
        (false, None) => "not passed",
        (false, Some(_)) => "error",
    }
}

fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.windows(SEPARATOR.len()).position(|part| part == SEPARATOR) {
        Some(at) => (&bytes[..at], &bytes[at + SEPARATOR.len()..]),
        None => (bytes, &[]),
    }
}

fn outcome(letters: &[u8]) -> Outcome {
    let verdict = WORDS.iter().find(|(letter, _)| letters.first() == Some(letter)).map_or(Word::Ok, |(_, word)| *word);
    Outcome {
        ended: match letters.get(1) {
            Some(b's') => Ended::Signaled { signal: 9 },
            Some(b'k') => Ended::Killed,
            _ => Ended::Exited { code: i32::from(verdict != Word::Ok) },
        },
        verdict,
        message: String::new(),
        wall_ms: 1000,
        usage: Usage::default(),
        limits: Vec::new(),
        output: OutputCount::default(),
        degraded: Vec::new(),
        allowed: sandbox::groups::Groups::NONE,
        denied: Vec::new(),
        full: Vec::new(),
        untold: None,
        sockets: None,
        uncharged: None,
    }
}

/// No test counts as passed that the events do not confirm, nor one that a report does not confirm where there is one.
fn every_pass_is_confirmed(verdict: &Verdict, log: &Log, said: &Said, report: Option<&Result<Report, JunitError>>) {
    let reported: Option<HashSet<String>> = report.and_then(|report| report.as_ref().ok()).map(|report| {
        let passed = report.cases.iter().filter(|c| c.about == About::Test && c.outcome == junit::Outcome::Passed);
        passed.map(junit::ReportCase::contract_name).collect()
    });
    let failed: HashSet<String> = match report {
        Some(Ok(report)) => report
            .cases
            .iter()
            .filter(|c| c.about == About::Test && c.outcome != junit::Outcome::Passed)
            .map(junit::ReportCase::contract_name)
            .collect(),
        _ => HashSet::new(),
    };
    // A case of a name that was there before has another one in the verdict.
    let names: Vec<&str> = log.tests().iter().map(|test| &*test.name).collect();
    for (index, case) in verdict.cases.iter().enumerate() {
        if case.status != Status::Passed {
            continue;
        }
        let name = names[index];
        assert!(said.confirms(index, name, junit::Outcome::Passed), "nobody said that {:?} passed", case.name);
        assert_eq!(case.description, "");
        // Two tests of one name are one to the report, which tells the worse.
        let alone = names.iter().filter(|other| **other == name).count() == 1;
        if let Some(reported) = &reported
            && alone
        {
            assert!(reported.contains(name), "the report does not say that {:?} passed", case.name);
            assert!(!failed.contains(name), "the report says that {:?} did not pass", case.name);
        }
    }
}

/// Every test of the list once, in its order, then the parts that were skipped and the names that the suite does not have; each by a
/// name of its own.
fn every_test_is_told(verdict: &Verdict, log: &Log) {
    if verdict.cases.is_empty() && verdict.error.is_some() {
        return; // a harness that could be reached has said nothing
    }
    let tests = log.tests().iter().map(|test| &test.name);
    let parts = log.collect_skips().iter().map(|part| &part.name);
    let wanted: Vec<&String> = tests.chain(parts).chain(log.unknown().iter().map(|unknown| &unknown.test)).collect();
    assert_eq!(verdict.cases.len(), wanted.len());
    let names: HashSet<&str> = verdict.cases.iter().map(|case| &*case.name).collect();
    assert_eq!(names.len(), wanted.len());
    for (case, name) in verdict.cases.iter().zip(wanted) {
        let shown = visible_line(name);
        assert!(
            case.name == shown || case.name.ends_with(')') || case.name.len() < shown.len(),
            "{name:?}: {:?}",
            case.name
        );
    }
    for (case, test) in verdict.cases.iter().zip(log.tests()) {
        assert!(test.end.is_some() || matches!(case.status, Status::Stopped | Status::NotRun));
        assert!(test.end.is_some() || !case.description.is_empty());
    }
}

fn a_pass_of_the_whole_is_clean(
    verdict: &Verdict,
    log: &Log,
    report: Option<&Result<Report, JunitError>>,
    outcome: &Outcome,
    apart: bool,
) {
    if !verdict.is_passed() {
        return;
    }
    assert!(!log.tests().is_empty() && log.is_collected() && log.exit_status() == Some(0));
    assert!(log.problems().is_empty() && log.unknown().is_empty() && log.collect_errors().is_empty());
    assert!(log.greeting().is_some_and(|hello| hello.apart || !apart));
    assert!(matches!(outcome.verdict, Word::Ok | Word::Failed | Word::Signaled));
    assert!(matches!(outcome.ended, Ended::Exited { .. }));
    let Some(Ok(report)) = report else { panic!("a pass without a report") };
    assert!(report.cases.iter().all(|case| case.about != About::Test || case.outcome == junit::Outcome::Passed));
}

/// Both dialects say what the verdict says.
fn what_is_sent_says_the_same(verdict: &Verdict) {
    let token = Token::from_value(&json!(7)).expect("an integer names an attempt");
    for key in [Key::Attempt(token.clone()), Key::Id(token)] {
        let sent = render(&key, verdict, MemoryUnit::KiB.into());
        let (whole, cases) = match &key {
            Key::Attempt(_) => (&sent["testResults"], &sent["testResults"]["testCases"]),
            Key::Id(_) => (&sent, &sent["testResults"]),
        };
        assert_eq!(whole["isPassed"], Value::Bool(verdict.is_passed()));
        assert_eq!(whole["isError"], Value::Bool(verdict.error.is_some()));
        let cases = cases.as_array().expect("cases are a list");
        assert_eq!(cases.len(), verdict.cases.len());
        for (sent, case) in cases.iter().zip(&verdict.cases) {
            assert_eq!(sent["isPassed"], Value::Bool(case.status == Status::Passed));
        }
    }
}

/// A report in which a case is worse, or missing, or that cannot be read, makes no test pass that did not, and no run.
fn worse_news_never_helps(
    verdict: &Verdict,
    report: Option<Result<Report, JunitError>>,
    judged: &dyn Fn(Option<Result<Report, JunitError>>) -> Verdict,
) {
    let Some(Ok(report)) = report else { return };
    let no_better = |worse: &Verdict| {
        assert!(verdict.is_passed() || !worse.is_passed(), "worse news made the run pass");
        for (before, after) in verdict.cases.iter().zip(&worse.cases) {
            let (was, is) = (before.status == Status::Passed, after.status == Status::Passed);
            assert!(was || !is, "worse news made {:?} pass", after.name);
        }
    };
    for index in 0..report.cases.len().min(8) {
        let mut worse = report.clone();
        worse.cases[index].outcome = junit::Outcome::Error;
        no_better(&judged(Some(Ok(worse))));
        // One less that passed, and that was to be there.
        let gone = &report.cases[index];
        if gone.outcome == junit::Outcome::Passed && verdict.cases.iter().any(|case| case.name == gone.contract_name())
        {
            let mut shorter = report.clone();
            shorter.cases.remove(index);
            no_better(&judged(Some(Ok(shorter))));
        }
    }
    assert!(!judged(Some(Err(JunitError::NoRoot))).is_passed());
    assert!(!judged(None).is_passed());
}
