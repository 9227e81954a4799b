//! Whether a backend is there, and what time it has. Asks for nothing that it could hand out.

use super::http::{Http, Request};
use super::{BackendError, Call, SettingsError, base_url};
use reqwest::Method;
use std::time::{Duration, SystemTime};

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A backend that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The status, whatever it is: the address itself need not be a page.
    pub status: u16,
    /// Its clock.
    pub date: Option<SystemTime>,
}

/// Why it cannot be said that a backend is there.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum ReachError {
    /// The address is none.
    Settings(#[from] SettingsError),
    /// Nobody answers there.
    Backend(#[from] BackendError),
}

/// Sends HEAD to the backend's address; GET on the path of tasks would take one.
///
/// # Errors
/// When the address cannot be used, or no answer comes.
pub async fn reach(url: &str) -> Result<Reached, ReachError> {
    let url = base_url(url)?;
    let http = Http::new(&url, PATIENCE, PATIENCE, 0)?;
    let request = Request { call: Call::Reach, method: Method::HEAD, url: &url, authorization: None, body: None };
    let answered = http.exchange(request).await?;
    Ok(Reached { status: answered.status, date: answered.date })
}
