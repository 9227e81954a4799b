//! What can go wrong between the runner and its backend, as sentences.

use super::contract::ProtocolError;
use std::fmt;
use std::time::Duration;

/// Settings from which no backend can be made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address is no URL that can be asked.
    #[error("--backend-url {url:?} cannot be used: {problem}; write one such as http://localhost:5000")]
    Url {
        /// What was given, unless it holds a secret.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A path of the interface does not make a URL.
    #[error("the path {path:?} cannot be used with the backend's address: {problem}")]
    Path {
        /// What was given.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file with certificates of authorities holds none.
    #[error("--ca-file {path} {problem}; write one with the authority's certificate in PEM")]
    Certificates {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP client could not be set up; for https most often because the system has no root certificates.
    #[error("the HTTP client cannot be set up: {problem}; for an https backend, install the package ca-certificates")]
    Client {
        /// What the client says.
        problem: String,
    },
}

/// Which of the backend's interfaces was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Asking whether there is anybody.
    Look,
    /// Asking for a task.
    TakeTask,
    /// Uploading a result.
    Upload,
    /// Logging in.
    Login,
    /// Getting a new token for an old one.
    Refresh,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Call::Look => "looking for the backend",
            Call::TakeTask => "asking for a task",
            Call::Upload => "uploading a result",
            Call::Login => "logging in",
            Call::Refresh => "refreshing the login",
        })
    }
}

/// A call that did not do what it should. No message holds a password or a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No complete answer came.
    #[error("{call} failed: {url} {problem}; check --backend-url and whether the backend is up")]
    Unreachable {
        /// What was tried.
        call: Call,
        /// Who was asked.
        url: String,
        /// What happened instead of an answer.
        problem: String,
        /// Whether it came so far that the backend can have heard the call.
        connected: bool,
    },
    /// An answer that is too long to be one.
    #[error("{call} failed: the answer of {url} is longer than {cap} bytes; check that it is the grading backend")]
    TooLarge {
        /// What was tried.
        call: Call,
        /// Who was asked.
        url: String,
        /// How much is read at most, in bytes.
        cap: usize,
    },
    /// An answer with a status that means failure.
    #[error("{call} failed: {url} answered HTTP {status}{}: {excerpt:?}", hint(*.status))]
    Status {
        /// What was tried.
        call: Call,
        /// Who was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body; of a redirect, where it leads.
        excerpt: String,
        /// How long the backend asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// An answer that does not keep to the contract.
    #[error("{url}: {source}")]
    Protocol {
        /// Who was asked.
        url: String,
        /// What is wrong with it.
        source: ProtocolError,
    },
    /// An answer to the login that says yes and holds no token. It is not quoted: it may hold a part of one.
    #[error("logging in failed: {url} answered {problem}; check that --login-api leads to the grading backend's login")]
    LoginAnswer {
        /// Who was asked.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The backend refuses this user and password.
    #[error(
        "logging in as {user:?} failed: {url} {problem}; check --login, --password and --login-api; the next try \
         is in {} s", wait.as_secs()
    )]
    LoginRejected {
        /// Who was asked.
        url: String,
        /// With which name.
        user: String,
        /// What it said.
        problem: String,
        /// How long no other login is tried.
        wait: Duration,
    },
    /// The backend knows the user, who lacks the role for this.
    #[error(
        "{call} failed: {url} answered HTTP 403: the user {user:?} has {roles}, and this takes the role {needed}; give --login \
         and --password of a user with it, or have it given to this one; the next try is in {} s", wait.as_secs(),
        needed = super::roles::NEEDED
    )]
    Forbidden {
        /// What was tried.
        call: Call,
        /// Who was asked.
        url: String,
        /// Who asked.
        user: String,
        /// What its token says that it has.
        roles: super::roles::Roles,
        /// How long the call is not tried again.
        wait: Duration,
    },
}

impl BackendError {
    /// May the same call succeed later?
    ///
    /// Everything may except a 4xx, which is the backend's final word; of these 401, 408, 425 and 429 may too, and 404 and 405, which are
    /// also what a proxy in front of a backend says that is being started.
    pub fn is_retryable(&self) -> bool {
        match self {
            BackendError::Status { status, .. } => !is_final(*status) || matches!(status, 404 | 405),
            _ => true,
        }
    }

    /// May the backend have handed out a task with the answer that did not come, or could not be read?
    pub fn may_have_handed_out(&self) -> bool {
        match self {
            BackendError::Unreachable { call, connected, .. } => *call == Call::TakeTask && *connected,
            BackendError::TooLarge { call, .. } => *call == Call::TakeTask,
            BackendError::Protocol { .. } => true,
            _ => false,
        }
    }

    /// Is it for the operator to mend: does the same call fail until other credentials or another role are given?
    pub fn is_for_the_operator(&self) -> bool {
        matches!(self, BackendError::LoginRejected { .. } | BackendError::Forbidden { .. })
    }

    /// How long to wait at least before the next call, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            BackendError::Status { retry_after, .. } => *retry_after,
            BackendError::LoginRejected { wait, .. } | BackendError::Forbidden { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}

/// Is this status the backend's final word?
pub(super) fn is_final(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401 | 408 | 425 | 429)
}

/// What to do about a status whose cause is mostly one and the same.
fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => " (redirects are not followed: give --backend-url the address to which this leads)",
        401 => " (it wants a login: --auth, --login and --password; with them, it rejects the token it gave)",
        403 => {
            " (it does not let this user do that: --login of one with the role for it; without --auth, it wants a login)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> BackendError {
        BackendError::Status {
            call: Call::Upload,
            url: "http://b/".into(),
            status,
            excerpt: "why".into(),
            retry_after: None,
        }
    }

    #[test]
    fn only_a_final_4xx_is_not_tried_again() {
        for retryable in [302, 401, 404, 405, 408, 425, 429, 500, 502, 503, 599] {
            assert!(status(retryable).is_retryable(), "{retryable}");
        }
        for last in [400, 403, 409, 413, 422] {
            assert!(!status(last).is_retryable(), "{last}");
        }
    }

    #[test]
    fn messages_say_what_to_do() {
        assert!(status(301).to_string().contains("--backend-url"));
        assert!(status(401).to_string().contains("--auth"));
        assert_eq!(status(500).to_string(), "uploading a result failed: http://b/ answered HTTP 500: \"why\"");
    }
}
