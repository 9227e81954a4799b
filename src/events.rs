//! What the harness says while the suite runs: its messages, and the log that they fold into.
//!
//! The harness is trusted, the way to it is short; still every contradiction is noticed, because a result that
//! nobody can forge begins with a record that does not bend: the first word about a test stands.

use crate::junit::Outcome;
use crate::text::cut_middle;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Version of the messages that is understood.
pub const EVENTS_VERSION: u32 = 1;

/// Most tests that are taken note of.
pub const MAX_TESTS: usize = 100_000;

/// Most bytes of one text that are kept.
pub const MAX_TEXT: usize = 1 << 20;

/// Most bytes of one problem: what cannot be understood is quoted, and may be as long as it likes.
const MAX_PROBLEM: usize = 1000;

/// Most problems that are kept; what comes after them adds nothing to the verdict.
const MAX_PROBLEMS: usize = 20;

/// One message of the harness.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// pytest has loaded the plugin.
    Hello(Hello),
    /// One test of the complete list, before any of them runs.
    Test {
        /// Its place in the order in which tests will run, counted from 0 without a gap.
        index: usize,
        /// pytest's node id.
        nodeid: String,
        /// The name under which the backend hears of it.
        name: String,
    },
    /// The list of tests is complete.
    Collected {
        /// How many there are.
        count: usize,
    },
    /// A named test that the suite does not have.
    Unknown(Unknown),
    /// A file or folder of the suite could not be collected.
    CollectError(CollectError),
    /// A file or folder of the suite was skipped as a whole.
    CollectSkip(CollectSkip),
    /// A test begins.
    Start {
        /// Its place in the list.
        index: usize,
    },
    /// The function of the test that is running was called, and its call phase has ended.
    Ran {
        /// Its place in the list.
        index: usize,
    },
    /// A test has ended, its tear-down included.
    End {
        /// Its place in the list.
        index: usize,
        /// How it ended.
        status: Outcome,
        /// Seconds of set-up, call and tear-down together.
        #[serde(default)]
        duration: Option<f64>,
        /// Text of the failure or skip.
        #[serde(default)]
        text: String,
        /// Of one that was skipped: it ran, and failed as the suite expects it to.
        #[serde(default)]
        expected: bool,
    },
    /// The harness refused something that only the submission could have wanted.
    Tampering {
        /// A sentence.
        text: String,
    },
    /// The suite itself loads what the submission could have written into pytest, which was refused.
    StudentCode {
        /// The file.
        text: String,
    },
    /// The suite itself imports what was made during the run into pytest, which was refused.
    Made {
        /// The file.
        text: String,
    },
    /// pytest begins to open a pipe by a name that a program could have put there, and waits for whoever opens the other end; or,
    /// without a text, has opened it.
    Pipe {
        /// Its path; empty: none any more.
        #[serde(default)]
        text: String,
    },
    /// What the submission could have written was loaded into pytest, as the suite allows it.
    Loaded {
        /// A sentence.
        text: String,
    },
    /// pytest itself has made a file in the suite's folder, of its own or the suite's.
    Written {
        /// Its path below that folder.
        text: String,
    },
    /// The same of what the submission could have written.
    Copied {
        /// Its path below that folder.
        text: String,
    },
    /// A tool of the suite's was started where it obeys what the submission could have written.
    Displaced {
        /// A sentence without its end.
        text: String,
    },
    /// What has to be known, and is nobody's fault.
    Remark {
        /// A sentence.
        text: String,
    },
    /// pytest is through.
    Finish {
        /// Its own exit status; the suite's command may exit with another.
        exitstatus: i64,
    },
}

/// Who is talking.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hello {
    /// [`EVENTS_VERSION`] of the plugin.
    pub version: u32,
    /// pytest's process id, inside.
    pub pid: i64,
    /// Version of Python.
    pub python: String,
    /// Version of pytest.
    pub pytest: String,
    /// Whether the harness is another user than what it starts.
    #[serde(default)]
    pub apart: bool,
}

