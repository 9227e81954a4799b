//! An entry without its result: all that the runner has to know of one that waits, however large it is.

use super::entry::{self, ANOTHER, VERSION, name_of};
use crate::backend::contract::{Key, key_of};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::ops::Range;

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is being graded, or was.
    Taken,
    /// Its result waits for the backend.
    Waiting,
    /// The backend has refused its result.
    Rejected,
}

/// What stands around a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The attempt.
    pub key: Key,
    /// Whose it is.
    pub backend: String,
    /// How far it has come.
    pub state: State,
    /// Since when (RFC 3339, UTC).
    pub since: String,
    /// Where the result stands in the file, if there is one and it was looked at.
    pub result: Option<Range<usize>>,
}

#[derive(Deserialize)]
struct Written<'a> {
    version: u32,
    backend: String,
    task: Value,
    taken: String,
    state: State,
    graded: Option<String>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    whole: Option<&'a RawValue>,
}

impl Head {
    /// Reads it. The result is looked at and not kept.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Head, String> {
        let written: Written<'_> = serde_json::from_slice(bytes).map_err(|error| wrong_version(bytes, &error))?;
        if written.version != VERSION {
            return Err(another_version(written.version));
        }
        let key = key_of(&written.task).ok_or("its task has neither attempt nor id")?;
        let (since, result) = match written.state {
            State::Taken => (written.taken, None),
            State::Waiting | State::Rejected => {
                let missing = "it is no entry of a spool: it says that there is a result, and has none";
                (written.graded.ok_or(missing)?, Some(written.result.ok_or(missing)?))
            }
        };
        for said in result.into_iter().chain(written.whole) {
            if key_in(said).as_ref() != Some(&key) {
                return Err(ANOTHER.into());
            }
        }
        let result = result.map(|raw| {
            // It is a part of `bytes`.
            let start = raw.get().as_ptr() as usize - bytes.as_ptr() as usize;
            start..start + raw.get().len()
        });
        Ok(Head { key, backend: written.backend, state: written.state, since, result })
    }

    /// Reads it out of the beginning of a file as this program writes it, where the result comes after everything else that counts.
    /// None if it is not there; then the whole file has to be looked at.
    pub fn skim(beginning: &[u8]) -> Option<Head> {
        const RESULT: &[u8] = b"\n  \"result\": ";
        let end = beginning.windows(RESULT.len()).position(|part| part == RESULT)?;
        let head = beginning[..end].trim_ascii_end();
        let mut text = head.strip_suffix(b",").unwrap_or(head).to_vec();
        text.push(b'}');
        let written: Written<'_> = serde_json::from_slice(&text).ok()?;
        let (key, since) = (key_of(&written.task)?, written.graded?);
        (written.version == VERSION && written.state != State::Taken).then_some(Head {
            key,
            backend: written.backend,
            state: written.state,
            since,
            result: None,
        })
    }

    /// The name of its file, without `.json`.
    pub fn name(&self) -> String {
        name_of(&self.key)
    }

    /// The name under which a refused result is kept.
    pub fn name_aside(&self) -> String {
        entry::name_aside(&self.name(), &self.since)
    }

    /// The name under which it waits for a runner that asks its own backend again.
    pub fn name_elsewhere(&self) -> String {
        entry::name_elsewhere(&self.name(), &self.backend)
    }
}

/// What to say of bytes that are no entry of this version.
fn wrong_version(bytes: &[u8], error: &serde_json::Error) -> String {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    match serde_json::from_slice(bytes) {
        Ok(Versioned { version }) if version != VERSION => another_version(version),
        _ => format!("it is no entry of a spool: {error}"),
    }
}

fn another_version(version: u32) -> String {
    format!("it has version {version}, and this program knows version {VERSION}")
}

/// The key of a result, without the rest of it.
fn key_in(result: &RawValue) -> Option<Key> {
    #[derive(Deserialize)]
    struct Keys {
        attempt: Option<Value>,
        id: Option<Value>,
    }
    let Keys { attempt, id } = serde_json::from_str(result.get()).ok()?;
    key_of(&json!({"attempt": attempt, "id": id}))
}
