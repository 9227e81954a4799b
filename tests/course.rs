//! The example course, end to end: mock backend, runner, real git, make, gcc, pytest and kernel.

mod common;
mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{BIN, Place, need_root, traces};

const TOP: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("it can be read")).expect("it is JSON")
}

/// The value under which an answer belongs to a task.
fn key(value: &Value) -> (&'static str, Value) {
    if value["attempt"].is_null() { ("id", value["id"].clone()) } else { ("attempt", value["attempt"].clone()) }
}

/// Grades `tasks` through a mock backend that demands a login; every result it was given.
fn through_backend(place: &Place, tasks: &Path, suite: &Path, more: &[&str]) -> Vec<Value> {
    let submissions = place.path("submissions");
    let made = Command::new(Path::new(TOP).join("examples/make-submissions.sh")).arg(&submissions).output();
    assert!(made.expect("the script starts").status.success());
    let mut backend = Command::new(BIN)
        .args(["mock-backend", "--listen", "127.0.0.1:0", "--once", "--json", "--auth", "teacher:s3cret", "--tasks"])
        .arg(tasks)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the mock backend starts");
    let mut lines = BufReader::new(backend.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let first = lines.next().expect("it says where it listens");
    let url = first.split_whitespace().find(|w| w.starts_with("http://")).expect("a URL").to_string();
    let mirror = format!("https://course.example/submissions/={}", submissions.display());
    let runner = place
        .command(&["--backend-url", &url, "--once", "--auth", "--login", "teacher", "--git-mirror", &mirror])
        .args(["--allow-url", "https://course.example/", "--pids-limit", "256"])
        .arg("--tests")
        .arg(suite)
        .args(more)
        .env("OSTEST_PASSWORD", "s3cret")
        .output()
        .expect("the runner starts");
    assert!(runner.status.success(), "{runner:?}");
    let results = lines.map(|l| serde_json::from_str(&l).expect("a result is JSON")).collect();
    assert!(backend.wait().expect("it ends").success());
    results
}

/// Both dialects to the letter: these keys, these types, and nothing else.
fn check_shape(result: &Value) {
    let keys = |v: &Value| v.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let first = !result["attempt"].is_null();
    let (body, cases) = if first {
        assert_eq!(keys(result), ["attempt", "testResults"]);
        let body = &result["testResults"];
        assert_eq!(keys(body), ["duration", "errorDetails", "isError", "isPassed", "testCases"]);
        (body, &body["testCases"])
    } else {
        assert_eq!(keys(result), ["duration", "errorDetails", "id", "isError", "isPassed", "testResults"]);
        (result, &result["testResults"])
    };
    let duration = |v: &Value| match v {
        Value::String(s) => first && s.split_once('.').is_some_and(|(_, d)| d.len() == 3),
        Value::Number(n) => !first && n.is_u64(),
        _ => false,
    };
    assert!(duration(&body["duration"]), "{body}");
    for case in cases.as_array().expect("a list") {
        assert_eq!(keys(case), ["description", "duration", "isPassed", "memoryUsed", "name"]);
        assert!(duration(&case["duration"]) && case["memoryUsed"].is_u64() && case["isPassed"].is_boolean(), "{case}");
    }
}

/// A copy of a suite without limits of its own on time.
fn unhurried(place: &Place, suite: &Path) -> PathBuf {
    let copy = place.path("course");
    let done = Command::new("cp").arg("-a").args([suite, &copy]).status();
    assert!(done.expect("cp starts").success());
    let options = copy.join("ostest.toml");
    let text = std::fs::read_to_string(&options).expect("its options");
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("timeout")).collect();
    assert!(kept.len() < text.lines().count(), "it has limits");
    std::fs::write(options, kept.join("\n")).expect("its options");
    copy
}

#[test]
fn every_submission_gets_the_verdict_it_was_made_for() {
    if !need_root("every_submission_gets_the_verdict_it_was_made_for") {
        return;
    }
    let place = Place::new();
    let tasks = Path::new(TOP).join("examples/tasks.json");
    let mut suite = Path::new(TOP).join("examples/course");
    let mut more = vec!["--concurrent", "2", "--timeout", "600"];
    if std::env::var_os("OSTEST_EMULATED").is_some_and(|value| value == "1") {
        // The same verdicts, with the time that they take there: for the programs, and within the suite's own limits.
        suite = unhurried(&place, &suite);
        more = vec!["--concurrent", "2", "--timeout", "900", "--proxy-timeout", "60"];
    }
    let results = through_backend(&place, &tasks, &suite, &more);
    let expected = read(&Path::new(TOP).join("examples/expected.json"));
    let expected = expected.as_object().expect("an object");
    assert_eq!(results.len(), expected.len(), "one answer for each task");
    for (name, wanted) in expected {
        let found: Vec<&Value> = results.iter().filter(|r| key(r) == key(wanted)).collect();
        assert_eq!(found.len(), 1, "{name} is answered once");
        let result = found[0];
        check_shape(result);
        let body = if result["attempt"].is_null() { result } else { &result["testResults"] };
        let cases = body.get("testCases").unwrap_or(&body["testResults"]).as_array().expect("a list");
        let failed: Vec<&str> =
            cases.iter().filter(|c| c["isPassed"] == false).filter_map(|c| c["name"].as_str()).collect();
        let list = |key: &str| -> Vec<&str> {
            wanted[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let mut not_passed = [list("failed"), list("skipped")].concat();
        let mut failed_sorted = failed.clone();
        not_passed.sort_unstable();
        failed_sorted.sort_unstable();
        assert_eq!(failed_sorted, not_passed, "{name}: {body:#}");
        assert_eq!(body["isPassed"], wanted["isPassed"], "{name}: {body:#}");
        assert_eq!(body["isError"], wanted["isError"], "{name}: {body:#}");
        if let Some(text) = wanted["errorContains"].as_str() {
            assert!(body["errorDetails"].as_str().is_some_and(|e| e.contains(text)), "{name}: {body:#}");
        }
        if let Some(count) = wanted["cases"].as_u64() {
            assert_eq!(cases.len() as u64, count, "{name}");
        }
        for (test, text) in wanted["says"].as_object().into_iter().flatten() {
            let case = cases.iter().find(|c| c["name"] == *test).expect("the case is there");
            let description = case["description"].as_str().expect("a string");
            assert!(description.contains(text.as_str().expect("a string")), "{name}, {test}: {description}");
        }
        for case in cases.iter().filter(|c| c["isPassed"] == true) {
            // What the test's own programs took, and not pytest, which is larger than any of them.
            let kib = case["memoryUsed"].as_u64().expect("a number");
            let test = case["name"].as_str().expect("a name");
            if test.starts_with("test_wcount::test_counts") || test.starts_with("test_kvd::test_says") {
                assert!((64..12_000).contains(&kib), "{name}: {case}");
            }
        }
    }
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}
