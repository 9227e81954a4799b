//! How an outage is told: when it begins, once a minute while it lasts, and when it is over.

use std::time::{Duration, Instant};

/// How often it is told while it lasts.
const EVERY: Duration = Duration::from_secs(60);

/// Something that is asked again and again, and fails.
#[derive(Debug, Default)]
pub struct Outage {
    /// Since when it fails, and when that was told last.
    since: Option<(Instant, Instant)>,
    failures: u32,
}

/// What is to be told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// How often it has failed.
    pub failures: u32,
    /// How long it has.
    pub lasts: Duration,
}

impl Outage {
    /// It has failed; what is to be told, if anything is.
    pub fn failed(&mut self, now: Instant) -> Option<Told> {
        self.failures += 1;
        let (since, said) = *self.since.get_or_insert((now, now));
        if self.failures > 1 && now.saturating_duration_since(said) < EVERY {
            return None;
        }
        self.since = Some((since, now));
        Some(Told { failures: self.failures, lasts: now.saturating_duration_since(since) })
    }

    /// It has worked; what is to be told, if it had failed before.
    pub fn over(&mut self, now: Instant) -> Option<Told> {
        let told =
            self.since.map(|(since, _)| Told { failures: self.failures, lasts: now.saturating_duration_since(since) });
        *self = Outage::default();
        told
    }

    /// How often it has failed since it worked last.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_at_its_beginning_once_a_minute_and_at_its_end() {
        let (mut outage, begun) = (Outage::default(), Instant::now());
        assert_eq!(outage.over(begun), None);
        let told: Vec<u64> = (0..=180)
            .filter_map(|second| outage.failed(begun + Duration::from_secs(second)))
            .map(|told| told.lasts.as_secs())
            .collect();
        assert_eq!(told, [0, 60, 120, 180]);
        let end = outage.over(begun + Duration::from_secs(200));
        assert_eq!(end, Some(Told { failures: 181, lasts: Duration::from_secs(200) }));
        assert_eq!((outage.failures(), outage.over(begun)), (0, None));
    }
}
