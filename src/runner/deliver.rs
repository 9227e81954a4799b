//! The way of a result from its grading to the backend's confirmation, by way of the spool.

use super::poll::pauses;
use super::{LAST_UPLOADS, Shared};
use crate::backend::BackendError;
use crate::backend::contract::{Key, Task};
use crate::steps;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long `--once` waits for a backend that takes none of the results that are left.
const ONCE_PATIENCE: Duration = Duration::from_secs(60);

/// How often a result that the disk did not take is offered to it again.
const AGAIN: Duration = Duration::from_secs(5);

impl Shared {
    /// Puts a result into the spool. `false`: the disk does not take it.
    pub fn keep(&self, key: &Key, task: Option<&Task>, body: &Value) -> bool {
        let kept = self.runner.spool.finish(key, task, body);
        if let Err(error) = &kept {
            tracing::error!(task = %key, "its result is in memory alone and is lost in a crash: {error:#}");
        }
        steps::at("task: the result is in the spool");
        kept.is_ok()
    }

    /// Puts a result into the spool, and sends it.
    pub fn keep_and_deliver(self: &Arc<Self>, key: Key, task: Option<&Task>, body: Value) {
        let kept = self.keep(&key, task, &body);
        self.deliver(key, body, kept);
    }

    /// Sends a result until the backend takes it, refuses it for good, or it is time to end. `kept`: whether it is on disk.
    pub fn deliver(self: &Arc<Self>, key: Key, body: Value, kept: bool) {
        self.runner.board.change(|status| status.waiting = self.runner.spool.waiting());
        let shared = self.clone();
        self.deliveries.spawn(async move {
            shared.send(&key, &body, kept).await;
            let (waiting, rejected) = (shared.runner.spool.waiting(), shared.runner.spool.rejected());
            shared.runner.board.change(|status| (status.waiting, status.rejected) = (waiting, rejected));
        });
    }

    async fn send(&self, key: &Key, body: &Value, mut kept: bool) {
        let mut pauses = pauses();
        loop {
            // An operator may have dropped it.
            if kept && !self.runner.spool.is_waiting_on_disk(key) {
                tracing::warn!(task = %key, "its result is no longer in the spool, and is not sent any more");
                self.runner.spool.forget(key);
                return;
            }
            let Some(sent) = self.try_once(body).await else { break };
            let error = match sent {
                Ok(()) => return self.confirmed(key, body),
                Err(error) if !error.is_retryable() => return self.refused(key, body, &error),
                Err(error) => error,
            };
            let pause = pauses.next().unwrap_or_default().max(error.retry_after().unwrap_or_default());
            tracing::warn!(task = %key, pause_s = pause.as_secs_f32(), "the result stays here and is sent again: {error}");
            if self.wait(key, body, pause, &mut kept).await {
                break;
            }
        }
        match kept {
            true => tracing::warn!(task = %key, "told to stop before the result was delivered; it lies in the spool"),
            // Nothing else is left of it: an operator can send it by hand.
            false => {
                tracing::error!(task = %key, result = %body, "told to stop before the result was delivered, and the spool does not take it")
            }
        }
    }

    /// One try; none where it is time to end.
    async fn try_once(&self, body: &Value) -> Option<Result<(), BackendError>> {
        let call = async {
            // Closed never: it lives as long as this.
            let _turn = self.uploads.acquire().await;
            steps::at("upload: about to send");
            let sent = self.runner.backend.upload(body).await;
            steps::at("upload: the backend has answered");
            sent
        };
        tokio::select! {
            biased;
            sent = call => Some(sent),
            () = self.last_call.cancelled() => None,
        }
    }

    /// Waits, and meanwhile offers the result to the disk again that had not taken it. `true`: it is time to end.
    async fn wait(&self, key: &Key, body: &Value, pause: Duration, kept: &mut bool) -> bool {
        let until = tokio::time::Instant::now() + pause;
        loop {
            let next = if *kept { until } else { until.min(tokio::time::Instant::now() + AGAIN) };
            tokio::select! {
                () = self.last_call.cancelled() => return true,
                () = tokio::time::sleep_until(next) => {}
            }
            *kept = *kept || self.runner.spool.finish(key, None, body).is_ok();
            if next == until {
                return false;
            }
        }
    }

    fn confirmed(&self, key: &Key, body: &Value) {
        self.crossed.confirmed(key, body);
        if let Err(error) = self.runner.spool.confirm(key) {
            tracing::error!(task = %key, "{error:#}");
        }
        steps::at("upload: gone from the spool");
        self.runner.board.change(|status| status.delivered += 1);
        tracing::info!(task = %key, "result delivered");
    }

    fn refused(&self, key: &Key, body: &Value, error: &BackendError) {
        let (status, reason) = match error {
            BackendError::Status { status, excerpt, .. } => (*status, excerpt.clone()),
            other => (0, other.to_string()),
        };
        match self.runner.spool.reject(key, status, &reason) {
            Ok(()) => {
                tracing::error!(task = %key, status, "the backend refused the result, which is kept in spool/rejected: {reason}")
            }
            Err(problem) => {
                tracing::error!(task = %key, status, result = %body, "the backend refused the result: {reason}; {problem:#}");
            }
        }
    }

    /// When nothing is graded any more: gives deliveries their last time. Results that are left in the spool.
    pub async fn last_deliveries(&self) -> usize {
        self.deliveries.close();
        let patient = self.runner.once && !self.stop.drain.is_cancelled();
        let (mut left, mut since) = (self.runner.spool.waiting(), Instant::now());
        loop {
            let _promise = self.runner.manager.vigil.promise("the last deliveries", LAST_UPLOADS);
            tokio::select! {
                () = self.deliveries.wait() => break,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            let now = self.runner.spool.waiting();
            if now < left && patient {
                (left, since) = (now, Instant::now());
            }
            let patience = if patient && !self.stop.drain.is_cancelled() { ONCE_PATIENCE } else { LAST_UPLOADS };
            if since.elapsed() >= patience {
                self.last_call.cancel();
            }
        }
        self.runner.spool.waiting()
    }
}
