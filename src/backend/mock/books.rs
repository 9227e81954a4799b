//! What the embedded backend knows: tasks to hand out, tasks handed out, and who was answered how often.

use crate::backend::contract::{Key, Renaming, key_of};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};

/// Tasks and results. It hands out only what it is told has been answered soundly.
pub(super) struct Books {
    tasks: Vec<Value>,
    renaming: Renaming,
    rounds: u64,
    /// The next task: its round, and its place in the list.
    next: (u64, usize),
    /// Handed out, no result yet.
    pending: Vec<Value>,
    /// Each task that was handed out, and what was said of it. Small, so that many thousands fit.
    known: HashMap<Key, Option<Answered>>,
    /// Taken, and whoever sent it was not told so.
    unconfirmed: HashSet<Key>,
    /// All results, if they are kept.
    results: Option<Vec<Value>>,
    /// Results taken, and those of tasks that nobody was given.
    taken: u64,
    unknown: u64,
}

/// The answers to one task.
struct Answered {
    content: [u8; 32],
    again: bool,
    otherwise: bool,
}

/// Sums over the books.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Tasks there are in all.
    pub tasks: u64,
    /// Those that were handed out.
    pub handed_out: u64,
    /// Those of them that have a result.
    pub answered: u64,
    /// Results that were taken.
    pub results: u64,
    /// Tasks that were answered again, with what had been said before.
    pub again: u64,
    /// Tasks that were answered again, with something else.
    pub otherwise: u64,
    /// Results of tasks that had not been handed out.
    pub unknown: u64,
}

impl Books {
    /// Hands a list out so many times, each time under fresh names.
    pub fn new(tasks: Vec<Value>, rounds: u64, keep: bool) -> Self {
        Books {
            renaming: Renaming::of(&tasks),
            tasks,
            rounds,
            next: (0, 0),
            pending: Vec::new(),
            known: HashMap::new(),
            unconfirmed: HashSet::new(),
            results: keep.then(Vec::new),
            taken: 0,
            unknown: 0,
        }
    }

    /// The task whose turn it is; it stays at the front.
    pub fn front(&self) -> Option<Value> {
        let (round, at) = self.next;
        let task = self.tasks.get(at).filter(|_| round < self.rounds)?;
        Some(self.renaming.apply(task, round))
    }

    /// The task of this name that is still to be handed out, and how many come before it in the whole list.
    pub fn queued(&self, key: &Key) -> Option<(u64, Value)> {
        let count = self.tasks.len() as u64;
        let first = self.sums().handed_out;
        (first..self.rounds.saturating_mul(count)).find_map(|number| {
            let task = self.tasks.get(usize::try_from(number % count).ok()?)?;
            let task = self.renaming.apply(task, number / count);
            (key_of(&task).as_ref() == Some(key)).then_some((number, task))
        })
    }

    /// Passes over the task whose turn it is.
    pub fn pass_over(&mut self) {
        self.next.1 += 1;
        if self.next.1 == self.tasks.len() {
            self.next = (self.next.0 + 1, 0);
        }
    }

    /// Hands out the task whose turn it is.
    pub fn hand_out(&mut self) -> Option<Value> {
        let task = self.front()?;
        self.pass_over();
        if let Some(key) = key_of(&task) {
            self.known.entry(key).or_default();
        }
        self.pending.push(task.clone());
        Some(task)
    }

    /// A task that was handed out and has no result; which of them, `choice` says.
    pub fn pending(&self, choice: usize) -> Option<Value> {
        let at = choice.checked_rem(self.pending.len())?;
        self.pending.get(at).cloned()
    }

    /// Takes a result. Gives back the task that it answers, if there was one without a result.
    pub fn take(&mut self, result: &Value) -> Option<Value> {
        self.taken += 1;
        if let Some(results) = &mut self.results {
            results.push(result.clone());
        }
        let Some(key) = key_of(result) else {
            self.unknown += 1;
            return None;
        };
        // A result is the same if it says the same, however its fields are ordered: `Value` sorts them.
        let content: [u8; 32] = Sha256::digest(result.to_string()).into();
        match self.known.get_mut(&key) {
            None => self.unknown += 1,
            Some(Some(answered)) if answered.content == content => answered.again = true,
            Some(Some(answered)) => answered.otherwise = true,
            Some(none) => *none = Some(Answered { content, again: false, otherwise: false }),
        }
        // One entry only: the list may have the same task twice.
        let at = self.pending.iter().position(|task| key_of(task).as_ref() == Some(&key))?;
        Some(self.pending.remove(at))
    }

    /// Notes whether the sender of a result that was taken knows of it.
    pub fn confirm(&mut self, result: &Value, told: bool) {
        match (key_of(result), told) {
            (Some(key), true) => drop(self.unconfirmed.remove(&key)),
            (Some(key), false) => drop(self.unconfirmed.insert(key)),
            (None, _) => {}
        }
    }

    /// Whether nothing is left to hand out and nothing handed out has no result.
    pub fn all_answered(&self) -> bool {
        self.front().is_none() && self.pending.is_empty()
    }

    /// Whether also every sender knows that its result was taken.
    pub fn all_confirmed(&self) -> bool {
        self.all_answered() && self.unconfirmed.is_empty()
    }

    /// All results in the order in which they came, if they are kept.
    pub fn results(&self) -> Option<&[Value]> {
        self.results.as_deref()
    }

    /// What was counted.
    pub fn sums(&self) -> Sums {
        let answered = || self.known.values().flatten();
        let count = |how: fn(&&Answered) -> bool| answered().filter(how).count() as u64;
        Sums {
            tasks: self.rounds.saturating_mul(self.tasks.len() as u64),
            handed_out: self.next.0.saturating_mul(self.tasks.len() as u64).saturating_add(self.next.1 as u64),
            answered: count(|_| true),
            results: self.taken,
            again: count(|a| a.again),
            otherwise: count(|a| a.otherwise),
            unknown: self.unknown,
        }
    }

