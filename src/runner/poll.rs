//! What the runner does next with a free slot: asks for a task, unless the host or the spool says that it must not.

use super::holds::Due;
use super::job::Job;
use super::outage::{Outage, Told};
use super::{Shared, log_fault};
use crate::backend::contract::{Answer, Key, Task, render};
use crate::backend::{BackendError, allow};
use crate::fault::Cause;
use crate::spool::{Said, TakeError};
use crate::status::State;
use crate::steps;
use crate::task::fetch;
use crate::verdict::Verdict;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Failed questions in a row after which `--once` gives up; without it the runner asks for ever.
const ONCE_PATIENCE: u32 = 5;

/// Pause between two looks at a spool that cannot be written to.
const SPOOL_PAUSE: Duration = Duration::from_secs(10);

/// How long `--once` waits for something that is broken.
const ONCE_HOLDS: Duration = Duration::from_secs(60);

/// Longest wait for what is held: whoever changes something says so, and this is for what nobody says.
const HOLD_PAUSE: Duration = Duration::from_secs(1);

/// What to do next.
pub enum Next {
    /// Grade this one, which is in the spool; or try again what is broken.
    Due(Due),
    /// Send this; there is nothing to be graded.
    Answered {
        /// Whose answer it is; it is in the spool.
        key: Key,
    },
    /// Nothing more.
    Ended(anyhow::Result<()>),
}

/// What came of one question.
enum Asked {
    /// A task, which is on record.
    Task(Task),
    /// An answer to one.
    Next(Next),
    /// A task that is in hand already.
    InHand,
    /// There is none.
    NoTask,
    /// A task that nobody can answer, and what is wrong with it.
    Nameless(String),
    /// No sound answer.
    Failed(BackendError),
    /// Told to stop meanwhile.
    Stopped,
}

/// Pauses of a call that fails again and again: twice as long each time, from 1 to 60 s. Jitter adds up to the pause itself, so that
/// the runners of a backend that comes back do not come all at once.
pub fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(30))
        .with_jitter()
        .without_max_times()
        .build()
}

