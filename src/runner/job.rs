//! A task in the runner's hands: what the backend said, and how far it has come.

use super::admission::Pass;
use crate::backend::contract::Task;
use crate::fault::Cause;
use crate::task::Step;
use std::time::{Duration, Instant, SystemTime};

/// One task that was handed out and has no answer yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The task.
    pub task: Task,
    /// When it has to be answered at the latest; none: nobody waits for it by the clock.
    pub deadline: Option<Instant>,
    /// How often it has met a fault that is not its own.
    pub tries: u32,
    /// What broke when it was tried last, and where.
    pub held_by: Option<(Cause, Step)>,
    /// Its place in the admission, from when it leaves for a slot.
    pub pass: Option<Pass>,
}

impl Job {
    /// A task that was handed out just now.
    pub fn new(task: Task, within: Option<Duration>, now: Instant) -> Job {
        let deadline = within.and_then(|within| now.checked_add(within));
        Job { task, deadline, tries: 0, held_by: None, pass: None }
    }

    /// One that an earlier run was handed at that time.
    pub fn since(task: Task, handed_out: Option<SystemTime>, within: Option<Duration>, now: Instant) -> Job {
        let gone = handed_out.and_then(|then| SystemTime::now().duration_since(then).ok()).unwrap_or_default();
        Job::new(task, within.map(|within| within.saturating_sub(gone)), now)
    }

    /// Whether its time is over.
    pub fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
