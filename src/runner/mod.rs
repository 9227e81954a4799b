//! The runner's loop: takes tasks while there is a free slot, grades each in its slot, uploads what comes of it.

pub mod notify;
pub mod vigil;

use crate::backend::contract::{Answer, Key, MemoryUnit, Task, render};
use crate::backend::{Backend, BackendError, Uploaded, allow};
use crate::config::Grading;
use crate::contain::Host;
use crate::contain::slots::Slot;
use crate::task::{Assignment, Source, bound, grade};
use crate::verdict::Verdict;
use notify::Manager;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longest pause between two questions to a backend that does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Time that results have to be delivered after the second signal.
const LAST_UPLOADS: Duration = Duration::from_secs(10);

/// What asking the backend once takes at the most: the question, a login or a renewal before it, and both again after a 401, each
/// with the client's time-out of a minute, and as much again.
const LONGEST_QUESTION: Duration = Duration::from_secs(600);

/// Failed questions in a row after which `--once` gives up; without it the runner asks for ever.
const ONCE_PATIENCE: u32 = 5;

/// Everything that the loop works with.
pub struct Runner {
    /// Where tasks come from and results go.
    pub backend: Backend,
    /// Where they are graded.
    pub host: Host,
    /// How.
    pub grading: Grading,
    /// Unit of `memoryUsed`.
    pub memory_unit: MemoryUnit,
    /// Pause when there is no task.
    pub check_interval: Duration,
    /// Whether to end when there is no task.
    pub once: bool,
    /// Who started us, where that is a service manager.
    pub manager: Manager,
}

/// The two ways to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take no more tasks; finish those that run.
    pub drain: CancellationToken,
    /// Kill the sandboxes; their tasks are answered as interrupted.
    pub now: CancellationToken,
}

impl Runner {
    /// Runs until told to stop or, with `once`, until the backend has nothing more.
    pub async fn run(self, slots: Vec<Slot>, stop: Stop) -> anyhow::Result<()> {
        let runner = Arc::new(self);
        let longest = bound::longest(&runner.grading, slots.len());
        runner.manager.ready(slots.len());
        tokio::spawn(runner.manager.clone().stopping_after(stop.drain.clone(), longest + LAST_UPLOADS));
        let (give_back, mut free) = mpsc::unbounded_channel();
        for slot in slots {
            // The receiver lives as long as this function.
            let _ = give_back.send(Arc::new(slot));
        }
        let mut tasks = JoinSet::new();
        let ended = loop {
            let slot = tokio::select! {
                biased;
                () = stop.drain.cancelled() => break Ok(()),
                slot = free.recv() => slot,
            };
            let Some(slot) = slot else { break Ok(()) };
            match runner.next(&stop, tasks.is_empty()).await {
                Next::Task(task) => {
                    let (runner, stop, give_back) = (runner.clone(), stop.clone(), give_back.clone());
                    tasks.spawn(async move {
                        let promise = runner.manager.vigil.promise(format!("grading {}", task.key), longest);
                        runner.manager.update(|load| load.busy += 1);
                        let body = runner.clone().grade_or_say_why(slot.clone(), &task, &stop).await;
                        drop(promise);
                        runner.manager.update(|load| load.busy -= 1);
                        // The slot is free while the result is on its way.
                        let _ = give_back.send(slot);
                        runner.upload(&task.key, &body, &stop).await;
                    });
                }
                Next::Answered(key, body) => {
                    let _ = give_back.send(slot);
                    let (runner, stop) = (runner.clone(), stop.clone());
                    tasks.spawn(async move { runner.upload(&key, &body, &stop).await });
                }
                Next::Ended(ended) => break ended,
            }
            while let Some(done) = tasks.try_join_next() {
                log_fault(done);
            }
        };
        // With `--once` nobody has told it.
        runner.manager.stopping(longest + LAST_UPLOADS);
        while let Some(done) = tasks.join_next().await {
            log_fault(done);
        }
        runner.host.release();
        ended
    }

