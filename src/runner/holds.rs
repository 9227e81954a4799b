//! Tasks that wait because something is broken that is not theirs.
//!
//! A task that meets a fault of the suite, the host or the network is not answered: it is held, and tried again after a pause that
//! grows. Its own next try is the probe, since it does the very step that failed. While a fault stands no other task is taken:
//! each would meet it too, and be lost to its student. When the held task's time is over it is answered, and from then on a probe
//! without a task tries the same step.
//!
//! A fault can also belong to one task alone: a repository that its server cannot serve, a submission on which the sandbox breaks.
//! Who asks for that has evidence ([`Holds::belongs_to_tasks`]): the same step works for something else. Then the others go on.
//!
//! Pure: whoever calls says what time it is.

use super::job::Job;
use crate::fault::{Cause, Fault};
use crate::task::Step;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

/// The first pause before the step that failed is tried again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How often a task is tried whose fault is shown to be its own, before it is answered: one that is graded as far as to a sandbox that
/// breaks, and one whose repository cannot be fetched, which costs little and is for ten minutes where nothing else ends it.
const TRIES_ALONE: u32 = 4;
const FETCHES_ALONE: u32 = 30;

/// Tasks of a git server that is away, among others that are not: where so many wait, no more are taken at all.
const FEW: usize = 2;

/// What is to be tried next.
#[derive(Debug)]
pub enum Due {
    /// This task, from its beginning.
    Job(Box<Job>),
    /// The step that failed, with no task to grade: they are all answered.
    Probe {
        /// What is tried.
        cause: Cause,
        /// The task that met it last.
        job: Box<Job>,
        /// Where it failed.
        step: Step,
    },
}

impl Due {
    /// What it is tried for.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Due::Job(job) => job.held_by.as_ref().map(|(cause, _)| cause.clone()),
            Due::Probe { cause, .. } => Some(cause.clone()),
        }
    }
}

/// One thing that is broken.
#[derive(Debug)]
struct Hold {
    fault: Fault,
    step: Step,
    /// When it was met first.
    since: (Instant, SystemTime),
    /// The task that met it last; what a probe tries when none is held.
    last: Job,
    held: VecDeque<Job>,
    tries: u32,
    next: Instant,
    /// A slot is trying it at this moment.
    trying: bool,
    /// It is shown to belong to the held tasks alone.
    theirs: bool,
    /// When the operator was told last.
    said: Instant,
}

/// All that is broken, by its cause.
#[derive(Debug, Default)]
pub struct Holds {
    by_cause: BTreeMap<Cause, Hold>,
    /// Held tasks whose fault is mended.
    ready: VecDeque<Job>,
}

/// What the operator is to be told of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The fault as it was met last.
    pub fault: Fault,
    /// Since when.
    pub since: SystemTime,
    /// How long.
    pub for_: Duration,
    /// Tasks that wait for its end.
    pub held: Vec<(String, Option<Instant>)>,
    /// How often the step was tried.
    pub tries: u32,
    /// Whether it keeps other tasks from being taken.
    pub blocks: bool,
}

impl Holds {
    /// Holds a task that has met a fault. `true`: it is the first one that does.
    pub fn hold(&mut self, mut job: Job, fault: Fault, step: Step, now: Instant) -> bool {
        job.tries += 1;
        let is_another = job.held_by.take().is_none_or(|(cause, _)| cause != fault.cause);
        job.held_by = Some((fault.cause.clone(), step));
        let cause = fault.cause.clone();
        let first = self.stand(&job, fault, step, is_another, now);
        if let Some(hold) = self.by_cause.get_mut(&cause) {
            hold.held.push_back(job);
        }
        first
    }

    /// Notes a fault by which a task was lost that is answered: it keeps the others, and a probe without a task shows its end. `true`:
    /// it is the first one.
    pub fn lost_by(&mut self, job: &Job, fault: Fault, step: Step, now: Instant) -> bool {
        self.stand(job, fault, step, true, now)
    }

