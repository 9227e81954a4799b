//! A host that fails task after task must not spend the students' attempts: it takes none until a canary has passed.

use std::time::Duration;

/// The first pause before a canary, and the longest.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);

/// How many tasks in a row may fail by the host's fault unless the operator says otherwise.
pub const AFTER: u32 = 3;

/// Counts the host's failures. Failures of submissions are none.
#[derive(Debug)]
pub struct Quarantine {
    after: u32,
    in_a_row: u32,
    /// Canaries that have failed since it began.
    canaries: u32,
    reason: Option<String>,
}

impl Quarantine {
    /// None yet; it begins after so many failures in a row, with 0 never.
    pub fn after(after: u32) -> Quarantine {
        Quarantine { after, in_a_row: 0, canaries: 0, reason: None }
    }

    /// A task failed by the host's fault. `true`: quarantine begins with this one.
    pub fn failed(&mut self, reason: &str) -> bool {
        self.in_a_row += 1;
        let begins = self.after > 0 && self.in_a_row >= self.after && self.reason.is_none();
        if begins {
            self.reason = Some(reason.to_owned());
        }
        begins
    }

    /// A task was graded, whatever its verdict.
    pub fn well(&mut self) {
        // One that began before does not end a quarantine: only a canary does.
        self.in_a_row = 0;
    }

    /// How long to wait before the next canary, and why; none: no quarantine.
    pub fn pause(&self) -> Option<(Duration, String)> {
        let reason = self.reason.clone()?;
        Some((FIRST.saturating_mul(2u32.saturating_pow(self.canaries)).min(LONGEST), reason))
    }

    /// A canary has failed.
    pub fn still(&mut self, reason: &str) {
        self.canaries += 1;
        self.reason = Some(reason.to_owned());
    }

    /// A canary has passed.
    pub fn lift(&mut self) {
        *self = Quarantine::after(self.after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_begin_it_and_only_a_canary_ends_it() {
        let mut host = Quarantine::after(3);
        assert!(!host.failed("a") && !host.failed("b"));
        host.well();
        assert!(!host.failed("a") && !host.failed("b"));
        assert_eq!(host.pause(), None);
        assert!(host.failed("c"));
        assert!(!host.failed("d"), "it has begun already");
        host.well();
        assert_eq!(host.pause(), Some((FIRST, "c".into())));
        host.still("canary");
        assert_eq!(host.pause(), Some((2 * FIRST, "canary".into())));
        for _ in 0..40 {
            host.still("canary");
        }
        assert_eq!(host.pause().map(|(pause, _)| pause), Some(LONGEST));
        host.lift();
        assert_eq!(host.pause(), None);
        assert!(!host.failed("a") && !host.failed("b") && host.failed("c"));
    }

    #[test]
    fn with_none_it_never_begins() {
        let mut host = Quarantine::after(0);
        assert!((0..100).all(|_| !host.failed("a")) && host.pause().is_none());
    }
}
