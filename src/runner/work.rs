//! One task in one slot: graded, and then answered, or held where something is broken that is not the submission's.

use super::Shared;
use super::admission::{PATIENCE, Pass};
use super::holds::{Due, Standing};
use super::job::Job;
use crate::backend::contract::render;
use crate::contain::slots::Slot;
use crate::fault::{Blame, Cause, Fault};
use crate::status::{Held, State};
use crate::steps;
use crate::task::{Assignment, Event, Graded, Source, Step, bound, fetch, grade};
use crate::verdict::Verdict;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tracing::Instrument;

/// How often the operator is told again of what stands.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How often it is looked whether the time of a held task is over.
const LOOK: Duration = Duration::from_millis(500);

impl Shared {
    /// Grades a task; answers it, or holds it.
    pub(super) async fn work(self: &Arc<Self>, slot: Arc<Slot>, job: Job) {
        let pass = job.pass;
        let mut graded = self.grade_or_say_why(slot.clone(), &job).await;
        if graded.suite_does_not_start && !self.stop.now.is_cancelled() {
            graded.fault = self.suite_is_broken(&slot, &job, &graded.verdict).await;
        }
        let fault = graded.fault.as_ref().filter(|fault| fault.is_worth_another_try());
        match fault {
            Some(fault) if !self.stop.now.is_cancelled() => self.met(&slot, job, fault.clone(), graded.reached).await,
            _ => {
                if let Some((cause, failed)) = &job.held_by {
                    let answers = graded.fault.as_ref().is_none_or(|fault| fault.blame == Blame::Submission);
                    match answers && !self.stop.now.is_cancelled() {
                        // What it got behind was said to be mended when it did.
                        true if graded.reached > *failed => {}
                        true if graded.reached == *failed => self.mended(cause),
                        // It did not come so far.
                        _ => self.holds().untried(cause, Instant::now()),
                    }
                }
                // The second signal ends what would have been held, or was: the next start goes on with it.
                let is_ours = job.held_by.is_some() && graded.verdict.error.is_some() || fault.is_some();
                if self.stop.now.is_cancelled() && is_ours {
                    match self.runner.spool.note_held(&job.task.key, true) {
                        Ok(()) => {
                            tracing::warn!(task = %job.task.key, "it is held and lies in the spool; the next start goes on with it");
                        }
                        Err(error) => {
                            tracing::error!(task = %job.task.key, "that it is held is not on disk, and the next start answers it as interrupted: {error:#}");
                        }
                    }
                    return;
                }
                let mut verdict = graded.verdict;
                if let Some(fault) = graded.fault.filter(|fault| fault.blame != Blame::Submission) {
                    // Of a task that was held, what it was held for has taken its time.
                    let kept = job.held_by.as_ref().and_then(|(cause, _)| self.holds().fault(cause).cloned());
                    let mut fault = kept.unwrap_or(fault);
                    if fault.cause == Cause::Deadline
                        && let Some(slow) = too_slow(graded.reached)
                    {
                        fault = slow;
                        let first = self.holds().lost_by(&job, fault.clone(), graded.reached, Instant::now());
                        if first {
                            tracing::error!(
                                task = %job.task.key, step = %graded.reached, blame = %fault.blame,
                                "{} does not work in the time for an answer; no task is taken until it does: {fault}; to fix it: {}",
                                fault.cause, remedy(&fault.cause)
                            );
                        }
                    }
                    tracing::error!(
                        task = %job.task.key, blame = %fault.blame, detail = detail(&fault),
                        "it is answered ungraded, which says that the submission is not to blame: {fault}"
                    );
                    verdict.error = Some(ungraded(&fault));
                }
                self.runner.board.change(|status| status.graded += 1);
                let body = render(&job.task.key, &verdict, self.rules().shape);
                self.keep_and_deliver(job.task.key.clone(), Some(&job.task), body);
            }
        }
        // Not before it is held: in between another one would be taken.
        pass.inspect(|pass| self.admission.leave(*pass));
        self.holds_changed();
    }