    fn stand(&mut self, job: &Job, fault: Fault, step: Step, is_another: bool, now: Instant) -> bool {
        let first = !self.by_cause.contains_key(&fault.cause);
        let hold = self.by_cause.entry(fault.cause.clone()).or_insert_with(|| Hold {
            fault: fault.clone(),
            step,
            since: (now, SystemTime::now()),
            last: job.clone(),
            held: VecDeque::new(),
            tries: 0,
            next: now,
            trying: false,
            theirs: false,
            said: now,
        });
        hold.failed(fault, now);
        // What was shown of the tasks before says nothing of one that meets it now: meanwhile it may be everybody's.
        hold.theirs &= !is_another;
        hold.step = step;
        hold.last = job.clone();
        first
    }

    /// A probe without a task has failed again. One that something else has kept from the step has shown nothing.
    pub fn still(&mut self, cause: &Cause, fault: Fault, now: Instant) {
        if fault.cause != *cause {
            return self.untried(cause, now);
        }
        if let Some(hold) = self.by_cause.get_mut(cause) {
            hold.failed(fault, now);
        }
    }

    /// The step works again: the tasks that were held for it go on. Gives how long it did not.
    pub fn healed(&mut self, cause: &Cause, now: Instant) -> Option<Duration> {
        let hold = self.by_cause.remove(cause)?;
        self.ready.extend(hold.held);
        Some(now.saturating_duration_since(hold.since.0))
    }

    /// It is shown that the step works for others: the fault belongs to the tasks that are held for it, and keeps nobody else.
    pub fn belongs_to_tasks(&mut self, cause: &Cause) {
        if let Some(hold) = self.by_cause.get_mut(cause) {
            hold.theirs = true;
        }
    }

    /// Whether a task whose fault is its own was tried often enough.
    pub fn is_hopeless(&self, cause: &Cause, job: &Job) -> bool {
        let enough = match cause {
            // Its deadline ends it.
            Cause::Server(_) | Cause::Mirror(_) if job.deadline.is_some() => return false,
            Cause::Server(_) | Cause::Mirror(_) => FETCHES_ALONE,
            _ => TRIES_ALONE,
        };
        self.by_cause.get(cause).is_some_and(|hold| hold.theirs && job.tries >= enough)
    }

    /// Whether more evidence is wanted for this cause: the second try has failed, and it keeps others.
    pub fn wants_evidence(&self, cause: &Cause) -> bool {
        self.by_cause.get(cause).is_some_and(|hold| hold.tries >= 2 && !hold.theirs)
    }

    /// A held task whose fault is mended.
    pub fn ready(&mut self) -> Option<Job> {
        self.ready.pop_front()
    }

