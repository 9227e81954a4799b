//! One attempt in the spool, as it is written.
//!
//! ```json
//! {
//!   "version": 1,
//!   "backend": "http://localhost:5000",
//!   "task": {"attempt": 21, "repositoryUrl": "https://…", "branch": "main", "laboratoryNumber": [1]},
//!   "taken": "2026-11-25T22:50:16Z",
//!   "state": "waiting",
//!   "graded": "2026-11-25T22:50:31Z",
//!   "result": {"attempt": 21, "testResults": {…}}
//! }
//! ```
//!
//! `state` is `taken`, `waiting` or `rejected`; the last one has `rejected` (a time), `status` and `reason` beside a waiting one's.
//! One that is `taken` has `"held": true` where it waits for something that is broken. `task` is as the backend said it; of one that was not valid only the key. `result` is the body that is sent, in the
//! dialect of its task, byte for byte as it stands there. Where that is the smallest form of a result, `whole` has the one that the
//! backend did not take. Other keys are ignored, so that a later version may add some.

use crate::backend::contract::{Answer, Key, Task, key_of, parse_task};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::ser::Formatter;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::time::SystemTime;

/// What this program writes. One with another number is left alone.
pub const VERSION: u32 = 1;

/// Longest part of a backend's own name for an attempt that a file's name has, in bytes.
const LONGEST: usize = 80;

/// What is said of a result with another key than its task's.
pub(super) const ANOTHER: &str = "its result answers another attempt than its task's";

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    version: u32,
    /// The address of the backend that handed it out, and that alone is to be answered.
    pub backend: String,
    /// The task as that backend would say it.
    pub task: Value,
    /// When it was handed out (RFC 3339, UTC).
    pub taken: String,
    /// It was not graded because something is broken that is not its own; the next start goes on with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// How often a run that began after another had died has graded it again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resumed: u32,
    /// How far it has come.
    #[serde(flatten)]
    pub stage: Stage,
}

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Stage {
    /// It is being graded, or was when the runner died.
    Taken,
    /// There is a result, which the backend has not confirmed.
    Waiting {
        /// Since when (RFC 3339, UTC).
        graded: String,
        /// The body to be sent.
        result: Value,
        /// What it was before it was made as small as it can be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        whole: Option<Value>,
    },
    /// The backend has refused the result for good.
    Rejected {
        /// Since when there is a result.
        graded: String,
        /// The body that was sent.
        result: Value,
        /// What it was before it was made as small as it can be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        whole: Option<Value>,
        /// When it was refused.
        rejected: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of what the backend said.
        reason: String,
    },
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Entry {
    /// A task that has just been taken.
    pub fn taken(backend: &str, task: &Task, now: SystemTime) -> Entry {
        Entry::new(backend, task.to_value(), now, Stage::Taken)
    }

    /// A result. `task`: where it was a valid one.
    pub fn finished(backend: &str, key: &Key, task: Option<&Task>, result: &Value, now: SystemTime) -> Entry {
        let task = task.map_or_else(|| key.to_value(), Task::to_value);
        Entry::new(backend, task, now, Stage::Waiting { graded: shown(now), result: result.clone(), whole: None })
    }

    /// A task that was handed out and is not valid, of which nothing but its name is known.
    pub fn handed_out(backend: &str, key: &Key, now: SystemTime) -> Entry {
        Entry::new(backend, key.to_value(), now, Stage::Taken)
    }

    fn new(backend: &str, task: Value, now: SystemTime, stage: Stage) -> Entry {
        Entry { version: VERSION, backend: backend.to_owned(), task, taken: shown(now), held: false, resumed: 0, stage }
    }

    /// This result, after the backend has refused it.
    pub fn rejected(self, now: SystemTime, status: u16, reason: &str) -> Entry {
        let stage = match self.stage {
            Stage::Waiting { graded, result, whole } | Stage::Rejected { graded, result, whole, .. } => {
                Stage::Rejected { graded, result, whole, rejected: shown(now), status, reason: reason.to_owned() }
            }
            Stage::Taken => Stage::Taken,
        };
        Entry { stage, ..self }
    }

    /// This result in another form, which is sent from here on. What it was is kept.
    pub fn in_form(self, form: Value) -> Entry {
        let stage = match self.stage {
            Stage::Waiting { graded, result, whole } => {
                Stage::Waiting { graded, result: form, whole: whole.or(Some(result)) }
            }
            other => other,
        };
        Entry { stage, ..self }
    }

    /// This result, to be sent (again), whole, to another backend if one is named.
    ///
    /// # Errors
    /// It has none yet.
    pub fn waiting_again(self, backend: Option<&str>) -> anyhow::Result<Entry> {
        let stage = match self.stage {
            Stage::Waiting { graded, result, whole } | Stage::Rejected { graded, result, whole, .. } => {
                Stage::Waiting { graded, result: whole.unwrap_or(result), whole: None }
            }
            Stage::Taken => anyhow::bail!(
                "it has no result yet: the runner answers it, or at its next start if it has died (--resume grades it again)"
            ),
        };
        Ok(Entry { stage, backend: backend.map_or(self.backend, str::to_owned), ..self })
    }

    /// The attempt's key.
    pub fn key(&self) -> Option<Key> {
        key_of(&self.task)
    }

    /// The task, where it was a valid one.
    pub fn task(&self) -> Option<Task> {
        match parse_task(200, self.task.to_string().as_bytes()) {
            Ok(Answer::Task(task)) => Some(task),
            _ => None,
        }
    }

    /// The name of its file, without `.json`.
    pub fn name(&self) -> String {
        self.key().map_or_else(String::new, |key| name_of(&key))
    }

    /// The name under which a refused result is kept: an attempt may be graded, and refused, more than once.
    pub fn name_aside(&self) -> String {
        name_aside(&self.name(), &self.since())
    }

    /// The name under which it waits for a runner that asks its own backend again.
    pub fn name_elsewhere(&self) -> String {
        name_elsewhere(&self.name(), &self.backend)
    }

    /// Since when it is as it is (RFC 3339, UTC).
    pub fn since(&self) -> String {
        match &self.stage {
            Stage::Taken => self.taken.clone(),
            Stage::Waiting { graded, .. } | Stage::Rejected { graded, .. } => graded.clone(),
        }
    }

    /// As it is written: a line for each key, so that people can read it, and what a key holds on its line, so that the
    /// result can be sent as it stands there.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A structure of strings and values always has a text.
        let _ = self.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Lines { depth: 0 }));
        bytes.push(b'\n');
        bytes
    }

    /// Reads one.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Entry, String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let wrong = |error: serde_json::Error| format!("it is no entry of a spool: {error}");
        let Versioned { version } = serde_json::from_slice(bytes).map_err(wrong)?;
        if version != VERSION {
            return Err(format!("it has version {version}, and this program knows version {VERSION}"));
        }
        let entry: Entry = serde_json::from_slice(bytes).map_err(wrong)?;
        let key = Some(entry.key().ok_or("its task has neither attempt nor id")?);
        match &entry.stage {
            Stage::Waiting { result, whole, .. } | Stage::Rejected { result, whole, .. }
                if key_of(result) != key || whole.as_ref().is_some_and(|whole| key_of(whole) != key) =>
            {
                Err(ANOTHER.into())
            }
            _ => Ok(entry),
        }
    }
}

