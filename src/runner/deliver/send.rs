//! One try to send one result, and what becomes of its entry.

use super::super::Shared;
use super::queue::{Item, Todo};
use crate::backend::BackendError;
use crate::backend::contract::Key;
use crate::spool::{Next, Spool};
use crate::steps;
use std::sync::Arc;

/// 413, Content Too Large: of a server in front of the backend, more often than of the backend itself.
const TOO_LARGE: u16 = 413;

/// What came of one try.
pub enum Came {
    /// The backend has it.
    Delivered,
    /// There is nothing more to be done with it.
    Gone,
    /// It cannot be sent now.
    NotYet(String),
    /// It was not taken, and may be later.
    Failed(BackendError),
}

impl Shared {
    pub(super) async fn try_once(self: Arc<Self>, mut item: Item) -> (Item, Came) {
        let key = item.key.clone();
        match item.todo.clone() {
            Todo::Send => {}
            Todo::Reject(status, reason) => {
                self.refused(&key, status, format!("it fails over its smallest form as well: {reason}")).await;
                return (item, Came::Gone);
            }
            Todo::Shrink(status, reason) => match self.with_spool(&key, Spool::make_smaller).await {
                Ok(true) => {
                    let what = match status {
                        TOO_LARGE => "the backend's server takes no result of this length",
                        _ => "the backend fails over its result again and again and takes others",
                    };
                    tracing::error!(
                        task = %key,
                        status,
                        "{what}; it is sent once more in its smallest form, without the texts of its tests: {reason}"
                    );
                    item.shrunk();
                }
                Ok(false) => {
                    self.refused(&key, status, format!("it fails over it and takes others: {reason}")).await;
                    return (item, Came::Gone);
                }
                Err(error) => return (item, Came::NotYet(format!("{error:#}"))),
            },
        }
        let parcel = match self.with_spool(&key, Spool::next).await {
            Next::Send(parcel) => parcel,
            Next::NotYet(problem) => return (item, Came::NotYet(problem)),
            Next::Dropped => {
                tracing::warn!(task = %key, "its result is no longer in the spool, and is not sent any more");
                self.runner.spool.forget(&key);
                return (item, Came::Gone);
            }
        };
        steps::at("upload: about to send");
        let sent = self.runner.backend.upload_parcel(&parcel).await;
        steps::at("upload: the backend has answered");
        let came = match sent {
            Ok(()) => {
                self.confirmed(&key).await;
                Came::Delivered
            }
            Err(error) if error.is_retryable() => Came::Failed(error),
            Err(BackendError::Status { status: TOO_LARGE, excerpt, .. }) if !item.is_small() => {
                item.todo = Todo::Shrink(TOO_LARGE, excerpt);
                return Box::pin(self.try_once(item)).await;
            }
            Err(error) => {
                let (status, reason) = match &error {
                    BackendError::Status { status, excerpt, .. } => (*status, excerpt.clone()),
                    other => (0, other.to_string()),
                };
                self.refused(&key, status, reason).await;
                Came::Gone
            }
        };
        (item, came)
    }

    /// Does what waits for the disk where that holds up nobody.
    async fn with_spool<T: Send + 'static>(
        self: &Arc<Self>,
        key: &Key,
        act: impl FnOnce(&Spool, &Key) -> T + Send + 'static,
    ) -> T {
        let (shared, key) = (self.clone(), key.clone());
        match tokio::task::spawn_blocking(move || act(&shared.runner.spool, &key)).await {
            Ok(done) => done,
            // Such a task cannot be cancelled once it has begun, and before that only while the runtime ends.
            Err(fault) => match fault.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }

    async fn confirmed(self: &Arc<Self>, key: &Key) {
        if let Err(error) = self.with_spool(key, Spool::confirm).await {
            tracing::error!(task = %key, "{error:#}");
        }
        steps::at("upload: gone from the spool");
        self.runner.board.change(|status| status.delivered += 1);
        tracing::info!(task = %key, "result delivered");
    }

    async fn refused(self: &Arc<Self>, key: &Key, status: u16, reason: String) {
        let said = reason.clone();
        match self.with_spool(key, move |spool, key| spool.reject(key, status, &said)).await {
            Ok(()) => {
                tracing::error!(task = %key, status, "the backend refused the result, which is kept in spool/rejected: {reason}")
            }
            Err(problem) => {
                tracing::error!(task = %key, status, "the backend refused the result, which is kept where it is: {reason}; {problem:#}");
            }
        }
    }
}
