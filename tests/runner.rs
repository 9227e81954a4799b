//! The runner against a backend and repositories that misbehave: every task is answered, and the runner goes on.

mod common;
mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::backend::request;
use support::servers::{Certificate, Server};
use support::{BIN, Place, need_root, traces};

/// A mock backend that ends when every task has its result.
struct Backend {
    child: Child,
    url: String,
    lines: BufReader<std::process::ChildStdout>,
}

impl Backend {
    fn start(place: &Place, tasks: &Value, more: &[&str]) -> Backend {
        let file = place.path("tasks.json");
        std::fs::write(&file, tasks.to_string()).expect("the tasks are written");
        let mut child = Command::new(BIN)
            .args(["mock-backend", "--listen", "127.0.0.1:0", "--json", "--tasks"])
            .arg(&file)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the mock backend starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("it says where it listens");
        let url = first.split_whitespace().find(|w| w.starts_with("http://")).expect("a URL").to_string();
        Backend { child, url, lines }
    }

    /// Waits for its end; the results in the order in which they came.
    fn results(mut self) -> Vec<Value> {
        let mut text = String::new();
        self.lines.read_to_string(&mut text).expect("its output is text");
        self.child.wait().expect("it ends");
        text.lines().map(|l| serde_json::from_str(l).expect("a result is JSON")).collect()
    }
}

fn run(place: &Place, url: &str, suite: &Path, more: &[&str]) -> std::process::Output {
    let mirror = format!("https://course.example/={}", place.path("git").display());
    place
        .command(&["--backend-url", url, "--once", "--git-mirror", &mirror])
        .arg("--tests")
        .arg(suite)
        .args(more)
        .output()
        .expect("the runner starts")
}

fn error_of(results: &[Value], attempt: &Value) -> String {
    let found: Vec<_> = results.iter().filter(|r| r["attempt"] == *attempt).collect();
    assert_eq!(found.len(), 1, "attempt {attempt} is answered once: {results:#?}");
    assert_eq!(found[0]["testResults"]["isPassed"], false);
    assert_eq!(found[0]["testResults"]["isError"], true);
    found[0]["testResults"]["errorDetails"].as_str().expect("a string").to_string()
}

#[test]
fn whatever_is_wrong_with_a_task_is_answered_in_words() {
    if !need_root("whatever_is_wrong_with_a_task_is_answered_in_words") {
        return;
    }
    let place = Place::new();
    place.repository("good", &[("main.c", "int main(void) { return 0; }\n")]);
    std::fs::create_dir_all(place.path("git/not-a-repository")).expect("a directory");
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let url = |name: &str| format!("https://course.example/{name}");
    let tasks = json!([
        {"attempt": 1, "repositoryUrl": url("good.git"), "branch": "missing"},
        {"attempt": 2, "repositoryUrl": url("nobody.git"), "branch": "main"},
        {"attempt": 3, "repositoryUrl": url("not-a-repository"), "branch": "main"},
        {"attempt": 4, "repositoryUrl": "https://evil.example/good.git", "branch": "main"},
        {"attempt": 5, "repositoryUrl": "https://course.example@evil.example/good.git", "branch": "main"},
        {"attempt": 6, "repositoryUrl": url("../secret.git"), "branch": "main"},
        {"attempt": 7, "repositoryUrl": "file:///etc", "branch": "main"},
        {"attempt": 8, "repositoryUrl": "ext::sh -c id", "branch": "main"},
        {"attempt": 9, "repositoryUrl": url("good.git"), "branch": "--upload-pack=id"},
        {"attempt": 10, "branch": "main"},
        {"attempt": "11", "repositoryUrl": url("good.git"), "branch": "main", "laboratoryNumber": "many"},
        {"attempt": 12, "repositoryUrl": url("good.git"), "branch": "main", "unknown": {"field": []}},
    ]);
    let backend = Backend::start(&place, &tasks, &["--once"]);
    let output = run(&place, &backend.url, &suite, &[]);
    assert!(output.status.success(), "{output:?}");
    let results = backend.results();
    assert_eq!(results.len(), 12);
    for (attempt, said) in [
        (json!(1), "no such branch"),
        (json!(2), "no such repository"),
        (json!(3), "no such repository"),
        (json!(4), "evil.example"),
        (json!(5), "evil.example"),
        (json!(6), ".."),
        (json!(7), "file"),
        (json!(8), "ext"),
        (json!(9), "--upload-pack"),
        (json!(10), "repositoryUrl"),
        (json!("11"), "laboratoryNumber"),
    ] {
        let error = error_of(&results, &attempt);
        assert!(error.contains(said), "attempt {attempt}: {error}");
    }
    let good = results.iter().find(|r| r["attempt"] == 12).expect("the good one is answered");
    assert_eq!(good["testResults"]["isPassed"], true, "{good:#}");
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}

