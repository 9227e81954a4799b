//! The backend in use, as `mock-backend --like os-nsu` stages it: its letter, and that every result is taken by it at the first try.

mod common;
mod support;

use common::wait_until;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use support::{BIN, Place, need_root, traces};

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

#[test]
fn it_says_what_the_backend_in_use_says() {
    let place = Place::new();
    let rest = json!({"repositoryUrl": "https://course.example/x.git", "branch": "main", "laboratoryNumber": 1});
    let tasks = json!([task(1, true, &rest), task(2, true, &rest), task(3, true, &rest)]);
    let backend = Backend::start(&place, &tasks, &[]);
    let none = json!(null);
    // Nobody: 401 without a body. A student: in, and no further.
    let (status, head, body) = backend.ask("GET", TASK, None, "");
    assert!(status == 401 && body.is_empty() && head.contains("www-authenticate: basic realm=\"realm\""), "{head}");
    assert_eq!(backend.ask("GET", TASK, Some("a.b.c"), "").0, 401);
    let (student, _) = backend.tokens("dora_explorer");
    for (method, path) in [("GET", TASK), ("POST", RESULT)] {
        let (status, body) = backend.json(method, path, Some(&student), &json!({"id": uuid(1), "duration": 1}));
        assert_eq!((status, &body["error"], &body["path"]), (403, &json!("Forbidden"), &json!(path)), "{body}");
    }
    // What is no result is found before the role is asked for.
    assert_eq!(backend.ask("POST", RESULT, Some(&student), "{").0, 400);
    let login = |user: &str, password: &str| {
        backend.json("POST", "/api/v1/login", None, &json!({"username": user, "password": password}))
    };
    assert_eq!(login("runner", "x"), (401, json!({"message": "Auth failed: Wrong password."})));
    assert_eq!(login("who", "x"), (400, json!({"message": "User with name 'who' was not found"})));

    let (token, first) = backend.tokens("runner");
    let (_, second) = backend.tokens("runner");
    let refresh = |token: &str| backend.json("POST", "/api/v1/auth/refresh", None, &json!({"refreshToken": token}));
    assert_eq!(refresh(&first), (401, json!({"message": "Auth failed: Invalid JWT"})));
    let (status, fresh) = refresh(&second);
    assert_eq!((status, refresh(&second).0), (200, 401));
    let token = match fresh["accessToken"].as_str() {
        Some(fresh) if backend.ask("HEAD", TASK, Some(&token), "").0 == 200 => fresh.to_string(),
        _ => panic!("the first login's access token is good as well: {fresh}"),
    };
    // HEAD has taken the first task.
    let (_, taken) = backend.json("GET", TASK, Some(&token), &none);
    assert_eq!((&taken["id"], &taken["status"]), (&json!(uuid(2)), &json!("AVAILABLE")), "{taken}");

    let send = |result: Value| backend.json("POST", RESULT, Some(&token), &result);
    let result = |number: u32, more: Value| {
        let mut result = json!({"id": uuid(number), "isPassed": true, "isError": false, "errorDetails": "", "duration": 5, "testResults": []});
        more.as_object().into_iter().flatten().for_each(|(name, value)| result[name] = value.clone());
        result
    };
    for unknown in [json!(uuid(9)), json!("no-uuid"), none.clone()] {
        assert_eq!(send(result(1, json!({"id": unknown}))).0, 400);
    }
    for _ in 0..2 {
        for refused in [
            json!({"errorDetails": "ы".repeat(256)}),
            json!({"errorDetails": "\0"}),
            json!({"testResults": [{"name": "a", "description": "a\0"}]}),
            json!({"duration": null}),
        ] {
            let (status, body) = send(result(1, refused));
            assert_eq!((status, &body["error"]), (500, &json!("Internal Server Error")));
        }
    }
    assert_eq!(backend.attempts()[&uuid(1)]["state"], "IN_PROGRESS", "nothing was stored");
    assert_eq!(send(result(1, json!({"errorDetails": "ы".repeat(255)}))), (200, json!({"id": uuid(1)})));
    assert_eq!(send(result(1, json!({"isPassed": false}))).0, 200);
    let attempts = backend.attempts();
    assert_eq!((&attempts[&uuid(1)]["state"], &attempts[&uuid(1)]["posts"]), (&json!("FAILURE"), &json!(10)));

    // The other one grows old; the third is answered out of the queue, and not handed out any more.
    backend.advance("11m");
    assert_eq!(backend.attempts()[&uuid(2)]["lost"], true);
    assert_eq!(backend.page("/counts")["attempts"]["lost"], 1);
    let (token, _) = backend.tokens("runner");
    assert_eq!(send(result(2, json!({"isError": true}))).0, 200);
    backend.advance("15m");
    assert_eq!(backend.ask("GET", TASK, Some(&token), "").0, 401, "a token is good for a quarter of an hour");
    let (token, _) = backend.tokens("runner");
    assert_eq!(backend.json("POST", RESULT, Some(&token), &result(3, none.clone())).0, 200);
    assert_eq!(backend.json("GET", TASK, Some(&token), &none).1, json!({"status": "UNAVAILABLE"}));
    let states: Vec<Value> = backend.attempts().values().map(|attempt| attempt["state"].clone()).collect();
    assert_eq!(states, ["FAILURE", "ERROR", "SUCCESS"]);
}

