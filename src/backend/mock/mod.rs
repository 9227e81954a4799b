//! An embedded backend to try the runner with: hands out tasks, takes results, can demand a login, and can fail in every
//! way in which a backend fails.
//!
//! It keeps everything in memory and trusts whoever calls it: bind it to the loopback only.
//!
//! A failure and the books: a task counts as handed out only where the whole of it was answered soundly, since nobody can
//! know of it otherwise; whatever was drawn instead, it stays at the front. A result counts as taken where the answer's
//! status says so, however the body goes on, and where the failure is that a taken result is not answered for.

mod books;
mod chaos;
mod counts;
mod line;
mod options;
mod sessions;
mod staged;
mod tasks;

pub use books::Sums;
pub use chaos::{ChaosOptions, Failure};
pub use counts::Counts;
pub use options::MockOptions;
pub use tasks::{builtin_tasks, check_repeat, parse_task_file};

use super::contract::{no_task, read_login, read_refresh, tokens_response};
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use books::Books;
use chaos::{Asked, Chaos};
use line::{Cutter, Lines};
use serde_json::{Value, json};
use sessions::Sessions;
use std::collections::BTreeMap;
use std::future::IntoFuture as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest result that is taken, in bytes.
const RESULT_CAP: usize = 64 * 1024 * 1024;

/// How long an end waits for somebody who asks in vain once more, since the last question.
const LAST_QUESTION: Duration = Duration::from_secs(10);

/// The same where answers fail: a runner pauses up to a minute before it asks again, and as long as it lets an answer take.
const LAST_QUESTION_AFTER_FAILURES: Duration = Duration::from_secs(150);

/// How long an end waits for answers that are on their way. Those that were made not to end go no further.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Serves until the future is dropped, or with `once` until everything is done. `on_result` is called with every result
/// that comes in.
///
/// # Errors
/// The listener broke.
pub async fn serve(
    listener: tokio::net::TcpListener,
    options: MockOptions,
    on_result: impl Fn(&Value) + Send + Sync + 'static,
) -> std::io::Result<()> {
    MockBackend::new(options, move |_, result| on_result(result)).serve(listener).await
}

/// The embedded backend.
#[derive(Clone)]
pub struct MockBackend(Arc<Mock>);

impl MockBackend {
    /// Prepares one. `on_result` is called with every result that comes in, and the task that it answers, if there was
    /// one without a result.
    pub fn new(options: MockOptions, on_result: impl Fn(Option<&Value>, &Value) + Send + Sync + 'static) -> Self {
        let MockOptions { tasks, repeat, auth, get_api, post_api, login_api, refresh_api, once, keep, chaos } = options;
        let paths = [
            (Method::POST, login_api, Asked::Login),
            (Method::POST, refresh_api, Asked::Refresh),
            (Method::GET, get_api, Asked::Task),
            (Method::POST, post_api, Asked::Result),
        ];
        MockBackend(Arc::new(Mock {
            paths,
            auth,
            once,
            state: Mutex::new(Held {
                books: Books::new(tasks, repeat, keep),
                chaos: Chaos::new(chaos),
                sessions: Sessions::default(),
                followed: 0,
                staged: BTreeMap::new(),
                asked_in_vain: false,
                last_question: Instant::now(),
            }),
            on_result: Box::new(on_result),
            questions: Notify::new(),
            closing: CancellationToken::new(),
        }))
    }

