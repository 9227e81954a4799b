//! The wire: the only place that knows the names of the backend's JSON fields.
//!
//! The backend speaks two dialects. The first names an attempt by `attempt`, the second by `id`; the answer to a task
//! goes back in the dialect in which the task came. [`parse_task`] reads both, [`render`] writes both, and nothing
//! outside this module can tell them apart except by the [`Key`].

mod login;
mod repeat;
mod result;
mod smallest;
mod task;

pub use login::{Tokens, login_request, parse_tokens, read_login, read_refresh, refresh_request, tokens_response};
pub use repeat::Renaming;
pub use result::{MemoryUnit, render, render_local, summary};
pub use smallest::smallest;
pub use task::{Answer, Task, example_tasks, no_task, parse_task};

use super::text::excerpt;
use serde_json::{Value, json};
use std::fmt;

/// Longest part of a foreign answer that an error message quotes, in bytes.
const QUOTED: usize = 200;

/// The name the backend gave an attempt: an integer or a string, kept exactly as it came.
///
/// `Display` is for logs and environment variables: control characters are escaped and long strings cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token(Value);

impl Token {
    /// Takes a string or an integer of up to 64 bits; anything else could not be given back as it came.
    pub fn from_value(value: &Value) -> Option<Self> {
        (value.is_string() || value.is_i64() || value.is_u64()).then(|| Token(value.clone()))
    }

    /// The JSON value as it came.
    pub fn as_value(&self) -> &Value {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::String(text) => f.write_str(&excerpt(text.as_bytes(), QUOTED)),
            other => write!(f, "{other}"),
        }
    }
}

/// How a task is told from others, which also says in which dialect it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// The first dialect's `attempt`.
    Attempt(Token),
    /// The second dialect's `id`.
    Id(Token),
}

impl Key {
    /// The backend's name for the attempt, without its dialect.
    pub fn token(&self) -> &Token {
        match self {
            Key::Attempt(token) | Key::Id(token) => token,
        }
    }

    /// An object with nothing but the key, of which [`key_of`] gives the key.
    pub fn to_value(&self) -> Value {
        match self {
            Key::Attempt(token) => json!({"attempt": token.as_value()}),
            Key::Id(token) => json!({"id": token.as_value()}),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Attempt(token) => write!(f, "attempt {token}"),
            Key::Id(token) => write!(f, "id {token}"),
        }
    }
}

/// The key of a task or of a result.
///
/// A field that is absent, null or of another type does not count. Where both are there, `attempt` wins: it is the
/// first dialect's, and a backend that sends both has grown from it.
pub fn key_of(object: &Value) -> Option<Key> {
    let token = |name| object.get(name).and_then(Token::from_value);
    token("attempt").map(Key::Attempt).or_else(|| token("id").map(Key::Id))
}

/// An answer from which not even a task's key could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A status that is neither a task nor one of the ways to say that there is none.
    #[error("asked for a task, the backend answered HTTP {status}: {excerpt:?}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        excerpt: String,
    },
    /// A body that is not JSON.
    #[error(
        "asked for a task, the backend answered what is no JSON ({problem}): {excerpt:?}; check that --backend-url and \
         --get-api lead to the grading backend"
    )]
    NotJson {
        /// What the parser stumbled over.
        problem: String,
        /// The beginning of the body.
        excerpt: String,
    },
    /// JSON, but no object.
    #[error(
        "asked for a task, the backend answered with JSON that is no object: {excerpt:?}; check that --backend-url and \
         --get-api lead to the grading backend"
    )]
    NotAnObject {
        /// The beginning of the body.
        excerpt: String,
    },
}

impl ProtocolError {
    /// The same error, quoting `body` instead: for bodies from which secrets had to be taken out.
    pub fn quoting(mut self, body: &[u8]) -> Self {
        match &mut self {
            ProtocolError::Status { excerpt: e, .. }
            | ProtocolError::NotJson { excerpt: e, .. }
            | ProtocolError::NotAnObject { excerpt: e } => *e = excerpt(body, QUOTED),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_strings_and_integers_only() {
        for good in [json!(0), json!(-3), json!(u64::MAX), json!(i64::MIN), json!("3fa8"), json!("")] {
            assert_eq!(Token::from_value(&good).unwrap().as_value(), &good);
        }
        for bad in [json!(null), json!(1.5), json!(1e30), json!(true), json!([1]), json!({})] {
            assert_eq!(Token::from_value(&bad), None, "{bad}");
        }
    }

    #[test]
    fn attempt_wins_over_id_unless_it_is_unusable() {
        let key = |value: Value| key_of(&value).map(|k| k.to_string());
        assert_eq!(key(json!({"attempt": 1, "id": 2})).unwrap(), "attempt 1");
        assert_eq!(key(json!({"attempt": null, "id": "b"})).unwrap(), "id b");
        assert_eq!(key(json!({"attempt": 1.5, "id": 2})).unwrap(), "id 2");
        assert_eq!(key(json!({"attempt": {}})), None);
        assert_eq!(key(json!([])), None);
    }

    #[test]
    fn a_token_is_shown_without_control_characters() {
        let token = Token::from_value(&json!("a\u{1b}[2J\nb\0")).unwrap();
        assert_eq!(token.to_string(), "a\\x1b[2J b\\x00");
    }
}
