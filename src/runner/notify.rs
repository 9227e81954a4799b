//! What the service manager is told, where one started the runner (sd_notify(3)): that it is ready, what it does, that it ends,
//! and that it is alive. Without a manager nothing is sent.

use super::vigil::Vigil;
use sd_notify::NotifyState;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What a runner is busy with, for the line that `systemctl status` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// How many tasks can be graded at a time.
    pub slots: usize,
    /// How many are.
    pub busy: usize,
    /// Results that the backend has not taken yet.
    pub waiting: usize,
    /// No more tasks are taken, because it was told to stop.
    pub draining: bool,
    /// Why no tasks come, where that is known.
    pub trouble: Option<String>,
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let many = |n: usize| if n == 1 { "" } else { "s" };
        if self.draining {
            f.write_str("finishing what runs, no new tasks; ")?;
        }
        write!(f, "{} slot{}, {} busy", self.slots, many(self.slots), self.busy)?;
        match self.waiting {
            0 => {}
            1 => f.write_str("; 1 result waits for the backend")?,
            n => write!(f, "; {n} results wait for the backend")?,
        }
        match self.trouble.as_deref().and_then(|text| text.lines().next()) {
            Some(trouble) => write!(f, "; {trouble}"),
            None => Ok(()),
        }
    }
}

/// The service manager. Clones speak for the same runner.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    /// Who works, and until when at the latest.
    pub vigil: Vigil,
    load: Arc<Mutex<Load>>,
    unheard: Arc<AtomicBool>,
}

impl Manager {
    /// Whether the host is fit is being looked at, which can take as long as building a Python environment does.
    pub fn looking(&self) {
        self.send(&[NotifyState::Status("looking whether this host is fit to grade")]);
    }

    /// The host was found fit, and the first question can be asked. From here on the watchdog is told, twice in its time, that all
    /// is well, as long as the vigil finds nothing amiss.
    pub fn ready(&self, slots: usize) {
        self.send(&[NotifyState::Ready]);
        self.update(|load| load.slots = slots);
        if let Some(time) = sd_notify::watchdog_enabled() {
            tokio::spawn(self.clone().keep_alive(time / 2));
        }
    }

    /// The configuration is being read again; to be followed by [`Manager::reloaded`], however that ends: a manager that waits for
    /// it (`Type=notify-reload`) kills the runner otherwise.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!("the clock, which a reload is told with, cannot be read: {error}"),
        }
    }

    /// It has been read, or was refused.
    pub fn reloaded(&self) {
        self.send(&[NotifyState::Ready]);
    }

    /// No more tasks are taken. What runs ends `within` this time: the manager is asked for it, so that its own patience
    /// (`TimeoutStopSec=`) need not follow the runner's settings.
    pub fn stopping(&self, within: Duration) {
        self.send(&[NotifyState::Stopping]);
        // The crate's own type for it ends at 71 minutes.
        self.send(&[NotifyState::Custom(&extension(within))]);
        self.update(|load| load.draining = true);
    }

    /// Says so as soon as it is told to stop, also while a question is waited for.
    pub async fn stopping_after(self, stop: CancellationToken, within: Duration) {
        stop.cancelled().await;
        self.stopping(within);
    }

    /// Changes what is known of the runner's work, and says it.
    pub fn update(&self, change: impl FnOnce(&mut Load)) {
        // Said while it is held, or an older line could come after a newer one.
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let before = load.clone();
        change(&mut load);
        if *load != before {
            self.send(&[NotifyState::Status(&load.to_string())]);
        }
    }

    async fn keep_alive(self, pause: Duration) {
        let mut silent = false;
        loop {
            match self.vigil.amiss(Instant::now()) {
                None => {
                    silent = false;
                    self.send(&[NotifyState::Watchdog]);
                }
                Some(what) if !silent => {
                    silent = true;
                    tracing::error!("the runner hangs, and the watchdog will start it again: {what}");
                }
                Some(_) => {}
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn send(&self, state: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(state)
            && !self.unheard.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("the service manager cannot be told how the runner is: {error}; see NOTIFY_SOCKET");
        }
    }
}

/// Asks for more time.
fn extension(within: Duration) -> String {
    // What does not fit into the manager's type would be no number to it.
    format!("EXTEND_TIMEOUT_USEC={}", u64::try_from(within.as_micros()).unwrap_or(u64::MAX - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_in_words() {
        let load = Load { slots: 2, busy: 1, waiting: 3, ..Load::default() };
        assert_eq!(load.to_string(), "2 slots, 1 busy; 3 results wait for the backend");
        let load = Load { slots: 1, waiting: 1, draining: true, ..Load::default() };
        let said = "finishing what runs, no new tasks; 1 slot, 0 busy; 1 result waits for the backend";
        assert_eq!(load.to_string(), said);
    }

    #[test]
    fn trouble_is_one_line() {
        // A line break would begin another variable of the protocol.
        let load = Load { slots: 2, trouble: Some("no answer\nMAINPID=1".into()), ..Load::default() };
        assert_eq!(load.to_string(), "2 slots, 0 busy; no answer");
    }

    #[test]
    fn more_time_is_said_in_microseconds() {
        assert_eq!(extension(Duration::from_secs(7200)), "EXTEND_TIMEOUT_USEC=7200000000");
        assert_eq!(extension(Duration::MAX), "EXTEND_TIMEOUT_USEC=18446744073709551614");
    }
}
