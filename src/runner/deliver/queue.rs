//! Results that are to be sent, by the names of their attempts: what becomes of each after a try, and whose turn it is.

use crate::backend::contract::Key;
use crate::runner::poll::pauses;
use std::time::{Duration, Instant};

/// How often a backend may fail over a result with 5xx, with other results accepted in between, before it is sent in its smallest
/// form. The first failure says nothing: others have to be accepted after it.
const FAILURES: u32 = 2;

/// A result, and what has become of it so far.
#[derive(Debug, Clone)]
pub struct Item {
    /// Whose it is.
    pub key: Key,
    /// When it is its turn, at the earliest.
    pub due: Instant,
    /// What is to be done with it.
    pub todo: Todo,
    /// How many results had been accepted when it failed last.
    accepted: Option<u64>,
    /// Failures between which others were accepted.
    alone: u32,
    /// Those of them with 5xx, in its present form.
    poison: u32,
    /// Whether it was made smaller.
    is_small: bool,
    tries: u32,
}

/// What is to be done with a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Todo {
    /// Send it.
    Send,
    /// Make it as small as it can be, and send it. With what the backend said last.
    Shrink(u16, String),
    /// Count it as refused, because the backend fails over its smallest form as well.
    Reject(u16, String),
}

impl Item {
    /// One that has not been tried.
    pub fn new(key: Key, due: Instant) -> Item {
        Item { key, due, todo: Todo::Send, accepted: None, alone: 0, poison: 0, is_small: false, tries: 0 }
    }

    /// It failed. `status`: with what the backend answered, if it did; `accepted`: how many results it has taken in all. `true`: it is
    /// this result, and not the backend as a whole.
    pub fn failed(&mut self, now: Instant, status: Option<(u16, &str)>, accepted: u64) -> bool {
        self.tries += 1;
        let others_are_taken = self.accepted.replace(accepted).is_some_and(|before| accepted > before);
        self.due = now;
        if !others_are_taken {
            return false;
        }
        self.alone += 1;
        self.due = now + self.pause();
        if let Some((status, said)) = status.filter(|(status, _)| matches!(status, 404 | 405 | 500..600)) {
            self.poison += 1;
            if self.is_small {
                self.todo = Todo::Reject(status, said.to_owned());
            } else if self.poison >= FAILURES {
                self.todo = Todo::Shrink(status, said.to_owned());
            }
        }
        true
    }

    /// Whether it is in its smallest form.
    pub fn is_small(&self) -> bool {
        self.is_small
    }

    /// It is in its smallest form now.
    pub fn shrunk(&mut self) {
        (self.is_small, self.poison, self.todo) = (true, 0, Todo::Send);
    }

    /// Its own pause; a backend that is away has one for all.
    fn pause(&self) -> Duration {
        pauses().nth(self.alone.min(6) as usize - 1).unwrap_or_default()
    }
}

/// All that are not on their way.
#[derive(Debug, Default)]
pub struct Queue(Vec<Item>);

impl Queue {
    /// One more, unless it is there.
    pub fn push(&mut self, item: Item) {
        if self.0.iter().all(|known| known.key != item.key) {
            self.0.push(item);
        }
    }

    /// The next whose turn it is: the one that was tried least, so that one over which a backend fails does not hold up the others.
    pub fn pop(&mut self, now: Instant) -> Option<Item> {
        let due = self.0.iter().enumerate().filter(|(_, item)| item.due <= now);
        let (index, _) = due.min_by_key(|(_, item)| (item.alone, item.tries))?;
        Some(self.0.remove(index))
    }

    /// When it is the next one's turn.
    pub fn soonest(&self) -> Option<Instant> {
        self.0.iter().map(|item| item.due).min()
    }

    /// It is everybody's turn, but those over which the backend fails while it takes others.
    pub fn all_are_due(&mut self, now: Instant) {
        self.0.iter_mut().filter(|item| item.alone == 0).for_each(|item| item.due = now);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::contract::key_of;
    use serde_json::json;

    fn item(attempt: u64) -> Item {
        Item::new(key_of(&json!({"attempt": attempt})).unwrap(), Instant::now())
    }

    const FAILS: Option<(u16, &str)> = Some((500, "no"));

    #[test]
    fn an_outage_makes_no_result_smaller() {
        let mut one = item(1);
        for _ in 0..100 {
            assert!(!one.failed(Instant::now(), FAILS, 7));
            assert_eq!(one.todo, Todo::Send);
        }
        // Other errors than 5xx never do.
        for accepted in (8..100).step_by(2) {
            assert!(
                one.failed(Instant::now(), None, accepted) && one.failed(Instant::now(), Some((429, "")), accepted + 1)
            );
            assert_eq!(one.todo, Todo::Send);
        }
    }

    #[test]
    fn what_fails_while_others_are_taken_is_made_smaller_and_then_refused() {
        let mut one = item(1);
        let now = Instant::now();
        assert!(!one.failed(now, FAILS, 0));
        assert!(one.failed(now, FAILS, 3) && one.todo == Todo::Send && one.due > now);
        assert!(!one.failed(now, FAILS, 3), "nobody's was taken meanwhile");
        assert!(one.failed(now, FAILS, 4) && one.todo == Todo::Shrink(500, "no".into()));
        one.shrunk();
        assert!(!one.failed(now, FAILS, 4) && one.todo == Todo::Send);
        assert!(one.failed(now, FAILS, 5) && one.todo == Todo::Reject(500, "no".into()));
    }

    #[test]
    fn everybody_has_a_turn() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let mut poison = item(1);
        poison.failed(now, FAILS, 0);
        poison.failed(now, FAILS, 1);
        queue.push(poison.clone());
        queue.push(poison);
        for attempt in 2..5 {
            queue.push(item(attempt));
        }
        let later = now + Duration::from_secs(3600);
        let mut first = queue.pop(later).unwrap();
        assert_eq!(first.key, item(2).key);
        first.failed(later, FAILS, 1);
        queue.push(first);
        let order: Vec<Key> = std::iter::from_fn(|| queue.pop(later)).map(|item| item.key).collect();
        assert_eq!(order, [3, 4, 2, 1].map(|attempt| item(attempt).key));
        assert!(queue.is_empty() && queue.soonest().is_none());
    }
}
