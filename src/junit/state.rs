//! What a report's elements mean, one after the other.

use super::{About, Caps, JunitError, Outcome, Report, ReportCase};
use crate::text::boundary_before;
use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;
use std::collections::HashMap;
use std::time::Duration;

/// The message with which pytest writes a failed report of a test that was expected to fail, as `<skipped>`.
pub(super) const XPASS: &str = "xfail-marked test passes unexpectedly";

/// Longest time that is believed: a year, in seconds.
const LONGEST: f64 = 366.0 * 86_400.0;

/// What an open element means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Suites,
    Suite,
    Case,
    Result,
    /// Properties, captured output and whatever else: read over.
    Other,
}

impl Element {
    fn name(self) -> &'static str {
        match self {
            Element::Suites => "testsuites",
            Element::Suite => "testsuite",
            Element::Case => "testcase",
            Element::Result => "failure, error or skipped",
            Element::Other => "another element",
        }
    }
}

/// A `<testcase>` that is being read.
struct OpenCase {
    position: u64,
    attributes: Attributes,
    outcome: Outcome,
    about: About,
    text: Capped,
}

/// A `<failure>`, `<error>` or `<skipped>` that is being read.
struct OpenResult {
    outcome: Outcome,
    attributes: Attributes,
    text: Capped,
}

/// The attributes that are looked at.
#[derive(Default)]
struct Attributes {
    classname: Option<String>,
    name: Option<String>,
    time: Option<String>,
    message: Option<String>,
    kind: Option<String>,
    number: Option<String>,
}

/// A text that stops growing at its cap and counts what it left out.
struct Capped {
    text: String,
    max: usize,
    left_out: usize,
}

impl Capped {
    fn new(max: usize) -> Self {
        Capped { text: String::new(), max, left_out: 0 }
    }

    fn push(&mut self, more: &str) {
        // Once something is left out everything is: a text with a hole would read as if it had none.
        let room = match self.left_out {
            0 => self.max.saturating_sub(self.text.len()),
            _ => 0,
        };
        let taken = boundary_before(more, room);
        self.text.push_str(&more[..taken]);
        self.left_out += more.len() - taken;
    }

    /// Another text below this one; its own note of what was left out is counted in.
    fn join(&mut self, other: &Capped) {
        if !self.text.is_empty() && !other.text.is_empty() {
            self.push("\n\n");
        }
        self.push(&other.text);
        self.left_out += other.left_out;
    }

    fn finish(self) -> String {
        match self.left_out {
            0 => self.text,
            n => format!("{}\n[... {n} bytes left out]", self.text),
        }
    }
}

/// What has been read of a report so far.
pub(super) struct State<'a> {
    caps: &'a Caps,
    stack: Vec<Element>,
    seen_root: bool,
    seen_cases: usize,
    case: Option<OpenCase>,
    result: Option<OpenResult>,
    cases: Vec<(ReportCase, Capped)>,
    by_name: HashMap<(About, Option<usize>, String, String), usize>,
}

impl<'a> State<'a> {
    pub(super) fn new(caps: &'a Caps) -> Self {
        State {
            caps,
            stack: Vec::new(),
            seen_root: false,
            seen_cases: 0,
            case: None,
            result: None,
            cases: Vec::new(),
            by_name: HashMap::new(),
        }
    }

    pub(super) fn start(&mut self, start: &BytesStart<'_>, position: u64) -> Result<(), JunitError> {
        if self.stack.len() >= self.caps.depth {
            return Err(JunitError::TooDeep { limit: self.caps.depth });
        }
        let name = start.name();
        let name: &str = name.as_ref();
        let misplaced =
            |parent: Element| JunitError::Misplaced { element: cut_name(name), parent: parent.name().to_owned() };
        let element = match (self.stack.last().copied(), name) {
            (None, _) if self.seen_root => return Err(JunitError::AfterRoot { position }),
            (None, "testsuites") => Element::Suites,
            (None | Some(Element::Suites | Element::Suite), "testsuite") => Element::Suite,
            (None, _) => {
                return Err(JunitError::WrongRoot { element: cut_name(name) });
            }
            (Some(Element::Suites | Element::Suite), "testcase") => Element::Case,
            (Some(Element::Case), "failure" | "error" | "skipped") => Element::Result,
            // Nothing may hide in a place where it would be read over.
            (Some(parent), "testsuites" | "testsuite" | "testcase") => {
                return Err(misplaced(parent));
            }
            (Some(parent @ Element::Result), _) => return Err(misplaced(parent)),
            _ => Element::Other,
        };
        self.seen_root = true;
        match element {
            Element::Case => self.start_case(start, position)?,
            Element::Result => {
                self.result = Some(OpenResult {
                    outcome: match name {
                        "failure" => Outcome::Failed,
                        "error" => Outcome::Error,
                        _ => Outcome::Skipped,
                    },
                    attributes: attributes(start, position)?,
                    text: Capped::new(self.caps.text),
                });
            }
            Element::Suites | Element::Suite | Element::Other => {}
        }
        self.stack.push(element);
        Ok(())
    }

    fn start_case(&mut self, start: &BytesStart<'_>, position: u64) -> Result<(), JunitError> {
        self.seen_cases += 1;
        if self.seen_cases > self.caps.cases {
            return Err(JunitError::TooManyCases { limit: self.caps.cases });
        }
        self.case = Some(OpenCase {
            position,
            attributes: attributes(start, position)?,
            outcome: Outcome::Passed,
            about: About::Test,
            text: Capped::new(self.caps.text),
        });
        Ok(())
    }

