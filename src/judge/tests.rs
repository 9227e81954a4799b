use super::*;
use crate::events::{CollectError, Event, Hello, Unknown};
use crate::junit::{Caps, parse};
use proptest::prelude::*;
use sandbox::outcome::{OutputCount, Usage};

pub(super) fn outcome(verdict: Word, ended: Ended) -> Outcome {
    Outcome {
        ended,
        verdict,
        message: String::new(),
        wall_ms: 1234,
        usage: Usage {
            memory_peak: Some(sandbox::outcome::Figure { value: 512 << 20, source: "memory.peak".into() }),
            ..Usage::default()
        },
        limits: Vec::new(),
        output: OutputCount::default(),
        degraded: Vec::new(),
        allowed: sandbox::groups::Groups::NONE,
        denied: Vec::new(),
        untold: None,
        sockets: None,
        uncharged: None,
        full: Vec::new(),
    }
}

pub(super) fn ok() -> Outcome {
    outcome(Word::Ok, Ended::Exited { code: 0 })
}

pub(super) fn failed(code: i32) -> Outcome {
    outcome(Word::Failed, Ended::Exited { code })
}

pub(super) fn hello() -> Event {
    Event::Hello(Hello { version: 1, pid: 1, python: "3.11".into(), pytest: "8.3".into(), apart: true })
}

pub(super) fn end(index: usize, status: TestOutcome, text: &str) -> Event {
    Event::End { index, status, duration: Some(0.5), text: text.into(), expected: false }
}

/// A log of these tests, and then of what happened to them.
pub(super) fn log(names: &[&str], then: Vec<Event>) -> Log {
    let mut log = Log::new();
    log.push(hello());
    for (index, name) in names.iter().enumerate() {
        let (nodeid, name) = (format!("tests/{name}"), name.to_string());
        log.push(Event::Test { index, nodeid, name });
    }
    log.push(Event::Collected { count: names.len() });
    then.into_iter().for_each(|event| log.push(event));
    log
}

/// Starts and ends of all tests, and pytest's end.
pub(super) fn whole(ends: &[(TestOutcome, &str)], exitstatus: i64) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, (status, text)) in ends.iter().enumerate() {
        events.push(Event::Start { index });
        events.push(Event::Ran { index });
        events.push(end(index, *status, text));
    }
    events.push(Event::Finish { exitstatus });
    events
}

pub(super) fn xml(inside: &str) -> Option<Result<Report, JunitError>> {
    let text = format!("<testsuites><testsuite>{inside}</testsuite></testsuites>");
    Some(parse(text.as_bytes(), &Caps::default()))
}

/// Of the first two tests: 40 MiB and 1 KiB of their programs.
pub(super) fn leaves() -> &'static BTreeMap<String, LeafUsage> {
    static LEAVES: std::sync::OnceLock<BTreeMap<String, LeafUsage>> = std::sync::OnceLock::new();
    LEAVES.get_or_init(|| [leaf("t0", 1, Some(40 << 20), None), leaf("t1", 2, Some(1024), None)].into())
}

pub(super) fn leaf(name: &str, entered: u64, peak: Option<u64>, rise: Option<u64>) -> (String, LeafUsage) {
    let figure =
        |value: Option<u64>| value.map(|value| sandbox::outcome::Figure { value, source: "memory.peak".into() });
    let usage = sandbox::outcome::Usage { memory_peak: figure(peak), ..Default::default() };
    (
        name.into(),
        LeafUsage { leaf: name.into(), entered, wall_ms: 1, harness_rise: figure(rise), usage, ..Default::default() },
    )
}

pub(super) fn run<'a>(log: &'a Log, report: Option<Result<Report, JunitError>>, outcome: &'a Outcome) -> Run<'a> {
    Run {
        log,
        report,
        outcome,
        leaves: leaves(),
        apart: true,
        suite_stderr_tail: "first\nERROR: no such option\n",

        skips: &crate::config::Skips::Refused,
        quiet: &[],
        limits: InForce { memory: 512 << 20, pids: 64, cpu_millis: 1000, file: 1 << 30, cores: 0, test_time: None },
        time_limit: Duration::from_secs(600),
    }
}

