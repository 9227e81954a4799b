//! The backend in use at the course, as far as a runner can tell: who may take tasks, what its database takes, how its attempts
//! live and die, and the words and statuses in which it says so.
//!
//! Its tasks are of the second dialect only. Those of the first are handed out and taken here, too, under the same rules, so that
//! both can be tried.

mod attempts;
mod clock;
mod row;
mod users;

pub use attempts::Life;
pub use users::{User, default_users};

use super::books::Books;
use super::chaos::Asked;
use crate::backend::contract::{Key, key_of};
use attempts::Attempts;
use axum::Json;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clock::Clock;
use row::Row;
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};
use users::Users;

/// The role that tasks and results take.
const ADMIN: &str = "ADMIN";

/// What it is told.
#[derive(Debug, Clone)]
pub struct OsNsuOptions {
    /// Its users.
    pub users: Vec<User>,
    /// Whether each attempt is given to two who ask, as happens to two that ask at the same instant: nothing locks it.
    pub race: bool,
    /// How much later than the one before each attempt is made; zero: all are there from the start.
    pub arrive_every: Duration,
}

impl Default for OsNsuOptions {
    fn default() -> Self {
        OsNsuOptions { users: default_users(), race: false, arrive_every: Duration::ZERO }
    }
}

/// The backend in use.
pub(super) struct OsNsu {
    users: Users,
    attempts: Attempts,
    clock: Clock,
    race: bool,
    /// Given once, and not yet for the second time.
    again: Option<Value>,
}

impl OsNsu {
    pub fn new(options: OsNsuOptions) -> Self {
        let clock = Clock::start();
        OsNsu {
            users: Users::new(options.users),
            attempts: Attempts::new(clock.now(), options.arrive_every),
            clock,
            race: options.race,
            again: None,
        }
    }

    /// A task as it says it: of the second dialect it says that it is one.
    pub fn put(task: &Value) -> Value {
        let mut task = task.clone();
        if let Some(Key::Id(_)) = key_of(&task) {
            task["status"] = json!("AVAILABLE");
        }
        task
    }

    /// Who asks; or the answer to whoever may not, which comes before anything else is looked at but a result that is none.
    pub fn lets_in(&self, asked: Asked, headers: &HeaderMap, body: &[u8], path: &str) -> Result<String, Box<Response>> {
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let (user, roles) =
            token.and_then(|token| self.users.of_access(token, self.clock.now())).ok_or_else(unknown)?;
        if asked == Asked::Result {
            Row::read(body).map_err(|_| unreadable(path))?;
        }
        match roles.iter().any(|role| role == ADMIN) {
            true => Ok(user.to_owned()),
            false => Err(self.broke(StatusCode::FORBIDDEN, path).into()),
        }
    }

    /// Forgets who has logged in.
    pub fn forget(&mut self) {
        self.users.forget();
    }

    pub fn log_in(&mut self, body: &Value) -> Response {
        let now = self.clock.now();
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let name = text("username").unwrap_or("null");
        if !self.users.has(name) {
            return message(StatusCode::BAD_REQUEST, &format!("User with name '{name}' was not found"));
        }
        match text("password") {
            None => message(StatusCode::BAD_REQUEST, "rawPassword cannot be null"),
            Some(password) => match self.users.log_in(name, password, now) {
                Some(tokens) => Json(tokens).into_response(),
                None => message(StatusCode::UNAUTHORIZED, "Auth failed: Wrong password."),
            },
        }
    }

    pub fn refresh(&mut self, body: &Value) -> Response {
        let now = self.clock.now();
        let token = body.get("refreshToken").and_then(Value::as_str);
        match token.and_then(|token| self.users.refresh(token, now)) {
            Some(tokens) => Json(tokens).into_response(),
            None => message(StatusCode::UNAUTHORIZED, "Auth failed: Invalid JWT"),
        }
    }

