//! The life of attempts: queued, handed out, answered, or given up.

use super::clock::show;
use super::row::Row;
use crate::backend::contract::{Key, key_of};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, SystemTime};

/// How old an attempt becomes before it is given up, counted from when it was made: queueing counts.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How often those are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Events of one attempt that are remembered.
const REMEMBERED: usize = 100;

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    InQueue,
    InProgress,
    Success,
    Failure,
    Error,
    Timeout,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::InQueue => "IN_QUEUE",
            State::InProgress => "IN_PROGRESS",
            State::Success => "SUCCESS",
            State::Failure => "FAILURE",
            State::Error => "ERROR",
            State::Timeout => "TIMEOUT",
        })
    }
}

/// How attempts have fared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Life {
    /// How many are in each state.
    pub states: BTreeMap<String, u64>,
    /// Those of them that were given up, and never answered.
    pub lost: u64,
    /// Those that were handed out more than once.
    pub shared: u64,
    /// Results that were refused, by the status.
    pub refused: BTreeMap<u16, u64>,
}

impl Life {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({"states": self.states, "lost": self.lost, "handedOutTwice": self.shared, "refused": self.refused})
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |parts: Vec<String>| if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
        let states = list(self.states.iter().map(|(state, count)| format!("{state} {count}")).collect());
        let refused = list(self.refused.iter().map(|(status, count)| format!("HTTP {status} {count}")).collect());
        write!(
            f,
            "attempts: {states}; handed out and lost {}, handed out twice {}; results refused: {refused}",
            self.lost, self.shared
        )
    }
}

/// All attempts that were handed out or answered. The rest of the queue the books know.
pub(super) struct Attempts {
    /// When the first was made; sweeps count from there, too.
    begun: SystemTime,
    every: Duration,
    known: HashMap<Key, Attempt>,
    /// In the order in which they came to be known.
    order: Vec<Key>,
}

/// One of them.
pub(super) struct Attempt {
    task: Value,
    made: SystemTime,
    state: State,
    /// Since when it is in progress.
    since: SystemTime,
    handed_out: u64,
    answered: bool,
    refused: Vec<u16>,
    posts: u64,
    history: Vec<Value>,
}

impl Attempts {
    pub fn new(begun: SystemTime, every: Duration) -> Attempts {
        Attempts { begun, every, known: HashMap::new(), order: Vec::new() }
    }

    /// When the attempt is made before which there are so many.
    pub fn made(&self, before: u64) -> SystemTime {
        let later = self.every.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX));
        self.begun.checked_add(later).unwrap_or(self.begun)
    }

    /// The attempt at a task, of which so many were made before.
    pub fn of(&mut self, task: &Value, before: u64, now: SystemTime) -> Option<&mut Attempt> {
        let (key, made) = (key_of(task)?, self.made(before));
        Some(self.known.entry(key.clone()).or_insert_with(|| {
            self.order.push(key);
            Attempt {
                task: task.clone(),
                made,
                state: State::InQueue,
                since: now,
                handed_out: 0,
                answered: false,
                refused: Vec::new(),
                posts: 0,
                history: vec![json!({"at": show(made), "state": "IN_QUEUE"})],
            }
        }))
    }

    /// An attempt that is known.
    pub fn get(&mut self, key: &Key) -> Option<&mut Attempt> {
        self.known.get_mut(key)
    }

    /// Gives up what was due by now.
    pub fn catch_up(&mut self, now: SystemTime) {
        for attempt in self.known.values_mut().filter(|attempt| attempt.state == State::InProgress) {
            let due = sweep_after(self.begun, attempt.since.max(attempt.made + PATIENCE));
            if due <= now {
                attempt.state = State::Timeout;
                attempt.note(json!({"at": show(due), "state": "TIMEOUT"}));
            }
        }
    }

    pub fn life(&self) -> Life {
        let mut life = Life::default();
        for attempt in self.known.values() {
            *life.states.entry(attempt.state.to_string()).or_default() += 1;
            life.lost += u64::from(attempt.is_lost());
            life.shared += u64::from(attempt.handed_out > 1);
            for status in &attempt.refused {
                *life.refused.entry(*status).or_default() += 1;
            }
        }
        life
    }

    /// Each attempt with its history, in the order in which they were handed out or answered.
    pub fn to_json(&self) -> Value {
        let all = self.order.iter().filter_map(|key| Some((key, self.known.get(key)?)));
        all.map(|(key, attempt)| {
            let mut told = key.to_value();
            for (name, value) in [
                ("repositoryUrl", attempt.task["repositoryUrl"].clone()),
                ("branch", attempt.task["branch"].clone()),
                ("state", json!(attempt.state.to_string())),
                ("lost", json!(attempt.is_lost())),
                ("handedOut", json!(attempt.handed_out)),
                ("posts", json!(attempt.posts)),
                ("refused", json!(attempt.refused)),
                ("history", json!(attempt.history)),
            ] {
                told[name] = value;
            }
            told
        })
        .collect()
    }
}

impl Attempt {
    /// It is handed out; perhaps not for the first time.
    pub fn handed_out(&mut self, user: &str, now: SystemTime) {
        if self.state == State::InQueue {
            (self.state, self.since) = (State::InProgress, now);
        }
        self.handed_out += 1;
        self.note(json!({"at": show(now), "state": self.state.to_string(), "handedTo": user}));
    }

    /// Whether it waits to be handed out.
    pub fn is_queued(&self) -> bool {
        self.state == State::InQueue
    }