/// A named test that is not in this run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Unknown {
    /// The name as the task gave it.
    pub test: String,
    /// What is known about why; often nothing.
    #[serde(default)]
    pub text: String,
}

/// A part of the suite that could not be collected.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CollectError {
    /// pytest's node id of the file or folder.
    pub nodeid: String,
    /// What went wrong.
    pub text: String,
}

/// A part of the suite that was skipped as a whole, with all tests in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CollectSkip {
    /// pytest's node id of the file or folder.
    pub nodeid: String,
    /// The name under which the backend hears of it.
    pub name: String,
    /// Why it was skipped.
    pub text: String,
}

/// Why a message cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("a message of the harness cannot be understood ({reason}): {message:?}")]
pub struct EventError {
    /// The message, cut short.
    pub message: String,
    /// What is wrong with it.
    pub reason: serde_json::Error,
}

/// Reads one message, with or without its newline.
pub fn parse(line: &[u8]) -> Result<Event, EventError> {
    // serde would take a list of the fields in their order as well, which nobody sends.
    let read = match line.trim_ascii_start().first() {
        Some(b'[') => Err(serde::de::Error::custom("it is a list and not an object")),
        _ => serde_json::from_slice(line),
    };
    read.map_err(|reason| EventError {
        message: cut_middle(&String::from_utf8_lossy(&line[..line.len().min(400)]), 200),
        reason,
    })
}

/// A test as the log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// pytest's node id.
    pub nodeid: String,
    /// The name under which the backend hears of it.
    pub name: String,
    /// Whether it has begun.
    pub started: bool,
    /// Whether its function was called; without this it has not passed either.
    pub ran: bool,
    /// How it ended; without this it has not passed, whatever else is known.
    pub end: Option<End>,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The worst of set-up, call and tear-down.
    pub status: Outcome,
    /// Set-up, call and tear-down together, where the harness gave a time that can be one.
    pub duration: Option<Duration>,
    /// Text of the failure or skip.
    pub text: String,
    /// Whether it failed as the suite expects it to, which pytest calls skipped.
    pub expected: bool,
}

/// All that the harness has said, folded in the order in which it came.
#[derive(Debug, Clone, Default)]
pub struct Log {
    hello: Option<Hello>,
    tests: Vec<Test>,
    collected: bool,
    running: Option<usize>,
    done: usize,
    unknown: Vec<Unknown>,
    collect_errors: Vec<CollectError>,
    collect_skips: Vec<CollectSkip>,
    finish: Option<i64>,
    tampering: Vec<String>,
    student_code: Vec<String>,
    made: Vec<String>,
    pipe: Option<String>,
    loaded: Vec<String>,
    remarks: Vec<String>,
    displaced: Vec<String>,
    written: BTreeMap<String, bool>,
    problems: Vec<String>,
}

impl Log {
    /// A log in which nothing has been said yet.
    pub fn new() -> Self {
        Log::default()
    }

    /// Takes one message as it came.
    pub fn push_line(&mut self, line: &[u8]) {
        match parse(line) {
            Ok(event) => self.push(event),
            Err(error) => self.problem(error.to_string()),
        }
    }

    /// Takes one message. One that contradicts what was said before becomes a problem and changes nothing else.
    pub fn push(&mut self, event: Event) {
        if let Err(problem) = self.fold(event) {
            self.problem(problem);
        }
    }

