//! Tests against the embedded backend and against one that misbehaves as told.

mod calls;
mod login;
mod os_nsu;

use super::contract::{Key, MemoryUnit, render};
use super::*;
use crate::backend::mock::{MockOptions, builtin_tasks, serve};
use crate::verdict::Verdict;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wiremock::matchers::{body_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn credentials(password: &str) -> Option<Credentials> {
    Some(Credentials { login: "dora".to_owned(), password: password.into() })
}

fn backend(url: &str, password: Option<&str>) -> Backend {
    let mut settings = BackendSettings::new(url);
    settings.auth = password.and_then(credentials);
    Backend::new(settings).unwrap()
}

fn get(response: ResponseTemplate) -> Mock {
    Mock::given(method("GET")).and(path(DEFAULT_GET_API)).respond_with(response)
}

fn post(api: &str, response: ResponseTemplate) -> Mock {
    Mock::given(method("POST")).and(path(api)).respond_with(response)
}

fn answers(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

fn tokens(access: &str) -> ResponseTemplate {
    answers(200).set_body_json(json!({"type": "Bearer", "accessToken": access, "refreshToken": "ref-secret"}))
}

/// The embedded backend on a free port; gives its address and what it took.
async fn embedded(options: MockOptions) -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let results = Arc::new(Mutex::new(Vec::new()));
    let taken = results.clone();
    tokio::spawn(serve(listener, options, move |result| {
        taken.lock().unwrap().push(result.clone());
    }));
    (url, results)
}

async fn next_key(backend: &Backend) -> Option<Key> {
    match backend.next_task().await.unwrap() {
        Answer::Task(task) => Some(task.key),
        Answer::NoTask => None,
        Answer::Invalid { problem, .. } => panic!("{problem}"),
    }
}

async fn text(url: String) -> String {
    reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()
        .unwrap()
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
}
