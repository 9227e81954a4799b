//! The runner's loop: takes tasks while there is a free slot, grades each in its slot, delivers what comes of it.
//!
//! A task is in the spool from before anything is done for it until the backend has confirmed its result, so that the loop
//! can end at any instant: the next start goes on from what lies there.

mod deliver;
pub mod notify;
mod poll;
pub mod quarantine;
pub mod vigil;

use crate::backend::contract::{MemoryUnit, Task, render};
use crate::backend::{Backend, allow};
use crate::config::Grading;
use crate::contain::Host;
use crate::contain::slots::Slot;
use crate::spool::{Found, Spool};
use crate::status::{Board, State};
use crate::steps;
use crate::task::{Assignment, Source, bound, grade};
use crate::verdict::Verdict;
use deliver::Outbox;
use notify::Manager;
use poll::Next;
use quarantine::Quarantine;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Time that results have to be delivered when everything else is over. What is not stays in the spool.
const LAST_UPLOADS: Duration = Duration::from_secs(10);

/// What killing sandboxes and cleaning up may take beside the drain time-out, on a loaded host.
const CLEARING: Duration = Duration::from_secs(60);

/// Everything that the loop works with.
pub struct Runner {
    /// Where tasks come from and results go.
    pub backend: Arc<Backend>,
    /// Where they are graded.
    pub host: Host,
    /// Results that are not confirmed.
    pub spool: Spool,
    /// How to grade and how often to ask; read anew for each task.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Whether to end when there is no task.
    pub once: bool,
    /// Whether tasks that an earlier run did not finish are graded again, and not answered as interrupted.
    pub resume: bool,
    /// How long running tasks have after the first signal.
    pub drain_timeout: Duration,
    /// What is said of it to whoever looks.
    pub board: Board,
    /// Who started us, where that is a service manager.
    pub manager: Manager,
    /// Whether this host is to be trusted.
    pub quarantine: Mutex<Quarantine>,
}

/// What can change while the runner runs.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How tasks are graded.
    pub grading: Grading,
    /// Unit of `memoryUsed`.
    pub memory_unit: MemoryUnit,
    /// Pause when there is no task.
    pub check_interval: Duration,
}

/// The two ways to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take no more tasks; finish those that run.
    pub drain: CancellationToken,
    /// Kill the sandboxes; their tasks are answered as interrupted.
    pub now: CancellationToken,
}

/// What the loop and its tasks share.
struct Shared {
    runner: Runner,
    stop: Stop,
    /// Results that are to be sent.
    outbox: Outbox,
}

impl Runner {
    /// Runs until told to stop or, with `once`, until the backend has nothing more. `found`: what an earlier run left.
    pub async fn run(self, slots: Vec<Slot>, found: Found, stop: Stop) -> anyhow::Result<()> {
        let shared = Arc::new(Shared { runner: self, stop: stop.clone(), outbox: Outbox::default() });
        let (drain_timeout, manager) = (shared.runner.drain_timeout, shared.runner.manager.clone());
        let at_most = drain_timeout.saturating_add(LAST_UPLOADS + CLEARING);
        tokio::spawn(kill_after(drain_timeout, stop.clone()));
        tokio::spawn(manager.clone().stopping_after(stop.drain.clone(), at_most));
        let (waiting, rejected) = (shared.runner.spool.waiting(), shared.runner.spool.rejected());
        shared.runner.board.change(|status| (status.waiting, status.rejected) = (waiting, rejected));
        manager.ready();
        manager.say(&shared.runner.board.now().line());
        shared.begin_to_deliver();
        let mut resumed = shared.recover(found);
        let (give_back, mut free) = mpsc::unbounded_channel();
        for slot in slots {
            // The receiver lives as long as this function.
            let _ = give_back.send(Arc::new(slot));
        }
        let (count, mut tasks) = (free.len(), JoinSet::new());
        let ended = loop {
            let slot = tokio::select! {
                biased;
                () = stop.drain.cancelled() => break Ok(()),
                slot = free.recv() => slot,
            };
            let Some(slot) = slot else { break Ok(()) };
            match shared.next(&slot, &mut resumed, tasks.is_empty()).await {
                Next::Task(task) => {
                    let (shared, give_back) = (shared.clone(), give_back.clone());
                    let longest = bound::longest(&shared.rules().grading, count);
                    let promise = manager.vigil.promise(format!("grading {}", task.key), longest);
                    tasks.spawn(async move {
                        let _promise = promise;
                        let body = shared.grade_or_say_why(slot.clone(), &task).await;
                        shared.keep_and_deliver(task.key.clone(), Some(&task), body);
                        // The slot is free while the result is on its way.
                        let _ = give_back.send(slot);
                    });
                }
                Next::Answered { key } => {
                    let _ = give_back.send(slot);
                    shared.deliver(key);
                }
                Next::Ended(ended) => break ended,
            }
            while let Some(done) = tasks.try_join_next() {
                log_fault(done);
            }
        };
        // With `--once` nobody has told it.
        manager.stopping(at_most);
        if stop.drain.is_cancelled() {
            shared.runner.board.change(|status| status.turn(State::Draining, "told to stop"));
        }
        while let Some(done) = tasks.join_next().await {
            log_fault(done);
        }
        let undelivered = shared.last_deliveries().await;
        shared.runner.host.release();
        shared.runner.board.change(|status| status.turn(State::Ended, ""));
        ended.and(match undelivered {
            0 => Ok(()),
            count if shared.runner.once && !stop.drain.is_cancelled() => Err(anyhow::anyhow!(
                "the backend has not taken {count} results; they lie in the spool, and the next start sends them again"
            )),
            count => {
                tracing::warn!(count, "results wait in the spool; the next start sends them");
                Ok(())
            }
        })
    }
}