    /// Tries what failed, without a task to grade.
    pub(super) async fn probe(self: &Arc<Self>, slot: &Slot, cause: &Cause, job: &Job, step: Step) {
        let found = match cause {
            Cause::Sandbox | Cause::Runner => self.canary(slot).await.map_or_else(Some, |()| None),
            // Shown by nothing less than a suite that starts.
            Cause::Suite | Cause::Environment if step >= Step::Build => {
                let source = Source::Git { url: job.task.repository_url.clone(), branch: job.task.branch.clone() };
                let graded = self.collect(slot, &source, &job.task.labs).await;
                if self.stop.now.is_cancelled() {
                    return self.holds().untried(cause, Instant::now());
                }
                match graded.suite_does_not_start {
                    // This submission may be one on which it chokes.
                    true => self.suite_is_broken(slot, job, &graded.verdict).await,
                    false => graded.fault,
                }
            }
            _ => {
                let source = Source::Git { url: job.task.repository_url.clone(), branch: job.task.branch.clone() };
                match self.rehearse(slot, &source, &job.task.labs, step).await {
                    Ok(found) => found,
                    Err(()) => return self.holds().untried(cause, Instant::now()),
                }
            }
        };
        match found.filter(|fault| fault.blame != Blame::Submission) {
            None => self.mended(cause),
            Some(fault) => {
                self.holds().still(cause, fault, Instant::now());
                if self.holds().wants_evidence(cause)
                    && self.works_for_others(slot, cause, step, &job.task.repository_url).await
                {
                    self.belongs_to_tasks(cause);
                }
            }
        }
        self.holds_changed();
    }

    /// Grades in a task of its own, so that a fault of ours becomes an answer too and costs neither attempt nor slot.
    async fn grade_or_say_why(self: &Arc<Self>, slot: Arc<Slot>, job: &Job) -> Graded {
        let name = job.task.key.to_string();
        self.runner.board.change(|status| status.busy.push(name.clone()));
        // At the level that is always on: lines of an error need it most.
        let span = tracing::error_span!("task", task = %job.task.key, slot = slot.number);
        let (shared, inner) = (self.clone(), job.clone());
        let graded = async move {
            let progress = shared.clone();
            let job = inner.clone();
            let mut suite = None;
            let mut told = move |event| match event {
                Event::Begins(step) => progress.begins(step, &job, suite.as_deref()),
                Event::Suite(fingerprint) => suite = Some(fingerprint),
                Event::Collected => progress.has_started(&job, suite.as_deref()),
                _ => {}
            };
            shared.grade(&slot, &inner, &mut told).await
        };
        let graded = tokio::spawn(graded.instrument(span)).await;
        self.runner.board.change(|status| {
            status.busy.retain(|busy| *busy != name);
        });
        graded.unwrap_or_else(|error| Graded {
            verdict: Verdict::broken("the grader itself failed"),
            commit: None,
            fault: Some(Fault::host(Cause::Runner, "the grader itself failed").with_detail(error.to_string())),
            outcome: None,
            reached: Step::Tree,
            suite_does_not_start: false,
        })
    }

    /// Whether a suite that does not start for this submission does not start for another one either, with which it did before: then
    /// it is the suite that is broken. With nothing to compare with, nobody is shown to be at fault.
    async fn suite_is_broken(&self, slot: &Slot, job: &Job, verdict: &Verdict) -> Option<Fault> {
        let known = self.started.other_than(&job.task.repository_url)?;
        let graded = self.collect(slot, &Source::Git { url: known.url, branch: known.branch }, &job.task.labs).await;
        // Only of the very commit: what has been pushed since may be there to make the suite look broken, which stops the taking.
        let is_same = graded.commit.is_some_and(|commit| commit == known.commit);
        (graded.suite_does_not_start && is_same).then(|| does_not_start(verdict))
    }

    /// Has pytest collect the suite's tests for a submission, and run none.
    async fn collect(&self, slot: &Slot, source: &Source, labs: &[u32]) -> Graded {
        let assignment = Assignment {
            attempt: "probe".into(),
            source: source.clone(),
            labs: labs.to_vec(),
            // No test has this name.
            connected_tests: vec!["ostest::none".into()],
        };
        let rules = self.rules();
        grade(&self.runner.host, &rules.grading, slot, &assignment, None, &self.stop.now, &mut |_| {}).await
    }

    async fn grade(&self, slot: &Slot, job: &Job, progress: crate::task::Progress<'_>) -> Graded {
        let (rules, task) = (self.rules(), &job.task);
        let assignment = Assignment {
            attempt: task.key.token().to_string(),
            source: Source::Git { url: task.repository_url.clone(), branch: task.branch.clone() },
            labs: task.labs.clone(),
            connected_tests: task.connected_tests.clone(),
        };
        let begun = Instant::now();
        tracing::info!(task = %task.key, slot = slot.number, url = %task.repository_url, branch = %task.branch, "taken");
        let graded =
            grade(&self.runner.host, &rules.grading, slot, &assignment, job.deadline, &self.stop.now, progress).await;
        if let Some(commit) = &graded.commit {
            let cause = fetch::cause(&rules.grading, &task.repository_url);
            self.known_good.note(&cause, &task.repository_url, &task.branch);
            if graded.outcome.is_some() && graded.fault.is_none() && !graded.suite_does_not_start {
                self.started.note(&task.repository_url, &task.branch, commit);
            }
        }
        let verdict = &graded.verdict;
        tracing::info!(
            task = %task.key,
            slot = slot.number,
            passed = verdict.is_passed(),
            cases = verdict.cases.len(),
            error = verdict.error.as_deref().map(|e| e.lines().next().unwrap_or_default()),
            seconds = begun.elapsed().as_secs_f64(),
            "graded"
        );
        steps::at("task: graded");
        graded
    }