#[test]
fn a_race_gives_one_attempt_to_two_and_late_ones_are_not_there_yet() {
    let place = Place::new();
    let tasks = json!([task(1, true, &json!({})), task(2, true, &json!({}))]);
    let users = ["--user", "one:one:ADMIN", "--user", "two:two:TEACHER,ADMIN"];
    let backend = Backend::start(&place, &tasks, &[&users[..], &["--race", "--arrive-every", "1h"]].concat());
    let ((one, _), (two, _)) = (backend.tokens("one"), backend.tokens("two"));
    let take = |token: &str| backend.json("GET", TASK, Some(token), &json!(null)).1["id"].clone();
    assert_eq!((take(&one), take(&two), take(&one)), (json!(uuid(1)), json!(uuid(1)), json!(null)));
    assert_eq!(backend.page("/counts")["attempts"]["handedOutTwice"], 1);
    backend.advance("1h");
    let (one, _) = backend.tokens("one");
    assert_eq!(take(&one), json!(uuid(2)));
}

fn read(path: &str) -> Value {
    let path = Path::new(TOP).join(path);
    serde_json::from_str(&std::fs::read_to_string(path).expect("it can be read")).expect("it is JSON")
}

/// The runner as examples/os-nsu.toml has it, but for suite and time-outs.
fn run(place: &Place, backend: &Backend, mirror: &Path, suite: &Path, more: &[&str]) -> Output {
    let mirror = format!("https://course.example/={}", mirror.display());
    place
        .command(&["--backend-url", &backend.url(), "--once", "--auth", "--login", "runner", "--git-mirror", &mirror])
        .args(["--error-limit", "255", "--memory-unit", "MiB", "--check-interval", "0.1"])
        .arg("--tests")
        .arg(suite)
        .args(more)
        .env("OSTEST_PASSWORD", "runner")
        .output()
        .expect("the runner starts")
}

/// The part of a result that both dialects have, and its cases.
fn parts(result: &Value) -> (&Value, &Vec<Value>) {
    let whole = if result["attempt"].is_null() { result } else { &result["testResults"] };
    let cases = whole.get("testCases").unwrap_or(&whole["testResults"]);
    (whole, cases.as_array().expect("a list"))
}

/// One line of a table for each submission or error: whether each of its two results was delivered at the first try.
fn table(title: &str, rows: &[(String, [u32; 2])], backend: &Backend) {
    let attempts = backend.attempts();
    let results = backend.page("/results");
    let results = results.as_array().expect("a list");
    println!("{title:34} {:38} second dialect", "first dialect");
    for (label, numbers) in rows {
        let told = [numbers[0].to_string(), uuid(numbers[1])].map(|name| {
            let attempt = attempts.get(&name).unwrap_or_else(|| panic!("{label}: {name} was handed out"));
            let (posts, refused) = (&attempt["posts"], attempt["refused"].as_array().expect("a list"));
            assert!(*posts == 1 && refused.is_empty(), "{label}: {attempt:#}");
            let mut own = results.iter().filter(|result| self::name(result) == name);
            let (whole, cases) = own.next_back().map(parts).expect("a result");
            let length = whole["errorDetails"].as_str().expect("text").chars().count();
            assert!(length <= 255, "{label}: {whole:#}");
            format!("first try, {}, {} cases, {length} ch.", attempt["state"].as_str().expect("a state"), cases.len())
        });
        println!("{label:34} {:38} {}", told[0], told[1]);
    }
}

