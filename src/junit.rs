//! The JUnit report of a suite, read from bytes that nobody vouches for.
//!
//! The reader is strict where a lenient one would have to guess: a report that is cut off, nested oddly or too large is
//! an error with a sentence, never half a result. It expands nothing (a DOCTYPE is an error), keeps only what a verdict
//! needs, and is bounded by [`Caps`].

use crate::text::cut_middle;
use quick_xml::events::Event;
use quick_xml::reader::Reader;
use state::{State, cut_name};
use std::time::Duration;

mod state;
#[cfg(test)]
mod tests;

/// How much of a report is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of the whole report; a larger one is an error.
    pub bytes: usize,
    /// Elements inside one another; a deeper one is an error.
    pub depth: usize,
    /// `<testcase>` elements; more are an error.
    pub cases: usize,
    /// Bytes of text that are kept for one case; the rest is left out, and the text says so.
    pub text: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Caps { bytes: 64 << 20, depth: 32, cases: 100_000, text: 1 << 20 }
    }
}

/// What the suite's report says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Every case once, in the order of the report.
    pub cases: Vec<ReportCase>,
}

/// One case of the report; two `<testcase>` elements of one test are one case, with the worse outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportCase {
    /// The attribute of that name.
    pub classname: String,
    /// The attribute of that name.
    pub name: String,
    /// The attribute of that name. Zero when it is absent, no number, negative, not finite or longer than a year: a time
    /// is told to people and decides nothing, so a wrong one is no reason to throw a whole report away.
    pub time: Duration,
    /// The worst of what the case holds.
    pub outcome: Outcome,
    /// The text of its failures, errors and skips, an empty line between them; of one without text, its message.
    pub text: String,
    /// What the case speaks of.
    pub about: About,
    /// The number of the test that it speaks of, which the harness has put there: names are the suite's to choose.
    pub number: Option<usize>,
}

/// How a test ended, the worse the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// The suite skipped it, or it failed as it was expected to.
    Skipped,
    /// An assertion failed, or it passed although it must not.
    Failed,
    /// Its set-up or tear-down broke.
    Error,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Outcome::Passed => "passed",
            Outcome::Skipped => "skipped",
            Outcome::Failed => "failed",
            Outcome::Error => "error",
        })
    }
}

/// What a case speaks of. pytest also writes cases for what is no test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    /// A test.
    Test,
    /// A file or folder that could not be collected, or was skipped as a whole.
    Collection,
    /// An error inside pytest.
    Internal,
}

impl ReportCase {
    /// The name under which the backend hears of it: `module::test[params]`, without a leading `tests.`.
    pub fn contract_name(&self) -> String {
        if self.classname.is_empty() {
            return self.name.clone();
        }
        let full = format!("{}::{}", self.classname, self.name);
        match full.strip_prefix("tests.") {
            Some(rest) => rest.to_owned(),
            None => full,
        }
    }
}

/// Why a report cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum JunitError {
    #[error(
        "the report has {size} bytes, more than the {limit} that are read: let the suite log less into it (junit_logging)"
    )]
    TooLarge { size: usize, limit: usize },
    #[error("the report is not UTF-8 at byte {position}: it was not written by pytest, or was damaged")]
    NotUtf8 { position: usize },
    #[error("the report says that it is written in {encoding:?}: only UTF-8 is read")]
    Encoding { encoding: String },
    #[error("the report is no well-formed XML near byte {position}: {reason}")]
    Syntax { position: u64, reason: String },
    #[error("the report has a DOCTYPE at byte {position}, which pytest never writes: it is refused unread")]
    Doctype { position: u64 },
    #[error("the report uses the entity {entity:?} near byte {position}, which XML does not define")]
    Entity { entity: String, position: u64 },
    #[error("the report nests more than {limit} elements: it was not written by pytest")]
    TooDeep { limit: usize },
    #[error("the report has more than {limit} cases: split the suite")]
    TooManyCases { limit: usize },
    #[error("the report is empty: no element <testsuites> or <testsuite> in it")]
    NoRoot,
    #[error("the report begins with <{element}> and not with <testsuites> or <testsuite>: it is no JUnit report")]
    WrongRoot { element: String },
    #[error("the report goes on at byte {position}, after its end: something else wrote into it")]
    AfterRoot { position: u64 },
    #[error("the report breaks off inside <{element}>: whoever wrote it was stopped on the way")]
    Truncated { element: String },
    #[error("the report has <{element}> inside <{parent}>, where JUnit has none")]
    Misplaced { element: String, parent: String },
    #[error("the report has a <testcase> without a name near byte {position}: nobody can tell which test it is")]
    Nameless { position: u64 },
}

impl JunitError {
    /// `reason` in the reader's words, which quote what stands there, however long that is.
    fn syntax(position: u64, reason: &str) -> JunitError {
        JunitError::Syntax { position, reason: cut_middle(reason, 300) }
    }
}

/// Reads a report.
pub fn parse(bytes: &[u8], caps: &Caps) -> Result<Report, JunitError> {
    if bytes.len() > caps.bytes {
        return Err(JunitError::TooLarge { size: bytes.len(), limit: caps.bytes });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| JunitError::NotUtf8 { position: e.valid_up_to() })?;
    // XML has no such characters, and pytest writes their numbers instead; the reader would pass them on.
    if let Some(at) = bytes.iter().position(|byte| *byte < b' ' && !b"\t\n\r".contains(byte)) {
        let reason = format!("it holds the character {:#04x}, which XML has not", bytes[at]);
        return Err(JunitError::syntax(at as u64, &reason));
    }
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    // `<a/>` arrives as a start and an end: one way through the code for both spellings.
    reader.config_mut().expand_empty_elements = true;
    let mut state = State::new(caps);
    loop {
        let position = reader.buffer_position();
        let event = reader.read_event().map_err(|e| JunitError::syntax(reader.error_position(), &e.to_string()))?;
        match event {
            Event::Start(element) => state.start(&element, position)?,
            // The reader has checked that the name is that of the open element.
            Event::End(_) => state.end(position)?,
            Event::Empty(_) => {} // never: expand_empty_elements
            Event::Text(text) => state.text(&text.xml10_content(), position)?,
            Event::CData(text) => state.text(&text.xml10_content(), position)?,
            Event::GeneralRef(reference) => {
                let entity = || JunitError::Entity { entity: cut_name(&reference), position };
                // The reader hands references out instead of resolving them; forgetting them would lose text.
                match reference.resolve_char_ref().map_err(|_| entity())? {
                    Some(character) => state.text(character.encode_utf8(&mut [0; 4]), position)?,
                    None => {
                        let text = quick_xml::escape::resolve_xml_entity(&reference);
                        state.text(text.ok_or_else(entity)?, position)?
                    }
                }
            }
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().and_then(Result::ok);
                let encoding = encoding.as_deref().unwrap_or("utf-8");
                if !["utf-8", "utf8", "us-ascii"].contains(&&*encoding.to_ascii_lowercase()) {
                    return Err(JunitError::Encoding { encoding: cut_name(encoding) });
                }
            }
            Event::DocType(_) => return Err(JunitError::Doctype { position }),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => return state.finish(),
        }
    }
}