impl Shared {
    /// Asks for a task until there is one, or a reason to do something else. `tasks`: what runs in other slots.
    pub async fn next(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> Next {
        let (mut outage, mut pauses, mut drained) = (Outage::default(), pauses(), false);
        loop {
            // A set counts what has ended and was not looked after.
            while let Some(done) = tasks.try_join_next() {
                log_fault(done);
            }
            // Made before anything is looked at, so that no change between the two is missed.
            let changed = self.changed.notified();
            if self.stop.drain.is_cancelled() {
                return Next::Ended(Ok(()));
            }
            match self.held(tasks) {
                Held::Due(due) => return self.admit(due),
                Held::Wait(pause) => {
                    if let Some(problem) = self.once_is_over() {
                        return Next::Ended(Err(anyhow::anyhow!(problem)));
                    }
                    let _promise = self.runner.manager.vigil.promise("a pause for what is held", pause);
                    tokio::select! {
                        biased;
                        () = self.stop.drain.cancelled() => return Next::Ended(Ok(())),
                        () = changed => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                    continue;
                }
                Held::Nothing => {}
            }
            if drained {
                // What runs may still come to be held.
                if tasks.is_empty() && self.holds().is_empty() {
                    return Next::Ended(Ok(()));
                }
                tokio::select! {
                    biased;
                    () = self.stop.drain.cancelled() => return Next::Ended(Ok(())),
                    () = changed => {}
                    () = tokio::time::sleep(HOLD_PAUSE) => {}
                }
                continue;
            }
            match self.may_take().await {
                Ok(()) => {}
                Err(_) if self.stop.drain.is_cancelled() => return Next::Ended(Ok(())),
                Err(problem) if self.runner.once => return Next::Ended(Err(anyhow::anyhow!(problem))),
                Err(_) => continue,
            }
            let pause = match self.ask().await {
                Asked::Stopped => return Next::Ended(Ok(())),
                Asked::Next(next) => return next,
                Asked::Task(task) => {
                    self.answers(&mut outage);
                    match self.job(task) {
                        Some(job) => return self.admit(Due::Job(Box::new(job))),
                        None => continue,
                    }
                }
                Asked::InHand => self.rules().check_interval,
                Asked::NoTask if self.runner.once => {
                    drained = true;
                    continue;
                }
                Asked::NoTask => {
                    tracing::debug!(idle = tasks.is_empty(), "no task");
                    self.answers(&mut outage);
                    pauses = self::pauses();
                    self.rules().check_interval
                }
                Asked::Nameless(problem) => {
                    // It may be what the backend says to every question.
                    if let Some(Told { failures, .. }) = outage.failed(Instant::now()) {
                        tracing::error!(
                            failures,
                            "the backend hands out a task without attempt or id, which cannot be answered: {problem}; fix it in the backend"
                        );
                    }
                    if self.runner.once && outage.failures() >= ONCE_PATIENCE {
                        let problem = anyhow::anyhow!("the backend hands out tasks that cannot be answered");
                        return Next::Ended(Err(problem));
                    }
                    self.rules().check_interval
                }
                Asked::Failed(error) => {
                    if let Some(Told { failures, lasts }) = outage.failed(Instant::now()) {
                        let unknown = match error.may_have_handed_out() {
                            true => {
                                "; an attempt that it handed out with this answer is unknown here, and has to be started again"
                            }
                            false => "",
                        };
                        tracing::error!(
                            failures,
                            seconds = lasts.as_secs(),
                            "the backend gives no task: {error}{unknown}"
                        );
                    }
                    if self.runner.once && (outage.failures() >= ONCE_PATIENCE || is_hopeless(&error)) {
                        return Next::Ended(Err(anyhow::Error::new(error).context("the backend gave no task")));
                    }
                    pauses.next().unwrap_or_default().max(error.retry_after().unwrap_or_default())
                }
            };
            if self.pause(pause).await {
                return Next::Ended(Ok(()));
            }
        }
    }

    /// Asks once. What was handed out is on record when this returns.
    async fn ask(self: &Arc<Self>) -> Asked {
        if let Err(error) = self.runner.spool.asking() {
            tracing::error!("the backend is not asked: {error:#}");
            return Asked::InHand;
        }
        steps::at("poll: about to ask");
        // Once asked, the answer is waited for: the backend may have handed a task out already, and an attempt whose
        // answer nobody reads hangs for ever. The client's time-out bounds the wait.
        let promise = self.runner.manager.vigil.promise("asking the backend", self.runner.backend.longest_call());
        // A task of its own runs on the thread that has read the answer; this one would have to be woken first, and until it has its
        // turn nobody but the backend knows of the task.
        let shared = self.clone();
        let mut question = AbortOnDropHandle::new(tokio::spawn(async move {
            shared.runner.backend.next_task_noted(|answer| shared.note(answer)).await
        }));
        let answer = tokio::select! {
            () = self.stop.now.cancelled() => return Asked::Stopped,
            answer = &mut question => match answer {
                Ok(answer) => answer,
                Err(fault) => {
                    tracing::error!("asking the backend ended with a fault of the runner: {fault}");
                    return Asked::InHand;
                }
            },
        };
        drop(promise);
        match &answer {
            Ok(_) => self.runner.board.change(|status| status.turn(State::Asking, "")),
            Err(error) => self.runner.board.change(|status| status.turn(State::BackendAway, &error.to_string())),
        };
        let asked = match answer {
            Ok(Answer::Task(task)) => self.take(task),
            Ok(Answer::Invalid { key: Some(key), problem }) => {
                tracing::warn!(task = %key, "the task is not valid: {problem}");
                self.answer(key, problem)
            }
            Ok(Answer::Invalid { key: None, problem }) => Asked::Nameless(problem),
            Ok(Answer::NoTask) => Asked::NoTask,
            Err(error) => Asked::Failed(error),
        };
        self.runner.spool.asked();
        asked
    }

    /// Has an answer outlive us from the instant on in which it is here. Until then only the backend knows of the task.
    fn note(&self, answer: &[u8]) {
        steps::at("poll: the backend has answered");
        self.runner.spool.answered(answer);
        steps::at("poll: the answer is noted");
    }

    /// `true`: told to stop meanwhile.
    async fn pause(&self, pause: Duration) -> bool {
        let _promise = self.runner.manager.vigil.promise("a pause between two questions", pause);
        let end = tokio::time::Instant::now() + pause;
        loop {
            let changed = self.changed.notified();
            // What is held is tried in its own time, however long the backend asks to be left alone.
            let due = self.holds().next();
            if due.is_some_and(|due| due <= Instant::now()) {
                return self.stop.drain.is_cancelled();
            }
            let next = due.map_or(end, |due| end.min(due.into()));
            tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => return true,
                () = tokio::time::sleep_until(next) => {
                    if next == end {
                        return false;
                    }
                }
                () = changed => {}
            }
        }
    }

    /// Refuses a URL that is not allowed, before anything is done with it, and puts the rest on record.
    fn take(&self, task: Task) -> Asked {
        steps::at("poll: a task is in memory");
        if let Some(asked) = self.say_again(&task.key) {
            return asked;
        }
        if let Err(problem) = allow::check(&task.repository_url, &self.rules().grading.allow_url) {
            tracing::warn!(task = %task.key, "refused: {problem}");
            return self.answer(task.key, problem);
        }
        match self.runner.spool.take(&task) {
            Ok(()) => {}
            Err(TakeError::InHand) => {
                tracing::warn!(task = %task.key, "the backend hands it out again; {}", TakeError::InHand);
                return Asked::InHand;
            }
            // It was handed out: whoever drops it now loses it for certain.
            Err(TakeError::Disk(error)) => {
                tracing::error!(task = %task.key, "graded before it is recorded, so a crash may lose it: {error:#}");
            }
        }
        steps::at("poll: the task is on record");
        Asked::Task(task)
    }

    /// Answers a task that was answered while the question was on its way, as before. The two have crossed: graded again, it would be
    /// answered twice, with other figures.
    fn say_again(&self, key: &Key) -> Option<Asked> {
        match self.runner.spool.say_again(key) {
            Said::No => None,
            Said::OutOfReach => Some(Asked::InHand),
            Said::WaitsAgain => {
                tracing::warn!(task = %key, "the backend hands it out again, and has taken its result meanwhile, which is sent once more");
                Some(Asked::Next(Next::Answered { key: key.clone() }))
            }
        }
    }

    /// Answers without grading.
    fn answer(&self, key: Key, problem: String) -> Asked {
        if let Some(asked) = self.say_again(&key) {
            return asked;
        }
        if self.runner.spool.has(&key) {
            tracing::warn!(task = %key, "the backend hands it out again; {}", TakeError::InHand);
            return Asked::InHand;
        }
        let body = render(&key, &Verdict::broken(problem), self.rules().shape);
        self.keep(&key, None, &body);
        Asked::Next(Next::Answered { key })
    }

    /// The backend has given a sound answer.
    fn answers(&self, outage: &mut Outage) {
        if let Some(Told { failures, lasts }) = outage.over(Instant::now()) {
            tracing::warn!(failures, seconds = lasts.as_secs(), "the backend answers again");
        }
    }

    /// Lets a task into the pipeline: from now on, and not from when its slot gets to it, no other is taken beside it.
    fn admit(&self, mut due: Due) -> Next {
        if let Due::Job(job) = &mut due {
            job.pass = Some(self.admission.enter(Instant::now()));
        }
        Next::Due(due)
    }

    /// What is to be done for tasks that are in hand already, and whether others have to wait.
    fn held(&self, tasks: &JoinSet<()>) -> Held {
        let now = Instant::now();
        if let Some(due) = self.holds().due(now) {
            return Held::Due(due);
        }
        let until = |at: Option<Instant>| at.map_or(HOLD_PAUSE, |at| at.saturating_duration_since(now)).min(HOLD_PAUSE);
        // A moment at least: what is due in no time at all is due in the next round.
        let soon = |pause: Duration| pause.max(Duration::from_millis(5));
        if let Some(left) = self.admission.wait(now) {
            return Held::Wait(soon(left.min(until(self.holds().next()))));
        }
        let mut holds = self.holds();
        if holds.blocking().is_some() {
            let several = self.sources().len() > 1;
            // Of several servers one is away: one slot goes on with the others.
            if !(several && holds.only_servers() && tasks.is_empty()) {
                return Held::Wait(soon(until(holds.next())));
            }
        }
        if let Some(job) = holds.ready() {
            return Held::Due(Due::Job(Box::new(job)));
        }
        Held::Nothing
    }

    /// A task that was just taken; none where it waits already for what is known to be broken.
    fn job(&self, task: Task) -> Option<Job> {
        let rules = self.rules();
        let cause = fetch::cause(&rules.grading, &task.repository_url);
        let job = Job::new(task, rules.grading.answer_within, Instant::now());
        self.sources().insert(cause.to_string());
        let job = match matches!(cause, Cause::Server(_)) {
            true => {
                let key = job.task.key.clone();
                let parked = self.holds().park(job, &cause);
                if parked.is_ok()
                    && let Err(error) = self.runner.spool.note_held(&key, true)
                {
                    tracing::error!(task = %key, "that it is held is not on disk: {error:#}");
                }
                parked.err().map(|job| *job)
            }
            false => Some(job),
        };
        if job.is_none() {
            tracing::warn!("{cause} does not work, so another task waits for it");
            self.holds_changed();
        }
        job
    }

    /// Why a run that was to be done once goes no further, if it does not.
    fn once_is_over(&self) -> Option<String> {
        let now = Instant::now();
        let standing = self.holds().standing(now);
        let over = standing.iter().find(|one| self.runner.once && one.blocks && one.for_ >= ONCE_HOLDS)?;
        Some(format!("{} does not work: {}", over.fault.cause, over.fault.whole()))
    }

    /// Whether the spool lets a task be taken now. If not, waits a while before it says so, and why.
    async fn may_take(&self) -> Result<(), String> {
        if let Err(problem) = self.runner.spool.ready() {
            let problem = format!("{problem:#}");
            if self.runner.board.change(|status| status.turn(State::SpoolFull, &problem)) {
                tracing::error!("no more tasks are taken: {problem}");
            }
            if !self.runner.once {
                self.pause(SPOOL_PAUSE).await;
            }
            return Err(problem);
        }
        Ok(())
    }

    fn sources(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // No statement under it can fail half way.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Shared::held`] has found.
enum Held {
    /// This is to be done.
    Due(Due),
    /// Nothing may be taken for so long, or until something changes.
    Wait(Duration),
    /// Another task may be taken.
    Nothing,
}

/// Whether asking again within a run that is to be done once makes no sense: the password is wrong, the answer final.
fn is_hopeless(error: &BackendError) -> bool {
    error.is_for_the_operator() || !error.is_retryable()
}
