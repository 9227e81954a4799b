//! The backend in use, as `mock-backend --like os-nsu` stages it: its letter, and that every result is taken by it at the first try.

#[path = "../common/mod.rs"]
mod common;
mod delivery;
mod letter;
mod role;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use support::{BIN, Place};

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// Where tasks are asked for, and where results go.
const TASK: &str = "/api/task/available";
const RESULT: &str = "/api/task/result";

/// A running mock backend. It ends with this.
struct Backend {
    child: Child,
    address: String,
}

impl Backend {
    fn start(place: &Place, tasks: &Value, more: &[&str]) -> Backend {
        let file = place.path("tasks.json");
        std::fs::write(&file, tasks.to_string()).expect("the tasks are written");
        let mut child = Command::new(BIN)
            .args(["mock-backend", "--like", "os-nsu", "--listen", "127.0.0.1:0", "--tasks"])
            .arg(&file)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the mock backend starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("it says where it listens");
        let address =
            first.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect("a URL").to_string();
        // It prints every result, and must not wait for a reader.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Backend { child, address }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One request; the status, the headers and the body.
    fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let login = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{login}");
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_lowercase(), body.to_string())
    }

    /// The status, and the JSON of the body.
    fn json(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
        let (status, _, body) = self.ask(method, path, token, &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    fn tokens(&self, user: &str) -> (String, String) {
        let login = json!({"username": user, "password": user});
        let (status, tokens) = self.json("POST", "/api/v1/login", None, &login);
        assert_eq!((status, &tokens["type"]), (200, &json!("Bearer")), "{tokens}");
        let text = |name: &str| tokens[name].as_str().expect("a token").to_string();
        (text("accessToken"), text("refreshToken"))
    }

    fn page(&self, path: &str) -> Value {
        self.json("GET", path, None, &json!(null)).1
    }

    fn advance(&self, by: &str) {
        assert_eq!(self.json("POST", "/clock", None, &json!({"advance": by})).0, 200);
    }

    /// Each attempt's page, by its name.
    fn attempts(&self) -> BTreeMap<String, Value> {
        let attempts = self.page("/attempts");
        attempts.as_array().expect("a list").iter().map(|attempt| (name(attempt), attempt.clone())).collect()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The name of a task, an attempt or a result.
fn name(object: &Value) -> String {
    let name = if object["attempt"].is_null() { &object["id"] } else { &object["attempt"] };
    name.as_str().map_or_else(|| name.to_string(), str::to_string)
}

fn uuid(number: u32) -> String {
    format!("3f0c7f5e-5d0b-4b52-9a5e-{number:012x}")
}

/// A task in the dialect of the backend in use, or in the first.
fn task(number: u32, second: bool, rest: &Value) -> Value {
    let mut task = if second { json!({"id": uuid(number)}) } else { json!({"attempt": number}) };
    for (name, value) in rest.as_object().expect("an object") {
        task[name] = value.clone();
    }
    task
}
