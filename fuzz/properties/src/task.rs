//! What the backend hands out, in both dialects.

use crate::is_harmless;
use ostest_sandbox::backend::contract::{
    Answer, Key, MemoryUnit, Task, Token, key_of, parse_task, parse_tokens, render, summary,
};
use ostest_sandbox::spool::{Entry, name_of};
use ostest_sandbox::verdict::Verdict;
use serde_json::Value;
use std::time::SystemTime;

/// The bytes are the body of an answer.
pub fn check(body: &[u8]) -> &'static str {
    // Of these the body does not count, or is quoted at the most.
    for status in [204, 404] {
        assert!(matches!(parse_task(status, body), Ok(Answer::NoTask)));
    }
    for status in [0, 199, 302, 401, 500] {
        let error = parse_task(status, body).expect_err("no task comes with such a status").to_string();
        assert!(error.len() < 1500 && is_harmless(&error), "{error:?}");
    }
    tokens(body);
    match parse_task(200, body) {
        Err(error) => {
            let error = error.to_string();
            assert!(error.len() < 1500 && is_harmless(&error), "{error:?}");
            "refused"
        }
        Ok(Answer::NoTask) => "no task",
        Ok(Answer::Invalid { key, problem }) => {
            assert!(!problem.is_empty() && problem.len() < 1500 && is_harmless(&problem), "{problem:?}");
            if let Some(key) = key {
                comes_back(&key, body);
            }
            "invalid"
        }
        Ok(Answer::Task(task)) => {
            comes_back(&task.key, body);
            valid(&task);
            match task.key {
                Key::Attempt(_) => "attempt",
                Key::Id(_) => "id",
            }
        }
    }
}

/// The answer carries the key as it came, in the dialect in which it came.
fn comes_back(key: &Key, body: &[u8]) {
    let told: Value = serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii())
        .expect("a key comes out of JSON");
    let (name, other) = match key {
        Key::Attempt(_) => ("attempt", "id"),
        Key::Id(_) => ("id", "attempt"),
    };
    let token = key.token().as_value();
    assert_eq!(told.get(name), Some(token));
    assert!(token.is_string() || token.is_i64() || token.is_u64());
    assert_eq!(key_of(&key.to_value()).as_ref(), Some(key));
    let result = render(key, &Verdict::broken("it broke"), MemoryUnit::KiB.into());
    assert_eq!((result.get(name), result.get(other)), (Some(token), None));
    assert_eq!(summary(&result), "error: it broke");
    // It stands in the log, and in a file's name.
    let shown = key.to_string();
    assert!(shown.len() < 1000 && is_harmless(&shown) && !shown.contains('\n'), "{shown:?}");
    let file = name_of(key);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-~".contains(c);
    assert!(file.len() < 200 && file.chars().all(plain) && !file.starts_with('.'), "{file:?}");
}

/// A task that may be run can neither smuggle an option into git's command line nor stand for more than it says.
fn valid(task: &Task) {
    let url = &task.repository_url;
    assert!(!url.is_empty() && url.len() <= 4096 && url.trim() == url && !url.chars().any(char::is_control));
    let branch = &task.branch;
    assert!(!branch.is_empty() && branch.len() <= 255 && !branch.starts_with(['-', '/', '.']), "{branch:?}");
    assert!(!branch.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c)), "{branch:?}");
    assert!(!branch.contains("..") && !branch.contains("@{") && !branch.ends_with(".lock"), "{branch:?}");
    assert!(task.labs.len() <= 1000 && task.connected_tests.len() <= 10_000);
    for test in &task.connected_tests {
        assert!(!test.trim().is_empty() && test.len() <= 1000 && !test.chars().any(char::is_control), "{test:?}");
    }
    let again = parse_task(200, task.to_value().to_string().as_bytes());
    assert!(matches!(again, Ok(Answer::Task(again)) if again == *task));
    // What the spool keeps of it is enough to grade it again.
    let entry = Entry::taken("http://localhost:5000", task, SystemTime::UNIX_EPOCH);
    let read = Entry::parse(&entry.to_bytes()).expect("the spool reads what it wrote");
    assert_eq!(read.task().as_ref(), Some(task));
    assert_eq!(read.name(), name_of(&task.key));
}

/// The same bytes as an answer to a login: what is wrong with it quotes nothing, and what is shown shows no token.
fn tokens(body: &[u8]) {
    let Ok(tokens) = parse_tokens(body) else { return };
    let told: Value = serde_json::from_slice(body).expect("a token comes out of JSON");
    let access = told["accessToken"].as_str().expect("a token is a text");
    assert!(!access.is_empty());
    // A shorter one may happen to be a part of a name.
    if access.len() > 40 && !tokens.scheme.contains(access) {
        assert!(!format!("{tokens:?}").contains(access), "a token would be logged");
    }
    assert!(Token::from_value(&told).is_none());
}