pub(super) fn statuses(verdict: &Verdict) -> Vec<(&str, Status)> {
    verdict.cases.iter().map(|c| (&*c.name, c.status)).collect()
}

pub(super) const BOTH: &str =
    "<testcase classname=\"tests.a\" name=\"t\"/><testcase classname=\"tests.a\" name=\"u\"/>";
use TestOutcome::{Error, Failed, Passed, Skipped};

#[test]
fn nothing_counts_of_a_harness_in_reach() {
    let mut log = Log::new();
    log.push(Event::Hello(Hello { version: 1, pid: 1, python: "3.11".into(), pytest: "8.3".into(), apart: false }));
    log.push(Event::Test { index: 0, nodeid: "tests/a.py::t".into(), name: "a::t".into() });
    log.push(Event::Collected { count: 1 });
    whole(&[(Passed, "")], 0).into_iter().for_each(|event| log.push(event));
    let one = "<testcase classname=\"tests.a\" name=\"t\"/>";
    let well = ok();
    let verdict = judge(&run(&log, xml(one), &well));
    assert!(verdict.cases.is_empty() && !verdict.is_passed(), "{verdict:?}");
    assert!(verdict.error.is_some_and(|error| error.contains("reach")));
    let trusted = Run { apart: false, ..run(&log, xml(one), &well) };
    assert!(judge(&trusted).is_passed(), "outside a sandbox, as in the harness's own tests");
}

#[test]
fn tampering_is_told_and_changes_nothing() {
    let mut events = vec![Event::Tampering { text: "x.py was not loaded".into() }];
    events.extend(whole(&[(Passed, ""), (Passed, "")], 0));
    events.push(Event::Tampering { text: "x.py was not loaded".into() });
    let log = log(&["a::t", "a::u"], events);
    let verdict = judge(&run(&log, xml(BOTH), &ok()));
    assert!(verdict.is_passed() && verdict.error.is_none(), "{verdict:?}");
    assert_eq!(verdict.details(), "tampering was seen: x.py was not loaded");
}

#[test]
fn a_test_that_was_never_called_has_not_passed() {
    let events = |first: Option<Event>| {
        let mut events: Vec<Event> = first.into_iter().collect();
        events.extend(whole(&[(Passed, ""), (Passed, "")], 0));
        events.retain(|event| !matches!(event, Event::Ran { index: 1 }));
        log(&["a::t", "a::u"], events)
    };
    let plain = events(None);
    let verdict = judge(&run(&plain, xml(BOTH), &ok()));
    assert_eq!(statuses(&verdict), [("a::t", Status::Passed), ("a::u", Status::Failed)]);
    assert!(verdict.cases[1].description.contains("never called"), "{verdict:?}");
    // Nothing of the submission's was in pytest: the suite did it.
    assert!(verdict.error.as_deref().is_some_and(|e| e.contains("--setup-plan") && e.ends_with("a::u")), "{verdict:?}");
    let foreign = events(Some(Event::Loaded { text: "x.so was loaded into pytest".into() }));
    let verdict = judge(&run(&foreign, xml(BOTH), &ok()));
    assert_eq!(statuses(&verdict), [("a::t", Status::Passed), ("a::u", Status::Failed)]);
    assert_eq!((verdict.error.as_deref(), &*verdict.details()), (None, "note: x.so was loaded into pytest"));
}

