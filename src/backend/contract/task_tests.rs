//! Tests of reading a task.

use super::*;
use proptest::prelude::*;

fn parse(value: Value) -> Answer {
    parse_task(200, value.to_string().as_bytes()).unwrap()
}

fn task(value: Value) -> Task {
    match parse(value) {
        Answer::Task(task) => task,
        other => panic!("no task: {other:?}"),
    }
}

/// A valid task with one field replaced.
fn with(field: &str, value: Value) -> Value {
    let mut task = json!({
        "attempt": 21, "repositoryUrl": "https://github.com/os-nsu/proxy-grisha.git", "branch": "main",
        "laboratoryNumber": 1, "connectedTests": ["test1", "test2"],
    });
    task[field] = value;
    task
}

fn problem(value: Value) -> String {
    match parse(value) {
        Answer::Invalid { problem, key } => {
            assert_eq!(key.unwrap().token().as_value(), &json!(21));
            problem
        }
        other => panic!("accepted: {other:?}"),
    }
}

#[test]
fn the_first_dialect() {
    let task = task(with("someFutureField", json!({"a": [1]})));
    assert_eq!(task.key.to_string(), "attempt 21");
    assert!(matches!(task.key, Key::Attempt(_)));
    assert_eq!(task.repository_url, "https://github.com/os-nsu/proxy-grisha.git");
    assert_eq!(task.branch, "main");
    assert_eq!(task.labs, [1]);
    assert_eq!(task.connected_tests, ["test1", "test2"]);
}

#[test]
fn the_second_dialect() {
    let task = task(json!({
        "status": "AVAILABLE", "id": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "repositoryUrl": "https://h/a",
        "branch": "feature/x-1", "connectedTests": null,
    }));
    assert_eq!(task.key.to_string(), "id 3fa85f64-5717-4562-b3fc-2c963f66afa6");
    assert!(task.labs.is_empty() && task.connected_tests.is_empty());
}

