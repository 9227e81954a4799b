//! Logging in: one session for all slots, renewed before it runs out and after it was refused.

use super::contract::{Tokens, login_request, parse_tokens, refresh_request};
use super::error::{BackendError, Call, is_final};
use super::http::{Content, Http, Request};
use super::roles::{NEEDED, Roles};
use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// How long no login is tried after one that was rejected, or that may not do what was asked: trying faster locks accounts and
/// helps nobody.
pub(super) const AFTER_REJECTION: Duration = Duration::from_secs(30);

/// User name and password. `Debug` does not show the password.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user name.
    pub login: String,
    /// The password.
    pub password: SecretString,
}

/// The session with the backend.
pub(super) struct Auth {
    credentials: Credentials,
    login_url: Url,
    refresh_url: Url,
    refresh_time: Duration,
    /// Held while a login is under way: slots that need a token at the same time wait for the one login.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Session>,
    rejection: Option<(Instant, BackendError)>,
    /// How many sessions there have been; the present one's number.
    sessions: u64,
}

struct Session {
    tokens: Tokens,
    header: HeaderValue,
    /// What the user may do, where the token says so.
    roles: Option<Roles>,
    since: Instant,
}

/// What a call may use.
pub(super) struct Grant {
    /// The value of the `Authorization` header, marked as sensitive.
    pub header: HeaderValue,
    /// What must not appear in errors.
    pub secret: SecretString,
    /// What the user may do, where the token says so.
    pub roles: Option<Roles>,
    /// The number of its session.
    session: u64,
}

impl Auth {
    pub fn new(credentials: Credentials, login_url: Url, refresh_url: Url, refresh_time: Duration) -> Self {
        Auth { credentials, login_url, refresh_url, refresh_time, state: Mutex::default() }
    }

    /// A token that is fresh: the present one, a refreshed one, or that of a new login.
    ///
    /// # Errors
    /// The login's. After a rejected one the same error is given for a while, without asking the backend again.
    pub async fn grant(&self, http: &Http) -> Result<Grant, BackendError> {
        let mut state = self.state.lock().await;
        if let Some(session) = &state.session {
            if session.since.elapsed() < self.refresh_time {
                return Ok(session.grant(state.sessions));
            }
            // Without a refresh token a login is the only way.
            if let Some(token) = &session.tokens.refresh {
                match self.refresh(http, token).await {
                    Ok(session) => return Ok(state.begin(session)),
                    Err(problem) => {
                        tracing::warn!(%problem, "the login could not be refreshed; logging in again");
                    }
                }
            }
        }
        state.session = None;
        if let Some((since, error)) = &state.rejection {
            let left = AFTER_REJECTION.saturating_sub(since.elapsed());
            if !left.is_zero() {
                return Err(with_wait(error.clone(), left));
            }
        }
        state.rejection = None;
        match self.login(http).await {
            Ok(session) => {
                let user = &self.credentials.login;
                match session.roles.as_ref().filter(|roles| !roles.suffice()) {
                    None => tracing::info!(%user, "logged in to the backend"),
                    Some(roles) => tracing::warn!(
                        %user,
                        "logged in to the backend, as a user with {roles}: it may give tasks only to the role {NEEDED}"
                    ),
                }
                Ok(state.begin(session))
            }
            Err(error) => {
                if matches!(error, BackendError::LoginRejected { .. }) {
                    state.rejection = Some((Instant::now(), error.clone()));
                }
                Err(error)
            }
        }
    }

    /// The backend refused this grant: the next call logs in again.
    ///
    /// Only the grant's own session is dropped. When several slots are refused at once, the first logs in for all.
    pub async fn refused(&self, grant: &Grant) {
        let mut state = self.state.lock().await;
        if state.sessions == grant.session {
            state.session = None;
        }
    }

    /// As whom it logs in.
    pub fn user(&self) -> &str {
        &self.credentials.login
    }

    async fn login(&self, http: &Http) -> Result<Session, BackendError> {
        let Credentials { login, password } = &self.credentials;
        let answered = http
            .exchange(Request {
                call: Call::Login,
                method: Method::POST,
                url: &self.login_url,
                authorization: None,
                body: Some(Content::Value(&login_request(login, password))),
            })
            .await?;
        if answered.is_success() {
            return parse_tokens(&answered.body).and_then(Session::new).map_err(|problem| BackendError::LoginAnswer {
                url: self.login_url.to_string(),
                problem: problem.to_owned(),
            });
        }
        if answered.status == 401 || is_final(answered.status) {
            return Err(self.rejected(format!(
                "answered HTTP {}: {:?}",
                answered.status,
                answered.excerpt(Some(password))
            )));
        }
        Err(answered.into_error(Call::Login, &self.login_url, Some(password)))
    }

    /// Buys a new session with the old one's refresh token. What went wrong is only for the log: a login follows.
    async fn refresh(&self, http: &Http, token: &SecretString) -> Result<Session, String> {
        let answered = http
            .exchange(Request {
                call: Call::Refresh,
                method: Method::POST,
                url: &self.refresh_url,
                authorization: None,
                body: Some(Content::Value(&refresh_request(token))),
            })
            .await
            .map_err(|error| error.to_string())?;
        if !answered.is_success() {
            let error = answered.into_error(Call::Refresh, &self.refresh_url, Some(token));
            return Err(error.to_string());
        }
        parse_tokens(&answered.body)
            .and_then(|mut tokens| {
                tokens.refresh.get_or_insert_with(|| token.clone());
                Session::new(tokens)
            })
            .map_err(|problem| format!("{} answered {problem}", self.refresh_url))
    }

    fn rejected(&self, problem: String) -> BackendError {
        BackendError::LoginRejected {
            url: self.login_url.to_string(),
            user: self.credentials.login.clone(),
            problem,
            wait: AFTER_REJECTION,
        }
    }
}

impl State {
    fn begin(&mut self, session: Session) -> Grant {
        self.sessions += 1;
        let grant = session.grant(self.sessions);
        self.session = Some(session);
        grant
    }
}

impl Session {
    fn new(tokens: Tokens) -> Result<Self, &'static str> {
        let header = format!("{} {}", tokens.scheme, tokens.access.expose_secret());
        let mut header = HeaderValue::from_str(&header).map_err(|_| "a token that fits in no HTTP header")?;
        header.set_sensitive(true);
        let roles = Roles::of_token(tokens.access.expose_secret());
        Ok(Session { tokens, header, roles, since: Instant::now() })
    }

    fn grant(&self, number: u64) -> Grant {
        Grant {
            header: self.header.clone(),
            secret: self.tokens.access.clone(),
            roles: self.roles.clone(),
            session: number,
        }
    }
}

fn with_wait(mut error: BackendError, left: Duration) -> BackendError {
    if let BackendError::LoginRejected { wait, .. } = &mut error {
        *wait = left;
    }
    error
}