    fn fold(&mut self, event: Event) -> Result<(), String> {
        // On its way out Python still runs code.
        if self.finish.is_some()
            && !matches!(
                event,
                Event::Tampering { .. }
                    | Event::StudentCode { .. }
                    | Event::Made { .. }
                    | Event::Pipe { .. }
                    | Event::Loaded { .. }
                    | Event::Remark { .. }
                    | Event::Written { .. }
                    | Event::Copied { .. }
                    | Event::Displaced { .. }
            )
        {
            return Err("the harness went on talking after pytest's end".into());
        }
        match (&event, &self.hello) {
            (Event::Hello(_), Some(_)) => return Err("the harness said hello twice".into()),
            (Event::Hello(_), None) | (_, Some(_)) => {}
            (_, None) => return Err("the harness spoke before it said hello".into()),
        }
        if self.collected
            && let Event::Test { .. } | Event::Collected { .. } | Event::Unknown(_) | Event::CollectSkip(_) = &event
        {
            return Err("the harness changed the list of tests after it was complete".into());
        }
        match event {
            Event::Hello(hello) => return self.hello(hello),
            Event::Test { index, nodeid, name } => return self.test(index, &nodeid, &name),
            Event::Collected { count } => {
                self.collected = true;
                let known = self.tests.len();
                if count != known {
                    return Err(format!("the harness listed {known} tests and counted {count}"));
                }
            }
            Event::Unknown(Unknown { test, text }) => {
                let (test, text) = (cut_middle(&test, MAX_TEXT), cut_middle(&text, MAX_TEXT));
                below_cap(self.unknown.len())?;
                self.unknown.push(Unknown { test, text });
            }
            Event::CollectError(CollectError { nodeid, text }) => {
                let (nodeid, text) = (cut_middle(&nodeid, MAX_TEXT), cut_middle(&text, MAX_TEXT));
                below_cap(self.collect_errors.len())?;
                self.collect_errors.push(CollectError { nodeid, text });
            }
            Event::CollectSkip(CollectSkip { nodeid, name, text }) => {
                below_cap(self.collect_skips.len())?;
                let [nodeid, name, text] = [nodeid, name, text].map(|text| cut_middle(&text, MAX_TEXT));
                self.collect_skips.push(CollectSkip { nodeid, name, text });
            }
            Event::Start { index } => return self.start(index),
            Event::End { index, status, duration, text, expected } => {
                let duration = duration.and_then(|s| Duration::try_from_secs_f64(s).ok());
                return self.end(index, End { status, duration, text: cut_middle(&text, MAX_TEXT), expected });
            }
            Event::Ran { index } => return self.ran(index),
            Event::Tampering { text } => note(&mut self.tampering, &text),
            Event::StudentCode { text } => note(&mut self.student_code, &text),
            Event::Made { text } => note(&mut self.made, &text),
            Event::Pipe { text } => self.pipe = (!text.is_empty()).then(|| cut_middle(&text, MAX_PROBLEM)),
            Event::Loaded { text } => note(&mut self.loaded, &text),
            Event::Remark { text } => note(&mut self.remarks, &text),
            Event::Displaced { text } => note(&mut self.displaced, &text),
            Event::Written { text } => self.take_written(text, false),
            Event::Copied { text } => self.take_written(text, true),
            Event::Finish { exitstatus } => self.finish = Some(exitstatus),
        }
        Ok(())
    }

    /// Where it was both the worse counts.
    fn take_written(&mut self, path: String, copied: bool) {
        if self.written.len() < MAX_TESTS {
            *self.written.entry(path).or_default() |= copied;
        }
    }

    fn hello(&mut self, hello: Hello) -> Result<(), String> {
        let version = hello.version;
        self.hello = Some(hello);
        match version {
            EVENTS_VERSION => Ok(()),
            other => Err(format!(
                "the harness speaks version {other}, and {EVENTS_VERSION} is understood: the plugin is not the runner's own"
            )),
        }
    }

    fn test(&mut self, index: usize, nodeid: &str, name: &str) -> Result<(), String> {
        if index != self.tests.len() {
            return Err(format!("the harness listed test {index} where test {} was due", self.tests.len()));
        }
        below_cap(index)?;
        self.tests.push(Test {
            nodeid: cut_middle(nodeid, MAX_TEXT),
            name: cut_middle(name, MAX_TEXT),
            started: false,
            ran: false,
            end: None,
        });
        Ok(())
    }