    /// A task has come to this step: what all tasks need is there, and what it was held for works again, once they are behind it.
    /// A suite of which that is not known has to start, too, before others are taken; but no submission's build keeps them for long.
    fn begins(&self, step: Step, job: &Job, suite: Option<&str>) {
        let (key, now) = (&job.task.key, Instant::now());
        let starts = suite.is_some_and(|suite| self.started.knows_suite(suite, &job.task.labs));
        let until = match step {
            Step::Prepare => Some(now + bound::of_prepare(&self.rules().grading)),
            Step::Build | Step::Test if !starts => Some(now + PATIENCE),
            _ => None,
        };
        match (until, job.pass) {
            (Some(until), Some(pass)) => self.admission.stay(pass, until),
            (None, Some(pass)) if step >= Step::Build => self.let_others_in(pass),
            _ => {}
        }
        let behind = job.held_by.as_ref().filter(|(_, failed)| step > *failed);
        // From here on it is a task as any other: one that the runner dies of is not to be graded again and again.
        if (behind.is_some() || step >= Step::Build)
            && let Err(error) = self.runner.spool.note_held(key, false)
        {
            tracing::warn!(task = %key, "that it is no longer held is not on disk: {error:#}");
        }
        if let Some((cause, _)) = behind {
            self.mended(cause);
            self.holds_changed();
        }
    }

    /// The suite has started for a task.
    fn has_started(&self, job: &Job, suite: Option<&str>) {
        if let Some(suite) = suite {
            self.started.note_suite(suite, &job.task.labs);
        }
        job.pass.inspect(|pass| self.let_others_in(*pass));
    }

    fn let_others_in(&self, pass: Pass) {
        self.admission.leave(pass);
        self.changed.notify_waiters();
    }

    /// A task has met a fault that is not the submission's.
    async fn met(self: &Arc<Self>, slot: &Slot, job: Job, fault: Fault, step: Step) {
        let (cause, now, key) = (fault.cause.clone(), Instant::now(), job.task.key.clone());
        let url = job.task.repository_url.clone();
        if let Some((before, failed)) = job.held_by.clone().filter(|(before, _)| *before != cause)
            && step <= failed
        {
            self.holds().untried(&before, now);
        }
        if job.is_late(now) || self.holds().is_hopeless(&cause, &job) {
            self.holds().untried(&cause, now);
            return self.give_up(job, &fault);
        }
        let first = self.holds().hold(job, fault.clone(), step, now);
        if let Err(error) = self.runner.spool.note_held(&key, true) {
            tracing::error!(task = %key, "that it is held is not on disk; a runner that starts anew answers it as interrupted: {error:#}");
        }
        if first {
            tracing::error!(
                task = %key, %step, blame = %fault.blame, detail = detail(&fault),
                "{cause} does not work; the task is held and tried again, and no other is taken until it does: {fault}; to fix it: {}",
                remedy(&cause)
            );
        } else {
            tracing::warn!(task = %key, %step, blame = %fault.blame, "{cause} still does not work: {fault}");
        }
        self.holds_changed();
        if self.holds().wants_evidence(&cause) && self.works_for_others(slot, &cause, step, &url).await {
            self.belongs_to_tasks(&cause);
        }
    }

    fn mended(&self, cause: &Cause) {
        if let Some(time) = self.holds().healed(cause, Instant::now()) {
            tracing::warn!("{cause} works again after {} s; what was held goes on", time.as_secs());
        }
    }

    fn belongs_to_tasks(&self, cause: &Cause) {
        tracing::warn!(
            "{cause} works for other tasks, so these are taken again; the tasks that were held for it are tried on"
        );
        self.holds().belongs_to_tasks(cause);
    }

    /// Answers a task that could not be graded.
    fn give_up(self: &Arc<Self>, job: Job, fault: &Fault) {
        self.runner.board.change(|status| status.graded += 1);
        let tries = job.tries + 1;
        tracing::error!(
            task = %job.task.key, blame = %fault.blame, tries, detail = detail(fault),
            "its time is over, and it is answered ungraded, which says that the submission is not to blame: {fault}"
        );
        let body = render(&job.task.key, &Verdict::broken(ungraded(fault)), self.rules().shape);
        self.keep_and_deliver(job.task.key.clone(), Some(&job.task), body);
    }

