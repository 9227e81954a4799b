//! The operator's file.

use crate::suite::positive;
use ostest_sandbox::config::{FileOptions, Limits, Span, lab_section};
use std::time::Instant;

/// The bytes are a configuration.
pub fn check(bytes: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(bytes) else { return "refused" };
    let file = match FileOptions::parse(text) {
        Ok(file) => file,
        Err(problem) => {
            assert!(!problem.is_empty());
            keeps_passwords(text, &problem);
            return "refused";
        }
    };
    let limits = Limits::from_options(file.limits(), 2);
    positive(limits);
    for (name, section) in &file.lab {
        let number = name.parse().expect("a laboratory is a number");
        assert_eq!(lab_section(&file.lab, Some(number)), *section, "[lab.{name}] would say nothing");
        positive(limits.with(*section));
    }
    let spans = [
        file.refresh_time,
        file.connect_timeout.map(|time| Span(time.0)),
        file.idle_timeout.map(|time| Span(time.0)),
        file.request_timeout.map(|time| Span(time.0)),
        file.drain_timeout,
        file.check_interval,
        file.proxy_timeout,
        file.fetch.timeout,
        file.prepare.timeout,
        file.build.timeout,
        file.test.timeout,
        file.test.test_timeout,
    ];
    // Whatever waits until then can say when that is.
    assert!(spans.into_iter().flatten().all(|span| Instant::now().checked_add(span.0).is_some()));
    "valid"
}

/// What is wrong with a file goes into logs, and no password of it does.
fn keeps_passwords(text: &str, problem: &str) {
    for (at, line) in text.match_indices("password") {
        let begins = text[..at].rsplit('\n').next().is_some_and(|before| before.trim().is_empty());
        let value = text[at + line.len()..].lines().next().unwrap_or_default();
        let Some(value) = value.trim_start().strip_prefix('=').filter(|_| begins) else { continue };
        // Shorter ones may happen to be a part of a word.
        let words = value.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() >= 12);
        for word in words.filter(|word| text.matches(word).count() == 1) {
            assert!(!problem.contains(word), "{problem}");
        }
    }
}