    /// Its result was stored; a later one replaces it, and a time-out.
    pub fn taken(&mut self, row: &Row, user: &str, now: SystemTime) {
        self.state = match (row.error, row.passed) {
            (true, _) => State::Error,
            (false, true) => State::Success,
            (false, false) => State::Failure,
        };
        let session = if row.passed { "SUCCESS" } else { "FAILURE" };
        self.answered = true;
        self.posts += 1;
        self.note(json!({"at": show(now), "state": self.state.to_string(), "session": session, "from": user}));
    }

    /// Its result was not stored.
    pub fn refused(&mut self, status: u16, why: &str, user: &str, now: SystemTime) {
        self.posts += 1;
        if self.refused.len() < REMEMBERED {
            self.refused.push(status);
        }
        self.note(json!({"at": show(now), "refused": status, "why": why, "from": user}));
    }

    fn is_lost(&self) -> bool {
        self.state == State::Timeout && !self.answered
    }

    fn note(&mut self, event: Value) {
        if self.history.len() < REMEMBERED {
            self.history.push(event);
        }
    }
}

/// The first sweep after this time.
fn sweep_after(begun: SystemTime, time: SystemTime) -> SystemTime {
    let since = time.duration_since(begun).unwrap_or_default().as_secs() / SWEEP.as_secs();
    begun + Duration::from_secs((since + 1).saturating_mul(SWEEP.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const MINUTE: Duration = Duration::from_secs(60);

    fn attempts(every: Duration) -> (Attempts, SystemTime) {
        let begun = UNIX_EPOCH + Duration::from_secs(1_000_000);
        (Attempts::new(begun, every), begun)
    }

    fn key(task: &Value) -> Key {
        key_of(task).unwrap()
    }

    fn hand_out(attempts: &mut Attempts, task: &Value, user: &str, now: SystemTime) {
        let before = attempts.order.len() as u64;
        attempts.of(task, before, now).unwrap().handed_out(user, now);
    }

    fn row(result: Value) -> Row {
        Row::of(&result).unwrap()
    }

    #[test]
    fn queueing_counts_and_only_a_sweep_gives_up() {
        let (mut attempts, begun) = attempts(Duration::ZERO);
        let task = json!({"id": "a"});
        // In the queue for nine minutes, handed out then.
        hand_out(&mut attempts, &task, "runner", begun + 9 * MINUTE);
        attempts.catch_up(begun + 10 * MINUTE + MINUTE / 2);
        assert_eq!(attempts.get(&key(&task)).unwrap().state, State::InProgress);
        attempts.catch_up(begun + 11 * MINUTE);
        assert_eq!(attempts.life().states, [("TIMEOUT".to_owned(), 1)].into());
        assert_eq!(attempts.life().lost, 1);
        // One that was older than that is still handed out, and given up at the next sweep.
        let old = json!({"attempt": 5});
        hand_out(&mut attempts, &old, "runner", begun + 30 * MINUTE);
        attempts.catch_up(begun + 30 * MINUTE);
        assert_eq!(attempts.get(&key(&old)).unwrap().state, State::InProgress);
        attempts.catch_up(begun + 31 * MINUTE);
        assert_eq!(attempts.life().lost, 2);
    }

    #[test]
    fn a_late_result_replaces_the_time_out_and_a_second_one_the_first() {
        let (mut attempts, begun) = attempts(Duration::ZERO);
        let task = json!({"id": "a", "branch": "main"});
        hand_out(&mut attempts, &task, "one", begun);
        hand_out(&mut attempts, &task, "two", begun);
        attempts.catch_up(begun + 20 * MINUTE);
        let attempt = attempts.get(&key(&task)).unwrap();
        assert!(attempt.is_lost());
        attempt.refused(500, "too long", "one", begun + 20 * MINUTE);
        attempt.taken(&row(json!({"id": "a", "duration": 1, "isPassed": true})), "one", begun + 21 * MINUTE);
        assert_eq!((attempt.state, attempt.is_lost()), (State::Success, false));
        attempt.taken(&row(json!({"id": "a", "duration": 1, "isError": true})), "two", begun + 22 * MINUTE);
        assert_eq!(attempt.state, State::Error);
        let told = attempts.to_json();
        let states: Vec<&str> =
            told[0]["history"].as_array().unwrap().iter().filter_map(|event| event["state"].as_str()).collect();
        assert_eq!(states, ["IN_QUEUE", "IN_PROGRESS", "IN_PROGRESS", "TIMEOUT", "SUCCESS", "ERROR"]);
        assert_eq!(
            (&told[0]["posts"], &told[0]["refused"], &told[0]["lost"]),
            (&json!(3), &json!([500]), &json!(false))
        );
        let life = attempts.life();
        assert_eq!((life.lost, life.shared, life.refused), (0, 1, [(500, 1)].into()));
    }

    #[test]
    fn attempts_can_be_made_one_after_the_other() {
        let (mut attempts, begun) = attempts(5 * MINUTE);
        assert_eq!(attempts.made(2), begun + 10 * MINUTE);
        for id in ["a", "b"] {
            hand_out(&mut attempts, &json!({"id": id}), "runner", begun + 6 * MINUTE);
        }
        attempts.catch_up(begun + 12 * MINUTE);
        let state = |attempts: &mut Attempts, id| attempts.get(&key(&json!({"id": id}))).unwrap().state;
        assert_eq!((state(&mut attempts, "a"), state(&mut attempts, "b")), (State::Timeout, State::InProgress));
    }
}
