//! What the service manager is told, where one started the runner (sd_notify(3)): that it is ready, what it does, that it ends,
//! and that it is alive. Without a manager nothing is sent.

use super::vigil::Vigil;
use sd_notify::NotifyState;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The service manager. Clones speak for the same runner.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    /// Who works, and until when at the latest.
    pub vigil: Vigil,
    said: Arc<Mutex<String>>,
    unheard: Arc<AtomicBool>,
}

impl Manager {
    /// Whether the host is fit is being looked at, which can take as long as building a Python environment does.
    pub fn looking(&self) {
        self.send(&[NotifyState::Status("looking whether this host is fit to grade")]);
    }

    /// The host was found fit, and the first question can be asked. From here on the watchdog is told, twice in its time, that all
    /// is well, as long as the vigil finds nothing amiss.
    pub fn ready(&self) {
        self.send(&[NotifyState::Ready]);
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
    }

    /// Says so as soon as it is told to stop, also while a question is waited for.
    pub async fn stopping_after(self, stop: CancellationToken, within: Duration) {
        stop.cancelled().await;
        self.stopping(within);
    }

    /// What the runner does, in one line for `systemctl status`.
    pub fn say(&self, line: &str) {
        // Sent while it is held, or an older line could come after a newer one.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != line {
            line.clone_into(&mut said);
            self.send(&[NotifyState::Status(line)]);
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
                    tracing::error!(
                        "the runner hangs, and the watchdog will start it again: {what}; look at what it works on: a disk, a network file system"
                    );
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
            // Whoever waits for a sign of life kills what gives none.
            tracing::error!(
                "the service manager cannot be told how the runner is, and will take it for one that hangs: {error}; NotifyAccess= and NOTIFY_SOCKET have to be the unit's own"
            );
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
    fn more_time_is_said_in_microseconds() {
        assert_eq!(extension(Duration::from_secs(7200)), "EXTEND_TIMEOUT_USEC=7200000000");
        assert_eq!(extension(Duration::MAX), "EXTEND_TIMEOUT_USEC=18446744073709551614");
    }
}
