//! What becomes of a result: what its JSON has to be to be read, and what the database takes of it.

use crate::backend::contract::{Key, key_of};
use serde_json::Value;

/// Most characters of `error_details`.
const ERROR_DETAILS: usize = 255;

/// A result as it is to be stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Whose it is, if that can be read.
    pub key: Option<Key>,
    pub passed: bool,
    pub error: bool,
    error_details: String,
    /// None is a null.
    duration: Option<i64>,
    /// Names and descriptions.
    texts: Vec<String>,
}

/// A result that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Row {
    /// Reads the body of a result.
    pub fn read(body: &[u8]) -> Result<Row, Unreadable> {
        Row::of(&serde_json::from_slice(body).map_err(|_| Unreadable)?)
    }

    /// Reads a result, with the tolerance of its parser: numbers may be texts, and texts anything that is one value.
    pub fn of(result: &Value) -> Result<Row, Unreadable> {
        if !result.is_object() {
            return Err(Unreadable);
        }
        let key = key_of(result);
        let first = matches!(key, Some(Key::Attempt(_)));
        let (whole, cases) = match first {
            true => (&result["testResults"], "testCases"),
            false => (result, "testResults"),
        };
        if let (false, Some(id)) = (first, result.get("id"))
            && !id.is_null()
            && !id.is_string()
            && !id.is_number()
        {
            return Err(Unreadable);
        }
        let mut texts = Vec::new();
        match &whole[cases] {
            Value::Null => {}
            Value::Array(cases) => {
                for case in cases {
                    if !case.is_object() && !case.is_null() {
                        return Err(Unreadable);
                    }
                    boolean(&case["isPassed"])?;
                    number(&case["memoryUsed"], false)?;
                    number(&case["duration"], first)?;
                    texts.extend(text(&case["name"])?);
                    texts.extend(text(&case["description"])?);
                }
            }
            _ => return Err(Unreadable),
        }
        Ok(Row {
            passed: boolean(&whole["isPassed"])? == Some(true),
            error: boolean(&whole["isError"])? == Some(true),
            error_details: text(&whole["errorDetails"])?.unwrap_or_default(),
            duration: number(&whole["duration"], first)?,
            key,
            texts,
        })
    }

    /// Why the database does not take it, in its words.
    pub fn refused_by_the_database(&self) -> Option<&'static str> {
        if self.duration.is_none() {
            return Some("null value in column \"duration\" violates not-null constraint");
        }
        if self.error_details.contains('\0') {
            return Some("invalid byte sequence for encoding \"UTF8\": 0x00");
        }
        if self.error_details.chars().count() > ERROR_DETAILS {
            return Some("value too long for type character varying(255)");
        }
        if self.texts.iter().any(|text| text.contains('\0')) {
            return Some("unsupported Unicode escape sequence: \\u0000 cannot be converted to text");
        }
        None
    }
}

fn boolean(value: &Value) -> Result<Option<bool>, Unreadable> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(is) => Ok(Some(*is)),
        Value::Number(number) if !number.is_f64() => Ok(Some(number.as_i64() != Some(0))),
        Value::String(text) => match text.trim() {
            "" => Ok(None),
            "true" | "True" | "TRUE" => Ok(Some(true)),
            "false" | "False" | "FALSE" => Ok(Some(false)),
            _ => Err(Unreadable),
        },
        _ => Err(Unreadable),
    }
}

/// A whole number of 64 bits. `seconds`: the first dialect's, which is a text with decimals.
fn number(value: &Value, seconds: bool) -> Result<Option<i64>, Unreadable> {
    let cut = |number: f64| match number.abs() < 9.2e18 {
        true => Ok(Some(number.trunc() as i64)),
        false => Err(Unreadable),
    };
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            (None, Some(real)) if number.is_f64() => cut(real),
            _ => Err(Unreadable),
        },
        Value::String(text) if seconds => cut(text.parse::<f64>().map_err(|_| Unreadable)?),
        Value::String(text) => text.trim().parse().map(Some).map_err(|_| Unreadable),
        _ => Err(Unreadable),
    }
}

fn text(value: &Value) -> Result<Option<String>, Unreadable> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        _ => Err(Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refused(result: Value) -> Option<&'static str> {
        Row::of(&result).unwrap().refused_by_the_database()
    }

    #[test]
    fn letters_are_counted_and_not_bytes() {
        let with = |details: String| json!({"id": "x", "duration": 1, "errorDetails": details, "testResults": []});
        assert_eq!(refused(with("я".repeat(255))), None);
        assert!(refused(with("я".repeat(256))).is_some_and(|why| why.contains("255")));
        let first =
            |details: String| json!({"attempt": 1, "testResults": {"duration": "0.000", "errorDetails": details}});
        assert_eq!(refused(first("🦀".repeat(255))), None);
        assert!(refused(first("🦀".repeat(256))).is_some());
    }

    #[test]
    fn no_nul_is_taken_anywhere_and_no_null_for_the_duration() {
        assert!(refused(json!({"id": "x", "duration": 1, "errorDetails": "a\0"})).is_some());
        for field in ["name", "description"] {
            assert!(refused(json!({"id": "x", "duration": 1, "testResults": [{field: "a\0b"}]})).is_some(), "{field}");
        }
        assert!(refused(json!({"id": "x", "duration": null})).is_some_and(|why| why.contains("duration")));
        assert!(refused(json!({"id": "x"})).is_some());
        assert_eq!(refused(json!({"id": "x", "duration": "17", "testResults": null, "unknown": {}})), None);
    }

    #[test]
    fn what_is_of_another_type_cannot_be_read() {
        for wrong in [
            json!([]),
            json!({"id": ["x"]}),
            json!({"id": "x", "duration": "15.866"}),
            json!({"id": "x", "duration": u64::MAX}),
            json!({"id": "x", "isPassed": "perhaps"}),
            json!({"id": "x", "testResults": {"testCases": []}}),
            json!({"id": "x", "testResults": ["test_a"]}),
            json!({"id": "x", "testResults": [{"memoryUsed": "much"}]}),
            json!({"id": "x", "errorDetails": ["a"]}),
            json!({"attempt": 1, "testResults": []}),
        ] {
            // Lists have no named fields: the first dialect needs an object.
            let read = Row::of(&wrong);
            assert!(read.is_err() || read.is_ok_and(|row| row.duration.is_none()), "{wrong}");
        }
        assert_eq!(Row::read(b"{\"id\": \"x\", "), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,50}") {
            let _ = Row::read(&body);
            let _ = Row::of(&json!({"id": text.clone(), "duration": text.clone(), "testResults": [{"name": text}]}));
        }
    }
}
