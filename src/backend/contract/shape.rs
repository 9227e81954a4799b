//! How results are put, beside their dialect: what the backend can keep, and what its page shows.

use super::brief::brief_of_two;
use super::result::MemoryUnit;
use crate::text::visible;
use crate::verdict::{Case, Status, Verdict};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How results are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Unit of `memoryUsed`.
    pub unit: MemoryUnit,
    /// Most characters of `errorDetails`. With it a case of our own says the whole: where so little is kept of `errorDetails`
    /// nobody can rely on it, and the page of the backend in use does not show it beside cases.
    pub error_limit: Option<ErrorLimit>,
}

impl From<MemoryUnit> for Shape {
    fn from(unit: MemoryUnit) -> Self {
        Shape { unit, error_limit: None }
    }
}

/// Most characters of `errorDetails`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorLimit(usize);

impl ErrorLimit {
    /// Fewer have no room for a sentence and for the word that it was cut.
    pub const LEAST: usize = 100;

    /// The number.
    pub fn get(self) -> usize {
        self.0
    }
}

impl FromStr for ErrorLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().parse() {
            Ok(number) if number >= ErrorLimit::LEAST => Ok(ErrorLimit(number)),
            _ => Err(format!("{text:?} is no number of characters from {} on, such as 255", ErrorLimit::LEAST)),
        }
    }
}

impl fmt::Display for ErrorLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of the case that says why a run broke.
pub const ERROR_CASE: &str = "ostest::error";

/// Name of the case that says what was seen beside the tests.
pub const NOTE_CASE: &str = "ostest::note";

/// `errorDetails`, its control characters escaped, in so many characters.
pub(super) fn details(verdict: &Verdict, limit: ErrorLimit) -> String {
    let error = visible(verdict.error.as_deref().unwrap_or_default());
    brief_of_two(error.trim_end(), &visible(&verdict.noted()), limit.get())
}

/// The case that says the whole of `errorDetails`. It never says of the run what the rest does not: it passes where all passed.
pub(super) fn told_by_a_case(verdict: &Verdict) -> Option<Case> {
    let details = verdict.details();
    if details.is_empty() {
        return None;
    }
    let name = if verdict.error.is_some() { ERROR_CASE } else { NOTE_CASE };
    Some(Case {
        name: name.to_owned(),
        status: if verdict.is_passed() { Status::Passed } else { Status::Failed },
        description: in_lines(&details),
        duration: Duration::ZERO,
        memory: 0,
        measured: None,
    })
}

/// A text whose lines stay lines on the page of the backend in use. It folds white space, and begins a new line only at a
/// lone `E`, by which pytest marks the lines of a failure.
fn in_lines(text: &str) -> String {
    text.trim_end().split('\n').map(str::trim_end).collect::<Vec<_>>().join("\nE ")
}

#[cfg(test)]
mod tests {
    use super::super::{Key, Token, render};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn limits_are_numbers_that_have_room_for_a_sentence() {
        assert_eq!("255".parse::<ErrorLimit>().map(ErrorLimit::get), Ok(255));
        for wrong in ["", "0", "99", "-1", "many", "2.5"] {
            assert!(wrong.parse::<ErrorLimit>().is_err_and(|e| e.contains("255")), "{wrong}");
        }
    }

    fn limited(verdict: &Verdict, key: fn(Token) -> Key) -> Value {
        let key = key(Token::from_value(&json!("3fa8")).unwrap());
        render(&key, verdict, Shape { unit: MemoryUnit::MiB, error_limit: "255".parse().ok() })
    }

    #[test]
    fn with_a_limit_a_case_says_the_whole_in_both_dialects() {
        let broken = Verdict::broken(format!("the build failed\n{}a.c:1: error: no\0", "я".repeat(300)));
        let (first, second) = (limited(&broken, Key::Attempt), limited(&broken, Key::Id));
        assert_eq!(first["testResults"]["testCases"][0]["name"], ERROR_CASE);
        for (whole, cases) in [(&first["testResults"], "testCases"), (&second, "testResults")] {
            assert_eq!((&whole["isPassed"], &whole["isError"]), (&json!(false), &json!(true)));
            let case = &whole[cases][0];
            assert_eq!((&case["isPassed"], &case["memoryUsed"]), (&json!(false), &json!(0)));
            let told = format!("the build failed\nE {}a.c:1: error: no\\x00", "я".repeat(300));
            assert_eq!(case["description"], told);
            let details = whole["errorDetails"].as_str().unwrap();
            assert!(details.chars().count() <= 255 && details.contains("(cut; "), "{details}");
        }
        // Without one nothing is added.
        let key = Key::Id(Token::from_value(&json!(1)).unwrap());
        assert_eq!(render(&key, &broken, Shape::default())["testResults"], json!([]));
    }

    proptest! {
        #[test]
        fn no_text_is_too_long_or_holds_a_nul(error in "(?s).{0,400}", tampering in "(?s).{0,400}", name in "(?s).{0,40}") {
            let mut verdict = Verdict::broken(error);
            verdict.tampering.push(tampering);
            verdict.cases.push(Case { name, ..told_by_a_case(&verdict).unwrap() });
            for sent in [limited(&verdict, Key::Id), limited(&verdict, Key::Attempt)["testResults"].clone()] {
                prop_assert!(sent["errorDetails"].as_str().unwrap().chars().count() <= 255);
                prop_assert!(!sent.to_string().contains("\\u0000"));
            }
        }
    }

    #[test]
    fn lines_are_marked_for_the_page() {
        assert_eq!(in_lines("make: \n  gcc\n\nerror\n"), "make:\nE   gcc\nE \nE error");
        assert_eq!(in_lines("one"), "one");
    }

    #[test]
    fn the_case_of_our_own_never_contradicts_the_run() {
        let mut verdict = Verdict::broken("it broke");
        let case = told_by_a_case(&verdict).unwrap();
        assert_eq!((case.name.as_str(), case.status), (ERROR_CASE, Status::Failed));
        verdict.error = None;
        assert_eq!(told_by_a_case(&verdict), None);
        verdict.tampering.push("a pipe was planted".into());
        // No cases: not passed, and this one must not make it so.
        let case = told_by_a_case(&verdict).unwrap();
        assert_eq!((case.name.as_str(), case.status), (NOTE_CASE, Status::Failed));
        verdict.cases.push(Case { status: Status::Passed, ..case });
        assert!(verdict.is_passed());
        assert_eq!(told_by_a_case(&verdict).unwrap().status, Status::Passed);
    }
}