#[test]
fn every_submission_of_the_example_course_is_delivered_at_the_first_try() {
    if !need_root("every_submission_of_the_example_course_is_delivered_at_the_first_try") {
        return;
    }
    let place = Place::new();
    let submissions = place.path("git/submissions");
    let made = Command::new(Path::new(TOP).join("examples/make-submissions.sh")).arg(&submissions).output();
    assert!(made.expect("the script starts").status.success());
    // Each once with all tests, as examples/tasks.json has it, and once in the other dialect with those that tell it from the good
    // one: that takes a second and not twenty.
    let (listed, expected) = (read("examples/tasks.json"), read("examples/expected.json"));
    let (mut tasks, mut rows, mut wanted) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (at, listed) in listed.as_array().expect("a list").iter().enumerate() {
        let expected = expected.as_object().expect("an object");
        let (label, expected) = expected.iter().find(|(_, e)| name(e) == name(listed)).expect("it is expected");
        let number = 100 + u32::try_from(at).expect("a small list");
        let second = listed["attempt"].is_null();
        let mut rest = listed.clone();
        for field in ["attempt", "id", "status"] {
            rest.as_object_mut().expect("an object").remove(field);
        }
        tasks.push(task(number, second, &rest));
        if rest["connectedTests"] == json!([]) {
            let failed = expected["failed"].as_array().and_then(|failed| failed.first()).and_then(Value::as_str);
            let telling = failed.unwrap_or("test_build::test_make_builds_everything").split('[').next();
            rest["connectedTests"] = json!([telling]);
        }
        tasks.push(task(number, !second, &rest));
        rows.push((label.clone(), [number, number]));
        wanted.insert(if second { uuid(number) } else { number.to_string() }, expected.clone());
    }
    let backend = Backend::start(&place, &Value::from(tasks), &[]);
    let course = Path::new(TOP).join("examples/course");
    let flags = ["--allow-url", "https://course.example/", "--pids-limit", "256", "--concurrent", "2"];
    let output = run(&place, &backend, &place.path("git"), &course, &flags);
    assert!(output.status.success(), "{output:?}");
    table("submission", &rows, &backend);
    let results = backend.page("/results");
    for (name, expected) in wanted {
        let results = results.as_array().expect("a list");
        let result = results.iter().find(|result| self::name(result) == name).expect("a result");
        let (whole, cases) = parts(result);
        // Whether the programs get the verdicts that they were made for is tests/course.rs's to say, with time for it.
        if expected["isError"] == true {
            assert_eq!((&whole["isError"], cases.len()), (&json!(true), 1), "{name}: {whole:#}");
            assert_eq!(cases[0]["name"], "ostest::error", "{name}");
        }
    }
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}

