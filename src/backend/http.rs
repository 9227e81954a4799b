//! One exchange with the backend: bounded in time and in size, and without secrets in what it says.

use super::BackendSettings;
use super::error::{BackendError, Call, SettingsError};
use super::parcel::Parcel;
use super::text::excerpt;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, SystemTime};
use url::Url;

/// How much of an answer is read that only says what went wrong, in bytes.
const EXCERPT_READ: usize = 64 * 1024;
/// How much of that an error message shows, in bytes.
const EXCERPT_SHOWN: usize = 500;
/// Longest wait that a backend may ask for with `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The HTTP client with its bounds.
pub(super) struct Http {
    client: reqwest::Client,
    max_body: usize,
}

/// One request.
pub(super) struct Request<'a> {
    pub call: Call,
    pub method: Method,
    pub url: &'a Url,
    pub authorization: Option<HeaderValue>,
    pub body: Option<Content<'a>>,
}

/// What a request carries, as JSON.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    /// What is in memory.
    Value(&'a Value),
    /// What is in a file.
    Parcel(&'a Parcel),
}

/// An answer, whatever its status.
pub(super) struct Answered {
    pub status: u16,
    pub body: Vec<u8>,
    /// When the backend says that it answered (RFC 9110, `Date`).
    pub date: Option<String>,
    location: Option<String>,
    retry_after: Option<Duration>,
}

impl Http {
    /// Sets up the client for backends at `base`.
    ///
    /// Environment variables for proxies (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) are honoured, as
    /// programs do, except for a backend on this very machine, which no proxy could reach.
    ///
    /// # Errors
    /// Certificates that cannot be read or are none, or a system without any when the backend is at https.
    pub fn new(base: &Url, settings: &BackendSettings) -> Result<Self, SettingsError> {
        // Without a provider, building a client panics. An error means that there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("ostest-sandbox/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.idle_timeout)
            .timeout(settings.request_timeout);
        if let Some(path) = &settings.ca_file {
            builder = builder.tls_certs_only(certificates(path)?);
        } else if base.scheme() == "http" {
            // No certificate will be looked at, and a minimal container has no root certificates: not an error here.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| SettingsError::Client { problem: chain(&error) })?;
        Ok(Http { client, max_body: settings.max_body })
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// No answer, or one that was to be used and is too long. A status that means failure is none here.
    pub async fn exchange(&self, request: Request<'_>) -> Result<Answered, BackendError> {
        let Request { call, url, .. } = request;
        let unreachable = |error: reqwest::Error| BackendError::Unreachable {
            connected: !error.is_connect(),
            call,
            url: url.to_string(),
            problem: match error.is_timeout() {
                true => "did not answer in time".to_owned(),
                false => format!("gave no answer ({})", chain(&error.without_url())),
            },
        };
        let mut builder = self.client.request(request.method, url.clone());
        if let Some(value) = request.authorization {
            builder = builder.header(AUTHORIZATION, value);
        }
        builder = match request.body {
            None => builder,
            Some(Content::Value(value)) => builder.json(value),
            Some(Content::Parcel(parcel)) => builder.header(CONTENT_TYPE, "application/json").body(parcel.body()),
        };
        let mut response = builder.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut answered = Answered {
            status: status.as_u16(),
            body: Vec::new(),
            date: header(&response, &DATE),
            location: header(&response, &LOCATION),
            retry_after: header(&response, &RETRY_AFTER)
                .and_then(|value| retry_after(&value, SystemTime::now()))
                .map(|wait| wait.min(LONGEST_WAIT)),
        };
        // Only the body of these is used; of all others the status is what counts.
        let used = status.is_success() && call != Call::Upload;
        let cap = if used { self.max_body } else { EXCERPT_READ };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if answered.body.len() + chunk.len() > cap => {
                    if used {
                        return Err(BackendError::TooLarge { call, url: url.to_string(), cap });
                    }
                    let room = cap - answered.body.len();
                    answered.body.extend_from_slice(&chunk[..room]);
                    return Ok(answered);
                }
                Ok(Some(chunk)) => answered.body.extend_from_slice(&chunk),
                Ok(None) => return Ok(answered),
                Err(error) if used => return Err(unreachable(error)),
                Err(_) => return Ok(answered),
            }
        }
    }
}

impl Answered {
    /// Is the status 2xx?
    pub fn is_success(&self) -> bool {
        StatusCode::from_u16(self.status).is_ok_and(|status| status.is_success())
    }

    /// The beginning of the body as an error message shows it; of a redirect, where it leads.
    pub fn excerpt(&self, secret: Option<&SecretString>) -> String {
        let shown = match &self.location {
            Some(location) if (300..400).contains(&self.status) => location.as_bytes(),
            _ => &self.body,
        };
        excerpt(&redact(shown, secret), EXCERPT_SHOWN)
    }

    /// This answer as the error that its status means.
    pub fn into_error(self, call: Call, url: &Url, secret: Option<&SecretString>) -> BackendError {
        BackendError::Status {
            call,
            url: url.to_string(),
            status: self.status,
            excerpt: self.excerpt(secret),
            retry_after: self.retry_after,
        }
    }
}

/// A foreign text with a secret taken out that it may echo, plainly or as JSON writes it.
pub(super) fn redact(text: &[u8], secret: Option<&SecretString>) -> Vec<u8> {
    let Some(secret) = secret.map(|s| s.expose_secret()).filter(|s| !s.is_empty()) else {
        return text.to_vec();
    };
    let quoted = Value::from(secret).to_string();
    String::from_utf8_lossy(text).replace(secret, "***").replace(quoted.trim_matches('"'), "***").into_bytes()
}

fn header(response: &reqwest::Response, name: &reqwest::header::HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// How long a `Retry-After` asks to wait: seconds, or a date (RFC 9110), which may be over.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The certificates of a file.
fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, SettingsError> {
    let wrong = |problem: String| SettingsError::Certificates { path: path.display().to_string(), problem };
    let bytes = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let found = reqwest::Certificate::from_pem_bundle(&bytes).map_err(|error| wrong(chain(&error)))?;
    if found.is_empty() {
        return Err(wrong("holds no certificate (-----BEGIN CERTIFICATE-----)".into()));
    }
    Ok(found)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An error with all its causes: reqwest's own text stops at "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_taken_out_in_both_spellings() {
        let secret: SecretString = "pa\"ss".into();
        let echo = br#"{"got": "pa\"ss", "raw": pa"ss}"#;
        assert_eq!(redact(echo, Some(&secret)), br#"{"got": "***", "raw": ***}"#);
        assert_eq!(redact(b"abc", Some(&"".into())), b"abc");
        assert_eq!(redact(b"abc", None), b"abc");
    }

    proptest! {
        #[test]
        fn no_echo_of_a_secret_is_left(secret in "[a-zA-Z0-9\"\\\\\n\u{e4}]{8,40}", before in "\\PC{0,20}", after in "\\PC{0,20}") {
            let hidden: SecretString = secret.as_str().into();
            let quoted = Value::from(&*secret).to_string();
            let echo = format!("{before}{secret}{after} {{\"got\":{quoted}}}");
            let left = String::from_utf8(redact(echo.as_bytes(), Some(&hidden))).unwrap();
            prop_assert!(!left.contains(&secret) && !left.contains(&quoted), "{}", left);
        }

        #[test]
        fn any_wait_that_is_asked_for_can_be_added_to_a_clock(value in "[0-9]{0,21}|\\PC{0,40}|[A-Z][a-z]{2}, [0-3][0-9] [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT") {
            let wait = retry_after(&value, SystemTime::UNIX_EPOCH).map(|wait| wait.min(LONGEST_WAIT));
            prop_assert!(wait.is_none_or(|wait| std::time::Instant::now().checked_add(wait).is_some()));
        }
    }

    #[test]
    fn this_machine_is_told_from_others() {
        for (url, loopback) in [
            ("http://localhost:5000", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:1", true),
            ("http://localhost.example.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }

    #[test]
    fn a_client_for_https_can_be_built_or_says_what_is_missing() {
        let base = Url::parse("https://example.org").unwrap();
        let mut settings = BackendSettings::new(base.as_str());
        if let Err(error) = Http::new(&base, &settings) {
            assert!(error.to_string().contains("ca-certificates"), "{error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        settings.ca_file = Some(path.clone());
        for (text, said) in [(None, "cannot be read"), (Some("nothing"), "no certificate")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = Http::new(&base, &settings).err().expect("an error").to_string();
            assert!(error.contains(said) && error.contains("--ca-file"), "{error}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Wed, 25 Nov 2026 22:00:00 GMT").unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Wed, 25 Nov 2026 22:01:30 GMT", now), Some(Duration::from_secs(90)));
        assert_eq!(retry_after("Wed, 25 Nov 2026 21:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