    /// The state as a person reads it.
    pub fn page(&self) -> String {
        let pending: String = self
            .pending
            .iter()
            .map(|task| match key_of(task) {
                Some(key) => format!("  {key}\n"),
                None => "  a task without attempt and id, which nobody can answer\n".to_owned(),
            })
            .collect();
        let sums = self.sums();
        format!(
            "An embedded backend of ostest-sandbox.\ntasks left: {}\npending: {}\n{pending}results: {} (GET /results)\n\
             counts: GET /counts\n",
            sums.tasks - sums.handed_out,
            self.pending.len(),
            sums.results
        )
    }
}

impl Sums {
    /// As JSON.
    pub fn to_json(self) -> Value {
        json!({
            "tasks": self.tasks,
            "handedOut": self.handed_out,
            "answered": self.answered,
            "results": self.results,
            "answeredAgainSame": self.again,
            "answeredAgainDifferent": self.otherwise,
            "neverHandedOut": self.unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(rounds: u64) -> Books {
        Books::new(vec![json!({"attempt": 1}), json!({"id": "a"})], rounds, false)
    }

    #[test]
    fn a_task_that_was_only_looked_at_is_handed_out_next() {
        let mut books = books(1);
        assert_eq!(books.front(), Some(json!({"attempt": 1})));
        assert_eq!(books.front(), Some(json!({"attempt": 1})));
        assert_eq!((books.sums().handed_out, books.pending(0)), (0, None));
        assert_eq!(books.hand_out(), Some(json!({"attempt": 1})));
        assert_eq!(books.hand_out(), Some(json!({"id": "a"})));
        assert_eq!(books.hand_out(), None);
        assert_eq!((books.pending(0), books.pending(3)), (Some(json!({"attempt": 1})), Some(json!({"id": "a"}))));
    }

    #[test]
    fn every_round_hands_out_the_whole_list_under_fresh_names() {
        let mut books = books(3);
        let all: Vec<Value> = std::iter::from_fn(|| books.hand_out()).collect();
        let expected =
            json!([{"attempt": 1}, {"id": "a"}, {"attempt": 2}, {"id": "a-2"}, {"attempt": 3}, {"id": "a-3"}]);
        assert_eq!(Value::from(all), expected);
        assert_eq!((books.sums().tasks, books.sums().handed_out), (6, 6));
    }

    #[test]
    fn what_is_to_be_handed_out_is_found_and_can_be_passed_over() {
        let mut books = books(2);
        books.hand_out();
        let key = |value: Value| key_of(&value).unwrap();
        assert_eq!(books.queued(&key(json!({"attempt": 1}))), None);
        assert_eq!(books.queued(&key(json!({"id": "a-2"}))), Some((3, json!({"id": "a-2"}))));
        books.pass_over();
        assert_eq!(books.front(), Some(json!({"attempt": 2})));
        assert_eq!(books.pending(1), Some(json!({"attempt": 1})));
    }

    #[test]
    fn what_was_answered_again_and_what_was_never_asked_for_is_counted() {
        let mut books = books(1);
        let result = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        // Not handed out yet.
        assert_eq!(books.take(&json!({"attempt": 1})), None);
        books.hand_out();
        books.hand_out();
        assert!(!books.all_answered());
        assert_eq!(books.take(&result(r#"{"attempt": 1, "x": 1}"#)), Some(json!({"attempt": 1})));
        // The order of fields says nothing.
        assert_eq!(books.take(&result(r#"{"x": 1, "attempt": 1}"#)), None);
        assert_eq!(books.take(&result(r#"{"id": "a", "x": 1}"#)), Some(json!({"id": "a"})));
        assert_eq!(books.take(&result(r#"{"id": "a", "x": 2}"#)), None);
        // The integer 1 and the text "1" are two names, and so are the two dialects.
        assert_eq!(books.take(&json!({"attempt": "1"})), None);
        assert_eq!(books.take(&json!({"id": 1})), None);
        assert_eq!(books.take(&json!({})), None);
        let sums = books.sums();
        assert_eq!((sums.answered, sums.results, sums.again, sums.otherwise, sums.unknown), (2, 8, 1, 1, 4));
        assert!(books.all_answered());
        assert_eq!(books.results(), None);
    }

    #[test]
    fn a_result_whose_sender_was_not_told_is_open_until_it_is() {
        let mut books = Books::new(vec![json!({"attempt": 1})], 1, true);
        books.hand_out();
        let result = json!({"attempt": 1});
        books.take(&result);
        books.confirm(&result, false);
        assert!(books.all_answered() && !books.all_confirmed());
        books.take(&result);
        books.confirm(&result, true);
        assert!(books.all_confirmed());
        assert_eq!(books.results().map(<[Value]>::len), Some(2));
    }

    #[test]
    fn a_list_with_the_same_task_twice_wants_two_results() {
        let mut books = Books::new(vec![json!({"attempt": 1}), json!({"attempt": 1})], 1, false);
        books.hand_out();
        books.hand_out();
        books.take(&json!({"attempt": 1}));
        assert!(!books.all_answered());
        books.take(&json!({"attempt": 1}));
        assert!(books.all_answered());
    }

    #[test]
    fn no_tasks_are_all_answered_and_a_task_without_a_name_never_is() {
        assert!(Books::new(Vec::new(), 5, false).all_answered());
        let mut books = Books::new(vec![json!({})], 1, false);
        books.hand_out();
        assert!(!books.all_answered());
        assert!(books.page().contains("nobody can answer"));
    }
}