#[test]
fn every_kind_of_error_is_delivered_at_the_first_try() {
    if !need_root("every_kind_of_error_is_delivered_at_the_first_try") {
        return;
    }
    let place = Place::new();
    place.repository("good.git", &[("Makefile", "all:\n"), ("a.c", "")]);
    // The compiler's words as a large project has them: long before and behind the error, and not in English.
    let noisy = "all:\n\t@for i in $$(seq 200); do echo \"gcc -Wall -c файл$$i.c\"; done\n\t@echo \"main.c:7:1: error: ожидается ‘;’\"\n\t@for i in $$(seq 50); do echo \"и ещё $$i\"; done; printf 'a\\0b\\n'; false\n";
    place.repository("broken.git", &[("Makefile", noisy)]);
    let planted: Vec<(String, &str)> = (0..12).map(|n| (format!("planted_module_number_{n}.py"), "X = 1\n")).collect();
    let mut files: Vec<(&str, &str)> = planted.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    files.push(("Makefile", "all:\n"));
    place.repository("planting.git", &files);
    // One suite that fares differently by the laboratory, since each runner's start costs a canary.
    let conftest =
        format!("import os\nif os.environ['OSTEST_LAB'] == '2': raise RuntimeError('{}')\n", "плохо ".repeat(200));
    let tests = "import os, sys, time\nLAB = os.environ['OSTEST_LAB']\ndef test_a():\n    sys.path.insert(0, os.environ['OSTEST_PROJECT'])\n    \
                 for n in range(12 if LAB == '4' else 0):\n        try: __import__('planted_module_number_%d' % n)\n        \
                 except ImportError: pass\n    assert LAB != '5', 'a\\0b' + 'ы' * 70000\ndef test_b():\n    time.sleep(600 if LAB == '3' else 0)\n";
    let suite = place.tree(
        "suite",
        &[
            ("ostest.toml", "[build]\ncommand = [\"make\"]\n[lab.3]\ntimeout = \"4s\"\n"),
            ("conftest.py", &conftest),
            ("test_a.py", tests),
        ],
    );
    let url = |name: &str| json!(format!("https://course.example/{name}"));
    let of = |name: &str, more: Value| {
        let mut rest = json!({"repositoryUrl": url(name), "branch": "main", "laboratoryNumber": 1});
        more.as_object().into_iter().flatten().for_each(|(name, value)| rest[name] = value.clone());
        rest
    };
    let kinds = [
        ("no error", of("good.git", json!({}))),
        ("build failed", of("broken.git", json!({}))),
        ("unknown branch", of("good.git", json!({"branch": "ветка".repeat(12)}))),
        (
            "refused URL",
            json!({"repositoryUrl": format!("https://elsewhere.example/{}", "длинный/".repeat(30)), "branch": "main"}),
        ),
        ("no URL", json!({"repositoryUrl": "git@github.com:a/b", "branch": "main"})),
        ("refused branch", of("good.git", json!({"branch": "--upload-pack=id"}))),
        ("unknown tests", of("good.git", json!({"connectedTests": ["нет".repeat(90)]}))),
        ("no valid laboratory", of("good.git", json!({"laboratoryNumber": "first"}))),
        ("suite that does not start", of("good.git", json!({"laboratoryNumber": 2}))),
        ("time is over", of("good.git", json!({"laboratoryNumber": 3}))),
        ("tampering notes", of("planting.git", json!({"laboratoryNumber": 4}))),
        ("NUL and a long description", of("good.git", json!({"laboratoryNumber": 5}))),
    ];
    let (mut rows, mut tasks) = (Vec::new(), Vec::new());
    for (number, (label, rest)) in (200..).zip(&kinds) {
        tasks.extend([task(number, false, rest), task(number, true, rest)]);
        rows.push((label.to_string(), [number, number]));
    }
    let backend = Backend::start(&place, &Value::from(tasks), &[]);
    let output = run(&place, &backend, &place.path("git"), &suite, &["--concurrent", "4"]);
    assert!(output.status.success(), "{output:?}");
    table("kind of error", &rows, &backend);
    let results = backend.page("/results");
    let results = results.as_array().expect("a list");
    let of = |number: u32| results.iter().find(|result| name(result) == uuid(number)).expect("a result").clone();
    let said: BTreeMap<String, Value> = rows.into_iter().map(|(label, [_, number])| (label, of(number))).collect();
    // The whole text stands in a case, its most useful part beside it.
    let text = |label: &str, field: &str| said[label][field].as_str().expect("text").to_string();
    let first = |label: &str| said[label]["testResults"][0].clone();
    let details = text("build failed", "errorDetails");
    assert!(
        details.starts_with("the build failed: `make`") && details.contains("main.c:7:1: error: ожидается ‘;’"),
        "{details}"
    );
    assert!(details.ends_with(" characters in all)"), "{details}");
    let case = first("build failed");
    assert_eq!((&case["name"], &case["isPassed"]), (&json!("ostest::error"), &json!(false)));
    let whole = case["description"].as_str().expect("text");
    assert!(
        whole.contains("\nE main.c:7:1: error: ожидается ‘;’\nE и ещё 1\nE ") && whole.contains("a\\x00b"),
        "{whole}"
    );
    let case = first("suite that does not start");
    assert!(
        case["description"].as_str().is_some_and(|all| all.contains("RuntimeError") && all.len() > 2000),
        "{case:#}"
    );
    let case = first("tampering notes");
    assert_eq!(
        (&case["name"], &case["isPassed"]),
        (&json!("ostest::note"), &said["tampering notes"]["isPassed"]),
        "{case:#}"
    );
    assert!(case["description"].as_str().is_some_and(|all| all.contains("planted_module_number_11")), "{case:#}");
    assert_eq!(said["no error"]["isPassed"], true);
    assert_eq!(said["no error"]["testResults"].as_array().map(Vec::len), Some(2));
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}