    /// Serves until the future is dropped, or with `once` until everything is done.
    ///
    /// Beside the four paths of the options: `GET /results` gives all results as a JSON list, `GET /counts` what was counted,
    /// `GET /` a few lines of text. These never fail.
    ///
    /// # Errors
    /// The listener broke.
    pub async fn serve(&self, listener: tokio::net::TcpListener) -> std::io::Result<()> {
        let mock = self.0.clone();
        // One handler for all paths: the options' may be anything, and the router panics on paths it does not like.
        let app = Router::new().fallback(answer).layer(DefaultBodyLimit::max(RESULT_CAP)).with_state(mock.clone());
        let served = axum::serve(Lines(listener), app.into_make_service_with_connect_info::<Cutter>())
            .with_graceful_shutdown(async move { mock.done().await });
        tokio::select! {
            served = served.into_future() => served,
            () = async {
                self.0.closing.cancelled().await;
                tokio::time::sleep(LAST_ANSWERS).await;
            } => Ok(()),
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.0.held().counts()
    }
}

/// Called with the task that is answered, if one was without a result, and with the result.
type OnResult = dyn Fn(Option<&Value>, &Value) + Send + Sync;

struct Mock {
    paths: [(Method, String, Asked); 4],
    auth: Option<(String, String)>,
    once: bool,
    state: Mutex<Held>,
    on_result: Box<OnResult>,
    /// Told of each question that was answered.
    questions: Notify,
    /// It takes no more connections.
    closing: CancellationToken,
}

/// What changes.
struct Held {
    books: Books,
    chaos: Chaos,
    sessions: Sessions,
    followed: u64,
    staged: BTreeMap<Failure, u64>,
    /// Somebody was told that there is no task.
    asked_in_vain: bool,
    last_question: Instant,
}

async fn answer(
    State(mock): State<Arc<Mock>>,
    ConnectInfo(line): ConnectInfo<Cutter>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().trim_start_matches('/');
    let asked = mock.paths.iter().find(|(m, p, _)| *m == method && p.trim_start_matches('/') == path);
    let response = match asked {
        Some((_, _, asked)) => mock.answer_or_fail(*asked, &headers, &body, &line),
        None => Some(mock.page(&method, uri.path())),
    };
    mock.questions.notify_waiters();
    match response {
        Some(response) => response,
        // The server drops this when the client hangs up.
        None => std::future::pending().await,
    }
}

impl Mock {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Whoever panicked with the lock left lists that are as good as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until there is nothing more to do. A runner that drains the backend asks until it hears that there is nothing, which
    /// can be after the last result, and sends a result again until it hears that it was taken: it must not find the door
    /// shut. Whoever asks no more is not waited for long.
    async fn done(&self) {
        if !self.once {
            return std::future::pending().await;
        }
        loop {
            let question = self.questions.notified();
            let (answered, finished, until) = {
                let held = self.held();
                let quiet = if held.chaos.is_on() { LAST_QUESTION_AFTER_FAILURES } else { LAST_QUESTION };
                let finished = held.books.all_confirmed() && held.asked_in_vain;
                (held.books.all_answered(), finished, held.last_question + quiet)
            };
            if finished || (answered && until <= Instant::now()) {
                break;
            }
            if answered {
                let _ = tokio::time::timeout_at(until, question).await;
            } else {
                question.await;
            }
        }
        self.closing.cancel();
    }

    /// The answer, or nothing for a client that is to hear nothing.
    fn answer_or_fail(&self, asked: Asked, headers: &HeaderMap, body: &[u8], line: &Cutter) -> Option<Response> {
        let failure = {
            let mut held = self.held();
            held.last_question = Instant::now();
            if matches!(asked, Asked::Task | Asked::Result) && !self.lets_in(&held, headers) {
                return Some(problem(StatusCode::UNAUTHORIZED, "log in first"));
            }
            let pending = held.books.pending(0).is_some();
            let failure = held.chaos.draw(asked, self.auth.is_some(), pending);
            if let Some(failure) = failure {
                *held.staged.entry(failure).or_insert(0) += 1;
            }
            failure.map(|failure| (failure, held.chaos.choice()))
        };
        match failure {
            None => Some(self.answer(asked, body)),
            Some((failure, choice)) => self.fail(failure, choice, asked, body, line),
        }
    }

