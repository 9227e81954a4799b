//! What the embedded backend says to each request.

use super::chaos::Asked;
use super::line::Cutter;
use super::os_nsu::OsNsu;
use super::{Failure, Held, Mock, cut, problem, staged};
use crate::backend::contract::{no_task, read_login, read_refresh, tokens_response};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

/// The one handler.
pub(super) async fn answer(
    State(mock): State<Arc<Mock>>,
    ConnectInfo(line): ConnectInfo<Cutter>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().trim_start_matches('/');
    let asked = mock.paths.iter().find(|(m, p, _)| mock.means(&method, m) && p.trim_start_matches('/') == path);
    let response = match asked {
        Some((_, _, asked)) => {
            let question = Question { asked: *asked, headers: &headers, body: &body, path: uri.path() };
            mock.answer_or_fail(&question, &line)
        }
        None => Some(mock.page(&method, uri.path(), &body)),
    };
    mock.questions.notify_waiters();
    match response {
        Some(response) => response,
        // The server drops this when the client hangs up.
        None => std::future::pending().await,
    }
}

/// A request to one of the interface's paths.
struct Question<'a> {
    asked: Asked,
    headers: &'a HeaderMap,
    body: &'a [u8],
    path: &'a str,
}

impl Mock {
    /// Whether a request with this method is one with that. To the framework of the backend in use HEAD is a GET of which it
    /// throws the body away: so is the task.
    fn means(&self, method: &Method, meant: &Method) -> bool {
        method == meant || (method == Method::HEAD && meant == Method::GET && self.held().like.is_some())
    }

    /// The answer, or nothing for a client that is to hear nothing.
    fn answer_or_fail(&self, question: &Question<'_>, line: &Cutter) -> Option<Response> {
        let asked = question.asked;
        let (user, failure) = {
            let mut held = self.held();
            held.last_question = Instant::now();
            let user = match asked {
                Asked::Task | Asked::Result => match self.lets_in(&held, question) {
                    Ok(user) => user,
                    Err(refusal) => return Some(*refusal),
                },
                Asked::Login | Asked::Refresh => String::new(),
            };
            let pending = held.books.pending(0).is_some();
            let auth = self.auth.is_some() || held.like.is_some();
            let failure = held.chaos.draw(asked, auth, pending);
            if let Some(failure) = failure {
                *held.staged.entry(failure).or_insert(0) += 1;
            }
            (user, failure.map(|failure| (failure, held.chaos.choice())))
        };
        match failure {
            None => Some(self.answer(question, &user)),
            Some((failure, choice)) => self.fail(failure, choice, question, &user, line),
        }
    }

    fn fail(
        &self,
        failure: Failure,
        choice: usize,
        question: &Question<'_>,
        user: &str,
        line: &Cutter,
    ) -> Option<Response> {
        let asked = question.asked;
        // Of a result a status 200 says that it was taken, whatever follows.
        let spoilt = |response: Response| match asked {
            Asked::Result => Some(self.take(question, user, true, |_| response)),
            _ => Some(response),
        };
        match failure {
            Failure::ServerError => Some(problem(StatusCode::INTERNAL_SERVER_ERROR, "failed on purpose")),
            Failure::Unavailable => Some(problem(StatusCode::SERVICE_UNAVAILABLE, "failed on purpose")),
            Failure::Unauthorized => {
                let mut held = self.held();
                held.sessions.forget();
                held.like.iter_mut().for_each(OsNsu::forget);
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
            Failure::TakeAndDrop => Some(self.take(question, user, false, |_| cut(line))),
            Failure::Again => {
                let mut held = self.held();
                let Some(task) = held.books.pending(choice) else {
                    // Answered since the draw.
                    return Some(problem(StatusCode::SERVICE_UNAVAILABLE, "failed on purpose"));
                };
                held.like.iter_mut().for_each(|like| like.handed_out_again(&task, user));
                Some(Json(task).into_response())
            }
        }
    }

    fn answer(&self, question: &Question<'_>, user: &str) -> Response {
        let body = || serde_json::from_slice::<Value>(question.body).unwrap_or_default();
        match question.asked {
            Asked::Login => self.log_in(&body()),
            Asked::Refresh => self.refresh(&body()),
            Asked::Task => self.hand_out(user),
            Asked::Result => self.take(question, user, true, |said| said),
        }
    }

    fn hand_out(&self, user: &str) -> Response {
        let mut held = self.held();
        let Held { books, like, .. } = &mut *held;
        let task = match like {
            None => books.hand_out(),
            Some(like) => like.hand_out(books, user),
        };
        let Some(task) = task else {
            held.asked_in_vain = true;
            return Json(no_task()).into_response();
        };
        Json(task).into_response()
    }

    /// Takes a result and answers as told; what is no JSON is no result. `told`: the sender will know that it was taken.
    /// `answer` is given what would be said.
    fn take(
        &self,
        question: &Question<'_>,
        user: &str,
        told: bool,
        answer: impl FnOnce(Response) -> Response,
    ) -> Response {
        let Ok(result) = serde_json::from_slice::<Value>(question.body) else {
            return problem(StatusCode::BAD_REQUEST, "the result is no JSON");
        };
        let (task, said) = {
            let mut held = self.held();
            let Held { books, like, .. } = &mut *held;
            let said = match like {
                None => Json(json!({})).into_response(),
                Some(like) => match like.take(books, &result, user, question.path) {
                    Ok(said) => said,
                    Err(refusal) => return *refusal,
                },
            };
            books.confirm(&result, told);
            (books.take(&result), said)
        };
        (self.on_result)(task.as_ref(), &result);
        answer(said)
    }

    fn log_in(&self, body: &Value) -> Response {
        if let Some(like) = &mut self.held().like {
            return like.log_in(body);
        }
        match (&self.auth, read_login(body)) {
            (None, _) => self.new_tokens(),
            (Some((user, password)), Some(given)) if given == (user, password) => self.new_tokens(),
            _ => problem(StatusCode::UNAUTHORIZED, "wrong user name or password"),
        }
    }

    fn refresh(&self, body: &Value) -> Response {
        if let Some(like) = &mut self.held().like {
            return like.refresh(body);
        }
        // A refresh token is good for one refresh.
        let known = read_refresh(body).is_some_and(|token| self.held().sessions.use_up(token));
        if known { self.new_tokens() } else { problem(StatusCode::UNAUTHORIZED, "unknown refresh token") }
    }

    fn new_tokens(&self) -> Response {
        let (access, refresh) = self.held().sessions.begin();
        Json(tokens_response(&access, &refresh)).into_response()
    }

    /// Who asks, if that is known; or the answer to whoever may not.
    fn lets_in(&self, held: &Held, question: &Question<'_>) -> Result<String, Box<Response>> {
        if let Some(like) = &held.like {
            return like.lets_in(question.asked, question.headers, question.body, question.path);
        }
        let known = self.auth.is_none()
            || question
                .headers
                .get(header::AUTHORIZATION)
                .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
                .is_some_and(|token| held.sessions.knows(token));
        match known {
            true => Ok(String::new()),
            false => Err(problem(StatusCode::UNAUTHORIZED, "log in first").into()),
        }
    }

    /// What is there beside the interface.
    fn page(&self, method: &Method, path: &str, body: &[u8]) -> Response {
        let mut held = self.held();
        if let Some(page) = held.like.as_mut().and_then(|like| like.page(method, path, body)) {
            return page;
        }
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