impl Shared {
    /// Goes on from where an earlier run ended. Gives the tasks that are to be graded again.
    fn recover(self: &Arc<Self>, found: Found) -> VecDeque<Task> {
        for (path, problem) in &found.unreadable {
            tracing::error!(file = %path.display(), "the spool holds what is no entry, and it is left alone: {problem}");
        }
        if let Some(time) = &found.asking {
            tracing::warn!(
                time,
                "an earlier run was killed while it asked the backend; an attempt that the backend handed out then and that has no \
                 answer is unknown here and has to be started again"
            );
        }
        if !found.others.is_empty() {
            tracing::warn!(
                entries = found.others.join(" "),
                "the spool holds entries of another backend; to send one to this one: ostest-sandbox spool retry NAME --backend-url URL"
            );
        }
        if !found.waiting.is_empty() {
            tracing::info!(count = found.waiting.len(), "results lay in the spool and are sent");
            self.deliver_all(found.waiting);
        }
        let mut again = VecDeque::new();
        for entry in found.taken {
            let Some(key) = entry.key() else { continue };
            match entry.task() {
                Some(task) if self.runner.resume && self.is_allowed(&task) => {
                    tracing::warn!(task = %key, "an earlier run did not finish it; it is graded again");
                    again.push_back(task);
                }
                task => {
                    tracing::warn!(task = %key, taken = entry.taken, "an earlier run did not finish it; it is answered as interrupted");
                    let verdict = Verdict::broken("interrupted by a restart of the grader; it can be started again");
                    let body = render(&key, &verdict, self.rules().memory_unit);
                    self.keep_and_deliver(key, task.as_ref(), body);
                }
            }
        }
        again
    }

    /// Whether a task that was handed out before may be graded under the rules of now.
    fn is_allowed(&self, task: &Task) -> bool {
        allow::check(&task.repository_url, &self.rules().grading.allow_url).is_ok()
    }

    /// Grades in a task of its own, so that a fault of ours becomes an answer too and costs neither attempt nor slot.
    async fn grade_or_say_why(self: &Arc<Self>, slot: Arc<Slot>, task: &Task) -> Value {
        let name = task.key.to_string();
        self.runner.board.change(|status| status.busy.push(name.clone()));
        let (shared, inner, unit) = (self.clone(), task.clone(), self.rules().memory_unit);
        let graded = tokio::spawn(async move { shared.grade(&slot, &inner).await }).await;
        self.runner.board.change(|status| {
            status.busy.retain(|busy| *busy != name);
            status.graded += 1;
        });
        graded.unwrap_or_else(|fault| {
            tracing::error!(task = %task.key, "a fault of the runner: {fault}");
            self.host_failed(&format!("the runner itself failed on {}: {fault}", task.key));
            let verdict = Verdict::broken("the grader itself failed; this is no fault of the submission");
            render(&task.key, &verdict, unit)
        })
    }

    async fn grade(&self, slot: &Slot, task: &Task) -> Value {
        let rules = self.rules();
        let assignment = Assignment {
            attempt: task.key.token().to_string(),
            source: Source::Git { url: task.repository_url.clone(), branch: task.branch.clone() },
            labs: task.labs.clone(),
            connected_tests: task.connected_tests.clone(),
        };
        let begun = Instant::now();
        tracing::info!(task = %task.key, slot = slot.number, url = %task.repository_url, branch = %task.branch, "taken");
        let graded = grade(&self.runner.host, &rules.grading, slot, &assignment, &self.stop.now, &mut |_| {}).await;
        let verdict = &graded.verdict;
        let seconds = begun.elapsed().as_secs_f64();
        tracing::info!(
            task = %task.key,
            slot = slot.number,
            passed = verdict.is_passed(),
            cases = verdict.cases.len(),
            error = verdict.error.as_deref().map(|e| e.lines().next().unwrap_or_default()),
            seconds,
            "graded"
        );
        match graded.fault.as_ref().filter(|fault| fault.is_worth_another_try()) {
            Some(fault) => {
                tracing::error!(task = %task.key, step = %graded.reached, blame = %fault.blame, "{} failed: {}", fault.cause, fault.whole());
                self.host_failed(&fault.whole());
            }
            // That one was killed says nothing of the host.
            None if self.stop.now.is_cancelled() => {}
            None => self.quarantine().well(),
        }
        steps::at("task: graded");
        render(&task.key, verdict, rules.memory_unit)
    }

    fn host_failed(&self, reason: &str) {
        if self.quarantine().failed(reason) {
            tracing::error!("this host takes no more tasks until a canary has passed: {reason}");
            self.runner.board.change(|status| status.turn(State::Quarantined, reason));
        }
    }

    fn rules(&self) -> Arc<Rules> {
        self.runner.rules.borrow().clone()
    }

    fn quarantine(&self) -> MutexGuard<'_, Quarantine> {
        // Whoever panicked with the lock left numbers that are as good as before.
        self.runner.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After the first signal running tasks have so long; then it is as if the second one had come.
async fn kill_after(patience: Duration, stop: Stop) {
    stop.drain.cancelled().await;
    tokio::select! {
        () = stop.now.cancelled() => {}
        () = tokio::time::sleep(patience) => {
            tracing::warn!(seconds = patience.as_secs(), "the drain time-out is over; killing what runs");
            stop.now.cancel();
        }
    }
}

fn log_fault(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done {
        tracing::error!("a task ended with a fault of the runner: {error}");
    }
}
