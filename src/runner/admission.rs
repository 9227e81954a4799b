//! Lets one task at a time find out whether what all tasks need is there.
//!
//! A task that is handed out cannot be handed back. So while one is on its way through fetch, suite and environment, no other is
//! taken: where the network or the suite is broken, one task meets it and not one for each slot. A task that takes long there says
//! nothing of the others, so after a while they are let in; but for the environment, which all need, and of which one is built at a
//! time: whoever came meanwhile would wait for the same, with the clock of his answer running.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a task may keep others from being taken by one step: longer than it takes to know that a name has no address and that nobody
/// answers at one (15 s each, `proxy::rules`).
pub const PATIENCE: Duration = Duration::from_secs(35);

/// The one that is on its way.
#[derive(Debug, Default)]
pub struct Admission(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    /// Which one, and until when it keeps others from being taken.
    on_its_way: Option<(u64, Instant)>,
}

/// A task's place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass(u64);

impl Admission {
    /// A task begins.
    pub fn enter(&self, now: Instant) -> Pass {
        let mut inner = self.lock();
        inner.last += 1;
        inner.on_its_way = Some((inner.last, now + PATIENCE));
        Pass(inner.last)
    }

    /// It may take so long for what comes next, and keeps others from being taken meanwhile.
    pub fn stay(&self, pass: Pass, until: Instant) {
        let mut inner = self.lock();
        if let Some((number, end)) = &mut inner.on_its_way
            && *number == pass.0
        {
            *end = until.max(*end);
        }
    }

    /// It has found what it needs, or has ended. Another one that was let in meanwhile stays on its way.
    pub fn leave(&self, pass: Pass) {
        let mut inner = self.lock();
        if inner.on_its_way.is_some_and(|(number, _)| number == pass.0) {
            inner.on_its_way = None;
        }
    }

    /// How long the next one has to wait, if it has to.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let (_, until) = self.lock().on_its_way?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No statement in here can fail half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_on_its_way_at_a_time_and_a_slow_one_stops_keeping_others() {
        let (admission, now) = (Admission::default(), Instant::now());
        assert_eq!(admission.wait(now), None);
        let first = admission.enter(now);
        assert_eq!(admission.wait(now), Some(PATIENCE));
        assert_eq!(admission.wait(now + PATIENCE), None);
        let second = admission.enter(now + PATIENCE);
        admission.leave(first);
        assert!(admission.wait(now + PATIENCE).is_some(), "the second one is on its way");
        admission.leave(second);
        assert_eq!(admission.wait(now + PATIENCE), None);
    }

    #[test]
    fn who_builds_what_all_need_keeps_others_for_longer_and_never_for_ever() {
        let (admission, now, long) = (Admission::default(), Instant::now(), 10 * PATIENCE);
        let first = admission.enter(now);
        admission.stay(first, now + long);
        assert_eq!(admission.wait(now + 2 * PATIENCE), Some(8 * PATIENCE));
        assert_eq!(admission.wait(now + long), None);
        let second = admission.enter(now + long);
        // No longer on its way: it says nothing of the other.
        admission.stay(first, now + 2 * long);
        assert_eq!(admission.wait(now + long), Some(PATIENCE));
        admission.stay(second, now);
        assert_eq!(admission.wait(now + long), Some(PATIENCE), "it is never let go earlier");
    }
}
