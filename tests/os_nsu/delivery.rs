//! Every result is taken at the first try, in both dialects.

use super::{Backend, TOP, name, task, uuid};
use crate::support::{Place, need_root, traces};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

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
            let mut own = results.iter().filter(|result| super::name(result) == name);
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
        let result = results.iter().find(|result| super::name(result) == name).expect("a result");
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
    // Python's own, which nothing has loaded yet.
    let names = "colorsys wave mailbox turtle antigravity pyclbr tabnanny trace nturl2path rlcompleter stringprep this";
    let plant = &*format!("for name in {names}; do echo 'X = 1' > $name.py; done\n");
    place.repository("planting.git", &[("Makefile", "all:\n"), ("plant.sh", plant)]);
    // One suite that fares differently by the laboratory, since each runner's start costs a canary.
    let conftest =
        format!("import os\nif os.environ['OSTEST_LAB'] == '2': raise RuntimeError('{}')\n", "плохо ".repeat(200));
    let tests = &*"import os, subprocess, time\nLAB = os.environ['OSTEST_LAB']\ndef test_a():\n    \
                 if LAB == '4': subprocess.run(['sh', os.environ['OSTEST_PROJECT'] + '/plant.sh'])\n    \
                 for name in 'NAMES'.split() if LAB == '4' else []:\n        try: __import__(name)\n        \
                 except ImportError: pass\n    assert LAB != '5', 'a\\0b' + 'ы' * 70000\ndef test_b():\n    time.sleep(600 if LAB == '3' else 0)\n"
        .replace("NAMES", names);
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
        ("ssh URL", json!({"repositoryUrl": "git@elsewhere.example:a/b", "branch": "main"})),
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
    assert!(case["description"].as_str().is_some_and(|all| all.contains("this.py was not loaded")), "{case:#}");
    assert_eq!(said["no error"]["isPassed"], true);
    assert_eq!(said["no error"]["testResults"].as_array().map(Vec::len), Some(2));
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}
