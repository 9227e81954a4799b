//! The way of a result from its grading to the backend's confirmation, by way of the spool.
//!
//! One loop sends all results. It knows them by name; the spool says what is to be sent, and only what is on disk is. While the
//! backend takes results several are on their way at a time, and one that takes long gives its place to another. When one fails the
//! backend is taken to be away: then one is tried after a pause, and with the first that is taken all others go.
//!
//! A result over which the backend fails again and again while it takes others would be sent for ever. It is sent in its smallest
//! form instead: the same verdict for each test, with less text. What such a backend has stored of the whole one, if anything, says
//! the same; so the smaller one is no other answer.

mod last;
mod outage;
mod queue;
mod send;

use super::Shared;
use crate::backend::BackendError;
use crate::backend::contract::{Key, Task};
use crate::steps;
use outage::{Minute, Outage};
use queue::{Item, Queue};
use send::Came;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// How often the spool is looked after: what the disk did not take is offered to it again, and what an operator has put back is found.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// Results that are on their way to the backend at a time, but for slow ones.
const UPLOADS: usize = 8;

/// From when on one is slow: its place is another's.
const SLOW: Duration = Duration::from_secs(2);

/// Results that are on their way at a time in all. Each is a connection.
const MOST_UPLOADS: usize = 32;

/// From when on somebody has to look at a backend that takes nothing.
const LONG: Duration = Duration::from_secs(300);

/// Results that are to be sent.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
    /// Nothing more will come.
    closing: CancellationToken,
    /// No more tries: what is left stays in the spool.
    last_call: CancellationToken,
    /// The loop has ended.
    ended: CancellationToken,
}

impl Outbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Whoever panicked with the lock left a list that is as good as before.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Uploads that are on their way.
#[derive(Default)]
struct OnTheirWay {
    tries: JoinSet<(Item, Came)>,
    since: BTreeMap<Id, (Instant, Key)>,
}

impl Shared {
    /// Puts a result into the spool. `false`: the disk does not take it; it is in memory until it does.
    pub fn keep(&self, key: &Key, task: Option<&Task>, body: &Value) -> bool {
        let kept = self.runner.spool.finish(key, task, body);
        if let Err(error) = &kept {
            tracing::error!(
                task = %key,
                "its result is in memory alone, and is not sent before the disk takes it; if the runner is killed before, the next start \
                 answers it as interrupted: {error:#}"
            );
        }
        steps::at("task: the result is in the spool");
        kept.is_ok()
    }

    /// Puts a result into the spool, and sends it.
    pub fn keep_and_deliver(&self, key: Key, task: Option<&Task>, body: Value) {
        self.keep(&key, task, &body);
        self.deliver(key);
    }

    /// Sends a result of the spool until the backend takes it, refuses it for good, or it is time to end.
    pub fn deliver(&self, key: Key) {
        self.deliver_all(vec![key]);
    }

    /// Sends results of the spool.
    pub fn deliver_all(&self, keys: Vec<Key>) {
        let now = Instant::now();
        keys.into_iter().for_each(|key| self.outbox.queue().push(Item::new(key, now)));
        self.tell_counts();
        self.outbox.changed.notify_one();
    }

    fn tell_counts(&self) {
        let (waiting, rejected) = (self.runner.spool.waiting(), self.runner.spool.rejected());
        self.runner.board.change(|status| (status.waiting, status.rejected) = (waiting, rejected));
    }

    /// Begins to send results.
    pub fn begin_to_deliver(self: &Arc<Self>) {
        tokio::spawn(self.clone().send_results());
        tokio::spawn(self.clone().look_after_spool());
    }