#[test]
fn a_hostile_repository_reaches_nothing() {
    if !need_root("a_hostile_repository_reaches_nothing") {
        return;
    }
    let place = Place::new();
    place.repository(
        "hostile",
        &[
            (".gitattributes", "* filter=evil\n"),
            (".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ext::touch /tmp/owned\n"),
            (".gitconfig", "[core]\n\tfsmonitor = touch /tmp/owned\n"),
            ("conftest.py", "raise SystemExit('the student decides')\n"),
            ("pytest.ini", "[pytest]\naddopts = --collect-only\n"),
            ("sitecustomize.py", "import os; os._exit(0)\n"),
            ("pytest.py", "raise SystemExit(0)\n"),
        ],
    );
    let tree = place.path("git/hostile");
    std::os::unix::fs::symlink("/etc/shadow", tree.join("secret")).expect("a link");
    std::os::unix::fs::symlink("/proc/1/root", tree.join("root")).expect("a link");
    let git = |arguments: &[&str]| {
        let done = Command::new("git").args(arguments).current_dir(&tree).output().expect("git starts");
        assert!(done.status.success(), "{done:?}");
    };
    git(&["add", "-A"]);
    git(&["-c", "user.name=S", "-c", "user.email=s@course.example", "commit", "-q", "-m", "links"]);
    let suite = place.tree(
        "suite",
        &[(
            "test_a.py",
            "import os, pytest\nP = os.environ['OSTEST_PROJECT']\n\
             def test_links_lead_nowhere():\n    \
             for name in ('secret', 'root/etc/shadow'):\n        \
             with pytest.raises(OSError): open(os.path.join(P, name))\n\
             def test_no_git(): assert '.git' not in os.listdir(P) and not os.path.exists('/tmp/owned')\n",
        )],
    );
    let task = json!([{"id": "x-1", "repositoryUrl": "https://course.example/hostile", "branch": "main"}]);
    let backend = Backend::start(&place, &task, &["--once"]);
    let output = run(&place, &backend.url, &suite, &[]);
    assert!(output.status.success(), "{output:?}");
    let results = backend.results();
    assert_eq!(results[0]["id"], "x-1");
    assert_eq!(results[0]["isPassed"], true, "{:#}", results[0]);
    assert_eq!(results[0]["testResults"].as_array().map(Vec::len), Some(2));
    assert!(!Path::new("/tmp/owned").exists());
}

#[test]
fn a_task_that_is_on_its_way_when_the_signal_comes_is_answered() {
    use std::io::Write;
    if !need_root("a_task_that_is_on_its_way_when_the_signal_comes_is_answered") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut runner = place
        .command(&["--backend-url", &url, "--concurrent", "1"])
        .arg("--tests")
        .arg(&suite)
        .spawn()
        .expect("the runner starts");
    let mut results = Vec::new();
    while results.is_empty() {
        let (mut stream, _) = listener.accept().expect("the runner connects");
        let mut input = BufReader::new(stream.try_clone().expect("a stream"));
        while let Some((first, body)) = request(&mut input) {
            let answer = if first.starts_with("HEAD") {
                // At its start the runner looks whether anybody is there.
                String::new()
            } else if first.starts_with("GET") {
                // The task is handed out, and the runner is told to stop before it has read of it.
                let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", runner.id())]).status();
                assert!(kill.expect("sh starts").success());
                std::thread::sleep(std::time::Duration::from_millis(500));
                json!({"attempt": 5, "repositoryUrl": "https://evil.example/x", "branch": "main"}).to_string()
            } else {
                results.push(serde_json::from_str::<Value>(&body).expect("a result is JSON"));
                String::new()
            };
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).expect("it is read");
            if !results.is_empty() {
                break;
            }
        }
        assert!(
            !results.is_empty() || runner.try_wait().expect("a state").is_none(),
            "the runner left without an answer"
        );
    }
    assert_eq!(runner.wait().expect("it ends").code(), Some(0));
    assert_eq!(results[0]["attempt"], 5);
    assert_eq!(results[0]["testResults"]["isError"], true);
}

#[test]
fn submissions_come_over_tls_from_whom_the_certificate_names_and_no_one_else() {
    if !need_root("submissions_come_over_tls_from_whom_the_certificate_names_and_no_one_else") {
        return;
    }
    let place = Place::new();
    place.repository("good", &[("main.c", "int main(void) { return 0; }\n")]);
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let certificate = Certificate::make(&place);
    let server = Server::git(&place, &certificate);
    let top = server.url("");
    let tasks = json!([
        {"attempt": 1, "repositoryUrl": format!("{top}good"), "branch": "main"},
        {"attempt": 2, "repositoryUrl": format!("{top}good"), "branch": "missing"},
        {"attempt": 3, "repositoryUrl": format!("{top}nobody"), "branch": "main"},
        {"attempt": 4, "repositoryUrl": format!("{top}moved/good"), "branch": "main"},
    ]);
    let backend = Backend::start(&place, &tasks, &["--once"]);
    let mut runner = place.command(&["--backend-url", &backend.url, "--once", "--allow-url", &top]);
    runner.arg("--allow-internal").arg(server.place());
    let output = runner.arg("--tests").arg(&suite).env("GIT_SSL_CAINFO", &certificate.file).output();
    let output = output.expect("the runner starts");
    assert!(output.status.success(), "{output:?}");
    let answers = backend.results();
    // The same server, as a backend that has no task (404): known by its certificate, or not spoken to.
    let asked = || {
        let mut runner = place.command(&["--backend-url", &server.url("")]);
        runner.arg("--tests").arg(&suite);
        runner
    };
    let output = asked().arg("--once").arg("--ca-file").arg(&certificate.file).output().expect("the runner starts");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut stranger = asked().stdout(Stdio::piped()).spawn().expect("the runner starts");
    let log = BufReader::new(stranger.stdout.take().expect("a pipe"));
    assert!(log.lines().map_while(Result::ok).any(|line| line.contains("certificate")), "it is not said why");
    common::send_signal(i32::try_from(stranger.id()).expect("a pid"), 15);
    assert_eq!(stranger.wait().expect("it ends").code(), Some(0));
    drop(server);
    let good = answers.iter().find(|r| r["attempt"] == 1).expect("it is answered");
    assert_eq!(good["testResults"]["isPassed"], true, "{good:#}");
    assert!(error_of(&answers, &json!(2)).contains("no such branch"));
    assert!(error_of(&answers, &json!(3)).contains("no such repository"));
    // A redirect would lead from an allowed place to anywhere.
    assert!(error_of(&answers, &json!(4)).contains("could not be fetched"));
}