#[test]
fn a_suite_that_loads_student_code_is_told_how_not_to() {
    let mut events = vec![Event::StudentCode { text: "/task/project/libx.so".into() }];
    events.extend(whole(&[(Passed, ""), (Passed, "")], 0));
    events.push(Event::Remark { text: "x was not read".into() });
    let log = log(&["a::t", "a::u"], events);
    assert_eq!(log.problems(), [""; 0]);
    let verdict = judge(&run(&log, xml(BOTH), &ok()));
    let details = verdict.details();
    assert!(!verdict.is_passed() && verdict.error.is_some(), "{verdict:?}");
    for said in ["/task/project/libx.so", "a process of its own", "load-student-code = true", "\nnote: x was not read"]
    {
        assert!(details.contains(said), "{said}: {details}");
    }
}

#[test]
fn a_good_run_passes() {
    let log = log(&["a::t", "a::u"], whole(&[(Passed, ""), (Passed, "")], 0));
    let verdict = judge(&run(&log, xml(BOTH), &ok()));
    assert_eq!(verdict.error, None);
    assert!(verdict.is_passed());
    assert_eq!(verdict.duration, Duration::from_millis(1234));
    assert_eq!(verdict.cases[0].duration, Duration::from_millis(500));
    assert_eq!((verdict.cases[0].memory, &*verdict.cases[0].description), (40 << 20, ""));
}

#[test]
fn failures_and_skips_are_no_errors() {
    let log = log(&["a::t", "a::u"], whole(&[(Failed, "no"), (Skipped, "f:1: why")], 1));
    let report = xml("<testcase classname=\"a\" name=\"t\"><failure>no</failure></testcase>\
         <testcase classname=\"a\" name=\"u\"><skipped>f:1: why</skipped></testcase>\
         <testcase classname=\"\" name=\"tests.b\"><skipped message=\"collection skipped\">x</skipped></testcase>");
    let verdict = judge(&run(&log, report, &failed(1)));
    assert_eq!(verdict.error, None);
    assert!(!verdict.is_passed());
    assert_eq!(statuses(&verdict), [("a::t", Status::Failed), ("a::u", Status::Skipped)]);
    assert_eq!(verdict.cases[1].description, "f:1: why");
}

#[test]
fn a_run_that_is_killed_half_way_keeps_what_is_known() {
    let half =
        || vec![Event::Start { index: 0 }, Event::Ran { index: 0 }, end(0, Passed, ""), Event::Start { index: 1 }];
    for (outcome, says) in [
        (outcome(Word::TimeLimit, Ended::Killed), "time limit of 600 s reached, which is for all tests together"),
        (outcome(Word::MemoryLimit, Ended::Killed), "memory limit of 512.0 MiB reached, peak 512.0 MiB"),
        (
            Outcome { sockets: Some(600 << 20), ..outcome(Word::MemoryLimit, Ended::Killed) },
            "its sockets took up to 600.0 MiB of the kernel's memory, which is beyond the memory limit of 512.0 MiB: accept, read and \
             close what was connected, sent and opened",
        ),
        (
            Outcome { uncharged: Some(512 << 20), ..outcome(Word::MemoryLimit, Ended::Killed) },
            "the kernel held 512.0 MiB of its own memory for it, beside what counts as the program's, and the memory limit of 512.0 MiB is \
             the limit of that, too: it is what waits in sockets, locks of files, and whatever else is opened, queued or set and never \
             given back",
        ),
        (outcome(Word::Interrupted, Ended::Killed), "the run was interrupted"),
        (outcome(Word::Signaled, Ended::Signaled { signal: 9 }), "pytest was ended by signal 9 (SIGKILL)"),
        (failed(3), "pytest ended early with exit code 3"),
    ] {
        let log = log(&["a::t", "a::u", "a::v"], half());
        // None of the tests had started anything that could have met the limit.
        let idle = [leaf("t0", 0, None, Some(1)), leaf("t1", 0, None, Some(1024))].into();
        let verdict = judge(&Run { leaves: &idle, ..run(&log, None, &outcome) });
        assert_eq!(statuses(&verdict), [("a::t", Status::Passed), ("a::u", Status::Stopped), ("a::v", Status::NotRun)]);
        assert_eq!(verdict.cases[1].description, format!("stopped: {says}"));
        assert_eq!(verdict.cases[2].description, format!("not run: the run ended before this test began: {says}"));
        assert_eq!((verdict.cases[1].memory, verdict.cases[2].memory), (1024, 0));
        let error = verdict.error.unwrap();
        assert!(error.contains(says) && error.contains("1 of 3"), "{error}");
    }
}

