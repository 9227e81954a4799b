//! Answers that fail, each in its way.

use super::problem;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use std::convert::Infallible;
use std::io;
use std::time::{Duration, SystemTime};

/// The path to which redirects lead. Who asks for it has followed one.
pub(super) const ELSEWHERE: &str = "/followed-a-redirect";

/// Bodies that are no JSON: what is found at a wrong address, an answer that was cut, bytes that are no text, and what some
/// serializers write.
const GARBAGE: [&[u8]; 4] = [
    b"<!doctype html><title>It works!</title>",
    b"{\"attempt\": 1, \"repositoryUrl\": \"https://",
    b"\xff\xfe{\x00}\x00\x80",
    b"{\"attempt\": NaN}",
];

/// Pause of a body that drips.
const DRIP: Duration = Duration::from_secs(1);

/// Time in which the beginning of an answer that breaks off is sent.
const TORN: Duration = Duration::from_millis(50);

/// 429, with a second to wait: as a number, or as the time when it is over.
pub(super) fn too_many(choice: usize) -> Response {
    let wait = match choice % 2 {
        0 => "1".to_owned(),
        // A date has whole seconds: the next but one is at least one second away.
        _ => httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2)),
    };
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "not so fast");
    if let Ok(wait) = HeaderValue::from_str(&wait) {
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

/// 302, 307 or 308: the first makes a GET of a POST, the others do not.
pub(super) fn redirect(choice: usize) -> Response {
    let status = [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT][choice % 3];
    let mut response = problem(status, "it is elsewhere");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(ELSEWHERE));
    response
}

/// A body that is no JSON.
pub(super) fn garbage(choice: usize) -> Response {
    json(Body::from(GARBAGE[choice % GARBAGE.len()]))
}

/// A body that does not end. It is made while it is read, and ends with the connection.
pub(super) fn endless() -> Response {
    const CHUNK: &[u8] = &[b' '; 64 * 1024];
    json(Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(CHUNK)))))
}

/// A body of a byte a second, which is the beginning of JSON and never its end.
pub(super) fn drip() -> Response {
    json(Body::from_stream(stream::unfold((), |()| async {
        tokio::time::sleep(DRIP).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
    })))
}

/// The first half of an answer, of which the headers say that it is longer; then the connection breaks off.
pub(super) fn torn(whole: &[u8]) -> Response {
    let half = Bytes::copy_from_slice(&whole[..whole.len() / 2]);
    let body = stream::unfold(Some(half), |half| async {
        match half {
            Some(half) => Some((Ok(half), None)),
            None => {
                // What was made so far is on its way; an error at once would break the connection off before.
                tokio::time::sleep(TORN).await;
                Some((Err(io::Error::other("torn on purpose")), None))
            }
        }
    });
    let mut response = json(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    response
}

fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn garbage_is_no_json_and_not_empty() {
        // An empty body means that there is no task.
        for garbage in GARBAGE {
            assert!(!garbage.trim_ascii().is_empty());
            assert!(serde_json::from_slice::<Value>(garbage).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn the_wait_is_said_in_both_ways() {
        let said = |choice| too_many(choice).headers()[header::RETRY_AFTER].to_str().unwrap().to_owned();
        assert_eq!(said(0), "1");
        assert!(httpdate::parse_http_date(&said(1)).unwrap() > SystemTime::now());
    }
}
