//! The way of a result from its grading to the backend's confirmation, by way of the spool.
//!
//! One loop sends all results. It knows them by name; the spool says what is to be sent, and only what is on disk is. While the
//! backend takes results several are on their way at a time, and one that takes long gives its place to another. When one fails the
//! backend is taken to be away: then one is tried after a pause, and with the first that is taken all others go.
//!
//! A result over which the backend fails again and again while it takes others would be sent for ever. It is sent in its smallest
//! form instead: the same verdict for each test, with less text. What such a backend has stored of the whole one, if anything, says
//! the same; so the smaller one is no other answer.

mod outage;
mod queue;

use super::{LAST_UPLOADS, Shared};
use crate::backend::BackendError;
use crate::backend::contract::{Key, Task};
use crate::spool::{Next, Spool};
use crate::steps;
use outage::{Minute, Outage};
use queue::{Item, Queue, Todo};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long `--once` waits for a backend that takes none of the results that are left.
const ONCE_PATIENCE: Duration = Duration::from_secs(60);

/// How often the spool is looked after: what the disk did not take is offered to it again, and what an operator has put back is found.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// Results that are on their way to the backend at a time, but for slow ones.
const UPLOADS: usize = 8;

/// From when on one is slow: its place is another's.
const SLOW: Duration = Duration::from_secs(2);

/// Results that are on their way at a time in all. Each is a connection.
const MOST_UPLOADS: usize = 64;

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

/// What came of one try.
enum Came {
    /// The backend has it.
    Delivered,
    /// There is nothing more to be done with it.
    Gone,
    /// It cannot be sent now.
    NotYet(String),
    /// It was not taken, and may be later.
    Failed(BackendError),
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

    async fn try_once(self: Arc<Self>, mut item: Item) -> (Item, Came) {
        let key = item.key.clone();
        match item.todo.clone() {
            Todo::Send => {}
            Todo::Reject(status, reason) => {
                self.refused(&key, status, format!("it fails over its smallest form as well: {reason}")).await;
                return (item, Came::Gone);
            }
            Todo::Shrink(status, reason) => match self.with_spool(&key, Spool::make_smaller).await {
                Ok(true) => {
                    tracing::error!(
                        task = %key,
                        status,
                        "the backend fails over its result again and again and takes others; it is sent once more in its smallest form, \
                         without the texts of its tests: {reason}"
                    );
                    item.shrunk();
                }
                Ok(false) => {
                    self.refused(&key, status, format!("it fails over it and takes others: {reason}")).await;
                    return (item, Came::Gone);
                }
                Err(error) => return (item, Came::NotYet(format!("{error:#}"))),
            },
        }
        let parcel = match self.with_spool(&key, Spool::next).await {
            Next::Send(parcel) => parcel,
            Next::NotYet(problem) => return (item, Came::NotYet(problem)),
            Next::Dropped => {
                tracing::warn!(task = %key, "its result is no longer in the spool, and is not sent any more");
                self.runner.spool.forget(&key);
                return (item, Came::Gone);
            }
        };
        steps::at("upload: about to send");
        let sent = self.runner.backend.upload_parcel(&parcel).await;
        steps::at("upload: the backend has answered");
        let came = match sent {
            Ok(()) => {
                self.confirmed(&key).await;
                Came::Delivered
            }
            Err(error) if error.is_retryable() => Came::Failed(error),
            Err(error) => {
                let (status, reason) = match &error {
                    BackendError::Status { status, excerpt, .. } => (*status, excerpt.clone()),
                    other => (0, other.to_string()),
                };
                self.refused(&key, status, reason).await;
                Came::Gone
            }
        };
        (item, came)
    }

    /// Does what waits for the disk where that holds up nobody.
    async fn with_spool<T: Send + 'static>(
        self: &Arc<Self>,
        key: &Key,
        act: impl FnOnce(&Spool, &Key) -> T + Send + 'static,
    ) -> T {
        let (shared, key) = (self.clone(), key.clone());
        match tokio::task::spawn_blocking(move || act(&shared.runner.spool, &key)).await {
            Ok(done) => done,
            // Such a task cannot be cancelled once it has begun, and before that only while the runtime ends.
            Err(fault) => match fault.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }

    async fn confirmed(self: &Arc<Self>, key: &Key) {
        if let Err(error) = self.with_spool(key, Spool::confirm).await {
            tracing::error!(task = %key, "{error:#}");
        }
        steps::at("upload: gone from the spool");
        self.runner.board.change(|status| status.delivered += 1);
        tracing::info!(task = %key, "result delivered");
    }

    async fn refused(self: &Arc<Self>, key: &Key, status: u16, reason: String) {
        let said = reason.clone();
        match self.with_spool(key, move |spool, key| spool.reject(key, status, &said)).await {
            Ok(()) => {
                tracing::error!(task = %key, status, "the backend refused the result, which is kept in spool/rejected: {reason}")
            }
            Err(problem) => {
                tracing::error!(task = %key, status, "the backend refused the result, which is kept where it is: {reason}; {problem:#}");
            }
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

    /// When nothing is graded any more: gives deliveries their last time. Results that are left in the spool.
    pub async fn last_deliveries(&self) -> usize {
        self.outbox.closing.cancel();
        let patient = self.runner.once && !self.stop.drain.is_cancelled();
        let (mut left, mut since) = (self.runner.spool.waiting(), Instant::now());
        loop {
            let _promise = self.runner.manager.vigil.promise("the last deliveries", LAST_UPLOADS);
            tokio::select! {
                () = self.outbox.ended.cancelled() => break,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            let now = self.runner.spool.waiting();
            if now < left && patient {
                (left, since) = (now, Instant::now());
            }
            let patience = if patient && !self.stop.drain.is_cancelled() { ONCE_PATIENCE } else { LAST_UPLOADS };
            if since.elapsed() >= patience {
                self.outbox.last_call.cancel();
            }
        }
        self.say_what_is_lost().await;
        self.runner.spool.waiting()
    }

    /// What the disk never took. Where it says that the task was taken, or may say so, the next start answers: then nothing is sent,
    /// or the attempt would have two answers. Where it knows nothing of the attempt this is the last chance.
    async fn say_what_is_lost(&self) {
        let (unknown, left) = self.runner.spool.in_memory_alone();
        for (key, body) in unknown {
            let _promise = self.runner.manager.vigil.promise("the last deliveries", self.runner.backend.longest_call());
            match tokio::time::timeout(LAST_UPLOADS, self.runner.backend.upload(&body)).await {
                Ok(Ok(())) => {
                    self.runner.spool.forget(&key);
                    tracing::warn!(task = %key, "result delivered, of which nothing is on disk");
                }
                _ => {
                    tracing::error!(task = %key, result = %body, "told to stop before the result was delivered, and nothing of it is on disk")
                }
            }
        }
        for (key, body) in left {
            tracing::error!(
                task = %key,
                result = %body,
                "told to stop before the disk took the result, so it was not sent; the next start answers the attempt as interrupted, or \
                 grades it again with --resume"
            );
        }
    }
}
