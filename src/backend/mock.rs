//! An embedded backend to try the runner with: hands out tasks, takes results, and can demand a login.
//!
//! It keeps everything in memory and trusts whoever calls it: bind it to the loopback only.

use super::contract::{example_tasks, key_of, no_task, read_login, read_refresh, tokens_response};
use super::{DEFAULT_GET_API, DEFAULT_LOGIN_API, DEFAULT_POST_API, DEFAULT_REFRESH_API};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest result that is taken, in bytes.
const RESULT_CAP: usize = 64 * 1024 * 1024;

/// How long an end waits for somebody to ask in vain once more.
const LAST_QUESTION: Duration = Duration::from_secs(10);

/// What the embedded backend does.
pub struct MockOptions {
    /// The tasks in the order in which they are handed out.
    pub tasks: Vec<Value>,
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
}

impl Default for MockOptions {
    /// No tasks, no login, and the paths that the runner asks by default.
    fn default() -> Self {
        MockOptions {
            tasks: Vec::new(),
            auth: None,
            get_api: DEFAULT_GET_API.to_owned(),
            post_api: DEFAULT_POST_API.to_owned(),
            login_api: DEFAULT_LOGIN_API.to_owned(),
            refresh_api: DEFAULT_REFRESH_API.to_owned(),
            once: false,
        }
    }
}

/// One task in each dialect, from the course's public project.
pub fn builtin_tasks() -> Vec<Value> {
    example_tasks()
}

/// Reads tasks from a file: a JSON list of task objects, or an object whose `tests` is such a list.
///
/// The tasks themselves are not checked, so that invalid ones can be tried too.
///
/// # Errors
/// A sentence that says what is wrong with the file.
pub fn parse_task_file(text: &str) -> Result<Vec<Value>, String> {
    const EXPECTED: &str = "write a JSON list of tasks, [{...}, ...], or {\"tests\": [{...}, ...]}";
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("the task file is no JSON ({error}): {EXPECTED}"))?;
    let list = match value {
        Value::Array(list) => list,
        Value::Object(mut fields) => match fields.remove("tests") {
            Some(Value::Array(list)) => list,
            Some(_) => return Err(format!("the task file's \"tests\" is no list: {EXPECTED}")),
            None => {
                return Err(format!("the task file is an object without \"tests\": {EXPECTED}"));
            }
        },
        _ => {
            return Err(format!("the task file is neither a list nor an object: {EXPECTED}"));
        }
    };
    match list.iter().position(|task| !task.is_object()) {
        Some(at) => Err(format!("task {} of the task file is no object: {EXPECTED}", at + 1)),
        None => Ok(list),
    }
}

/// Serves until the future is dropped, or with `once` until everything is done. `on_result` is called with every result
/// that comes in.
///
/// Beside the four paths of the options: `GET /results` gives all results as a JSON list, `GET /` a few lines of text.
///
/// # Errors
/// The listener broke.
pub async fn serve(
    listener: tokio::net::TcpListener,
    options: MockOptions,
    on_result: impl Fn(&Value) + Send + Sync + 'static,
) -> std::io::Result<()> {
    let mock = Mock {
        books: Mutex::new(Books { queue: options.tasks.iter().cloned().collect(), ..Books::default() }),
        options,
        on_result: Box::new(on_result),
        random: RandomState::new(),
        all_answered: CancellationToken::new(),
        asked_in_vain: CancellationToken::new(),
    };
    let mock = Arc::new(mock);
    // One handler for all paths: the options' may be anything, and the router panics on paths it does not like.
    let app = Router::new().fallback(answer).layer(DefaultBodyLimit::max(RESULT_CAP)).with_state(mock.clone());
    // Answers that are on their way arrive.
    axum::serve(listener, app).with_graceful_shutdown(async move { mock.done().await }).await
}

struct Mock {
    options: MockOptions,
    books: Mutex<Books>,
    on_result: Box<dyn Fn(&Value) + Send + Sync>,
    random: RandomState,
    /// Nothing is left to hand out, and nothing has no result.
    all_answered: CancellationToken,
    /// Somebody was told that there is no task.
    asked_in_vain: CancellationToken,
}

#[derive(Default)]
struct Books {
    queue: VecDeque<Value>,
    /// Handed out, no result yet.
    pending: Vec<Value>,
    results: Vec<Value>,
    access: HashSet<String>,
    refresh: HashSet<String>,
    tokens: u64,
}