    /// Asks for a task until there is one, or a reason to do something else.
    async fn next(&self, stop: &Stop, idle: bool) -> Next {
        let mut failures = 0;
        loop {
            // Once asked, the answer is waited for: the backend may have handed a task out already, and an attempt whose
            // answer nobody reads hangs for ever. The client's time-out bounds the wait.
            let promise = self.manager.vigil.promise("asking the backend for a task", LONGEST_QUESTION);
            let asked = tokio::select! {
                () = stop.now.cancelled() => return Next::Ended(Ok(())),
                asked = self.backend.next_task() => asked,
            };
            drop(promise);
            let trouble = asked.as_ref().err().map(|error| format!("the backend gave no task: {error}"));
            self.manager.update(|load| load.trouble = trouble);
            let pause = match asked {
                Ok(Answer::Task(task)) => return self.check(task),
                Ok(Answer::Invalid { key: Some(key), problem }) => {
                    tracing::warn!(task = %key, "the task is not valid: {problem}");
                    return Next::Answered(key.clone(), render(&key, &Verdict::broken(problem), self.memory_unit));
                }
                Ok(Answer::Invalid { key: None, problem }) => {
                    tracing::error!("a task without attempt or id is not valid and cannot be answered: {problem}");
                    // It may be what the backend says to every question.
                    failures += 1;
                    if self.once && failures >= ONCE_PATIENCE {
                        return Next::Ended(Err(anyhow::anyhow!(
                            "the backend hands out tasks that cannot be answered"
                        )));
                    }
                    self.check_interval
                }
                Ok(Answer::NoTask) if self.once => return Next::Ended(Ok(())),
                Ok(Answer::NoTask) => {
                    tracing::debug!(idle, "no task");
                    failures = 0;
                    self.check_interval
                }
                Err(error) => {
                    failures += 1;
                    tracing::error!(failures, "the backend gave no task: {error}");
                    if self.once && (failures >= ONCE_PATIENCE || is_hopeless(&error)) {
                        return Next::Ended(Err(anyhow::Error::new(error).context("the backend gave no task")));
                    }
                    let backed_off = Duration::from_secs(1) * 2u32.saturating_pow(failures.min(6) - 1);
                    error.retry_after().unwrap_or(backed_off).min(LONGEST_PAUSE)
                }
            };
            let _promise = self.manager.vigil.promise("the pause between two questions", pause);
            tokio::select! {
                () = stop.drain.cancelled() => return Next::Ended(Ok(())),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Refuses a URL that is not allowed, before anything is done with it.
    fn check(&self, task: Task) -> Next {
        match allow::check(&task.repository_url, &self.grading.allow_url) {
            Ok(()) => Next::Task(Box::new(task)),
            Err(problem) => {
                tracing::warn!(task = %task.key, "refused: {problem}");
                let body = render(&task.key, &Verdict::broken(problem), self.memory_unit);
                Next::Answered(task.key, body)
            }
        }
    }

    /// Grades in a task of its own, so that a fault of ours becomes an answer too and costs neither attempt nor slot.
    async fn grade_or_say_why(self: Arc<Self>, slot: Arc<Slot>, task: &Task, stop: &Stop) -> serde_json::Value {
        let (runner, inner, stop) = (self.clone(), task.clone(), stop.clone());
        let graded = tokio::spawn(async move { runner.grade(&slot, &inner, &stop).await }).await;
        graded.unwrap_or_else(|fault| {
            tracing::error!(task = %task.key, "a fault of the runner: {fault}");
            let verdict = Verdict::broken("the grader itself failed; this is no fault of the submission");
            render(&task.key, &verdict, self.memory_unit)
        })
    }

    async fn grade(&self, slot: &Slot, task: &Task, stop: &Stop) -> serde_json::Value {
        let assignment = Assignment {
            attempt: task.key.token().to_string(),
            source: Source::Git { url: task.repository_url.clone(), branch: task.branch.clone() },
            labs: task.labs.clone(),
            connected_tests: task.connected_tests.clone(),
        };
        let begun = Instant::now();
        tracing::info!(task = %task.key, slot = slot.number, url = %task.repository_url, branch = %task.branch, "taken");
        let graded = grade(&self.host, &self.grading, slot, &assignment, &stop.now, &mut |_, _| {}).await;
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
        if graded.host_failed {
            tracing::error!(task = %task.key, "this host failed: {}", verdict.error.as_deref().unwrap_or_default());
        }
        render(&task.key, verdict, self.memory_unit)
    }

    async fn upload(&self, key: &Key, body: &serde_json::Value, stop: &Stop) {
        // A result that was not delivered is in the log, whole: an operator can send it by hand.
        let given_up = async {
            stop.now.cancelled().await;
            tokio::time::sleep(LAST_UPLOADS).await;
        };
        self.manager.update(|load| load.waiting += 1);
        let uploaded = self.backend.upload_until_accepted(body, given_up).await;
        self.manager.update(|load| load.waiting -= 1);
        match uploaded {
            Uploaded::Accepted => tracing::info!(task = %key, "result delivered"),
            Uploaded::Refused { status, excerpt } => {
                tracing::error!(task = %key, status, result = %body, "the backend refused the result: {excerpt}");
            }
            Uploaded::Cancelled => {
                tracing::error!(task = %key, result = %body, "told to stop before the result was delivered");
            }
        }
    }
}

fn log_fault(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done {
        tracing::error!("a result's delivery ended with a fault of the runner: {error}");
    }
}

/// Whether asking again within a run that is to be done once makes no sense: the password is wrong, the answer final.
fn is_hopeless(error: &BackendError) -> bool {
    matches!(error, BackendError::LoginRejected { .. }) || !error.is_retryable()
}

/// What to do next.
enum Next {
    Task(Box<Task>),
    Answered(Key, serde_json::Value),
    Ended(anyhow::Result<()>),
}
