//! What the harness asks for: one JSON object a message, each with a number that its answer bears, too.

use crate::cgroup::check_name;
use serde::{Deserialize, Serialize};

/// Longest request in bytes.
pub const MAX_REQUEST: usize = 16 << 10;

/// What the harness asks for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Make this leaf, a test's, and put whoever comes through the gate into it.
    Open {
        /// Its name.
        leaf: String,
        /// The request's number.
        #[serde(default)]
        number: u64,
    },
    /// The test's leaf is no longer current, and what is left in it is ended.
    Close {
        /// The request's number.
        #[serde(default)]
        number: u64,
    },
    /// Until [`Request::Leave`] whoever comes goes into this leaf, that of something that outlives a test. It is made with its
    /// first process.
    Enter {
        /// Its name.
        leaf: String,
        /// The request's number.
        #[serde(default)]
        number: u64,
    },
    /// As it was before.
    Leave {
        /// The leaf that was entered.
        leaf: String,
        /// Whether what has it has been set up: who is in it and has no parent left is ended.
        #[serde(default)]
        settled: bool,
        /// The request's number.
        #[serde(default)]
        number: u64,
    },
    /// What has a leaf of its own has ended: so is what is left in it.
    End {
        /// Its name.
        leaf: String,
        /// The request's number.
        #[serde(default)]
        number: u64,
    },
    /// What the test uses, and where its programs' output goes: descriptors of files that come with it.
    Mark {
        /// Leaves that are counted to the test beside its own.
        uses: Vec<String>,
        /// Whether descriptors come with it, which take the place of those before.
        #[serde(default)]
        captured: bool,
        /// The request's number.
        #[serde(default)]
        number: u64,
    },
}

impl Request {
    /// Reads one message.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(message: &[u8]) -> Result<Request, String> {
        let request =
            serde_json::from_slice(message).map_err(|error| format!("the request cannot be read: {error}"))?;
        // The names that every stage has are not the harness's to use, nor is that of the group above.
        let named = |leaf: &str, first: char| {
            let digits = leaf.strip_prefix(first).unwrap_or_default();
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain && check_name(leaf).is_ok() { Ok(()) } else { Err(format!("{leaf:?} is no name for a leaf")) }
        };
        match &request {
            Request::Open { leaf, .. } => named(leaf, 't')?,
            Request::Enter { leaf, .. } | Request::Leave { leaf, .. } | Request::End { leaf, .. } => named(leaf, 'f')?,
            Request::Mark { uses, .. } => uses.iter().try_for_each(|leaf| named(leaf, 'f'))?,
            Request::Close { .. } => {}
        }
        Ok(request)
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        match self {
            Request::Open { number, .. }
            | Request::Close { number }
            | Request::Enter { number, .. }
            | Request::Leave { number, .. }
            | Request::End { number, .. }
            | Request::Mark { number, .. } => *number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_names_leaves_of_its_kind_and_no_others() {
        let ask = |what: &str, leaf: &str| Request::parse(format!(r#"{{"ask":"{what}","leaf":"{leaf}"}}"#).as_bytes());
        assert_eq!(ask("open", "t17"), Ok(Request::Open { leaf: "t17".into(), number: 0 }));
        assert_eq!(ask("enter", "f3"), Ok(Request::Enter { leaf: "f3".into(), number: 0 }));
        assert_eq!(Request::parse(br#"{"ask":"close","number":7}"#).map(|request| request.number()), Ok(7));
        for leaf in
            ["", "t", "payload", "init", "programs", "f1", "t/../payload", "../t0", "t 1", "t\\n", &"t1".repeat(65)]
        {
            assert!(ask("open", leaf).is_err_and(|e| e.contains("no name for a leaf")), "{leaf:?}");
        }
        assert!(ask("end", "t1").is_err() && ask("leave", "f").is_err());
        assert!(Request::parse(br#"{"ask":"mark","uses":["f1","t2"]}"#).is_err());
        for wrong in
            ["", "{}", "[]", r#"{"ask":"kill"}"#, r#"{"ask":"open"}"#, r#"{"ask":"open","leaf":"t1","limit":0}"#]
        {
            assert!(Request::parse(wrong.as_bytes()).is_err_and(|e| e.contains("cannot be read")), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_reading_panic_or_leaves_the_stages_folder(
            message in prop::collection::vec(any::<u8>(), 0..60), leaf in "t?[a-z0-9./_-]{0,70}",
        ) {
            let named = serde_json::json!({"ask": "open", "leaf": leaf}).to_string();
            for message in [&message[..], named.as_bytes()] {
                if let Ok(Request::Open { leaf, .. }) = Request::parse(message) {
                    prop_assert!(leaf.starts_with('t') && leaf.len() <= 64 && !leaf.contains('/'));
                }
            }
        }
    }
}