#[test]
fn a_backend_that_is_not_there_ends_a_run_that_was_to_be_done_once() {
    if !need_root("a_backend_that_is_not_there_ends_a_run_that_was_to_be_done_once") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    std::fs::create_dir_all(place.path("git")).expect("a directory");
    // Bound and let go again: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let output = run(&place, &format!("http://127.0.0.1:{port}"), &suite, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("backend"), "{said}");
}

#[test]
fn a_wrong_password_is_said_and_not_shown() {
    if !need_root("a_wrong_password_is_said_and_not_shown") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    std::fs::create_dir_all(place.path("git")).expect("a directory");
    let mut backend = Backend::start(&place, &json!([]), &["--auth", "teacher:right-secret"]);
    for format in ["text", "json", "journal"] {
        let log = place.path(format);
        let output = run(
            &place,
            &backend.url,
            &suite,
            &[
                &["--auth", "--login", "teacher", "--password", "wrong-secret", "--logger-level", "debug"][..],
                &["--log-format", format, "--logger-output", &log.display().to_string()],
            ]
            .concat(),
        );
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let log = std::fs::read_to_string(log).expect("a log");
        let said = format!("{}{log}", String::from_utf8_lossy(&output.stderr));
        assert!(log.contains("login") && !said.contains("wrong-secret"), "{said}");
        match format {
            "json" => assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}"),
            "journal" => assert!(log.lines().all(|line| line.starts_with('<')), "{log}"),
            _ => {}
        }
    }
    backend.child.kill().expect("it can be killed");
    backend.child.wait().expect("it ends");
}

#[test]
fn the_first_signal_lets_a_task_finish_and_the_second_answers_for_it() {
    if !need_root("the_first_signal_lets_a_task_finish_and_the_second_answers_for_it") {
        return;
    }
    let place = Place::new();
    place.repository("good", &[("main.c", "int main(void) { return 0; }\n")]);
    let marker = "import time\ndef test_a(): time.sleep(SECONDS)\n";
    for (seconds, signals, passed) in [("4", 1, true), ("100", 2, false)] {
        let suite = place.tree("suite", &[("test_a.py", &marker.replace("SECONDS", seconds))]);
        let task = json!([{"attempt": 7, "repositoryUrl": "https://course.example/good", "branch": "main"}]);
        let backend = Backend::start(&place, &task, &["--once"]);
        let mirror = format!("https://course.example/={}", place.path("git").display());
        let log = place.path(&format!("log-{signals}"));
        let mut runner = place
            .command(&["--backend-url", &backend.url, "--git-mirror", &mirror, "--logger-level", "debug"])
            .args(["--check-interval", "1", "--logger-output"])
            .arg(&log)
            .arg("--tests")
            .arg(&suite)
            .spawn()
            .expect("the runner starts");
        // The test stage runs when the limits of its sandbox have been read back for the last time.
        // Those of a canary before it do not count.
        let testing = || {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            log.split_once("taken task=").is_some_and(|(_, after)| after.matches("limits read back").count() >= 2)
        };
        // However long the start takes, which grades canaries.
        common::wait_until("the tests to run", testing);
        for _ in 0..signals {
            std::thread::sleep(std::time::Duration::from_millis(500));
            let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", runner.id())]).status();
            assert!(kill.expect("kill starts").success());
        }
        assert_eq!(runner.wait().expect("it ends").code(), Some(0));
        let results = backend.results();
        assert_eq!(results.len(), 1, "{}", std::fs::read_to_string(&log).unwrap_or_default());
        let body = &results[0]["testResults"];
        assert_eq!(body["isPassed"], passed, "{body:#}");
        if !passed {
            assert!(body["errorDetails"].as_str().is_some_and(|e| e.contains("interrupted")), "{body:#}");
        }
        assert_eq!(traces(&place.path("state")), Vec::<String>::new());
    }
}