    async fn send_results(self: Arc<Self>) {
        let _ended = self.outbox.ended.clone().drop_guard();
        let mut rules = self.runner.rules.clone();
        let (mut way, mut outage, mut problems) = (OnTheirWay::default(), Outage::default(), Minute::default());
        let (mut accepted, mut closing) = (0, false);
        loop {
            let wake = self.start_what_can_be(&mut way, &outage);
            if closing && way.tries.is_empty() && self.outbox.queue().is_empty() {
                return;
            }
            let done = tokio::select! {
                biased;
                () = self.outbox.last_call.cancelled() => return,
                Some(done) = way.tries.join_next_with_id() => done,
                () = self.outbox.changed.notified() => continue,
                () = self.outbox.closing.cancelled(), if !closing => {
                    closing = true;
                    self.try_everything_now(&mut outage);
                    continue;
                }
                Ok(()) = rules.changed() => {
                    self.runner.spool.forgive();
                    self.try_everything_now(&mut outage);
                    continue;
                }
                () = tokio::time::sleep_until(wake.into()) => continue,
            };
            let now = Instant::now();
            let (mut item, came) = match done {
                Ok((id, done)) => {
                    way.since.remove(&id);
                    done
                }
                Err(fault) => {
                    tracing::error!("a delivery ended with a fault of the runner: {fault}");
                    if let Some((_, key)) = way.since.remove(&fault.id()) {
                        self.outbox.queue().push(Item::new(key, now + LOOK_AFTER));
                    }
                    continue;
                }
            };
            self.tell_counts();
            match came {
                Came::Gone => continue,
                Came::Delivered => {
                    accepted += 1;
                    if let Some(long) = outage.succeeded(now) {
                        let waiting = self.runner.spool.waiting();
                        tracing::warn!(
                            seconds = long.as_secs(),
                            waiting,
                            "the backend takes results again; those that wait are sent"
                        );
                    }
                    self.outbox.queue().all_are_due(now);
                    continue;
                }
                Came::NotYet(problem) => {
                    if problems.is_over(now) {
                        let waiting = self.runner.spool.waiting();
                        tracing::error!(task = %item.key, waiting, "a result cannot be sent, and stays here: {problem}");
                    }
                    item.due = now + LOOK_AFTER;
                }
                Came::Failed(error) => {
                    let status = match &error {
                        BackendError::Status { status, excerpt, .. } => Some((*status, excerpt.as_str())),
                        _ => None,
                    };
                    if item.failed(now, status, accepted) {
                        tracing::warn!(task = %item.key, "the backend takes other results and not this one, which is sent again: {error}");
                    } else if let Some(long) = outage.failed(now, error.retry_after().unwrap_or_default()) {
                        self.say_outage(long, &error);
                    }
                }
            }
            self.outbox.queue().push(item);
        }
    }

    fn say_outage(&self, long: Duration, error: &BackendError) {
        let (waiting, seconds) = (self.runner.spool.waiting(), long.as_secs());
        const SAID: &str = "the backend takes no results; what waits stays here and is sent again";
        if long < LONG {
            tracing::warn!(waiting, seconds, "{SAID}: {error}");
        } else {
            tracing::error!(waiting, seconds, "{SAID}: {error}");
        }
    }

    fn try_everything_now(&self, outage: &mut Outage) {
        let now = Instant::now();
        outage.try_now(now);
        self.outbox.queue().all_are_due(now);
    }

    /// Starts what may be sent now. When to look again, if nothing happens before.
    fn start_what_can_be(self: &Arc<Self>, way: &mut OnTheirWay, outage: &Outage) -> Instant {
        let now = Instant::now();
        let places = if outage.until().is_some() { 1 } else { UPLOADS };
        loop {
            let slow = |since: Instant| since + SLOW;
            let fresh = way.since.values().map(|(since, _)| slow(*since)).filter(|until| *until > now);
            let (taken, first) = fresh.fold((0, None), |(count, first): (usize, Option<Instant>), until| {
                (count + 1, Some(first.map_or(until, |first| first.min(until))))
            });
            // Something always happens within an hour, or it does no harm to look.
            let never = now + Duration::from_secs(3600);
            if taken >= places || way.since.len() >= MOST_UPLOADS {
                return first.unwrap_or(never);
            }
            if let Some(until) = outage.until().filter(|until| *until > now) {
                return until;
            }
            let Some(item) = self.outbox.queue().pop(now) else {
                return self.outbox.queue().soonest().unwrap_or(never);
            };
            let (shared, key) = (self.clone(), item.key.clone());
            let id = way.tries.spawn(async move { shared.try_once(item).await }).id();
            way.since.insert(id, (now, key));
        }
    }

    /// Offers the disk what it did not take, removes what it did not let go of, and finds what an operator has put back.
    async fn look_after_spool(self: Arc<Self>) {
        let mut problems = Minute::default();
        loop {
            tokio::select! {
                () = self.outbox.ended.cancelled() => return,
                () = tokio::time::sleep(LOOK_AFTER) => {}
            }
            let shared = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let spool = &shared.runner.spool;
                spool.tidy();
                (spool.write_held(), spool.search())
            });
            let Ok((written, found)) = looked.await else { return };
            for error in
                [written.err(), found.as_ref().err().map(|error| anyhow::anyhow!("{error:#}"))].into_iter().flatten()
            {
                if problems.is_over(Instant::now()) {
                    let unwritten = self.runner.spool.unwritten();
                    tracing::error!(
                        unwritten,
                        "the spool cannot be used, and nothing is sent that is not written there: {error:#}"
                    );
                }
            }
            let found = found.unwrap_or_default();
            if !found.is_empty() {
                tracing::info!(count = found.len(), "results were put into the spool and are sent");
                self.deliver_all(found);
            }
        }
    }
}
