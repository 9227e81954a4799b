//! Lets one task at a time find out whether what all tasks need is there.
//!
//! A task that is handed out cannot be handed back. So while one is on its way through fetch, suite and environment, no other is
//! taken: where the network or the suite is broken, one task meets it and not one for each slot. A task that takes long there says
//! nothing of the others, so after a while they are let in.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a task may keep others from being taken: longer than it takes to know that a name has no address and that nobody
/// answers at one (15 s each, `proxy::rules`).
const PATIENCE: Duration = Duration::from_secs(35);

/// The one that is on its way.
#[derive(Debug, Default)]
pub struct Admission(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: u64,
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
        inner.on_its_way = Some((inner.last, now));
        Pass(inner.last)
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
        let (_, since) = self.lock().on_its_way?;
        let left = PATIENCE.checked_sub(now.saturating_duration_since(since))?;
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
}
