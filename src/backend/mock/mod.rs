//! An embedded backend to try the runner with: hands out tasks, takes results, can demand a login, and can fail in every
//! way in which a backend fails.
//!
//! It keeps everything in memory and trusts whoever calls it: bind it to the loopback only.
//!
//! A failure and the books: a task counts as handed out only where the whole of it was answered soundly, since nobody can
//! know of it otherwise; whatever was drawn instead, it stays at the front. A result counts as taken where the answer's
//! status says so, however the body goes on, and where the failure is that a taken result is not answered for.

mod answers;
mod books;
mod chaos;
mod counts;
mod line;
mod options;
mod os_nsu;
mod sessions;
mod staged;
mod tasks;

pub use books::Sums;
pub use chaos::{ChaosOptions, Failure};
pub use counts::Counts;
pub use options::MockOptions;
pub use os_nsu::{Life, OsNsuOptions, User, default_users};
pub use tasks::{builtin_tasks, check_repeat, parse_task_file};

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use books::Books;
use chaos::{Asked, Chaos};
use line::{Cutter, Lines};
use os_nsu::OsNsu;
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
        let MockOptions { tasks, repeat, auth, get_api, post_api, login_api, refresh_api, once, keep, chaos, like } =
            options;
        let tasks = if like.is_some() { tasks.iter().map(OsNsu::put).collect() } else { tasks };
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
                like: like.map(OsNsu::new),
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
    /// `GET /` a few lines of text. Like the backend in use it also has `GET /attempts`, each with its history, and `GET /clock`
    /// with `POST /clock`, which puts the clock ahead. These never fail.
    ///
    /// # Errors
    /// The listener broke.
    pub async fn serve(&self, listener: tokio::net::TcpListener) -> std::io::Result<()> {
        let mock = self.0.clone();
        // One handler for all paths: the options' may be anything, and the router panics on paths it does not like.
        let app =
            Router::new().fallback(answers::answer).layer(DefaultBodyLimit::max(RESULT_CAP)).with_state(mock.clone());
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
    /// Whom it is like, if not just anybody.
    like: Option<OsNsu>,
    chaos: Chaos,
    sessions: Sessions,
    followed: u64,
    staged: BTreeMap<Failure, u64>,
    /// Somebody was told that there is no task.
    asked_in_vain: bool,
    last_question: Instant,
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
}

impl Held {
    fn counts(&mut self) -> Counts {
        let life = self.like.as_mut().map(|like| like.life(&self.books));
        Counts { sums: self.books.sums(), followed: self.followed, staged: self.staged.clone(), life }
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
