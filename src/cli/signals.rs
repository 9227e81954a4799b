//! Signals, caught before anything else is done: from the first instruction of the program on none of them ends it half way.
//!
//! Caught and not blocked: a blocked mask would be handed down to the launcher and to every program that is asked something,
//! where a handler ends with the exec.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGTERM, SIGINT and SIGHUP. None that came since [`Signals::catch`] is lost, whenever it is asked for.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None where whoever started us has it ignored (`nohup`).
    hang_up: Option<Signal>,
    /// What was ignored at the start, as in /proc/PID/status.
    ignored: u64,
}

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    /// Where the kernel has no descriptors for it.
    pub fn catch() -> anyhow::Result<Signals> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        // A runtime without a thread, which is never run: the handlers are the process's, and what they note down is read by the
        // runtime that is started when the program may have threads.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.context("signals cannot be waited for")?;
        let _inside = runtime.enter();
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: if has(ignored, SignalKind::hangup()) { None } else { Some(listen(SignalKind::hangup())?) },
            ignored,
        })
    }

    /// Lets them end the program again, for a command that has nothing to clean up.
    pub fn let_go(&self) {
        for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
            if !has(self.ignored, kind) {
                sandbox::sys::default_signal(kind.as_raw_value());
            }
        }
    }

    /// SIGHUP alone, for who does something else with it. Only within a runtime.
    pub fn take_hang_up(&mut self) -> anyhow::Result<Signal> {
        self.hang_up.take().map_or_else(|| listen(SignalKind::hangup()), Ok)
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hang_up => {}
        }
    }

    /// For commands that run one thing: the first signal kills it.
    pub async fn cancel(mut self, cancel: CancellationToken) {
        self.next().await;
        cancel.cancel();
    }
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("signals cannot be waited for")
}

/// The signals that a `/proc/PID/status` says are ignored.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn has(mask: u64, kind: SignalKind) -> bool {
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_kernels_mask() {
        // What `nohup` and Rust's own start leave: SIGHUP and SIGPIPE.
        let mask = ignored("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004002\n");
        assert!(has(mask, SignalKind::hangup()) && has(mask, SignalKind::pipe()));
        assert!(!has(mask, SignalKind::terminate()) && !has(mask, SignalKind::interrupt()));
        assert_eq!(ignored(""), 0);
    }
}
