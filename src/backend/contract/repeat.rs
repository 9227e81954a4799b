//! A list of tasks that is handed out several times, each time under names of its own.

use super::{Token, key_of};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Gives the tasks of a list fresh names: an integer is counted on, to a string `-N` is appended, and of a UUID another is made.
#[derive(Debug, Clone, Copy)]
pub struct Renaming {
    highest: i128,
    /// How far the integers of one round are apart from those of the next, so that no two rounds share one.
    step: i128,
}

impl Renaming {
    /// For this list.
    pub fn of(tasks: &[Value]) -> Self {
        let numbers = || tasks.iter().filter_map(|task| integer(key_of(task)?.token()));
        let (lowest, highest) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
        Renaming { highest, step: highest - lowest + 1 }
    }

    /// Whether there are integers enough for so many rounds.
    ///
    /// # Errors
    /// A sentence with the number that would be too large.
    pub fn check(&self, rounds: u64) -> Result<(), String> {
        let last = self.highest + self.step * i128::from(rounds.saturating_sub(1));
        match u64::try_from(last.max(0)) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "handed out {rounds} times, the tasks would be counted up to {last}, which is beyond 64 bits: use smaller \
                 numbers in the list, or fewer rounds"
            )),
        }
    }

    /// The task as the round hands it out. The first round, 0, is the list as it was given; what has no name stays as it is.
    pub fn apply(&self, task: &Value, round: u64) -> Value {
        let mut task = task.clone();
        let Some(key) = key_of(&task).filter(|_| round > 0) else { return task };
        let fresh = match (key.token().as_value(), integer(key.token())) {
            (Value::String(text), _) if is_uuid(text) => Value::from(another(text, round)),
            (Value::String(text), _) => Value::from(format!("{text}-{}", round.saturating_add(1))),
            (_, Some(number)) => {
                // `check` has said that it fits.
                let number = number + self.step * i128::from(round);
                i64::try_from(number)
                    .map_or_else(|_| Value::from(u64::try_from(number).unwrap_or(u64::MAX)), Value::from)
            }
            (other, None) => other.clone(),
        };
        let name = match key {
            super::Key::Attempt(_) => "attempt",
            super::Key::Id(_) => "id",
        };
        task[name] = fresh;
        task
    }
}

/// Backends that name attempts so take nothing else.
fn is_uuid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| if dashes.contains(&at) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// A UUID that belongs to this one and this round.
fn another(uuid: &str, round: u64) -> String {
    let digest = Sha256::digest(format!("{uuid} {round}"));
    let mut text = String::with_capacity(36);
    for (at, byte) in digest.iter().take(16).enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}{byte:02x}", if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" });
    }
    text
}

fn integer(token: &Token) -> Option<i128> {
    let value = token.as_value();
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::HashSet;

    #[test]
    fn no_two_rounds_share_a_name() {
        let tasks = [json!({"attempt": 7}), json!({"attempt": 3}), json!({"id": "x"}), json!({"id": 4})];
        let renaming = Renaming::of(&tasks);
        let keys: Vec<_> =
            (0..50).flat_map(|round| tasks.iter().map(move |t| key_of(&renaming.apply(t, round)))).collect();
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 200);
        assert!(keys.iter().all(Option::is_some));
    }

    #[test]
    fn the_first_round_is_the_list_and_later_ones_keep_all_but_the_name() {
        let task = json!({"attempt": 5, "id": "ignored", "branch": "main"});
        let renaming = Renaming::of(std::slice::from_ref(&task));
        assert_eq!(renaming.apply(&task, 0), task);
        assert_eq!(renaming.apply(&task, 2), json!({"attempt": 7, "id": "ignored", "branch": "main"}));
        let text = json!({"id": "ab"});
        assert_eq!(renaming.apply(&text, 1), json!({"id": "ab-2"}));
        let uuid = json!({"id": "3fa85f64-5717-4562-b3fc-2c963f66afa6"});
        let fresh = renaming.apply(&uuid, 1)["id"].as_str().unwrap().to_owned();
        assert!(is_uuid(&fresh) && fresh != uuid["id"], "{fresh}");
        assert_ne!(renaming.apply(&uuid, 2)["id"], fresh);
        let nameless = json!({"branch": "main"});
        assert_eq!(renaming.apply(&nameless, 1), nameless);
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused_and_those_below_are_not() {
        let renaming = Renaming::of(&[json!({"attempt": u64::MAX - 9})]);
        assert_eq!(renaming.check(10), Ok(()));
        assert_eq!(renaming.apply(&json!({"attempt": u64::MAX - 9}), 9), json!({"attempt": u64::MAX}));
        assert!(renaming.check(11).unwrap_err().contains("64 bits"));
        assert_eq!(Renaming::of(&[json!({"attempt": -5})]).check(3), Ok(()));
        assert_eq!(Renaming::of(&[]).check(u64::MAX), Ok(()));
    }
}