    /// What is to be tried now, if anything is. It counts as being tried until one of the other functions is told what came of it.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        // Nobody waits for these any more, and they kept nobody else.
        self.by_cause.retain(|_, hold| hold.trying || !hold.theirs || !hold.held.is_empty());
        let due = self.by_cause.iter_mut().filter(|(_, hold)| !hold.trying && hold.next <= now);
        let (cause, hold) = due.min_by_key(|(_, hold)| hold.next)?;
        hold.trying = true;
        Some(match hold.held.pop_front() {
            Some(job) => Due::Job(Box::new(job)),
            None => Due::Probe { cause: cause.clone(), job: Box::new(hold.last.clone()), step: hold.step },
        })
    }

    /// A try that ended without an answer to its question: the runner was told to stop, or something else broke first.
    pub fn untried(&mut self, cause: &Cause, now: Instant) {
        if let Some(hold) = self.by_cause.get_mut(cause) {
            hold.trying = false;
            hold.next = now + hold.pause();
        }
    }

    /// The fault that keeps tasks from being taken, if one does.
    pub fn blocking(&self) -> Option<&Fault> {
        self.by_cause.values().find(|hold| !hold.theirs).map(|hold| &hold.fault)
    }

    /// Holds a task untried: what it needs is known to be broken.
    pub fn park(&mut self, mut job: Job, cause: &Cause) -> Result<(), Box<Job>> {
        match self.by_cause.get_mut(cause) {
            Some(hold) if !hold.theirs => {
                job.held_by = Some((cause.clone(), hold.step));
                hold.held.push_back(job);
                Ok(())
            }
            _ => Err(Box::new(job)),
        }
    }

    /// Whether all that keeps tasks from being taken is git servers, each with few tasks that wait for it: where a course uses several
    /// servers, one slot may go on with the others.
    pub fn only_servers(&self) -> bool {
        let mut blocking = self.by_cause.iter().filter(|(_, hold)| !hold.theirs);
        blocking.all(|(cause, hold)| matches!(cause, Cause::Server(_)) && hold.held.len() < FEW)
    }

    /// The fault of this cause, as it was met last, while it stands.
    pub fn fault(&self, cause: &Cause) -> Option<&Fault> {
        self.by_cause.get(cause).map(|hold| &hold.fault)
    }

    /// Takes tasks over from an earlier run: they go on as what is mended does.
    pub fn resume(&mut self, jobs: impl IntoIterator<Item = Job>) {
        self.ready.extend(jobs);
    }

    /// Whether no task waits.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.by_cause.values().all(|hold| hold.held.is_empty() && !hold.trying)
    }

    /// Takes out the tasks whose time is over, each with the fault that kept it.
    pub fn expired(&mut self, now: Instant) -> Vec<(Job, Fault)> {
        let mut over = Vec::new();
        for hold in self.by_cause.values_mut() {
            let (late, left) =
                hold.held.drain(..).partition(|job| job.deadline.is_some_and(|deadline| deadline <= now));
            hold.held = left;
            let late: VecDeque<Job> = late;
            over.extend(late.into_iter().map(|job| (job, hold.fault.clone())));
        }
        // These wait for what keeps all tasks.
        let kept = self.blocking().cloned();
        if let Some(fault) = kept {
            let (late, left) = self.ready.drain(..).partition(|job| job.is_late(now));
            self.ready = left;
            let late: VecDeque<Job> = late;
            over.extend(late.into_iter().map(|job| (job, fault.clone())));
        }
        over
    }

    /// All tasks that are held, which leaves none.
    pub fn take_all(&mut self) -> Vec<Job> {
        let held = self.by_cause.values_mut().flat_map(|hold| hold.held.drain(..));
        held.collect::<Vec<_>>().into_iter().chain(self.ready.drain(..)).collect()
    }

    /// When something is to be tried next.
    pub fn next(&self) -> Option<Instant> {
        self.by_cause.values().filter(|hold| !hold.trying).map(|hold| hold.next).min()
    }

    /// What stands, for people.
    pub fn standing(&self, now: Instant) -> Vec<Standing> {
        self.by_cause.values().map(|hold| hold.standing(now)).collect()
    }

    /// What stands and was not said for so long; it counts as said.
    pub fn say_again(&mut self, now: Instant, every: Duration) -> Vec<Standing> {
        let mut due = Vec::new();
        for hold in self.by_cause.values_mut() {
            if now.saturating_duration_since(hold.said) >= every {
                hold.said = now;
                due.push(hold.standing(now));
            }
        }
        due
    }
}

impl Hold {
    fn failed(&mut self, fault: Fault, now: Instant) {
        self.tries += 1;
        self.fault = fault;
        self.trying = false;
        self.next = now + self.pause();
    }

    /// Twice as long each time.
    fn pause(&self) -> Duration {
        FIRST_PAUSE.saturating_mul(2u32.saturating_pow(self.tries.saturating_sub(1))).min(LONGEST_PAUSE)
    }

    fn standing(&self, now: Instant) -> Standing {
        Standing {
            fault: self.fault.clone(),
            since: self.since.1,
            for_: now.saturating_duration_since(self.since.0),
            held: self.held.iter().map(|job| (job.task.key.to_string(), job.deadline)).collect(),
            tries: self.tries,
            blocks: !self.theirs,
        }
    }
}

#[cfg(test)]
mod tests;
