//! What the embedded backend is told.

use super::{ChaosOptions, OsNsuOptions};
use crate::backend::{DEFAULT_GET_API, DEFAULT_LOGIN_API, DEFAULT_POST_API, DEFAULT_REFRESH_API};
use serde_json::Value;

/// What the embedded backend does.
pub struct MockOptions {
    /// The tasks in the order in which they are handed out.
    pub tasks: Vec<Value>,
    /// How many times the list is handed out, from the second time on under fresh names.
    pub repeat: u64,
    /// User name and password; without them no call needs a token.
    pub auth: Option<(String, String)>,
    /// The path for tasks.
    pub get_api: String,
    /// The path for results.
    pub post_api: String,
    /// The path of the login.
    pub login_api: String,
    /// The path of the refresh.
    pub refresh_api: String,
    /// Whether it ends when every task has its result.
    pub once: bool,
    /// Whether results are kept, for `GET /results`.
    pub keep: bool,
    /// How it fails.
    pub chaos: ChaosOptions,
    /// Whether it is like the backend in use at the course, and how. It has users of its own then, and `auth` is not looked at.
    pub like: Option<OsNsuOptions>,
}

impl Default for MockOptions {
    /// No tasks, no login, no failures, and the paths that the runner asks by default.
    fn default() -> Self {
        MockOptions {
            tasks: Vec::new(),
            repeat: 1,
            auth: None,
            get_api: DEFAULT_GET_API.to_owned(),
            post_api: DEFAULT_POST_API.to_owned(),
            login_api: DEFAULT_LOGIN_API.to_owned(),
            refresh_api: DEFAULT_REFRESH_API.to_owned(),
            once: false,
            keep: true,
            chaos: ChaosOptions::default(),
            like: None,
        }
    }
}
