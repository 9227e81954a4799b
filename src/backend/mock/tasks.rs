//! Lists of tasks: the built-in one, and those that stand in a file.

use crate::backend::contract::{Renaming, example_tasks};
use serde_json::Value;

/// One task in each dialect, from the course's public project.
pub fn builtin_tasks() -> Vec<Value> {
    example_tasks()
}

/// Reads tasks from a file: a JSON list of task objects, or an object whose `tests` is such a list.
///
/// The tasks themselves are not checked, so that invalid ones can be tried too.
///
/// # Errors
/// A sentence that says what is wrong with the file.
pub fn parse_task_file(text: &str) -> Result<Vec<Value>, String> {
    const EXPECTED: &str = "write a JSON list of tasks, [{...}, ...], or {\"tests\": [{...}, ...]}";
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("the task file is no JSON ({error}): {EXPECTED}"))?;
    let list = match value {
        Value::Array(list) => list,
        Value::Object(mut fields) => match fields.remove("tests") {
            Some(Value::Array(list)) => list,
            Some(_) => return Err(format!("the task file's \"tests\" is no list: {EXPECTED}")),
            None => {
                return Err(format!("the task file is an object without \"tests\": {EXPECTED}"));
            }
        },
        _ => {
            return Err(format!("the task file is neither a list nor an object: {EXPECTED}"));
        }
    };
    match list.iter().position(|task| !task.is_object()) {
        Some(at) => Err(format!("task {} of the task file is no object: {EXPECTED}", at + 1)),
        None => Ok(list),
    }
}

/// Whether a list can be handed out so many times, each time under fresh names.
///
/// # Errors
/// A sentence that says why not.
pub fn check_repeat(tasks: &[Value], repeat: u64) -> Result<(), String> {
    Renaming::of(tasks).check(repeat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn task_files() {
        assert_eq!(parse_task_file("[{\"id\": 1}]"), Ok(vec![json!({"id": 1})]));
        assert_eq!(parse_task_file("{\"tests\": [{}, {}]}").unwrap().len(), 2);
        for (text, expected) in [
            ("", "no JSON"),
            ("5", "neither"),
            ("{\"task\": []}", "without \"tests\""),
            ("{\"tests\": {}}", "no list"),
            ("[{}, 3]", "task 2"),
        ] {
            let error = parse_task_file(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
