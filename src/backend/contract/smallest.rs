//! A result without its texts, for a backend that does not take it whole.

use super::brief::brief;
use crate::text::apart;
use serde_json::{Map, Value};

/// Most characters of a text: what the tightest columns of databases hold.
const CAP: usize = 255;

/// Room for the ending of a name that is another's, too.
const ENDING: usize = 12;

/// What is said where texts were left out.
const LEFT_OUT: &str = "the backend did not take this result whole: the texts of its tests were left out";

/// The smallest honest form of a result, in either dialect: whose it is, what it says of the whole and of each test, and the
/// measured figures. Texts go, and where any went the first test that did not pass and `errorDetails` say so.
///
/// Characters beyond Unicode's first plane are replaced, because some databases hold none.
pub fn smallest(result: &Value) -> Value {
    let mut small = result.clone();
    let whole = match small.get_mut("testResults") {
        Some(first) if first.is_object() => first,
        _ => &mut small,
    };
    let name = if whole.get("testCases").is_some() { "testCases" } else { "testResults" };
    let cases = whole.get_mut(name).and_then(Value::as_array_mut);
    let mut left_out = false;
    if let Some(cases) = cases {
        let mut told = false;
        // Two that were told apart by their ends stay apart.
        let short = |name: String| if name.chars().count() > CAP { brief(&name, CAP - ENDING) } else { name };
        let names = cases.iter().map(|case| case.get("name").and_then(Value::as_str).unwrap_or_default().to_owned());
        let names: Vec<(String, usize)> = names.map(|name| plain(&short(name))).zip(0..).collect();
        let names = apart(&names, usize::MAX);
        for (case, short) in cases.iter_mut().zip(names).filter_map(|(case, name)| Some((case.as_object_mut()?, name)))
        {
            left_out |= text(case, "description").is_some_and(|description| !description.is_empty());
            let passed = case.get("isPassed").and_then(Value::as_bool) == Some(true);
            let note = if passed || std::mem::replace(&mut told, true) { "" } else { LEFT_OUT };
            case.insert("description".into(), note.into());
            if text(case, "name").is_some() {
                case.insert("name".into(), short.into());
            }
        }
    }
    if let Some(whole) = whole.as_object_mut() {
        let details = text(whole, "errorDetails").unwrap_or_default();
        let note = if left_out { format!(" ({LEFT_OUT})") } else { String::new() };
        let kept = brief(&details, CAP - note.chars().count());
        whole.insert("errorDetails".into(), plain(format!("{kept}{note}").trim_start()).into());
    }
    small
}

fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if u32::from(c) > 0xffff || c == '\0' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Key, MemoryUnit, Token, render};
    use super::*;
    use crate::verdict::{Case, Status, Verdict};
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::Duration;

    fn verdict() -> Verdict {
        let case = |name: &str, status, description: &str| Case {
            name: name.into(),
            status,
            description: description.into(),
            duration: Duration::from_millis(1500),
            memory: 2048,
            measured: None,
        };
        Verdict {
            cases: vec![
                case("a", Status::Passed, ""),
                case("b", Status::Failed, &"why ".repeat(1000)),
                case("c", Status::Failed, "because 🦀"),
            ],
            error: Some("it broke 🦀 ".repeat(100)),
            tampering: Vec::new(),
            remarks: Vec::new(),
            duration: Duration::from_secs(3),
        }
    }

    #[test]
    fn both_dialects_keep_everything_but_texts() {
        for key in [Key::Attempt(token(json!(7))), Key::Id(token(json!("x")))] {
            let whole = render(&key, &verdict(), MemoryUnit::KiB.into());
            let small = smallest(&whole);
            let body = |value: &Value| match key {
                Key::Attempt(_) => value["testResults"].clone(),
                Key::Id(_) => value.clone(),
            };
            let (before, after) = (body(&whole), body(&small));
            for field in ["isPassed", "isError", "duration", "id"] {
                assert_eq!(before[field], after[field], "{field}");
            }
            assert_eq!(whole["attempt"], small["attempt"]);
            let cases =
                |body: &Value| body.get("testCases").unwrap_or(&body["testResults"]).as_array().unwrap().clone();
            for (old, new) in cases(&before).iter().zip(cases(&after)) {
                for field in ["name", "isPassed", "duration", "memoryUsed"] {
                    assert_eq!(old[field], new[field]);
                }
            }
            let said: Vec<Value> = cases(&after).iter().map(|case| case["description"].clone()).collect();
            assert_eq!(said, [json!(""), json!(LEFT_OUT), json!("")]);
            let details = after["errorDetails"].as_str().unwrap();
            assert!(details.chars().count() <= CAP && details.contains("(cut; "), "{details}");
            assert!(details.ends_with("left out)") && !details.contains('🦀'), "{details}");
        }
    }

    #[test]
    fn where_nothing_went_nothing_is_said() {
        let key = Key::Id(token(json!(1)));
        let mut verdict = verdict();
        verdict.error = None;
        verdict.cases.truncate(1);
        let whole = render(&key, &verdict, MemoryUnit::KiB.into());
        assert_eq!(smallest(&whole), whole);
        let broken = render(&key, &Verdict::broken("no such branch"), MemoryUnit::KiB.into());
        assert_eq!(smallest(&broken), broken);
    }

    fn token(value: Value) -> Token {
        Token::from_value(&value).unwrap()
    }

    proptest! {
        #[test]
        fn its_texts_are_short_and_plain(name in "(?s).{0,400}", description in "(?s).{0,400}", error in "(?s).{0,400}") {
            let mut verdict = verdict();
            verdict.cases[1].name = name;
            verdict.cases[1].description = description;
            verdict.error = Some(error);
            let small = smallest(&render(&Key::Id(token(json!(1))), &verdict, MemoryUnit::KiB.into()));
            for case in small["testResults"].as_array().unwrap() {
                prop_assert!(case["name"].as_str().unwrap().chars().count() <= CAP);
                prop_assert!(case["description"].as_str().unwrap().chars().count() <= CAP);
            }
            let details = small["errorDetails"].as_str().unwrap();
            prop_assert!(details.chars().count() <= CAP);
            prop_assert!(!small.to_string().contains("\\u0000"));
        }

        #[test]
        fn anything_at_all_is_survived(text in ".{0,80}") {
            let _ = smallest(&Value::from(text));
            let _ = smallest(&json!({"testResults": [1, null, {"description": 5}], "errorDetails": {}}));
        }
    }
}
