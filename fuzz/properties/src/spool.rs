//! An entry of the spool, as a runner finds it after a crash.

use ostest_sandbox::backend::contract::key_of;
use ostest_sandbox::spool::{Entry, Stage, name_of};
use serde_json::Value;
use std::time::SystemTime;

/// The bytes are the file of an entry.
pub fn check(bytes: &[u8]) -> &'static str {
    let entry = match Entry::parse(bytes) {
        Ok(entry) => entry,
        Err(problem) => {
            assert!(!problem.is_empty());
            return "refused";
        }
    };
    let key = entry.key().expect("an entry without a key is refused");
    assert_eq!(entry.name(), name_of(&key));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-~@".contains(c);
    for name in [entry.name(), entry.name_elsewhere()] {
        assert!(name.len() < 200 && name.chars().all(plain) && !name.starts_with('.'), "{name:?}");
    }
    assert!(entry.name_aside().chars().all(plain));
    if let Some(task) = entry.task() {
        assert_eq!(task.key, key);
    }
    // A number that is no integer can be read a little off (serde_json does not promise more); no key and no result has one.
    if !has_reals(&serde_json::from_slice(bytes).expect("an entry is JSON")) {
        assert_eq!(Entry::parse(&entry.to_bytes()).as_ref(), Ok(&entry));
    }
    let word = match &entry.stage {
        Stage::Taken => "taken",
        Stage::Waiting { result, .. } => {
            assert_eq!(key_of(result), Some(key.clone()));
            "waiting"
        }
        Stage::Rejected { result, .. } => {
            assert_eq!(key_of(result), Some(key.clone()));
            "rejected"
        }
    };
    // Whatever becomes of it, it stays the same attempt's with the same result.
    let refused = entry.clone().rejected(SystemTime::UNIX_EPOCH, 422, "no");
    assert_eq!((refused.key(), result(&refused)), (Some(key.clone()), result(&entry)));
    match entry.clone().waiting_again(Some("http://elsewhere")) {
        Ok(again) => assert_eq!((again.key(), result(&again)), (Some(key), whole(&entry))),
        Err(_) => assert_eq!(entry.stage, Stage::Taken),
    }
    word
}

fn result(entry: &Entry) -> Option<&Value> {
    match &entry.stage {
        Stage::Taken => None,
        Stage::Waiting { result, .. } | Stage::Rejected { result, .. } => Some(result),
    }
}

/// The result before it was made smaller.
fn whole(entry: &Entry) -> Option<&Value> {
    match &entry.stage {
        Stage::Waiting { whole: Some(whole), .. } | Stage::Rejected { whole: Some(whole), .. } => Some(whole),
        _ => result(entry),
    }
}

fn has_reals(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(list) => list.iter().any(has_reals),
        Value::Object(fields) => fields.values().any(has_reals),
        _ => false,
    }
}