#[test]
fn a_suite_that_does_not_start_says_how_it_ended_and_what_it_wrote() {
    let nothing = Log::new();
    let error = judge(&run(&nothing, None, &failed(4))).error.unwrap();
    for says in ["did not start", "exit code 4", "ERROR: no such option"] {
        assert!(error.contains(says), "{error}");
    }
    let mut hello_only = Log::new();
    hello_only.push(hello());
    hello_only.push(Event::Finish { exitstatus: 3 });
    let error = judge(&run(&hello_only, xml(""), &failed(1))).error.unwrap();
    assert!(error.contains("pytest began") && error.contains("internal error"), "{error}");
    let killed = outcome(Word::MemoryLimit, Ended::Killed);
    let error = judge(&run(&nothing, None, &killed)).error.unwrap();
    assert!(error.contains("did not start") && error.contains("memory limit"), "{error}");
}

#[test]
fn the_worse_word_counts() {
    let log = log(&["a::t", "a::u", "a::v"], whole(&[(Passed, ""), (Failed, "by event"), (Passed, "")], 1));
    let report = xml("<testcase classname=\"a\" name=\"t\"><failure>by report</failure></testcase>\
         <testcase classname=\"a\" name=\"u\"/><testcase classname=\"a\" name=\"w\"/>");
    let verdict = judge(&run(&log, report, &failed(1)));
    assert_eq!(statuses(&verdict), [("a::t", Status::Failed), ("a::u", Status::Failed), ("a::v", Status::Failed)]);
    assert_eq!(verdict.cases[0].description, "by report");
    assert_eq!(verdict.cases[1].description, "by event");
    let error = verdict.error.unwrap();
    for says in [
        "a::t (passed by events, failed in the report)",
        "a::u (failed by events, passed in the report)",
        "a::v (passed by events, not in the report)",
        "a::w (passed in the report, never listed)",
    ] {
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn an_unusable_report_breaks_a_run_that_finished() {
    let log = log(&["a::t"], whole(&[(Passed, "")], 0));
    for (report, says) in [
        (None, "no report"),
        (Some(parse(b"<testsuite>", &Caps::default())), "breaks off"),
        (xml(""), "not in the report"),
    ] {
        let verdict = judge(&run(&log, report, &ok()));
        assert!(verdict.error.as_ref().unwrap().contains(says), "{verdict:?}");
        assert!(!verdict.is_passed());
    }
}

#[test]
fn names_that_the_suite_does_not_have_are_failed_cases() {
    let mut log = Log::new();
    log.push(hello());
    for (test, text) in [("nope", ""), ("left", "it exists")] {
        log.push(Event::Unknown(Unknown { test: test.into(), text: text.into() }));
    }
    log.push(Event::Collected { count: 0 });
    log.push(Event::Finish { exitstatus: 5 });
    let verdict = judge(&run(&log, xml(""), &failed(1)));
    assert_eq!(statuses(&verdict), [("nope", Status::NotRun), ("left", Status::NotRun)]);
    assert_eq!(verdict.cases[0].description, "the suite has no test of this name: nope");
    assert_eq!(verdict.cases[1].description, "the suite has no test of this name: left (it exists)");
    assert_eq!((verdict.error.as_deref(), verdict.is_passed()), (None, false));
}

#[test]
fn pytests_own_troubles_are_errors() {
    for (ends, status, says) in [
        (&[][..], 5, "no tests"),
        (&[(Passed, "")], 2, "interrupted"),
        (&[(Passed, "")], 3, "internal error"),
        (&[(Passed, "")], 4, "usage error"),
        (&[(Passed, "")], 1, "no test did"),
        (&[(Error, "set-up broke")], 1, "pytest reported errors"),
    ] {
        let log = log(&["a::t"][..ends.len()], whole(ends, status));
        let error = judge(&run(&log, None, &failed(1))).error.unwrap();
        assert!(error.contains(says), "{error}");
    }
    let none_ran = log(&["a::t"], vec![Event::Finish { exitstatus: 0 }]);
    let error = judge(&run(&none_ran, xml(""), &ok())).error.unwrap();
    assert!(error.contains("have no result"), "{error}");
    let mut broken = Log::new();
    broken.push(hello());
    broken.push(Event::CollectError(CollectError { nodeid: "tests/b.py".into(), text: "SyntaxError".into() }));
    broken.push(Event::Collected { count: 0 });
    broken.push(Event::Finish { exitstatus: 2 });
    let error = judge(&run(&broken, xml(""), &failed(1))).error.unwrap();
    assert!(error.contains("tests/b.py: SyntaxError") && !error.contains("interrupted"), "{error}");
}

#[test]
fn a_suite_that_stops_at_its_first_failure_is_no_error() {
    let log =
        log(&["a::t", "a::u"], vec![Event::Start { index: 0 }, end(0, Failed, "no"), Event::Finish { exitstatus: 1 }]);
    let report = xml("<testcase classname=\"a\" name=\"t\"><failure>no</failure></testcase>");
    let verdict = judge(&run(&log, report, &failed(1)));
    assert_eq!(verdict.error, None);
    assert_eq!(verdict.cases[1].status, Status::NotRun);
}

#[test]
fn two_tests_of_one_name_are_two_cases_and_the_worse_is_compared() {
    let log = log(&["a::t", "a::t"], whole(&[(Failed, "no"), (Passed, "")], 1));
    let report = xml(
        "<testcase classname=\"tests.a\" name=\"t\"><failure>no</failure></testcase><testcase classname=\"a\" name=\"t\"/>",
    );
    let verdict = judge(&run(&log, report, &failed(1)));
    assert_eq!(verdict.error, None);
    assert_eq!(statuses(&verdict), [("a::t", Status::Failed), ("a::t (2)", Status::Passed)]);
}

proptest! {
    #[test]
    fn nothing_passes_without_its_end(
        steps in prop::collection::vec((0usize..3, 0usize..3, 0usize..4), 0..18),
        finish in prop::option::of(0i64..7),
        reported in prop::option::of(prop::collection::vec((0usize..4, any::<bool>()), 0..5)),
        word in prop::sample::select(vec![
            Word::Ok, Word::Failed, Word::Signaled, Word::TimeLimit, Word::MemoryLimit, Word::OutputLimit, Word::Interrupted,
        ]),
    ) {
        let names = ["a::0", "a::1", "a::2"];
        let mut events: Vec<Event> = steps.iter().map(|(index, start, status)| match start {
            0 => Event::Start { index: *index },
            1 => Event::Ran { index: *index },
            _ => end(*index, [Passed, Skipped, Failed, Error][*status], "text"),
        }).collect();
        events.extend(finish.map(|exitstatus| Event::Finish { exitstatus }));
        let log = log(&names, events);
        let report = reported.and_then(|cases| xml(&cases.iter().map(|(i, failed)| format!(
            "<testcase classname=\"a\" name=\"{i}\">{}</testcase>", if *failed { "<failure>f</failure>" } else { "" },
        )).collect::<String>()));
        let outcome = outcome(word, Ended::Exited { code: 0 });
        let verdict = judge(&run(&log, report, &outcome));
        prop_assert_eq!(verdict.cases.iter().map(|c| &*c.name).collect::<Vec<_>>(), names);
        for (case, test) in verdict.cases.iter().zip(log.tests()) {
            let passed = test.ran && test.end.as_ref().is_some_and(|e| e.status == Passed);
            prop_assert!(case.status != Status::Passed || passed);
            prop_assert!(case.status == Status::Passed || !case.description.is_empty());
        }
        if verdict.is_passed() {
            prop_assert_eq!(log.exit_status(), Some(0));
            prop_assert!(log.problems().is_empty());
            prop_assert!(matches!(word, Word::Ok | Word::Failed | Word::Signaled));
        }
    }
}

#[test]
fn a_test_that_starts_nothing_is_told_by_the_harness_or_not_at_all() {
    use crate::verdict::MemorySource::{HarnessRise, NotKnown, Programs};
    for (entered, peak, rise, expected) in [
        (1, Some(7), Some(9), (7, Programs)),
        (0, Some(7), Some(9), (9, HarnessRise)),
        (0, Some(7), None, (0, NotKnown)),
        (1, None, Some(9), (0, NotKnown)),
    ] {
        assert_eq!(memory_of(&leaf("t0", entered, peak, rise).1), expected);
    }
}

#[test]
fn what_the_sandbox_knows_stands_in_front_of_a_failure_and_nowhere_else() {
    let denied = |leaf: &str, call: &str| sandbox::outcome::Denied {
        leaf: leaf.into(),
        program: "prog".into(),
        call: call.into(),
        error: "Operation not permitted".into(),
        times: 1,
        instead: Some("write below /tmp".into()),
    };
    let mut failed = failed(1);
    failed.denied =
        vec![denied("t0", "mount"), denied("t1", "unshare"), denied("payload", "bpf"), denied("t9", "chroot")];
    let log = log(&["a::t", "a::u"], whole(&[(Passed, ""), (Failed, "assert 1 == 2")], 1));
    let report = "<testcase classname=\"tests.a\" name=\"t\"/>\
                  <testcase classname=\"tests.a\" name=\"u\"><failure>assert 1 == 2</failure></testcase>";
    let verdict = judge(&run(&log, xml(report), &failed));
    assert_eq!(verdict.error, None);
    let texts: Vec<&str> = verdict.cases.iter().map(|case| &*case.description).collect();
    let said = "sandbox: prog called unshare, which is refused here (Operation not permitted): write below /tmp";
    assert_eq!(texts, ["", &format!("{said}\n\nassert 1 == 2")]);
}

#[test]
fn a_test_that_was_stopped_says_first_what_stopped_it() {
    let mut killed = outcome(Word::TimeLimit, Ended::Killed);
    killed.full = vec![sandbox::outcome::Full { place: "/tmp".into(), bytes: 64 << 20, files: false }];
    let log = log(&["a::t", "a::u"], vec![Event::Start { index: 0 }]);
    let verdict = judge(&run(&log, None, &killed));
    let lines: Vec<&str> = verdict.cases[0].description.lines().collect();
    assert_eq!(lines[0], "stopped: time limit of 600 s reached, which is for all tests together");
    assert!(lines[1].starts_with("sandbox: /tmp (64.0 MiB) was full"), "{lines:?}");
    assert!(!verdict.cases[1].description.contains("/tmp"), "it never ran");
}

#[test]
fn a_limit_holds_for_what_was_held_at_one_time_and_not_for_the_sum_of_two_peaks() {
    let log = log(&["a::t", "a::u"], whole(&[(Passed, ""), (Passed, "")], 0));
    let well = ok();
    let judged = |with_mapped: u64| {
        let mut all = leaves().clone();
        let leaf = all.get_mut("t0").expect("a leaf");
        (leaf.memory.mapped, leaf.memory.with_mapped) = (400 << 20, with_mapped);
        leaf.memory.peak =
            Some(sandbox::outcome::Figure { value: 300 << 20, source: "peaks of the test's leaves".into() });
        let verdict = judge(&Run { leaves: &all, ..run(&log, xml(BOTH), &well) });
        (verdict.cases[0].status, verdict.cases[0].description.clone())
    };
    assert_eq!(judged(410 << 20).0, Status::Passed);
    let (status, text) = judged(600 << 20);
    assert!(status == Status::Failed && text.contains("took up to 600.0 MiB"), "{text}");
}
