//! Whether the runner still does its work, as far as the service manager's watchdog is to know.
//!
//! Whoever does something that must end says by when at the latest: asking the backend, pausing, grading. What takes long but
//! comes back within what it promised is no hang; what has not come back, and a runner in which nobody has promised anything, is
//! one. A timer that reports whatever happens could not tell the two apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How late anything may be, and how long there may be no promise at all: between two of them only a few statements run, and on a
/// loaded host a few statements take their time.
const GAP: Duration = Duration::from_secs(60);

/// Keeps the promises of a runner.
#[derive(Debug, Clone)]
pub struct Vigil(Arc<Mutex<Promises>>);

#[derive(Debug)]
struct Promises {
    /// By number: what, and until when.
    open: BTreeMap<u64, (String, Instant)>,
    next: u64,
    /// When the last one was kept.
    kept: Instant,
}

/// A promise, which is kept by dropping it.
#[derive(Debug)]
#[must_use = "it is kept as soon as it is dropped"]
pub struct Promise {
    vigil: Vigil,
    number: u64,
}

impl Default for Vigil {
    fn default() -> Self {
        Vigil(Arc::new(Mutex::new(Promises { open: BTreeMap::new(), next: 0, kept: Instant::now() })))
    }
}

impl Vigil {
    /// Promises that `what` ends within this time. One that can take for ever by its nature (a wait for a free slot) promises
    /// nothing: whoever it waits for has.
    pub fn promise(&self, what: impl Into<String>, within: Duration) -> Promise {
        // A time so far away that it cannot be said is a hundred years from now.
        let now = Instant::now();
        let until = now.checked_add(within).unwrap_or(now + Duration::from_secs(100 * 365 * 86400));
        let mut promises = self.lock();
        let number = promises.next;
        promises.next += 1;
        promises.open.insert(number, (what.into(), until));
        Promise { vigil: self.clone(), number }
    }

    /// What is amiss at this moment, if anything is.
    pub fn amiss(&self, now: Instant) -> Option<String> {
        let promises = self.lock();
        if promises.open.is_empty() {
            let idle = now.saturating_duration_since(promises.kept);
            return (idle > GAP).then(|| format!("nothing has been done for {} s", idle.as_secs()));
        }
        let (what, until) = promises.open.values().min_by_key(|(_, until)| *until)?;
        let late = now.checked_duration_since(*until).filter(|late| *late > GAP)?;
        Some(format!("{what} should have ended {} s ago", late.as_secs()))
    }

    fn lock(&self) -> MutexGuard<'_, Promises> {
        // A fault elsewhere leaves these in order: no statement in here can fail half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut promises = self.vigil.lock();
        promises.open.remove(&self.number);
        promises.kept = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_late_is_named_and_what_came_back_is_not() {
        let vigil = Vigil::default();
        let begun = Instant::now();
        let asking = vigil.promise("asking the backend", MINUTE);
        let grading = vigil.promise("grading attempt 7", 30 * MINUTE);
        assert_eq!(vigil.amiss(begun), None);
        assert_eq!(vigil.amiss(begun + MINUTE / 2), None);
        assert_eq!(vigil.amiss(begun + MINUTE + GAP / 2), None);
        let late = vigil.amiss(begun + 2 * MINUTE + GAP).unwrap();
        assert!(late.contains("asking the backend"), "{late}");
        drop(asking);
        assert_eq!(vigil.amiss(begun + 20 * MINUTE), None, "a long task is no hang");
        let late = vigil.amiss(begun + 31 * MINUTE + GAP).unwrap();
        assert!(late.contains("grading attempt 7"), "{late}");
        drop(grading);
    }

    #[test]
    fn nobody_doing_anything_is_a_hang() {
        let vigil = Vigil::default();
        let begun = Instant::now();
        assert_eq!(vigil.amiss(begun + GAP / 2), None);
        assert!(vigil.amiss(begun + 2 * GAP).is_some());
        let pause = vigil.promise("pausing", 10 * GAP);
        assert_eq!(vigil.amiss(begun + 2 * GAP), None);
        drop(pause);
        let kept = Instant::now();
        assert_eq!(vigil.amiss(kept), None);
        assert!(vigil.amiss(kept + 2 * GAP).is_some());
    }

    #[test]
    fn a_time_without_end_is_no_fault() {
        let vigil = Vigil::default();
        let _forever = vigil.promise("waiting", Duration::MAX);
        assert_eq!(vigil.amiss(Instant::now() + 1000 * MINUTE), None);
    }

    #[test]
    fn what_unwinds_keeps_its_promise() {
        let vigil = Vigil::default();
        let inner = vigil.clone();
        let fault = std::thread::spawn(move || {
            let _promise = inner.promise("grading", MINUTE);
            panic!("a fault");
        });
        assert!(fault.join().is_err());
        assert_eq!(vigil.amiss(Instant::now() + GAP / 2), None);
    }
}
