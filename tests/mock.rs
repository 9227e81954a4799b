//! `mock-backend` as a program: its flags, how it fails, what it prints at its end.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

/// The program under test.
const BIN: &str = env!("CARGO_BIN_EXE_ostest-sandbox");

/// A running mock backend. It is ended if the test forgets it.
struct Backend {
    child: Child,
    address: String,
    lines: BufReader<std::process::ChildStdout>,
}

impl Backend {
    fn start(tasks: &Value, more: &[&str]) -> Backend {
        // Read before it says where it listens, so it may go with this function.
        let file = task_file(&tasks.to_string());
        let mut child = Command::new(BIN)
            .args(["mock-backend", "--listen", "127.0.0.1:0", "--tasks"])
            .arg(file.path())
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the mock backend starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("it says where it listens");
        let url = first.split_whitespace().find_map(|w| w.strip_prefix("http://")).expect("a URL");
        let address = url.to_string();
        Backend { child, address, lines }
    }

    /// One request over a connection of its own; everything that comes back until the connection ends.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers or closes");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The JSON of an answer; nothing if there is none, or an answer that failed.
    fn json(&self, method: &str, path: &str, body: &str) -> Option<Value> {
        let answer = self.ask(method, path, body);
        let body = answer.strip_prefix("HTTP/1.1 200 ")?.split_once("\r\n\r\n")?.1;
        serde_json::from_str(body).ok()
    }

    fn task(&self) -> Option<Value> {
        self.json("GET", "/api/task/available", "")
    }

    /// Sends a result until it is told that it was taken.
    fn result(&self, body: &Value) {
        while self.json("POST", "/api/task/result", &body.to_string()).is_none() {}
    }

    fn signal(&self, name: &str) {
        let done = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(done.expect("sh starts").success());
    }

    /// Its end: exit code, what else it printed, and its standard error.
    fn end(mut self) -> Output {
        let mut stdout = Vec::new();
        self.lines.read_to_end(&mut stdout).expect("its output is read");
        let mut stderr = Vec::new();
        self.child.stderr.take().expect("a pipe").read_to_end(&mut stderr).expect("its errors are read");
        Output { status: self.child.wait().expect("it ends"), stdout, stderr }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn task_file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("the tasks are written");
    file
}

fn tasks() -> Value {
    json!([
        {"attempt": 10, "repositoryUrl": "https://course.example/x.git", "branch": "main"},
        {"status": "AVAILABLE", "id": "ab", "repositoryUrl": "https://course.example/x.git", "branch": "main"},
    ])
}

/// The result of a task, in its dialect.
fn result_of(task: &Value) -> Value {
    match task.get("attempt") {
        Some(attempt) => json!({"attempt": attempt, "testResults": {"isPassed": true}}),
        None => json!({"id": task["id"], "isPassed": true, "testResults": []}),
    }
}

#[test]
fn a_list_is_handed_out_many_times_and_counted_while_answers_fail() {
    // These end by themselves: the client here has no time limits.
    let ways = "500,503,429,garbage,torn,redirect,drop,take-and-drop,again";
    let flags = ["--repeat", "50", "--forget", "--json", "--once", "--fail", "30", "--seed", "7", "--fail-by", ways];
    let backend = Backend::start(&tasks(), &flags);
    let mut names = Vec::new();
    loop {
        let Some(task) = backend.task() else { continue };
        if task["status"] == "UNAVAILABLE" {
            break;
        }
        let name = if task["attempt"].is_null() { &task["id"] } else { &task["attempt"] };
        if !names.contains(name) {
            names.push(name.clone());
        }
        backend.result(&result_of(&task));
    }
    let output = backend.end();
    assert!(output.status.success(), "{output:?}");
    let expected: Vec<Value> = (0..50)
        .flat_map(|n| [json!(10 + n), if n == 0 { json!("ab") } else { json!(format!("ab-{}", n + 1)) }])
        .collect();
    assert_eq!(names, expected);
    let results = String::from_utf8(output.stdout).expect("text");
    assert!(results.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{results}");
    let counts: Value = serde_json::from_slice(&output.stderr).expect("one line of JSON");
    for (field, count) in [
        ("tasks", 100),
        ("handedOut", 100),
        ("answered", 100),
        ("answeredAgainDifferent", 0),
        ("neverHandedOut", 0),
        ("followedRedirects", 0),
    ] {
        assert_eq!(counts[field], count, "{field}: {counts:#}");
    }
    assert_eq!(counts["results"], results.lines().count());
    // Which failures there were the seed and the order of the questions decide, and both are given. Nobody waits for a
    // result here, so no task is ever pending when one is asked for.
    let staged = counts["staged"].as_object().expect("an object");
    let seen: Vec<&str> = staged.keys().map(String::as_str).collect();
    assert_eq!(seen, ["429", "500", "503", "drop", "garbage", "redirect", "take-and-drop", "torn"]);
    assert!(counts["answeredAgainSame"].as_u64() > Some(0), "after take-and-drop: {counts:#}");
}

#[test]
fn answers_with_other_content_and_results_nobody_asked_for_are_told() {
    let backend = Backend::start(&tasks(), &[]);
    assert_eq!(backend.task().expect("a task")["attempt"], 10);
    backend.result(&json!({"attempt": 10, "testResults": {"isPassed": true}}));
    backend.result(&json!({"attempt": 10, "testResults": {"isPassed": false}}));
    backend.result(&json!({"id": "ab", "isPassed": true}));
    assert!(backend.ask("GET", "/followed-a-redirect", "").starts_with("HTTP/1.1 410 "));
    assert_eq!(backend.json("GET", "/results", "").and_then(|r| Some(r.as_array()?.len())), Some(3));
    backend.signal("TERM");
    let output = backend.end();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).trim_end(),
        "tasks 2, handed out 1, answered 1; results 3, of them for tasks never handed out 1; tasks answered again with the \
         same 0, with something else 1; redirects followed 1; failures staged: none"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
}

#[test]
fn what_it_cannot_do_is_said() {
    for (flags, code, said) in [
        (&["--fail", "101"][..], 2, "0..=100"),
        (&["--fail", "10", "--fail-by", "502"], 2, "take-and-drop"),
        (&["--fail-by", "500"], 2, "--fail"),
        (&["--repeat", "0"], 2, "--repeat"),
        (&["--like", "anybody"], 2, "os-nsu"),
        (&["--like", "os-nsu", "--user", "runner"], 2, "NAME:PASSWORD:ROLE"),
        (&["--like", "os-nsu", "--auth", "a:b"], 2, "--auth"),
        (&["--user", "a:b:ADMIN"], 2, "--like"),
        (&["--repeat", "18446744073709551615"], 2, "64 bits"),
    ] {
        let file = task_file("[{\"attempt\": 5}, {\"attempt\": 7}]");
        let output = Command::new(BIN)
            .args(["mock-backend", "--listen", "127.0.0.1:0", "--tasks"])
            .arg(file.path())
            .args(flags)
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{flags:?}: {output:?}");
    }
}
