//! Of what ended by a limit, or not as it began, and whose doing it is.

use super::tests::*;
use super::*;
use crate::events::{CollectError, Event};
use TestOutcome::{Error, Failed, Passed, Skipped};

/// Of three tests the first has passed, and the second is running.
fn half() -> Log {
    log(
        &["a::t", "a::u", "a::v"],
        vec![Event::Start { index: 0 }, Event::Ran { index: 0 }, end(0, Passed, ""), Event::Start { index: 1 }],
    )
}

#[track_caller]
fn is_failed(verdict: &Verdict, says: &str) {
    assert_eq!((verdict.error.as_deref(), verdict.is_passed()), (None, false), "{verdict:?}");
    assert_eq!(statuses(verdict), [("a::t", Status::Passed), ("a::u", Status::Failed), ("a::v", Status::NotRun)]);
    let text = &verdict.cases[1].description;
    assert!(text.starts_with("stopped: ") && text.contains(says), "{text}");
    assert!(verdict.cases[2].description.starts_with("not run: "), "{verdict:?}");
}

#[test]
fn a_limit_that_a_tests_programs_met_with_pytest_is_a_failed_test() {
    let memory = outcome(Word::MemoryLimit, Ended::Killed);
    is_failed(&judge(&run(&half(), None, &memory)), "memory limit of 512.0 MiB reached, peak 512.0 MiB; pytest's own");
    for held in [
        Outcome { sockets: Some(600 << 20), ..memory.clone() },
        Outcome { uncharged: Some(512 << 20), ..memory.clone() },
    ] {
        let verdict = judge(&run(&half(), None, &held));
        is_failed(&verdict, "memory");
        assert!(!verdict.cases[1].description.contains("pytest's own"), "{verdict:?}");
    }
    // The test itself has started nothing; an earlier one's program was ended for want of memory, and its files are there.
    let mut leaves: BTreeMap<_, _> = [leaf("t0", 1, Some(40 << 20), None), leaf("t1", 0, None, None)].into();
    let verdict = judge(&Run { leaves: &leaves, ..run(&half(), None, &memory) });
    assert!(verdict.error.is_some_and(|error| error.contains("1 of 3")), "nothing was there that met it");
    leaves.get_mut("t0").unwrap().usage.oom_kills = Some(sandbox::outcome::Figure { value: 1, source: "x".into() });
    is_failed(&judge(&Run { leaves: &leaves, ..run(&half(), None, &memory) }), "memory limit");
    // A server of a fixture's is among the programs that run for a test.
    let mut served: BTreeMap<_, _> = [leaf("t1", 0, None, None), leaf("f1", 0, Some(1), None)].into();
    served.get_mut("t1").unwrap().uses = vec!["f0".into(), "f1".into()];
    is_failed(&judge(&Run { leaves: &served, ..run(&half(), None, &memory) }), "memory limit");
    // Before there is a list, or when all tests have ended, it is the suite's.
    let mut all = log(&["a::t"], whole(&[(Passed, "")], 0));
    assert!(judge(&run(&all, None, &memory)).error.is_some());
    all = Log::new();
    all.push(hello());
    assert!(judge(&run(&all, None, &memory)).error.is_some());
}

#[test]
fn a_test_whose_programs_do_not_end_has_failed_at_the_runs_limit() {
    let late = outcome(Word::TimeLimit, Ended::Killed);
    let mut leaves = leaves().clone();
    assert!(judge(&Run { leaves: &leaves, ..run(&half(), None, &late) }).error.is_some(), "it waits for nobody");
    leaves.get_mut("t1").unwrap().alive = true;
    is_failed(&judge(&Run { leaves: &leaves, ..run(&half(), None, &late) }), "time limit of 600 s reached");
    // Or pytest waits for a program that has ended.
    let mut waiting = half();
    waiting.push(Event::Pipe { text: "/task/project/out.txt".into() });
    is_failed(&judge(&run(&waiting, None, &late)), "the other end of a pipe: /task/project/out.txt");
    waiting.push(Event::Pipe { text: String::new() });
    assert!(judge(&run(&waiting, None, &late)).error.is_some());
}

#[test]
fn what_could_not_be_collected_is_told_beside_what_a_limit_ended() {
    let mut events =
        vec![Event::CollectError(CollectError { nodeid: "tests/b.py".into(), text: "SyntaxError".into() })];
    events.push(Event::Start { index: 0 });
    let log = log(&["a::t"], events);
    let verdict = judge(&run(&log, None, &outcome(Word::MemoryLimit, Ended::Killed)));
    assert_eq!(verdict.cases[0].status, Status::Failed);
    assert!(verdict.error.is_some_and(|error| error.ends_with("tests/b.py: SyntaxError")));
}

