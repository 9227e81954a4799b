//! What the runner does next with a free slot: asks for a task, unless the host or the spool says that it must not.

use super::Shared;
use crate::backend::contract::{Answer, Key, Task, render};
use crate::backend::{BackendError, allow};
use crate::canary::{self, When};
use crate::check::{Finding, Grade};
use crate::contain::slots::Slot;
use crate::spool::{Said, TakeError};
use crate::status::State;
use crate::steps;
use crate::verdict::Verdict;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// Failed questions in a row after which `--once` gives up; without it the runner asks for ever.
const ONCE_PATIENCE: u32 = 5;

/// Pause between two looks at a spool that cannot be written to.
const SPOOL_PAUSE: Duration = Duration::from_secs(10);

/// What a canary takes at the most: its stages may take some minutes each, and an environment may have to be built for it.
const CANARY: Duration = Duration::from_secs(3600);

/// What to do next.
pub enum Next {
    /// Grade this one; it is in the spool.
    Task(Box<Task>),
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
    /// A task, or an answer to one.
    Next(Next),
    /// A task that is in hand already.
    InHand,
    /// There is none.
    NoTask,
    /// A task that nobody can answer.
    Nameless,
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
    /// Asks for a task until there is one, or a reason to do something else. `slot`: the free one, for a canary.
    pub async fn next(self: &Arc<Self>, slot: &Slot, resumed: &mut VecDeque<Task>, idle: bool) -> Next {
        let (mut failures, mut pauses) = (0, pauses());
        loop {
            match self.may_ask(slot).await {
                Ok(()) => {}
                Err(_) if self.stop.drain.is_cancelled() => return Next::Ended(Ok(())),
                Err(problem) if self.runner.once => return Next::Ended(Err(anyhow::anyhow!(problem))),
                Err(_) => continue,
            }
            if let Some(task) = resumed.pop_front() {
                return Next::Task(Box::new(task));
            }
            let pause = match self.ask().await {
                Asked::Stopped => return Next::Ended(Ok(())),
                Asked::Next(next) => return next,
                Asked::InHand => self.rules().check_interval,
                Asked::NoTask if self.runner.once => return Next::Ended(Ok(())),
                Asked::NoTask => {
                    tracing::debug!(idle, "no task");
                    (failures, pauses) = (0, self::pauses());
                    self.rules().check_interval
                }
                Asked::Nameless => {
                    // It may be what the backend says to every question.
                    failures += 1;
                    if self.runner.once && failures >= ONCE_PATIENCE {
                        let problem = anyhow::anyhow!("the backend hands out tasks that cannot be answered");
                        return Next::Ended(Err(problem));
                    }
                    self.rules().check_interval
                }
                Asked::Failed(error) => {
                    failures += 1;
                    tracing::error!(failures, "the backend gave no task: {error}");
                    if self.runner.once && (failures >= ONCE_PATIENCE || is_hopeless(&error)) {
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
            Ok(Answer::Invalid { key: None, problem }) => {
                tracing::error!("a task without attempt or id is not valid and cannot be answered: {problem}");
                Asked::Nameless
            }
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
        tokio::select! {
            biased;
            () = self.stop.drain.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
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
        Asked::Next(Next::Task(Box::new(task)))
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
        let body = render(&key, &Verdict::broken(problem), self.rules().memory_unit);
        self.keep(&key, None, &body);
        Asked::Next(Next::Answered { key })
    }

    /// Whether a task may be taken now. If not, waits a while before it says so, and why.
    async fn may_ask(&self, slot: &Slot) -> Result<(), String> {
        let quarantine = self.quarantine().pause();
        if let Some((pause, reason)) = quarantine {
            self.runner.board.change(|status| status.turn(State::Quarantined, &reason));
            if !self.runner.once && !self.pause(pause).await {
                self.fly_canary(slot).await;
            }
            return Err(format!("this host failed task after task: {reason}"));
        }
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

    /// Whether the host is well again.
    async fn fly_canary(&self, slot: &Slot) {
        let rules = self.rules();
        let _promise = self.runner.manager.vigil.promise("the canary", CANARY);
        let found = canary::run(&self.runner.host, &rules.grading, slot, When::Always, &self.stop.now).await;
        let wrong: Vec<&Finding> = found.iter().filter(|finding| finding.grade == Grade::Red).collect();
        match wrong.first() {
            None => {
                tracing::warn!("a canary has passed; tasks are taken again");
                self.quarantine().lift();
                self.runner.board.change(|status| status.turn(State::Asking, ""));
            }
            Some(finding) => {
                let reason = format!("{}: {}", finding.name, finding.found);
                tracing::error!("a canary has failed, so no tasks are taken: {reason}");
                self.quarantine().still(&reason);
                self.runner.board.change(|status| status.turn(State::Quarantined, &reason));
            }
        }
    }
}

/// Whether asking again within a run that is to be done once makes no sense: the password is wrong, the answer final.
fn is_hopeless(error: &BackendError) -> bool {
    matches!(error, BackendError::LoginRejected { .. }) || !error.is_retryable()
}