#[test]
fn a_runner_without_the_role_says_so_and_asks_slowly() {
    if !need_root("a_runner_without_the_role_says_so_and_asks_slowly") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    place.repository("good.git", &[("a.c", "")]);
    let rest = json!({"repositoryUrl": "https://course.example/good.git", "branch": "main"});
    let backend = Backend::start(&place, &json!([task(1, true, &rest)]), &[]);
    let log = place.path("log");
    // The default login, at the default level.
    let mut runner = place.runner(&backend.url(), &suite);
    let mut runner = runner.arg("--auth").arg("--logger-output").arg(&log).spawn().expect("it starts");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_until("the log to name the role", || said().contains("the role STUDENT"));
    common::send_signal(i32::try_from(runner.id()).expect("a pid"), 15);
    assert!(runner.wait().expect("it ends").success());
    let said = said();
    assert_eq!(said.matches("HTTP 403").count(), 1, "{said}");
    assert!(said.contains("\"dora_explorer\" has the role STUDENT, and this takes the role ADMIN"), "{said}");
    assert!(said.contains("--login") && said.contains("the next try is in 30 s"), "{said}");
    assert_eq!(backend.page("/counts")["handedOut"], 0);

    // Once is enough for --once.
    let once = place.runner(&backend.url(), &suite).args(["--auth", "--once"]).output().expect("it starts");
    assert!(!once.status.success());
    assert!(String::from_utf8_lossy(&once.stderr).contains("the role ADMIN"), "{once:?}");

    // And `check` says it before.
    let check = |user: &str, password: &str| {
        let mut command =
            place.command(&["check", "--json", "--auth", "--backend-url", &backend.url(), "--login", user]);
        let output = command.arg("--tests").arg(&suite).env("OSTEST_PASSWORD", password).output().expect("it starts");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let findings = report["findings"].as_array().expect("a list").clone();
        let login = findings.into_iter().find(|finding| finding["name"] == "login").expect("a finding");
        let text = |name: &str| login[name].as_str().expect("text").to_string();
        (text("grade"), text("found"), text("remedy"))
    };
    let (grade, found, remedy) = check("dora_explorer", "dora_explorer");
    assert!(grade == "red" && found.contains("the role STUDENT") && remedy.contains("ADMIN"), "{found}; {remedy}");
    let (grade, found, remedy) = check("runner", "wr0ng");
    assert!(
        grade == "red" && found.contains("Wrong password") && remedy.contains("OSTEST_PASSWORD"),
        "{found}; {remedy}"
    );
    assert!(!found.contains("wr0ng"));
    let (grade, found, _) = check("runner", "runner");
    assert!(grade == "green" && found.contains("the role ADMIN"), "{found}");
    assert_eq!(backend.page("/counts")["handedOut"], 0, "no task was taken");
}

#[test]
fn the_example_configuration_is_for_this_backend() {
    let text = std::fs::read_to_string(Path::new(TOP).join("examples/os-nsu.toml")).expect("it can be read");
    let file = ostest_sandbox::config::FileOptions::parse(&text).unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(file.error_limit.map(|limit| limit.0.get()), Some(255));
    assert_eq!(file.memory_unit.as_deref(), Some("MiB"));
    assert_eq!(file.auth, Some(true));
    assert!(file.login.is_some_and(|login| login != "dora_explorer"));
    assert_eq!(file.password, None, "no password stands in a file that everybody reads");
}
