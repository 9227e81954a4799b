//! What a suite says of itself: its `ostest.toml`.

use ostest_sandbox::config::{LimitOptions, Limits, SuiteOptions};
use ostest_sandbox::template::{Values, fill};
use std::time::{Duration, Instant};

/// Files of a suite, for its patterns of hidden ones.
const FILES: [&str; 6] = ["test_a.py", "lab1/conftest.py", "lab1/deep/a_test.py", "answers/1.json", "a\n[b", ""];

/// The bytes are an `ostest.toml`.
pub fn check(bytes: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(bytes) else { return "refused" };
    let suite = match SuiteOptions::parse(text) {
        Ok(suite) => suite,
        Err(problem) => {
            assert!(problem.starts_with("the suite's ostest.toml"), "{problem}");
            return "refused";
        }
    };
    let operators = Limits::from_options(LimitOptions::default(), 2);
    for (name, section) in &suite.lab {
        let number = name.parse().expect("a laboratory is a number");
        assert_eq!(suite.of_lab(Some(number)), *section, "[lab.{name}] would say nothing");
        lowers(operators, operators.lowered_by(section.limits()));
    }
    for span in [suite.build.timeout, suite.test.timeout, suite.test.test_timeout].into_iter().flatten() {
        assert!(Instant::now().checked_add(span.0).is_some());
        // The plugin's timer takes seconds as a C long.
        assert!(span.0 < Duration::from_secs(1 << 40));
    }
    // The runner itself tries each pattern on each file: none may keep it busy.
    suite.test.hides(&format!("{}{}b", "a/".repeat(100), "a".repeat(200)));
    let hidden = FILES.map(|file| suite.test.hides(file));
    assert!(suite.test.hidden.is_some() || hidden == [true, true, true, false, false, false]);
    for command in [&suite.build.command, &suite.test.command].into_iter().flatten() {
        filled(command);
    }
    "valid"
}

/// A suite lowers limits, never raises them, and never to nothing, with which no sandbox can be made.
fn lowers(from: Limits, to: Limits) {
    assert!(to.memory <= from.memory && to.pids <= from.pids && to.cpu_millis <= from.cpu_millis);
    assert!(to.disk <= from.disk && to.output <= from.output && to.timeout <= from.timeout);
    positive(to);
}

/// Limits of which a plan can be made.
pub(crate) fn positive(limits: Limits) {
    let all = [limits.memory, limits.pids, limits.cpu_millis, limits.disk, limits.output];
    assert!(all.into_iter().all(|limit| limit > 0), "a limit of nothing: {limits:?}");
    assert!(!limits.timeout.is_zero());
    assert!(Instant::now().checked_add(limits.timeout).is_some());
}

/// What is filled in stands where its name stood, and no name of a value is left.
fn filled(command: &[String]) {
    let values = Values {
        project: "PROJECT".into(),
        lab: Some(2),
        labs: vec![1, 2],
        proxy_timeout: Some(10),
        report: "REPORT".into(),
    };
    let absent = Values { lab: None, labs: Vec::new(), proxy_timeout: None, ..values.clone() };
    for values in [values, absent] {
        let Ok(words) = fill(command, &values) else { continue };
        for name in ["{project}", "{lab}", "{labs}", "{proxy_timeout}", "{report}"] {
            let left = words.iter().filter(|word| word.contains(name)).count();
            assert_eq!(left, 0, "{words:?}");
        }
        // `{labs}` alone is the only word that becomes several.
        let lists = command.iter().filter(|word| *word == "{labs}").count();
        assert!(words.len() <= command.len() + lists * values.labs.len().saturating_sub(1));
    }
}