/// Writes the keys of the outermost object on lines of their own.
struct Lines {
    depth: usize,
}

impl Formatter for Lines {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(if self.depth == 0 { b"\n}" } else { b"}" })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(match (first, self.depth) {
            (true, 1) => b"\n  ",
            (false, 1) => b",\n  ",
            (true, _) => b"",
            (false, _) => b",",
        })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(if self.depth == 1 { b": " } else { b":" })
    }
}

/// The name of an attempt's file: its dialect, and the backend's name for it where that can stand in a file's name. No two
/// attempts share one: `~` is in no name that is taken as it is.
pub fn name_of(key: &Key) -> String {
    let (dialect, token) = match key {
        Key::Attempt(token) => ("attempt", token.as_value()),
        Key::Id(token) => ("id", token.as_value()),
    };
    let text = match token {
        Value::String(text) => text,
        number => return format!("{dialect}-{number}"),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let looks_like_a_number = text.strip_prefix('-').unwrap_or(text).chars().all(|c| c.is_ascii_digit());
    if text.chars().all(plain) && text.len() <= LONGEST && !looks_like_a_number {
        return format!("{dialect}-{text}");
    }
    let readable: String = text.chars().filter(|c| plain(*c)).take(LONGEST / 2).collect();
    let digest: String = Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{dialect}-{readable}~{digest}")
}

/// The name of a refused result, of which there may be several for an attempt.
pub(super) fn name_aside(name: &str, since: &str) -> String {
    let time: String = since.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{name}@{time}")
}

/// The name of an entry among those of other backends.
pub(super) fn name_elsewhere(name: &str, backend: &str) -> String {
    let digest = Sha256::digest(backend);
    let hash: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}@{hash}")
}

pub(super) fn shown(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
