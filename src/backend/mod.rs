//! The backend: asks it for tasks, tells it verdicts.
//!
//! [`contract`] knows the wire, [`Backend`] makes the calls, `auth` keeps the session, [`allow`] says which repositories
//! a task may name, and [`mock`] is a backend to try the runner with.

pub mod allow;
mod auth;
pub mod contract;
mod error;
mod http;
pub mod mock;
mod parcel;
mod roles;
pub mod text;

pub use auth::Credentials;
pub use error::{BackendError, Call, SettingsError};
pub use parcel::Parcel;
pub use roles::{NEEDED as NEEDED_ROLE, Roles};

use auth::{AFTER_REJECTION, Auth};
use contract::{Answer, parse_task};
use http::{Answered, Content, Http, Request, redact};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use url::Url;

/// Where a backend hands out tasks.
pub const DEFAULT_GET_API: &str = "/api/task/available";
/// Where a backend takes results.
pub const DEFAULT_POST_API: &str = "/api/task/result";
/// Where a backend logs users in.
pub const DEFAULT_LOGIN_API: &str = "/api/v1/login";
/// Where a backend gives a new token for an old one.
pub const DEFAULT_REFRESH_API: &str = "/api/v1/auth/refresh";

/// What [`Backend`] needs to know.
#[derive(Clone)]
pub struct BackendSettings {
    /// The backend's address, `http` or `https`, without user name and password; may have a path.
    pub url: String,
    /// The path for tasks, below `url`.
    pub get_api: String,
    /// The path for results, below `url`.
    pub post_api: String,
    /// The path of the login, below `url`.
    pub login_api: String,
    /// The path of the refresh, below `url`.
    pub refresh_api: String,
    /// Age at which a token is refreshed before it is used again.
    pub refresh_time: Duration,
    /// As whom to log in; without it no call carries a token.
    pub auth: Option<Credentials>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the backend may send nothing: before its answer begins, and within it.
    pub idle_timeout: Duration,
    /// How long a whole exchange may take, connecting included.
    pub request_timeout: Duration,
    /// Certificates (PEM) of the authorities that alone are trusted; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Longest answer that is read, in bytes.
    pub max_body: usize,
}

impl BackendSettings {
    /// The defaults for a backend at this address.
    pub fn new(url: impl Into<String>) -> Self {
        BackendSettings {
            url: url.into(),
            get_api: DEFAULT_GET_API.to_owned(),
            post_api: DEFAULT_POST_API.to_owned(),
            login_api: DEFAULT_LOGIN_API.to_owned(),
            refresh_api: DEFAULT_REFRESH_API.to_owned(),
            refresh_time: Duration::from_secs(60),
            auth: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(60),
            ca_file: None,
            max_body: 8 * 1024 * 1024,
        }
    }
}

/// An answer of a backend that was only looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who was asked.
    pub url: String,
    /// The HTTP status.
    pub status: u16,
    /// The backend's clock, where it told it.
    pub date: Option<SystemTime>,
}

/// A login that was made to see whether it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// As whom.
    pub user: String,
    /// What the user may do, where the token says so.
    pub roles: Option<Roles>,
}

/// A backend that can be asked. One for all slots: they share its connections and its login.
pub struct Backend {
    http: Http,
    auth: RwLock<Option<Arc<Auth>>>,
    base: Url,
    get: Url,
    post: Url,
    request_timeout: Duration,
}

impl Backend {
    /// Prepares to call a backend; nothing is sent yet.
    ///
    /// # Errors
    /// An address or a path that makes no URL, or a system without root certificates when the backend is at https.
    pub fn new(settings: BackendSettings) -> Result<Self, SettingsError> {
        let base = base_url(&settings.url)?;
        let auth = RwLock::new(login(&settings, &base)?);
        Ok(Backend {
            get: join(&base, &settings.get_api)?,
            post: join(&base, &settings.post_api)?,
            auth,
            http: Http::new(&base, &settings)?,
            request_timeout: settings.request_timeout,
            base,
        })
    }

    /// The address without what does not tell it from others: the same for two runs that mean the same backend.
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// What a call can take at the most, in which the login has to be renewed, fails, is made anew, is refused, and made once more.
    pub fn longest_call(&self) -> Duration {
        self.request_timeout.saturating_mul(6)
    }

    /// Sees whether anybody answers at the backend's address, with HEAD on that address itself: no path of the interface is
    /// asked, least of all the one that hands tasks out. Gives back the status and the backend's time.
    ///
    /// # Errors
    /// No answer. Any status is one.
    pub async fn look(&self) -> Result<Seen, BackendError> {
        let request =
            Request { call: Call::Look, method: Method::HEAD, url: &self.base, authorization: None, body: None };
        let answered = self.http.exchange(request).await?;
        let date = answered.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
        Ok(Seen { url: self.base.to_string(), status: answered.status, date })
    }

    /// Logs in, where a login was given, and sees that it is good for taking tasks. None is taken: where the token names roles
    /// that are not enough, a result of no task is sent, which no backend can take, and which is refused with 403 only to
    /// whoever may send none.
    ///
    /// # Errors
    /// The login's, or [`BackendError::Forbidden`].
    pub async fn try_login(&self) -> Result<Option<Admitted>, BackendError> {
        let Some(auth) = self.auth() else { return Ok(None) };
        let grant = auth.grant(&self.http).await?;
        let admitted = Admitted { user: auth.user().to_owned(), roles: grant.roles };
        if admitted.roles.as_ref().is_some_and(|roles| !roles.suffice())
            && let Err(error @ BackendError::Forbidden { .. }) =
                self.call(Call::Upload, Method::POST, &self.post, Some(Content::Value(&serde_json::json!({})))).await
        {
            return Err(error);
        }
        Ok(Some(admitted))
    }