    fn start(&mut self, index: usize) -> Result<(), String> {
        if !self.collected {
            return Err(format!("test {index} began before the list of tests was complete"));
        }
        if let Some(running) = self.running {
            return Err(format!("test {index} began while test {running} was running"));
        }
        let test = self.tests.get_mut(index);
        let test = test.ok_or_else(|| format!("test {index} began, and is not in the list"))?;
        if test.started {
            return Err(format!("{} began twice", shown(&test.name)));
        }
        test.started = true;
        self.running = Some(index);
        Ok(())
    }

    fn ran(&mut self, index: usize) -> Result<(), String> {
        match self.tests.get_mut(index) {
            Some(test) if self.running == Some(index) => test.ran = true,
            _ => return Err(format!("test {index} was called, and was not running")),
        }
        Ok(())
    }

    fn end(&mut self, index: usize, end: End) -> Result<(), String> {
        let test = self.tests.get_mut(index);
        let test = test.ok_or_else(|| format!("test {index} ended, and is not in the list"))?;
        if test.end.is_some() {
            return Err(format!("{} ended twice", shown(&test.name)));
        }
        if self.running != Some(index) {
            return Err(format!("{} ended without a start", shown(&test.name)));
        }
        test.end = Some(end);
        self.running = None;
        self.pipe = None;
        self.done += 1;
        Ok(())
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(cut_middle(&problem, MAX_PROBLEM));
        }
    }

    /// The plugin's greeting, once it came.
    pub fn greeting(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Every test of the run, in order; the whole list once [`Log::is_collected`].
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// Whether the list of tests is complete.
    pub fn is_collected(&self) -> bool {
        self.collected
    }

    /// Named tests that are not in this run.
    pub fn unknown(&self) -> &[Unknown] {
        &self.unknown
    }

    /// Parts of the suite that could not be collected.
    pub fn collect_errors(&self) -> &[CollectError] {
        &self.collect_errors
    }

    /// Parts of the suite that were skipped as a whole.
    pub fn collect_skips(&self) -> &[CollectSkip] {
        &self.collect_skips
    }

    /// pytest's own exit status, once it is through.
    pub fn exit_status(&self) -> Option<i64> {
        self.finish
    }

    /// What the harness refused that only the submission could have wanted, the first first.
    pub fn tampering(&self) -> &[String] {
        &self.tampering
    }

    /// Files that the suite wanted to load into pytest and the submission could have written.
    pub fn student_code(&self) -> &[String] {
        &self.student_code
    }

    /// Files that the suite wanted to import into pytest and that were made during the run.
    pub fn made(&self) -> &[String] {
        &self.made
    }

    /// The pipe that pytest is opening, by a name that a program could have put there.
    pub fn pipe(&self) -> Option<&str> {
        self.pipe.as_deref()
    }

    /// What the submission could have written and was loaded into pytest, as the suite allows it.
    pub fn loaded(&self) -> &[String] {
        &self.loaded
    }

    /// What has to be known and is nobody's fault, the first first.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Where a tool of the suite's obeyed what the submission could have written.
    pub fn displaced(&self) -> &[String] {
        &self.displaced
    }

    /// Files in the suite's folder that pytest has made itself, and whether of what the submission could have written.
    pub fn written(&self) -> &BTreeMap<String, bool> {
        &self.written
    }

    /// Messages that could not be understood or contradict others, the first first.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The test that has begun and not ended.
    pub fn running(&self) -> Option<usize> {
        self.running
    }

    /// How many tests have ended, and how many there are, for a display of progress.
    pub fn progress(&self) -> (usize, usize) {
        (self.done, self.tests.len())
    }
}

/// Keeps a note that is not there yet.
fn note(notes: &mut Vec<String>, text: &str) {
    let text = cut_middle(text, MAX_TEXT);
    if notes.len() < MAX_PROBLEMS && !notes.contains(&text) {
        notes.push(text);
    }
}

fn below_cap(index: usize) -> Result<(), String> {
    match index < MAX_TESTS {
        true => Ok(()),
        false => Err(format!("the suite has more than {MAX_TESTS} tests or names: split it")),
    }
}

/// A test's name in a sentence.
fn shown(name: &str) -> String {
    cut_middle(name, 200)
}
