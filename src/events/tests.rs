use super::*;
use proptest::prelude::*;

fn log(lines: &[&str]) -> Log {
    let mut log = Log::new();
    for line in lines {
        log.push_line(line.as_bytes());
    }
    log
}

const HELLO: &str = r#"{"event":"hello","version":1,"pid":7,"python":"3.11.2","pytest":"8.3.0","more":1}"#;
const A: &str = r#"{"event":"test","index":0,"nodeid":"tests/test_a.py::t","name":"test_a::t"}"#;
const B: &str = r#"{"event":"test","index":1,"nodeid":"tests/test_a.py::u","name":"test_a::u"}"#;
const COLLECTED: &str = r#"{"event":"collected","count":2}"#;
const START: &str = r#"{"event":"start","index":0}"#;
const END: &str = r#"{"event":"end","index":0,"status":"failed","duration":0.5,"text":"no"}"#;

#[test]
fn a_run_folds_into_a_log() {
    let mut log = log(&[
        HELLO,
        r#"{"event":"collect-error","nodeid":"tests/test_b.py","text":"oh"}"#,
        r#"{"event":"unknown","test":"x"}"#,
        A,
        B,
        COLLECTED,
        START,
    ]);
    assert_eq!(log.problems(), [""; 0]);
    assert_eq!(log.greeting().unwrap().pytest, "8.3.0");
    assert_eq!((log.running(), log.progress()), (Some(0), (0, 2)));
    assert_eq!(log.unknown()[0].test, "x");
    assert_eq!(log.collect_errors()[0].text, "oh");
    log.push_line(format!("{END}\n").as_bytes());
    assert_eq!((log.running(), log.progress()), (None, (1, 2)));
    log.push_line(br#"{"event":"finish","exitstatus":1}"#);
    assert_eq!(log.exit_status(), Some(1));
    assert_eq!(log.problems(), [""; 0]);
    let end = log.tests()[0].end.as_ref().unwrap();
    assert_eq!((end.status, &*end.text), (Outcome::Failed, "no"));
    assert_eq!(end.duration, Some(Duration::from_millis(500)));
    assert!(!log.tests()[1].started);
}

#[test]
fn contradictions_are_problems_and_change_nothing() {
    let passed = r#"{"event":"end","index":0,"status":"passed","duration":1}"#;
    let finish = r#"{"event":"finish","exitstatus":0}"#;
    let c = r#"{"event":"test","index":2,"nodeid":"c","name":"c"}"#;
    let start_b = r#"{"event":"start","index":1}"#;
    for (lines, says) in [
        (&[A][..], "before it said hello"),
        (&[HELLO, HELLO], "hello twice"),
        (&[HELLO, B], "where test 0 was due"),
        (&[HELLO, A, A], "where test 1 was due"),
        (&[HELLO, A, COLLECTED], "listed 1 tests and counted 2"),
        (&[HELLO, A, B, COLLECTED, c], "after it was complete"),
        (&[HELLO, A, B, COLLECTED, COLLECTED], "after it was complete"),
        (&[HELLO, A, B, COLLECTED, r#"{"event":"ran","index":0}"#], "was not running"),
        (&[HELLO, A, B, COLLECTED, START, r#"{"event":"ran","index":1}"#], "was not running"),
        (&[HELLO, A, B, START], "before the list of tests was complete"),
        (&[HELLO, A, B, COLLECTED, END], "ended without a start"),
        (&[HELLO, A, B, COLLECTED, START, start_b], "while test 0 was running"),
        (&[HELLO, A, B, COLLECTED, START, END, passed], "ended twice"),
        (&[HELLO, A, B, COLLECTED, START, END, START], "began twice"),
        (&[HELLO, A, B, COLLECTED, r#"{"event":"start","index":2}"#], "not in the list"),
        (&[HELLO, A, B, COLLECTED, r#"{"event":"end","index":9,"status":"passed"}"#], "not in the list"),
        (&[HELLO, A, B, COLLECTED, finish, START], "after pytest's end"),
        (&[HELLO, "{\"event\":\"dance\"}"], "cannot be understood"),
        (&[HELLO, "\u{1}{"], "cannot be understood"),
        (&[HELLO, r#"["collected", 0]"#], "a list and not an object"),
        (&[r#"{"event":"hello","version":2,"pid":7,"python":"3","pytest":"8"}"#], "version 2"),
    ] {
        let log = log(lines);
        assert_eq!(log.problems().len(), 1, "{lines:?}: {:?}", log.problems());
        assert!(log.problems()[0].contains(says), "{:?}", log.problems());
        assert!(!log.tests().iter().any(|t| matches!(&t.end, Some(e) if e.status == Outcome::Passed)), "{lines:?}");
    }
}

#[test]
fn lengths_are_bounded() {
    let mut log = log(&[HELLO]);
    for _ in 0..100 {
        log.push_line(b"x");
    }
    assert_eq!(log.problems().len(), MAX_PROBLEMS);
    let long = self::log(&[HELLO, &format!("{{\"event\":\"{}\"}}", "x".repeat(100_000))]);
    assert!(long.problems()[0].len() < MAX_PROBLEM + 100);
    let text = "ж".repeat(MAX_TEXT);
    log.push(Event::CollectError(CollectError { nodeid: text.clone(), text }));
    assert!(log.collect_errors()[0].text.len() < MAX_TEXT + 100);
    assert!(below_cap(MAX_TESTS).is_err());
    for status in ["stopped", "not-run", "xfailed"] {
        let line = format!(r#"{{"event":"end","index":0,"status":"{status}"}}"#);
        assert!(parse(line.as_bytes()).is_err());
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let index = 0usize..4;
    let status = prop::sample::select(vec![Outcome::Passed, Outcome::Failed, Outcome::Skipped, Outcome::Error]);
    prop_oneof![
        1 => (0u32..3).prop_map(|version| Event::Hello(Hello { version, pid: 1, python: "3".into(), pytest: "8".into(), apart: version == 1 })),
        3 => index.clone().prop_map(|index| Event::Test { index, nodeid: "n".into(), name: "n".into() }),
        2 => index.clone().prop_map(|count| Event::Collected { count }),
        1 => any::<String>().prop_map(|test| Event::Unknown(Unknown { test, text: String::new() })),
        1 => any::<String>().prop_map(|text| Event::CollectError(CollectError { nodeid: "n".into(), text })),
        5 => index.clone().prop_map(|index| Event::Start { index }),
        3 => index.clone().prop_map(|index| Event::Ran { index }),
        5 => (index, status, any::<Option<f64>>(), any::<String>())
            .prop_map(|(index, status, duration, text)| Event::End { index, status, duration, text, expected: false }),
        1 => any::<i64>().prop_map(|exitstatus| Event::Finish { exitstatus }),
    ]
}

proptest! {
    #[test]
    fn arbitrary_lines_never_panic(line in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut log = log(&[HELLO]);
        log.push_line(&line);
        prop_assert!(log.tests().is_empty());
    }

    #[test]
    fn no_order_of_events_invents_an_end(events in prop::collection::vec(any_event(), 0..60)) {
        let mut log = Log::new();
        let mut first_ends: [Option<Outcome>; 4] = [None; 4];
        for event in events {
            let before = log.clone();
            log.push(event.clone());
            // An end appears only with an end event for the running test, and stays what it was at first.
            if let (Event::End { index, status, .. }, Some(running)) = (&event, before.running())
                && *index == running && before.exit_status().is_none() {
                    first_ends[running] = Some(*status);
                }
            for (i, test) in log.tests().iter().enumerate() {
                prop_assert_eq!(test.end.as_ref().map(|e| e.status), first_ends[i]);
                prop_assert!(test.end.is_none() || test.started);
                prop_assert!(!test.ran || test.started);
            }
            let ended = log.tests().iter().filter(|t| t.end.is_some()).count();
            prop_assert_eq!(log.progress(), (ended, log.tests().len()));
        }
    }
}
