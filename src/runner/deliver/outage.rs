//! A backend that takes no results: one pause for all of them, and one line a minute in the log.

use crate::runner::poll::pauses;
use backon::ExponentialBackoff;
use std::time::{Duration, Instant};

/// How often something that goes on is said.
const MINUTE: Duration = Duration::from_secs(60);

/// Lets one line a minute through.
#[derive(Debug, Default)]
pub struct Minute(Option<Instant>);

impl Minute {
    /// Whether it may be said now.
    pub fn is_over(&mut self, now: Instant) -> bool {
        let over = self.0.is_none_or(|last| now.duration_since(last) >= MINUTE);
        if over {
            self.0 = Some(now);
        }
        over
    }
}

/// Whether the backend is away, and what is said of it.
#[derive(Debug, Default)]
pub struct Outage {
    away: Option<Away>,
    lines: Minute,
    /// Whether anything was said of this one.
    is_said: bool,
}

#[derive(Debug)]
struct Away {
    since: Instant,
    until: Instant,
    pauses: ExponentialBackoff,
}

impl Outage {
    /// A result failed, and not because of itself. `wait`: what the backend asks for. How long it has been away, where it is to be said.
    pub fn failed(&mut self, now: Instant, wait: Duration) -> Option<Duration> {
        let away = self.away.get_or_insert_with(|| Away { since: now, until: now, pauses: pauses() });
        // Several that were on their way together are one failure.
        if now >= away.until {
            away.until = now + away.pauses.next().unwrap_or_default().max(wait);
        }
        let long = now.duration_since(away.since);
        self.lines.is_over(now).then(|| {
            self.is_said = true;
            long
        })
    }

    /// A result was taken. How long the backend was away, if that was said and is over.
    pub fn succeeded(&mut self, now: Instant) -> Option<Duration> {
        let long = now.duration_since(self.away.take()?.since);
        std::mem::take(&mut self.is_said).then_some(long)
    }

    /// Until when nothing is sent; after that, one at a time.
    pub fn until(&self) -> Option<Instant> {
        self.away.as_ref().map(|away| away.until)
    }

    /// The pause is over, because something has changed.
    pub fn try_now(&mut self, now: Instant) {
        if let Some(away) = &mut self.away {
            away.until = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_has_one_pause_and_a_line_a_minute_however_much_waits() {
        let (mut outage, begun) = (Outage::default(), Instant::now());
        let (mut now, mut lines, mut tries) = (begun, 0, 0);
        while now < begun + 600 * SECOND {
            tries += 1;
            for _ in 0..50 {
                lines += usize::from(outage.failed(now, Duration::ZERO).is_some());
            }
            let until = outage.until().unwrap();
            assert!(until > now && until <= now + MINUTE, "one failure, one pause");
            now = until;
        }
        assert!((6..=10).contains(&lines) && tries < 50, "{lines} lines, {tries} tries");
        assert!(outage.succeeded(now).is_some_and(|long| long >= 600 * SECOND));
        assert_eq!((outage.until(), outage.succeeded(now)), (None, None));
    }

    #[test]
    fn short_outages_one_after_the_other_are_no_more_lines() {
        let (mut outage, mut now) = (Outage::default(), Instant::now());
        let mut lines = 0;
        for _ in 0..120 {
            lines += usize::from(outage.failed(now, Duration::ZERO).is_some());
            lines += usize::from(outage.succeeded(now).is_some());
            now += SECOND;
        }
        assert!(lines <= 4, "{lines}");
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_and_a_change_ends_it() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        outage.failed(now, 300 * SECOND);
        assert!(outage.until().is_some_and(|until| until >= now + 300 * SECOND));
        outage.try_now(now + SECOND);
        assert_eq!(outage.until(), Some(now + SECOND));
    }
}