    /// The attempt that is handed out now: the one that is given for the second time, or the next in the queue that was made
    /// by now and has no answer.
    pub fn hand_out(&mut self, books: &mut Books, user: &str) -> Option<Value> {
        let now = self.clock.now();
        self.attempts.catch_up(now);
        if let Some(task) = self.again.take() {
            self.attempts.of(&task, 0, now)?.handed_out(user, now);
            return Some(task);
        }
        loop {
            let (task, before) = (books.front()?, books.sums().handed_out);
            if self.attempts.made(before) > now {
                return None;
            }
            match self.attempts.of(&task, before, now) {
                Some(attempt) if !attempt.is_queued() => books.pass_over(),
                Some(attempt) => {
                    attempt.handed_out(user, now);
                    self.again = self.race.then(|| task.clone());
                    return books.hand_out();
                }
                // It has no name by which it could be answered.
                None => return books.hand_out(),
            }
        }
    }

    /// Notes that an attempt in progress is handed out once more.
    pub fn handed_out_again(&mut self, task: &Value, user: &str) {
        let now = self.clock.now();
        if let Some(attempt) = self.attempts.of(task, 0, now) {
            attempt.handed_out(user, now);
        }
    }

    /// Takes a result, or says why not. Any attempt's is taken, also of one that is still in the queue.
    pub fn take(&mut self, books: &Books, result: &Value, user: &str, path: &str) -> Result<Response, Box<Response>> {
        let now = self.clock.now();
        self.attempts.catch_up(now);
        let row = Row::of(result).map_err(|_| unreadable(path))?;
        let key = row.key.clone();
        if let Some(key) = key.as_ref().filter(|key| self.attempts.get(key).is_none())
            && let Some((before, task)) = books.queued(key)
        {
            self.attempts.of(&task, before, now);
        }
        let Some(attempt) = key.as_ref().and_then(|key| self.attempts.get(key)) else {
            let name = key.map_or_else(|| "null".to_owned(), |key| key.token().to_string());
            return Err(message(StatusCode::BAD_REQUEST, &format!("Attempt with id '{name}' was not found")).into());
        };
        if let Some(why) = row.refused_by_the_database() {
            attempt.refused(StatusCode::INTERNAL_SERVER_ERROR.as_u16(), why, user, now);
            return Err(self.broke(StatusCode::INTERNAL_SERVER_ERROR, path).into());
        }
        attempt.taken(&row, user, now);
        Ok(Json(json!({"id": key.map(|key| key.token().as_value().clone())})).into_response())
    }

    /// What is there beside the interface.
    pub fn page(&mut self, method: &Method, path: &str, body: &[u8]) -> Option<Response> {
        match (method, path) {
            (&Method::GET, "/attempts") => {
                self.attempts.catch_up(self.clock.now());
                Some(Json(self.attempts.to_json()).into_response())
            }
            (&Method::GET, "/clock") => Some(Json(self.clock.to_json()).into_response()),
            (&Method::POST, "/clock") => Some(match self.clock.set(body) {
                Ok(()) => Json(self.clock.to_json()).into_response(),
                Err(problem) => message(StatusCode::BAD_REQUEST, &problem),
            }),
            _ => None,
        }
    }

    /// How its attempts have fared.
    pub fn life(&mut self, books: &Books) -> Life {
        self.attempts.catch_up(self.clock.now());
        let mut life = self.attempts.life();
        let sums = books.sums();
        if let Some(queued) = sums.tasks.checked_sub(sums.handed_out).filter(|queued| *queued > 0) {
            // Some may be known, because a result of theirs was refused.
            life.states.insert("IN_QUEUE".to_owned(), queued);
        }
        life
    }

    /// What its framework says of an error that nothing handles.
    fn broke(&self, status: StatusCode, path: &str) -> Response {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let error = status.canonical_reason();
        let body = json!({"timestamp": timestamp, "status": status.as_u16(), "error": error, "path": path});
        (status, Json(body)).into_response()
    }
}

/// Nobody it knows, or not any more: no body, and an offer that nobody takes.
fn unknown() -> Response {
    let offer = [(header::WWW_AUTHENTICATE, "Basic realm=\"Realm\"")];
    (StatusCode::UNAUTHORIZED, offer).into_response()
}

/// A body that is not what it should be.
fn unreadable(path: &str) -> Response {
    let body = json!({
        "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "Failed to read request", "instance": path,
    });
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

fn message(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"message": text}))).into_response()
}