#[test]
fn all_ways_to_say_that_there_is_no_task() {
    for (status, body) in [
        (200, r#"{"status":"UNAVAILABLE"}"#),
        (200, r#"{"status":"UNAVAILABLE","id":null,"repositoryUrl":null}"#),
        (204, ""),
        (404, "<html>not found</html>"),
        (200, ""),
        (200, " \r\n"),
        (200, "null"),
        (200, "{}"),
        (200, "\u{feff}{ }"),
        (200, "\u{feff}"),
    ] {
        assert_eq!(parse_task(status, body.as_bytes()), Ok(Answer::NoTask), "{status} {body:?}");
    }
    assert_eq!(parse(no_task()), Answer::NoTask);
}

#[test]
fn keys_come_back_as_they_came() {
    for token in [json!(0), json!(-1), json!(u64::MAX), json!(i64::MIN), json!("21"), json!("007"), json!("ключ")] {
        let key = task(with("attempt", token.clone())).key;
        assert_eq!(key.token().as_value().to_string(), token.to_string());
    }
}

#[test]
fn an_unusable_key_is_named() {
    for (token, expected) in [(json!(1.5), "attempt is 1.5"), (json!([1]), "attempt is [1]")] {
        match parse(with("attempt", token)) {
            Answer::Invalid { key: None, problem } => {
                assert!(problem.contains(expected), "{problem}")
            }
            other => panic!("{other:?}"),
        }
    }
    match parse(json!({"message": "hello"})) {
        Answer::Invalid { key: None, problem } => assert!(problem.contains("neither"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn laboratory_numbers() {
    for (value, labs) in [
        (json!(null), vec![]),
        (json!([]), vec![]),
        (json!(3), vec![3]),
        (json!("3"), vec![3]),
        (json!([2, 1, "4"]), vec![2, 1, 4]),
    ] {
        assert_eq!(task(with("laboratoryNumber", value)).labs, labs);
    }
    for value in [json!(-1), json!(1.5), json!("one"), json!(true), json!([1, null]), json!(1u64 << 32)] {
        assert!(problem(with("laboratoryNumber", value)).starts_with("laboratoryNumber contains"));
    }
}

#[test]
fn repository_urls_that_are_none() {
    for value in [json!(null), json!(""), json!(" \n"), json!(7), json!("https://a/\0"), json!("x".repeat(4097))] {
        let problem = problem(with("repositoryUrl", value));
        assert!(problem.starts_with("repositoryUrl") && problem.len() < 500, "{problem}");
    }
    assert_eq!(task(with("repositoryUrl", json!(" https://a/b \n"))).repository_url, "https://a/b");
}

#[test]
fn branches_that_git_would_not_take() {
    for name in [
        "",
        " ",
        "-u",
        "--upload-pack=x",
        "a b",
        "a\tb",
        "a\0",
        "a..b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[b",
        "a\\b",
        "a.lock",
        "a.lock/b",
        "a/",
        "/a",
        "a//b",
        "a.",
        ".a",
        "a/.b",
        "a@{1}",
        "@",
        "a\u{7f}",
    ] {
        assert!(problem(with("branch", json!(name))).starts_with("branch "), "{name:?}");
    }
    assert!(problem(with("branch", json!("x".repeat(256)))).contains("255"));
    assert!(problem(with("branch", json!(null))).contains("missing"));
    assert!(problem(with("branch", json!(5))).contains("branch is 5"));
    for name in ["main", "lab/1", "a-b_c.d", "ветка", "a@b", "#1", "user/fix-(2)"] {
        assert_eq!(task(with("branch", json!(name))).branch, name);
    }
}

#[test]
fn a_branch_is_trimmed_and_may_stand_in_the_url() {
    assert_eq!(task(with("branch", json!(" main \n"))).branch, "main");
    let page = |branch: Value| {
        let mut task = with("repositoryUrl", json!("https://github.com/o/r/tree/lab/1"));
        task["branch"] = branch;
        task
    };
    for branch in [json!("lab/1"), json!(" lab/1 "), json!(null), json!("")] {
        let task = task(page(branch));
        assert_eq!((task.repository_url.as_str(), task.branch.as_str()), ("https://github.com/o/r", "lab/1"));
        let Answer::Task(again) = parse(task.to_value()) else { panic!("{task:?}") };
        assert_eq!(again, task);
    }
    let problem_of = problem(page(json!("main")));
    assert!(problem_of.contains("names the branch \"lab/1\", and branch is \"main\""), "{problem_of}");
    assert!(problem(page(json!(5))).starts_with("branch is 5"));
    let odd = with("repositoryUrl", json!("https://github.com/o/r/tree/a%00b"));
    let mut odd = odd;
    odd["branch"] = json!(null);
    assert!(problem(odd).starts_with("branch "), "a branch of the URL is looked at as well");
    assert!(problem(with("repositoryUrl", json!("https://github.com/o/r/blob/main/a.c"))).contains("own address"));
}

#[test]
fn connected_tests_that_are_no_names() {
    for value in
        [json!("test1"), json!([1]), json!([null]), json!([""]), json!(["a\0"]), json!(["x".repeat(1001)]), json!({})]
    {
        assert!(problem(with("connectedTests", value)).starts_with("connectedTests"));
    }
    assert!(problem(with("connectedTests", json!(vec!["t"; 10_001]))).contains("10000"));
    assert_eq!(task(with("connectedTests", json!(vec!["t"; 10_000]))).connected_tests.len(), 10_000);
}

#[test]
fn answers_that_are_no_answer() {
    let error = |status, body: &[u8]| parse_task(status, body).unwrap_err().to_string();
    assert!(error(500, b"oops\xff").contains("HTTP 500: \"oops\u{fffd}\""));
    assert!(error(302, b"").contains("302"));
    assert!(error(200, b"<html>login</html>").contains("<html>login</html>"));
    assert!(error(200, b"[]").contains("no object"));
    assert!(error(200, b"{\"attempt\":").contains("no JSON"));
    assert!(error(200, "x".repeat(100_000).as_bytes()).len() < 500);
    // Nesting must not overflow the stack.
    assert!(parse_task(200, "[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn the_examples_are_valid_tasks_of_both_dialects() {
    let keys: Vec<Key> = example_tasks().into_iter().map(|value| task(value).key).collect();
    assert!(matches!(keys.as_slice(), [Key::Attempt(_), Key::Id(_)]));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,300}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let name = prop_oneof![
            Just("attempt"),
            Just("id"),
            Just("repositoryUrl"),
            Just("branch"),
            Just("laboratoryNumber"),
            Just("connectedTests"),
            Just("status"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..7)
                .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(status in any::<u16>(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_task(status, &body);
    }

    #[test]
    fn arbitrary_json_never_panics_and_gives_short_problems(value in any_json()) {
        if let Ok(Answer::Invalid { problem, .. }) = parse_task(200, value.to_string().as_bytes()) {
            prop_assert!(problem.len() < 1000);
        }
    }

    #[test]
    fn arbitrary_branches_that_pass_are_safe_as_arguments(name in ".{0,20}") {
        if let Answer::Task(task) = parse(with("branch", json!(name))) {
            prop_assert!(!task.branch.starts_with('-') && !task.branch.contains("..") && !task.branch.contains('\0'));
        }
    }
}