    fn fail(&self, failure: Failure, choice: usize, asked: Asked, body: &[u8], line: &Cutter) -> Option<Response> {
        // Of a result a status 200 says that it was taken, whatever follows.
        let spoilt = |response: Response| match asked {
            Asked::Result => Some(self.take(body, true, || response)),
            _ => Some(response),
        };
        match failure {
            Failure::ServerError => Some(problem(StatusCode::INTERNAL_SERVER_ERROR, "failed on purpose")),
            Failure::Unavailable => Some(problem(StatusCode::SERVICE_UNAVAILABLE, "failed on purpose")),
            Failure::Unauthorized => {
                self.held().sessions.forget();
                Some(problem(StatusCode::UNAUTHORIZED, "log in again"))
            }
            Failure::TooMany => Some(staged::too_many(choice)),
            Failure::Redirect => Some(staged::redirect(choice)),
            Failure::Garbage => spoilt(staged::garbage(choice)),
            Failure::Endless => spoilt(staged::endless()),
            Failure::Drip => spoilt(staged::drip()),
            Failure::Torn => {
                // Of a task the half that is sent is that of the real one, which stays at the front.
                let task = self.held().books.front().filter(|_| asked == Asked::Task);
                let whole = task.unwrap_or_else(|| json!({"answer": "that breaks off"})).to_string();
                spoilt(staged::torn(whole.as_bytes()))
            }
            Failure::Silence => None,
            Failure::Drop => Some(cut(line)),
            Failure::TakeAndDrop => Some(self.take(body, false, || cut(line))),
            Failure::Again => match self.held().books.pending(choice) {
                Some(task) => Some(Json(task).into_response()),
                // Answered since the draw.
                None => Some(problem(StatusCode::SERVICE_UNAVAILABLE, "failed on purpose")),
            },
        }
    }

    fn answer(&self, asked: Asked, body: &[u8]) -> Response {
        match asked {
            Asked::Login => self.log_in(body),
            Asked::Refresh => self.refresh(body),
            Asked::Task => self.hand_out(),
            Asked::Result => self.take(body, true, || Json(json!({})).into_response()),
        }
    }

    fn hand_out(&self) -> Response {
        let mut held = self.held();
        let Some(task) = held.books.hand_out() else {
            held.asked_in_vain = true;
            return Json(no_task()).into_response();
        };
        Json(task).into_response()
    }

    /// Takes a result and answers as told; what is no JSON is no result. `told`: the sender will know that it was taken.
    fn take(&self, body: &[u8], told: bool, answer: impl FnOnce() -> Response) -> Response {
        let Ok(result) = serde_json::from_slice::<Value>(body) else {
            return problem(StatusCode::BAD_REQUEST, "the result is no JSON");
        };
        let task = {
            let mut held = self.held();
            held.books.confirm(&result, told);
            held.books.take(&result)
        };
        (self.on_result)(task.as_ref(), &result);
        answer()
    }

    fn log_in(&self, body: &[u8]) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match (&self.auth, read_login(&body)) {
            (None, _) => self.new_tokens(),
            (Some((user, password)), Some(given)) if given == (user, password) => self.new_tokens(),
            _ => problem(StatusCode::UNAUTHORIZED, "wrong user name or password"),
        }
    }

    fn refresh(&self, body: &[u8]) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        // A refresh token is good for one refresh.
        let known = read_refresh(&body).is_some_and(|token| self.held().sessions.use_up(token));
        if known { self.new_tokens() } else { problem(StatusCode::UNAUTHORIZED, "unknown refresh token") }
    }

    fn new_tokens(&self) -> Response {
        let (access, refresh) = self.held().sessions.begin();
        Json(tokens_response(&access, &refresh)).into_response()
    }

    fn lets_in(&self, held: &Held, headers: &HeaderMap) -> bool {
        self.auth.is_none()
            || headers
                .get(header::AUTHORIZATION)
                .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
                .is_some_and(|token| held.sessions.knows(token))
    }

    /// What is there beside the interface.
    fn page(&self, method: &Method, path: &str) -> Response {
        let mut held = self.held();
        match (method, path) {
            (_, staged::ELSEWHERE) => {
                held.followed += 1;
                problem(StatusCode::GONE, "a redirect was followed")
            }
            (&Method::GET, "/results") => match held.books.results() {
                Some(results) => Json(Value::from(results)).into_response(),
                None => problem(StatusCode::GONE, "results are not kept: start it without --forget"),
            },
            (&Method::GET, "/counts") => Json(held.counts().to_json()).into_response(),
            (&Method::GET, "/") => held.books.page().into_response(),
            _ => problem(StatusCode::NOT_FOUND, "this backend does not have that"),
        }
    }
}

impl Held {
    fn counts(&self) -> Counts {
        Counts { sums: self.books.sums(), followed: self.followed, staged: self.staged.clone() }
    }
}

/// Closes the connection. What is given back is never written.
fn cut(line: &Cutter) -> Response {
    line.cut();
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

fn problem(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"message": text}))).into_response()
}

#[cfg(test)]
mod tests;