    pub(super) fn text(&mut self, text: &str, position: u64) -> Result<(), JunitError> {
        match (self.stack.last(), &mut self.result) {
            (Some(Element::Result), Some(result)) => result.text.push(text),
            (None, _) if !text.trim().is_empty() => {
                return Err(match self.seen_root {
                    true => JunitError::AfterRoot { position },
                    false => JunitError::NoRoot,
                });
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn end(&mut self, position: u64) -> Result<(), JunitError> {
        match self.stack.pop() {
            Some(Element::Result) => self.end_result(),
            Some(Element::Case) => self.end_case(),
            Some(_) => Ok(()),
            // The reader refuses an end without a start itself.
            None => Err(JunitError::AfterRoot { position }),
        }
    }

    fn end_result(&mut self) -> Result<(), JunitError> {
        let (Some(result), Some(case)) = (self.result.take(), &mut self.case) else {
            return Ok(()); // never: a result is only opened inside a case
        };
        let OpenResult { mut outcome, attributes, mut text } = result;
        let message = attributes.message.as_deref().unwrap_or("");
        let xfail = attributes.kind.as_deref() == Some("pytest.xfail");
        let mut instead = |words: &str| {
            text = Capped::new(self.caps.text);
            text.push(words);
        };
        if outcome == Outcome::Skipped && xfail {
            instead(&match message {
                "" => "expected failure".to_owned(),
                reason => format!("expected failure: {reason}"),
            });
        } else if outcome == Outcome::Skipped && message == XPASS {
            // pytest itself counts this one as failed, and writes "None" for its text.
            outcome = Outcome::Failed;
            instead(XPASS);
        } else if text.left_out == 0 && text.text.trim().is_empty() {
            text = Capped::new(self.caps.text);
            text.push(message);
        }
        match (outcome, message) {
            (Outcome::Error, "collection failure") | (Outcome::Skipped, "collection skipped") => {
                case.about = About::Collection;
            }
            (Outcome::Error, "internal error") if case.attributes.classname.as_deref() == Some("pytest") => {
                case.about = About::Internal;
            }
            _ => {}
        }
        case.outcome = case.outcome.max(outcome);
        case.text.join(&text);
        Ok(())
    }

    fn end_case(&mut self) -> Result<(), JunitError> {
        let Some(case) = self.case.take() else {
            return Ok(()); // never: the element was opened with it
        };
        let time = believable(case.attributes.time.as_deref());
        let (classname, name) = match (case.attributes.classname, case.attributes.name) {
            (classname, Some(name)) => (classname.unwrap_or_default(), name),
            // A test that was left before its first result (pytest.exit) is written without any name. It claims
            // nothing, and is not missed: its events have no end.
            (None, None) if case.outcome == Outcome::Passed => return Ok(()),
            _ => {
                return Err(JunitError::Nameless { position: case.position });
            }
        };
        let number = case.attributes.number.as_deref().and_then(|text| text.parse().ok());
        let key = (case.about, number, classname.clone(), name.clone());
        match self.by_name.get(&key).and_then(|i| self.cases.get_mut(*i)) {
            // One test twice: a failure in its call, then an error in its tear-down.
            Some((earlier, text)) => {
                earlier.outcome = earlier.outcome.max(case.outcome);
                earlier.time = earlier.time.saturating_add(time);
                text.join(&case.text);
            }
            None => {
                self.by_name.insert(key, self.cases.len());
                let (outcome, about) = (case.outcome, case.about);
                let report = ReportCase { classname, name, time, outcome, text: String::new(), about, number };
                self.cases.push((report, case.text));
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Report, JunitError> {
        if let Some(open) = self.stack.last() {
            return Err(JunitError::Truncated { element: open.name().to_owned() });
        }
        if !self.seen_root {
            return Err(JunitError::NoRoot);
        }
        let cases = self.cases.into_iter().map(|(case, text)| ReportCase { text: text.finish(), ..case });
        Ok(Report { cases: cases.collect() })
    }
}

/// The attributes of an element that matter, each at most once.
fn attributes(start: &BytesStart<'_>, position: u64) -> Result<Attributes, JunitError> {
    let wrong = |reason: String| JunitError::syntax(position, &reason);
    let mut found = Attributes::default();
    // The reader's own check for duplicates compares each with each; only five names matter here.
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|e| wrong(e.to_string()))?;
        let key: &str = attribute.key.as_ref();
        let slot = match key {
            "classname" => &mut found.classname,
            "name" => &mut found.name,
            "time" => &mut found.time,
            "message" => &mut found.message,
            "type" => &mut found.kind,
            "ostest" => &mut found.number,
            _ => continue,
        };
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| wrong(e.to_string()))?;
        if slot.replace(value.into_owned()).is_some() {
            return Err(wrong(format!("the attribute {key} stands there twice")));
        }
    }
    Ok(found)
}

/// A time in seconds, or zero where it cannot be one.
pub(super) fn believable(time: Option<&str>) -> Duration {
    time.and_then(|text| text.trim().parse::<f64>().ok())
        .filter(|seconds| (0.0..=LONGEST).contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or_default()
}

/// A name out of the report, short enough for a sentence.
pub(super) fn cut_name(name: &str) -> String {
    name[..boundary_before(name, 100)].to_owned()
}