    /// Asks for a task, once.
    ///
    /// # Errors
    /// No answer, a status that means failure, or an answer that is no task and no way to say that there is none.
    pub async fn next_task(&self) -> Result<Answer, BackendError> {
        self.next_task_noted(|_| ()).await
    }

    /// Asks for a task, once. `arrived` gets the body of an answer that may be one the instant it is whole, before anything is
    /// done with it.
    ///
    /// # Errors
    /// Those of [`Backend::next_task`].
    pub async fn next_task_noted(&self, arrived: impl FnOnce(&[u8])) -> Result<Answer, BackendError> {
        let (answered, secret) = self.call(Call::TakeTask, Method::GET, &self.get, None).await?;
        if answered.is_success() {
            arrived(&answered.body);
        }
        if !answered.is_success() && answered.status != 404 {
            return Err(answered.into_error(Call::TakeTask, &self.get, secret.as_ref()));
        }
        if answered.status == 404 {
            // Both "no task" and the look of a wrong path: whoever searches for that finds it here.
            tracing::debug!(url = %self.get, "the backend answered 404, which is taken for no task");
        }
        parse_task(answered.status, &answered.body).map_err(|source| BackendError::Protocol {
            url: self.get.to_string(),
            source: source.quoting(&redact(&answered.body, secret.as_ref())),
        })
    }

    /// Uploads a result, with one try.
    ///
    /// # Errors
    /// Anything but a 2xx; [`BackendError::is_retryable`] says whether another try makes sense.
    pub async fn upload(&self, body: &Value) -> Result<(), BackendError> {
        self.send(Content::Value(body)).await
    }

    /// Uploads a result that lies in a file, with one try.
    ///
    /// # Errors
    /// Those of [`Backend::upload`].
    pub async fn upload_parcel(&self, body: &Parcel) -> Result<(), BackendError> {
        self.send(Content::Parcel(body)).await
    }

    async fn send(&self, body: Content<'_>) -> Result<(), BackendError> {
        let (answered, secret) = self.call(Call::Upload, Method::POST, &self.post, Some(body)).await?;
        if answered.is_success() {
            return Ok(());
        }
        Err(answered.into_error(Call::Upload, &self.post, secret.as_ref()))
    }

    /// From the next call on logs in with these credentials, or not at all. The addresses stay.
    ///
    /// # Errors
    /// A path that makes no URL.
    pub fn renew_login(&self, settings: &BackendSettings) -> Result<(), SettingsError> {
        let auth = login(settings, &self.base)?;
        *self.auth.write().unwrap_or_else(PoisonError::into_inner) = auth;
        Ok(())
    }

    /// One call with the login's token; refused with 401, it logs in again once and repeats the call. Refused with 403 for want
    /// of a role, it says which.
    ///
    /// Also gives back the token, so that it can be kept out of errors.
    async fn call(
        &self,
        call: Call,
        method: Method,
        url: &Url,
        body: Option<Content<'_>>,
    ) -> Result<(Answered, Option<SecretString>), BackendError> {
        let request = |authorization| Request { call, method: method.clone(), url, authorization, body };
        let Some(auth) = self.auth() else {
            return Ok((self.http.exchange(request(None)).await?, None));
        };
        let mut grant = auth.grant(&self.http).await?;
        let mut answered = self.http.exchange(request(Some(grant.header.clone()))).await?;
        if answered.status == 401 {
            auth.refused(&grant).await;
            grant = auth.grant(&self.http).await?;
            answered = self.http.exchange(request(Some(grant.header.clone()))).await?;
        }
        // The role may be given meanwhile, and the token would not know of it.
        if answered.status == 403
            && let Some(roles) = grant.roles.clone().filter(|roles| !roles.suffice())
        {
            auth.refused(&grant).await;
            let (url, user) = (url.to_string(), auth.user().to_owned());
            return Err(BackendError::Forbidden { call, url, user, roles, wait: AFTER_REJECTION });
        }
        Ok((answered, Some(grant.secret)))
    }

    fn auth(&self) -> Option<Arc<Auth>> {
        self.auth.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A backend's address as [`Backend::address`] gives it.
///
/// # Errors
/// It makes no URL.
pub fn address_of(url: &str) -> Result<String, SettingsError> {
    Ok(base_url(url)?.as_str().trim_end_matches('/').to_owned())
}

/// The login that these settings ask for.
fn login(settings: &BackendSettings, base: &Url) -> Result<Option<Arc<Auth>>, SettingsError> {
    let Some(credentials) = settings.auth.clone() else { return Ok(None) };
    let (login, refresh) = (join(base, &settings.login_api)?, join(base, &settings.refresh_api)?);
    Ok(Some(Arc::new(Auth::new(credentials, login, refresh, settings.refresh_time))))
}

/// The backend's address, checked.
fn base_url(text: &str) -> Result<Url, SettingsError> {
    let wrong = |shown: &str, problem: &str| SettingsError::Url { url: shown.to_owned(), problem: problem.to_owned() };
    let url = Url::parse(text).map_err(|error| wrong(text, &error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        // Not quoted: it holds a password.
        return Err(wrong("...", "it carries a user name or a password, which belong to --login and --password"));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(text, "it does not begin with http:// or https://"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(text, "it carries a query or a fragment"));
    }
    Ok(url)
}

/// A path below the backend's address, with one slash between the two, however they are written.
fn join(base: &Url, path: &str) -> Result<Url, SettingsError> {
    let joined = format!("{}/{}", base.as_str().trim_end_matches('/'), path.trim_start_matches('/'));
    Url::parse(&joined).map_err(|error| SettingsError::Path { path: path.to_owned(), problem: error.to_string() })
}

#[cfg(test)]
mod tests;