async fn answer(State(mock): State<Arc<Mock>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let options = &mock.options;
    let is = |wanted: Method, path: &str| {
        method == wanted && uri.path().trim_start_matches('/') == path.trim_start_matches('/')
    };
    if is(Method::POST, &options.login_api) {
        mock.log_in(&body)
    } else if is(Method::POST, &options.refresh_api) {
        mock.refresh(&body)
    } else if is(Method::GET, &options.get_api) {
        if mock.lets_in(&headers) { mock.hand_out() } else { unauthorized() }
    } else if is(Method::POST, &options.post_api) {
        if mock.lets_in(&headers) { mock.take(&body) } else { unauthorized() }
    } else if is(Method::GET, "/results") {
        Json(mock.books().results.clone()).into_response()
    } else if is(Method::GET, "/") {
        mock.state().into_response()
    } else {
        problem(StatusCode::NOT_FOUND, "this backend does not have that")
    }
}

impl Mock {
    fn books(&self) -> MutexGuard<'_, Books> {
        // Whoever panicked with the lock left lists that are as good as before.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until there is nothing more to do. A runner that drains the backend asks until it hears that there is nothing, which
    /// can be after the last result: it must not find the door shut.
    async fn done(&self) {
        if !self.options.once {
            return std::future::pending().await;
        }
        self.all_answered.cancelled().await;
        // Whoever asks no more is not waited for long.
        let _ = tokio::time::timeout(LAST_QUESTION, self.asked_in_vain.cancelled()).await;
    }

    fn hand_out(&self) -> Response {
        let mut books = self.books();
        let Some(task) = books.queue.pop_front() else {
            self.asked_in_vain.cancel();
            return Json(no_task()).into_response();
        };
        books.pending.push(task.clone());
        Json(task).into_response()
    }

    fn take(&self, body: &[u8]) -> Response {
        let Ok(result) = serde_json::from_slice::<Value>(body) else {
            return problem(StatusCode::BAD_REQUEST, "the result is no JSON");
        };
        let mut books = self.books();
        if let Some(key) = key_of(&result) {
            // One entry only: the same task may have been handed out twice.
            if let Some(at) = books.pending.iter().position(|task| key_of(task).as_ref() == Some(&key)) {
                books.pending.remove(at);
            }
        }
        books.results.push(result.clone());
        let all = books.queue.is_empty() && books.pending.is_empty();
        drop(books);
        (self.on_result)(&result);
        if all {
            self.all_answered.cancel();
        }
        Json(json!({})).into_response()
    }

    fn log_in(&self, body: &[u8]) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match (&self.options.auth, read_login(&body)) {
            (None, _) => self.new_tokens(),
            (Some((user, password)), Some(given)) if given == (user, password) => self.new_tokens(),
            _ => problem(StatusCode::UNAUTHORIZED, "wrong user name or password"),
        }
    }

    fn refresh(&self, body: &[u8]) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        // A refresh token is good for one refresh.
        let known = read_refresh(&body).is_some_and(|token| self.books().refresh.remove(token));
        if known { self.new_tokens() } else { problem(StatusCode::UNAUTHORIZED, "unknown refresh token") }
    }

    fn new_tokens(&self) -> Response {
        let mut books = self.books();
        books.tokens += 1;
        // Hard to guess rather than unguessable, which is enough for trying things out.
        let access = format!("access-{:016x}", self.random.hash_one(("access", books.tokens)));
        let refresh = format!("refresh-{:016x}", self.random.hash_one(("refresh", books.tokens)));
        books.access.insert(access.clone());
        books.refresh.insert(refresh.clone());
        Json(tokens_response(&access, &refresh)).into_response()
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        self.options.auth.is_none()
            || headers
                .get(header::AUTHORIZATION)
                .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
                .is_some_and(|token| self.books().access.contains(token))
    }

    fn state(&self) -> String {
        let books = self.books();
        let pending: String = books
            .pending
            .iter()
            .map(|task| match key_of(task) {
                Some(key) => format!("  {key}\n"),
                None => "  a task without attempt and id, which nobody can answer\n".to_owned(),
            })
            .collect();
        format!(
            "An embedded backend of ostest-sandbox.\ntasks left: {}\npending: {}\n{pending}results: {} (GET /results)\n",
            books.queue.len(),
            books.pending.len(),
            books.results.len()
        )
    }
}

fn unauthorized() -> Response {
    problem(StatusCode::UNAUTHORIZED, "log in first")
}

fn problem(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"message": text}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_files() {
        assert_eq!(parse_task_file("[{\"id\": 1}]"), Ok(vec![json!({"id": 1})]));
        assert_eq!(parse_task_file("{\"tests\": [{}, {}]}").unwrap().len(), 2);
        for (text, expected) in [
            ("", "no JSON"),
            ("5", "neither"),
            ("{\"task\": []}", "without \"tests\""),
            ("{\"tests\": {}}", "no list"),
            ("[{}, 3]", "task 2"),
        ] {
            let error = parse_task_file(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
