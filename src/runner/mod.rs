//! The runner's loop: takes tasks while there is a free slot, grades each in its slot, delivers what comes of it.
//!
//! A task is in the spool from before anything is done for it until the backend has confirmed its result, so that the loop
//! can end at any instant: the next start goes on from what lies there.

mod admission;
mod deliver;
mod evidence;
mod holds;
mod job;
pub mod notify;
mod outage;
mod poll;
pub mod vigil;
mod work;

use crate::backend::contract::{Shape, Task, render};
use crate::backend::{Backend, allow};
use crate::config::Grading;
use crate::contain::Host;
use crate::contain::slots::Slot;
use crate::spool::{Found, Spool};
use crate::status::{Board, State};
use crate::task::bound;
use crate::verdict::Verdict;
use admission::Admission;
use deliver::Outbox;
use evidence::{CANARY, KnownGood, Started};
use holds::{Due, Holds};
use job::Job;
use notify::Manager;
use poll::Next;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};
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
}

/// What can change while the runner runs.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How tasks are graded.
    pub grading: Grading,
    /// How results are put.
    pub shape: Shape,
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
    /// What is broken, and the tasks that wait for it.
    holds: Mutex<Holds>,
    /// Told whenever something of that, or of the admission, is another.
    changed: Notify,
    /// The task that finds out whether what all tasks need is there.
    admission: Admission,
    /// Repositories that could be fetched.
    known_good: KnownGood,
    /// Submissions and suites that have started.
    started: Started,
    /// Servers and mirrors that tasks were taken for.
    sources: Mutex<BTreeSet<String>>,
}

impl Runner {
    /// Runs until told to stop or, with `once`, until the backend has nothing more. `found`: what an earlier run left.
    pub async fn run(self, slots: Vec<Slot>, found: Found, stop: Stop) -> anyhow::Result<()> {
        let (known_good, started) = (KnownGood::read(&self.host.state_dir), Started::read(&self.host.state_dir));
        let shared = Arc::new(Shared {
            runner: self,
            stop: stop.clone(),
            outbox: Outbox::default(),
            holds: Mutex::default(),
            changed: Notify::new(),
            admission: Admission::default(),
            known_good,
            started,
            sources: Mutex::default(),
        });
        let (drain_timeout, manager) = (shared.runner.drain_timeout, shared.runner.manager.clone());
        let at_most = drain_timeout.saturating_add(LAST_UPLOADS + CLEARING);
        tokio::spawn(kill_after(drain_timeout, stop.clone()));
        tokio::spawn(manager.clone().stopping_after(stop.drain.clone(), at_most));
        let (waiting, rejected) = (shared.runner.spool.waiting(), shared.runner.spool.rejected());
        shared.runner.board.change(|status| (status.waiting, status.rejected) = (waiting, rejected));
        manager.ready();
        manager.say(&shared.runner.board.now().line());
        shared.begin_to_deliver();
        let resumed = shared.recover(found);
        shared.holds().resume(resumed);
        let (give_back, mut free) = mpsc::unbounded_channel();
        for slot in slots {
            // The receiver lives as long as this function.
            let _ = give_back.send(Arc::new(slot));
        }
        let (count, mut tasks) = (free.len(), JoinSet::new());
        let clock = tokio::spawn(shared.clone().keep_time());
        let ended = loop {
            let slot = tokio::select! {
                biased;
                () = stop.drain.cancelled() => break Ok(()),
                slot = free.recv() => slot,
            };
            let Some(slot) = slot else { break Ok(()) };
            match shared.next(&mut tasks).await {
                Next::Due(due) => {
                    let (shared, give_back) = (shared.clone(), give_back.clone());
                    let (what, longest) = match &due {
                        Due::Job(job) => {
                            (format!("grading {}", job.task.key), bound::longest(&shared.rules().grading, count))
                        }
                        Due::Probe { cause, .. } => (format!("trying {cause}"), CANARY),
                    };
                    let promise = manager.vigil.promise(what, longest.saturating_add(CANARY));
                    tasks.spawn(async move {
                        let _promise = promise;
                        let cause = due.cause();
                        let worker = shared.clone();
                        let done = tokio::spawn({
                            let slot = slot.clone();
                            async move { worker.carry_out(slot, due).await }
                        });
                        if let Err(fault) = done.await {
                            tracing::error!(
                                "a task ended with a fault of the runner, and the next start goes on with it: {fault}"
                            );
                            if let Some(cause) = cause {
                                shared.holds().untried(&cause, Instant::now());
                            }
                        }
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
        clock.abort();
        shared.leave_held();
        let undelivered = shared.last_deliveries().await;
        shared.runner.host.release();
        shared.runner.board.change(|status| status.turn(State::Ended, ""));
        let missing = shared.runner.spool.missing();
        if missing > 0 {
            tracing::error!(
                count = missing,
                "results went away with the directory of the spool and were not sent; look for that directory, and put its files back \
                 before the next start"
            );
        }
        ended.and(match undelivered.saturating_sub(missing) {
            0 if missing > 0 => Err(anyhow::anyhow!("{missing} results went away with the directory of the spool")),
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

/// How often a task is graded again after a run that has died with it: it may be what the run died of.
const RESUMED: u32 = 2;

impl Shared {
    /// Goes on from where an earlier run ended. Gives the tasks that are to be graded again.
    fn recover(self: &Arc<Self>, found: Found) -> VecDeque<Job> {
        for (path, problem) in &found.unreadable {
            tracing::error!(file = %path.display(), "the spool holds what is no entry, and it is left alone: {problem}");
        }
        if let Some(time) = &found.asking {
            tracing::error!(
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
        let (mut again, now) = (VecDeque::new(), Instant::now());
        let within = self.rules().grading.answer_within;
        for entry in found.taken {
            let Some(key) = entry.key() else { continue };
            match entry.task() {
                Some(task)
                    if (entry.held || self.runner.resume && entry.resumed < RESUMED) && self.is_allowed(&task) =>
                {
                    if !entry.held
                        && let Err(error) = self.runner.spool.note_resumed(&key)
                    {
                        tracing::warn!(task = %key, "that it is graded again is not on disk: {error:#}");
                    }
                    let job = Job::since(task, humantime::parse_rfc3339(&entry.taken).ok(), within, now);
                    tracing::warn!(task = %key, "an earlier run did not finish it; it is graded again");
                    again.push_back(job);
                }
                task => {
                    tracing::warn!(task = %key, taken = entry.taken, "an earlier run did not finish it; it is answered as interrupted");
                    let verdict = Verdict::broken("interrupted by a restart of the grader; it can be started again");
                    let body = render(&key, &verdict, self.rules().shape);
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

    /// Says which tasks are still held at the end: they stay in the spool.
    fn leave_held(&self) {
        for job in self.holds().take_all() {
            tracing::warn!(task = %job.task.key, "it is held and lies in the spool; the next start goes on with it");
        }
    }

    fn rules(&self) -> Arc<Rules> {
        self.runner.rules.borrow().clone()
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        // Whoever panicked with the lock left a map that is as good as before.
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
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
