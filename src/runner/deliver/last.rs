//! The end: what is delivered before the runner ends, and what is said of the rest.

use super::super::{LAST_UPLOADS, Shared};
use std::time::{Duration, Instant};

/// How long `--once` waits for a backend that takes none of the results that are left.
const ONCE_PATIENCE: Duration = Duration::from_secs(60);

impl Shared {
    /// When nothing is graded any more: gives deliveries their last time. Results that are left in the spool.
    pub async fn last_deliveries(&self) -> usize {
        self.outbox.closing.cancel();
        let patient = self.runner.once && !self.stop.drain.is_cancelled();
        let (mut left, mut since) = (self.runner.spool.waiting(), Instant::now());
        loop {
            let _promise = self.runner.manager.vigil.promise("the last deliveries", LAST_UPLOADS);
            tokio::select! {
                () = self.outbox.ended.cancelled() => break,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            let now = self.runner.spool.waiting();
            if now < left && patient {
                (left, since) = (now, Instant::now());
            }
            let patience = if patient && !self.stop.drain.is_cancelled() { ONCE_PATIENCE } else { LAST_UPLOADS };
            if since.elapsed() >= patience {
                self.outbox.last_call.cancel();
            }
        }
        self.say_what_is_lost().await;
        self.runner.spool.waiting()
    }

    /// What the disk never took. Where it says that the task was taken, or may say so, the next start answers: then nothing is sent,
    /// or the attempt would have two answers. Where it knows nothing of the attempt this is the last chance.
    async fn say_what_is_lost(&self) {
        let (unknown, left) = self.runner.spool.in_memory_alone();
        for (key, body) in unknown {
            let _promise = self.runner.manager.vigil.promise("the last deliveries", self.runner.backend.longest_call());
            match tokio::time::timeout(LAST_UPLOADS, self.runner.backend.upload(&body)).await {
                Ok(Ok(())) => {
                    self.runner.spool.forget(&key);
                    tracing::warn!(task = %key, "result delivered, of which nothing is on disk");
                }
                _ => {
                    tracing::error!(task = %key, result = %body, "told to stop before the result was delivered, and nothing of it is on disk")
                }
            }
        }
        for (key, body) in left {
            tracing::error!(
                task = %key,
                result = %body,
                "told to stop before the disk took the result, so it was not sent; the next start answers the attempt as interrupted, or \
                 grades it again with --resume"
            );
        }
    }
}