#[test]
fn a_failure_that_the_suite_expects_is_none() {
    let expected = |more: Event| {
        let mut events = whole(&[(Passed, "")], 0);
        events.insert(3, Event::Start { index: 1 });
        events.insert(4, more);
        log(&["a::t", "a::u"], events)
    };
    let skipped =
        |text: &str, expected| Event::End { index: 1, status: Skipped, duration: None, text: text.into(), expected };
    let report = |inside: &str| {
        xml(&format!("<testcase classname=\"a\" name=\"t\"/><testcase classname=\"a\" name=\"u\">{inside}</testcase>"))
    };
    let xfail = "<skipped type=\"pytest.xfail\" message=\"known\"/>";
    let verdict = judge(&run(&expected(skipped("expected failure: known", true)), report(xfail), &ok()));
    assert!(verdict.is_passed(), "{verdict:?}");
    assert_eq!(verdict.cases[1].status, Status::SkipAllowed);
    assert_eq!(verdict.cases[1].description, "expected failure: known");
    // Any other skip is no pass, and the worse word counts.
    assert!(!judge(&run(&expected(skipped("f:1: why", false)), report(xfail), &ok())).is_passed());
    let verdict = judge(&run(&expected(skipped("known", true)), report("<failure>no</failure>"), &failed(1)));
    assert_eq!(verdict.cases[1].status, Status::Failed);
    // Nothing is shown by expected failures alone.
    let alone = log(
        &["a::t"],
        vec![
            Event::Start { index: 0 },
            Event::End { index: 0, status: Skipped, duration: None, text: "known".into(), expected: true },
            Event::Finish { exitstatus: 0 },
        ],
    );
    let verdict = judge(&run(&alone, xml("<testcase classname=\"a\" name=\"t\"><skipped/></testcase>"), &ok()));
    assert_eq!((verdict.error.as_deref(), verdict.is_passed()), (None, false));
}

#[test]
fn modules_that_were_made_are_told_without_a_word_of_tampering() {
    let mut events = vec![Event::Made { text: "/tmp/x/_ext.so".into() }];
    events.extend(whole(&[(Passed, ""), (Failed, "ImportError")], 1));
    let report = "<testcase classname=\"tests.a\" name=\"t\"/>\
                  <testcase classname=\"tests.a\" name=\"u\"><failure>ImportError</failure></testcase>";
    let verdict = judge(&run(&log(&["a::t", "a::u"], events), xml(report), &failed(1)));
    let details = verdict.details();
    assert!(verdict.error.is_some() && details.contains("/tmp/x/_ext.so"), "{details}");
    assert!(details.contains("imports = \"anything\"") && !details.contains("tampering"), "{details}");
}

#[test]
fn a_set_up_that_misses_what_a_program_has_removed_has_failed() {
    let report = xml("<testcase classname=\"tests.a\" name=\"t\"><error>x</error></testcase>");
    for (text, status) in [
        (
            "E   FileNotFoundError: [Errno 2] No such file or directory: '/tmp/pytest-of-student/pytest-0/test_t0/out'",
            Status::Failed,
        ),
        (
            "E   OSError: could not create numbered dir with prefix test_ in /tmp/pytest-of-student/pytest-0 after 10 tries",
            Status::Failed,
        ),
        ("E   FileNotFoundError: [Errno 2] No such file or directory: '/task/project/bin/prog'", Status::Failed),
        ("E   OSError: [Errno 8] Exec format error: '/task/project/bin/prog'", Status::Failed),
        ("E   FileNotFoundError: [Errno 2] No such file or directory: '/task/suite/data'", Status::Error),
        ("E   [Errno 2] '/tmp/pytest-of-student/pytest-0/x'\nE   KeyError: 'x'", Status::Error),
    ] {
        let log = log(&["a::t"], whole(&[(Error, text)], 1));
        let verdict = judge(&run(&log, report.clone(), &failed(1)));
        assert_eq!((verdict.cases[0].status, verdict.error.is_none()), (status, status == Status::Failed), "{text}");
    }
}

#[test]
fn programs_that_a_set_up_has_left_are_told_of_the_run() {
    let mut leaves = leaves().clone();
    let orphans = |count, names: &[&str]| sandbox::outcome::Left {
        count,
        names: names.iter().map(|name| name.to_string()).collect(),
        ended: true,
    };
    leaves.insert("f0".into(), LeafUsage { leaf: "f0".into(), orphans: orphans(1, &["prog"]), ..Default::default() });
    leaves.insert("f2".into(), LeafUsage { leaf: "f2".into(), orphans: orphans(2, &["a", "b"]), ..Default::default() });
    let log = log(&["a::t", "a::u"], whole(&[(Passed, ""), (Passed, "")], 0));
    let verdict = judge(&Run { leaves: &leaves, ..run(&log, xml(BOTH), &ok()) });
    assert!(verdict.is_passed());
    let [collected, fixture] = &verdict.remarks[..] else { panic!("{verdict:?}") };
    assert!(
        collected.starts_with("when all tests had been collected, ") && collected.contains("1 process "),
        "{collected}"
    );
    assert!(
        fixture.starts_with("when a fixture ") && fixture.contains("2 processes ") && fixture.contains(": a, b ("),
        "{fixture}"
    );
}