    /// Answers held tasks whose time is over, and says again what stands. Until it is dropped.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = Instant::now();
            let over = self.holds().expired(now);
            let again = self.holds().say_again(now, SAY_AGAIN);
            for (job, fault) in &over {
                self.give_up(job.clone(), fault);
            }
            for standing in &again {
                say_again(standing);
            }
            if !over.is_empty() {
                self.holds_changed();
            }
        }
    }

    /// Tells whoever waits and whoever looks.
    pub(super) fn holds_changed(&self) {
        let now = Instant::now();
        let standing = self.holds().standing(now);
        let held = standing.iter().flat_map(|standing| shown(standing, now)).collect::<Vec<_>>();
        let blocking = standing.iter().find(|standing| standing.blocks);
        self.runner.board.change(|status| {
            status.held = held;
            match blocking {
                Some(standing) => {
                    status.turn(State::Holding, &format!("{}: {}", standing.fault.cause, standing.fault));
                }
                None if status.state == State::Holding => status.turn(State::Asking, ""),
                None => {}
            }
        });
        self.changed.notify_waiters();
    }

    /// What to do for a hold that is due.
    pub(super) async fn carry_out(self: &Arc<Self>, slot: Arc<Slot>, due: Due) {
        match due {
            Due::Job(job) => self.work(slot, *job).await,
            Due::Probe { cause, job, step } => self.probe(&slot, &cause, &job, step).await,
        }
    }
}

/// What a student reads whose task was not graded.
fn ungraded(fault: &Fault) -> String {
    format!(
        "This submission was not graded, and it is not to blame: {}. Start it again later; if this goes on, tell your teacher.",
        fault.message.trim_end().trim_end_matches('.')
    )
}

/// What a suite that does not start is to whoever reads the result.
fn does_not_start(verdict: &Verdict) -> Fault {
    let said = verdict.error.as_deref().unwrap_or_default();
    Fault::suite("the test suite does not start, for any submission").with_detail(said)
}

/// What took all the time that there is for an answer, where it is a step that all tasks need.
fn too_slow(step: Step) -> Option<Fault> {
    let (cause, what) = match step {
        Step::Suite => (Cause::Suite, "the test suite was not brought"),
        Step::Prepare => (Cause::Environment, "the suite's Python environment was not built"),
        Step::Tree | Step::Fetch | Step::Build | Step::Test => return None,
    };
    Some(Fault::host(cause, format!("{what} in the time that the backend gives for an answer")))
}

/// What only the operator reads, where there is any.
fn detail(fault: &Fault) -> Option<&str> {
    Some(fault.detail.trim()).filter(|detail| !detail.is_empty())
}

/// What the operator can do.
fn remedy(cause: &Cause) -> &'static str {
    match cause {
        Cause::Server(_) => "see whether this host reaches it (DNS, routes, certificates, [fetch] env for a proxy)",
        Cause::Mirror(_) => "see whether its directory is mounted and can be read",
        Cause::Suite => "correct the suite; `ostest-sandbox grade` tries it on one submission",
        Cause::Index => "see whether this host reaches it ([prepare] env and hosts, DNS, certificates)",
        Cause::Environment => "see what pip says; `ostest-sandbox check` builds one",
        Cause::Programs => "install them; `ostest-sandbox check` says which it does not find",
        Cause::Groups => {
            "allow them in the file of --config ([lab.N] allow), or tell the teacher; what each gives up says `ostest-sandbox policy groups`"
        }
        Cause::Sandbox => "`ostest-sandbox check` says what is wrong with this host",
        Cause::Runner => "report it, with this line",
        Cause::Submission | Cause::Deadline => "nothing",
    }
}

fn say_again(standing: &Standing) {
    let Standing { fault, for_, held, tries, blocks, .. } = standing;
    let tasks = if *blocks { "no tasks are taken" } else { "other tasks are taken" };
    tracing::error!(
        blame = %fault.blame, held = held.len(), tries,
        "{} has not worked for {} s, {tasks}: {}; to fix it: {}", fault.cause, for_.as_secs(), fault, remedy(&fault.cause)
    );
}

fn shown(standing: &Standing, now: Instant) -> Vec<Held> {
    let time = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    let one = |(task, deadline): &(String, Option<Instant>)| Held {
        task: task.clone(),
        blame: standing.fault.blame.to_string(),
        cause: standing.fault.cause.to_string(),
        since: time(standing.since),
        message: standing.fault.message.clone(),
        tries: standing.tries,
        deadline: deadline.map(|at| time(SystemTime::now() + at.saturating_duration_since(now))),
    };
    standing.held.iter().map(one).collect()
}
