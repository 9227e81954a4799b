//! What the harness says while a suite runs.

use crate::said::Said;
use ostest_sandbox::events::{Log, MAX_TEXT, parse};

/// Most messages that are looked at: each is held against all that was known before it.
const MESSAGES: usize = 200;

/// The bytes are messages, a line each.
pub fn check(bytes: &[u8]) -> &'static str {
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).take(MESSAGES).collect();
    let said = Said::of(lines.iter().copied());
    let mut log = Log::new();
    for line in &lines {
        let before = log.clone();
        log.push_line(line);
        the_first_word_stands(&before, &log);
        if let Err(error) = parse(line) {
            assert!(error.message.len() <= 260, "{} bytes are quoted", error.message.len());
            assert!(log.problems().len() > before.problems().len() || before.problems().len() == 20);
            assert_eq!(
                (log.tests(), log.exit_status(), log.running()),
                (before.tests(), before.exit_status(), before.running())
            );
        }
    }
    is_all_said(&log, &said);
    if log.problems().is_empty() { "clean" } else { "contradicted" }
}

/// One message adds at the most one thing, and takes nothing back.
fn the_first_word_stands(before: &Log, after: &Log) {
    assert!(after.tests().len() <= before.tests().len() + 1);
    if before.is_collected() {
        assert!(after.is_collected() && after.tests().len() == before.tests().len());
    }
    for (old, new) in before.tests().iter().zip(after.tests()) {
        assert_eq!((&old.name, &old.nodeid), (&new.name, &new.nodeid));
        assert!(!old.started || new.started);
        assert!(old.end.is_none() || old.end == new.end);
    }
    assert!(before.exit_status().is_none() || before.exit_status() == after.exit_status());
    assert!(before.greeting().is_none() || before.greeting() == after.greeting());
    assert!(after.problems().starts_with(before.problems()));
    assert!(after.tampering().starts_with(before.tampering()));
    assert!(after.unknown().starts_with(before.unknown()));
    assert!(after.collect_errors().starts_with(before.collect_errors()));
}

/// The log knows nothing that nobody said, and keeps within its bounds.
fn is_all_said(log: &Log, said: &Said) {
    let ended = log.tests().iter().filter(|test| test.end.is_some()).count();
    assert_eq!(log.progress(), (ended, log.tests().len()));
    for (index, test) in log.tests().iter().enumerate() {
        assert!(said.listed.contains(&(index as u64, test.name.clone())));
        assert!(!test.started || (log.is_collected() && said.started.contains(&(index as u64))));
        if let Some(end) = &test.end {
            assert!(test.started && said.confirms(index, &test.name, end.status));
            assert!(end.text.len() <= MAX_TEXT + 64);
        }
    }
    let running: Vec<usize> =
        log.tests().iter().enumerate().filter(|(_, t)| t.started && t.end.is_none()).map(|(index, _)| index).collect();
    assert_eq!(running, Vec::from_iter(log.running()));
    assert!(log.exit_status().is_none_or(|status| said.finished.contains(&status)));
    assert!(!log.is_collected() || !said.counted.is_empty());
    assert!(log.unknown().iter().all(|unknown| said.unknown.contains(&unknown.test)));
    assert!(log.greeting().is_none_or(|hello| said.apart.contains(&hello.apart)));
    assert!(log.problems().len() <= 20 && log.tampering().len() <= 20);
    // Each is told to people.
    assert!(
        log.problems().iter().all(|problem| problem.len() <= 2000),
        "a problem of {:?} bytes",
        log.problems().iter().map(String::len).max()
    );
}
