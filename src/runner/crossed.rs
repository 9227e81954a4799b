//! Results that the backend confirmed while a question for a task was on its way.
//!
//! A backend may hand a task out a second time while its result is on the way, and the two cross: when the answer with the task
//! arrives here, the result has been confirmed and nothing is left of the task. Graded again it would be answered twice, with other
//! figures. So what was confirmed since the question was sent is kept until its answer is here, and said again.

use crate::backend::contract::Key;
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was confirmed meanwhile. Questions are asked one at a time.
#[derive(Debug, Default)]
pub struct Crossed(Mutex<Option<Vec<(Key, Value)>>>);

impl Crossed {
    /// A question is sent.
    pub fn asking(&self) {
        *self.lock() = Some(Vec::new());
    }

    /// Its answer has been dealt with.
    pub fn asked(&self) {
        *self.lock() = None;
    }

    /// A result was confirmed. To be called before it leaves the spool, so that it is always in one of the two places.
    pub fn confirmed(&self, key: &Key, result: &Value) {
        if let Some(meanwhile) = &mut *self.lock() {
            meanwhile.push((key.clone(), result.clone()));
        }
    }

    /// What this task was answered since the question was sent.
    pub fn said(&self, key: &Key) -> Option<Value> {
        let meanwhile = self.lock();
        let mut found = meanwhile.iter().flatten().filter(|(known, _)| known == key);
        found.next_back().map(|(_, result)| result.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<(Key, Value)>>> {
        // No statement in here can fail half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::contract::key_of;
    use serde_json::json;

    #[test]
    fn only_what_was_confirmed_since_the_question_is_known() {
        let crossed = Crossed::default();
        let result = |attempt: u64| json!({"attempt": attempt, "passed": true});
        let key = |attempt: u64| key_of(&result(attempt)).unwrap();
        crossed.confirmed(&key(1), &result(1));
        assert_eq!(crossed.said(&key(1)), None, "nobody was asking");
        crossed.asking();
        crossed.confirmed(&key(2), &result(2));
        assert_eq!((crossed.said(&key(1)), crossed.said(&key(2))), (None, Some(result(2))));
        crossed.asked();
        assert_eq!(crossed.said(&key(2)), None);
        crossed.asking();
        assert_eq!(crossed.said(&key(2)), None, "a question that is sent afterwards means a new grading");
    }
}
