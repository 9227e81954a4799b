//! What the backend hands out, read with suspicion: every byte of it may be hostile.

use super::forms;
use super::{Key, ProtocolError, QUOTED, excerpt, key_of};
use serde_json::{Map, Value, json};

/// Longest repository URL, in bytes.
const URL_CAP: usize = 4096;
/// Longest branch, in bytes: as long as a file name may be, since git keeps branches as files.
const BRANCH_CAP: usize = 255;
/// Most laboratory numbers and most named tests of one task.
const LABS_CAP: usize = 1000;
const TESTS_CAP: usize = 10_000;
/// Longest name of a test, in bytes.
const TEST_CAP: usize = 1000;

/// One attempt to grade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// How the backend calls it, and its dialect.
    pub key: Key,
    /// Where the submission is; whether it may be fetched is for [`allow::check`](crate::backend::allow::check).
    pub repository_url: String,
    /// A valid branch name that does not begin with `-`.
    pub branch: String,
    /// The laboratory numbers in the order in which they came; empty if the task says none.
    pub labs: Vec<u32>,
    /// The tests that count, in the order in which they came; empty for all.
    pub connected_tests: Vec<String>,
}

impl Task {
    /// As a backend of its dialect would say it; [`parse_task`] reads it back.
    pub fn to_value(&self) -> Value {
        let mut task = self.key.to_value();
        task["repositoryUrl"] = json!(self.repository_url);
        task["branch"] = json!(self.branch);
        task["laboratoryNumber"] = json!(self.labs);
        task["connectedTests"] = json!(self.connected_tests);
        task
    }
}

/// What the backend said when it was asked for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// There is nothing to do.
    NoTask,
    /// There is something to do.
    Task(Task),
    /// It is a task, but not one that can be run.
    Invalid {
        /// To whom `problem` is to be told; nobody if the task has neither `attempt` nor `id`.
        key: Option<Key>,
        /// A sentence that names the field, its value and what is expected.
        problem: String,
    },
}

/// Reads the backend's answer to the request for a task.
///
/// Both dialects are accepted, and all ways to say that there is none: `UNAVAILABLE`, 204, 404, an empty body, `null`
/// and `{}`. Unknown fields are ignored. When both `attempt` and `id` are present, `attempt` wins.
///
/// # Errors
/// Another status than 2xx, 204 and 404, or a body that is no JSON object.
pub fn parse_task(status: u16, body: &[u8]) -> Result<Answer, ProtocolError> {
    match status {
        204 | 404 => return Ok(Answer::NoTask),
        200..=299 => {}
        _ => {
            return Err(ProtocolError::Status { status, excerpt: excerpt(body, QUOTED) });
        }
    }
    // Some frameworks put a byte order mark before UTF-8.
    let json = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if json.is_empty() {
        return Ok(Answer::NoTask);
    }
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| ProtocolError::NotJson { problem: error.to_string(), excerpt: excerpt(body, QUOTED) })?;
    match &value {
        Value::Null => Ok(Answer::NoTask),
        Value::Object(fields) if fields.is_empty() || is_unavailable(fields) => Ok(Answer::NoTask),
        Value::Object(fields) => {
            let key = key_of(&value);
            Ok(match read(key.clone(), fields) {
                Ok(task) => Answer::Task(task),
                Err(problem) => Answer::Invalid { key, problem },
            })
        }
        _ => Err(ProtocolError::NotAnObject { excerpt: excerpt(body, QUOTED) }),
    }
}

/// The body by which a backend says that there is no task.
pub fn no_task() -> Value {
    json!({"status": "UNAVAILABLE"})
}

/// One task in each dialect, with the course's public project as the repository.
pub fn example_tasks() -> Vec<Value> {
    const PROJECT: &str = "https://github.com/os-nsu/proxy-reVInotip-public.git";
    vec![
        json!({
            "attempt": 1, "repositoryUrl": PROJECT, "branch": "lab1", "laboratoryNumber": 1, "connectedTests": [],
        }),
        json!({
            "status": "AVAILABLE", "id": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "repositoryUrl": PROJECT,
            "branch": "lab2", "laboratoryNumber": 2, "connectedTests": [],
        }),
    ]
}

fn is_unavailable(fields: &Map<String, Value>) -> bool {
    fields.get("status").and_then(Value::as_str).is_some_and(|status| status.eq_ignore_ascii_case("UNAVAILABLE"))
}

fn read(key: Option<Key>, fields: &Map<String, Value>) -> Result<Task, String> {
    let key = key.ok_or_else(|| no_key(fields))?;
    let (repository_url, named) = repository_url(fields.get("repositoryUrl"))?;
    Ok(Task {
        key,
        repository_url,
        branch: branch(fields.get("branch"), named)?,
        labs: labs(fields.get("laboratoryNumber"))?,
        connected_tests: connected_tests(fields.get("connectedTests"))?,
    })
}

fn no_key(fields: &Map<String, Value>) -> String {
    let present: Vec<String> = ["attempt", "id"]
        .iter()
        .filter_map(|name| fields.get(*name).map(|value| format!("{name} is {}", shown(value))))
        .collect();
    match present.as_slice() {
        [] => "the task has neither attempt nor id: it needs one of them, an integer or a string".to_owned(),
        _ => format!("{}: expected is an integer of at most 64 bits or a string", present.join(" and ")),
    }
}

/// The URL, and the branch that it names, if it is that of a branch's page.
fn repository_url(value: Option<&Value>) -> Result<(String, Option<String>), String> {
    const EXPECTED: &str = "expected is a URL such as https://github.com/os-nsu/proxy-name.git";
    let url = match value {
        None | Some(Value::Null) => return Err(format!("repositoryUrl is missing: {EXPECTED}")),
        // People paste URLs with blanks around them.
        Some(Value::String(url)) => url.trim(),
        Some(other) => return Err(format!("repositoryUrl is {}: {EXPECTED}", shown(other))),
    };
    if url.is_empty() {
        return Err(format!("repositoryUrl is blank: {EXPECTED}"));
    }
    let too_long = |url: &str| {
        let length = url.len();
        format!("repositoryUrl {} is {length} bytes long: at most {URL_CAP} are accepted", quoted(url))
    };
    if url.len() > URL_CAP {
        return Err(too_long(url));
    }
    if url.chars().any(char::is_control) {
        return Err(format!("repositoryUrl {} contains a control character: {EXPECTED}", quoted(url)));
    }
    let form = forms::understood(url).map_err(|why| format!("repositoryUrl {} {why}", quoted(url)))?;
    // An ssh address becomes a few bytes longer when it is rewritten.
    if form.url.len() > URL_CAP {
        return Err(too_long(&form.url));
    }
    Ok((form.url, form.branch))
}

/// The branch of the task. `named` is what the URL says.
fn branch(value: Option<&Value>, named: Option<String>) -> Result<String, String> {
    const EXPECTED: &str = "expected is the name of a branch, such as main";
    let branch = match (value, &named) {
        // As a URL, it is pasted with blanks around it.
        (Some(Value::String(branch)), None) => branch.trim(),
        (Some(Value::String(branch)), Some(named)) if branch.trim() == named || branch.trim().is_empty() => named,
        (Some(Value::String(branch)), Some(named)) => {
            return Err(format!(
                "repositoryUrl names the branch {}, and branch is {}: give the repository's own address, and one branch",
                quoted(named),
                quoted(branch.trim())
            ));
        }
        (None | Some(Value::Null), Some(named)) => named,
        (None | Some(Value::Null), None) => return Err(format!("branch is missing: {EXPECTED}")),
        (Some(other), _) => return Err(format!("branch is {}: {EXPECTED}", shown(other))),
    };
    match branch_problem(branch) {
        Some(problem) => Err(format!("branch {} {problem}: {EXPECTED}", quoted(branch))),
        None => Ok(branch.to_owned()),
    }
}

/// Why git would not take this as the name of a branch (git-check-ref-format(1)), if it would not.
fn branch_problem(branch: &str) -> Option<&'static str> {
    let has = |part: &str| branch.contains(part);
    if branch.trim().is_empty() {
        Some("is blank")
    } else if branch.len() > BRANCH_CAP {
        Some("is longer than 255 bytes")
    } else if branch.starts_with('-') {
        Some("begins with a dash")
    } else if branch.chars().any(|c| c.is_control() || c == ' ' || "~^:?*[\\".contains(c)) {
        Some("contains a space, a control character or one of ~ ^ : ? * [ \\")
    } else if has("..") || has("@{") || has("//") || branch == "@" {
        Some("contains .., // or @{, or is a lone @")
    } else if branch.starts_with('/') || branch.ends_with(['/', '.']) {
        Some("begins with a slash, or ends with a slash or a dot")
    } else if branch.split('/').any(|part| part.starts_with('.') || part.ends_with(".lock")) {
        Some("has a part that begins with a dot or ends with .lock")
    } else {
        None
    }
}

fn labs(value: Option<&Value>) -> Result<Vec<u32>, String> {
    let one = |value: &Value| {
        let number = match value {
            Value::Number(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| {
            format!(
                "laboratoryNumber contains {}: expected is a whole number such as 1, a list of them, or nothing",
                shown(value)
            )
        })
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() > LABS_CAP => {
            Err(format!("laboratoryNumber lists {} numbers: at most {LABS_CAP} are accepted", list.len()))
        }
        Some(Value::Array(list)) => list.iter().map(one).collect(),
        Some(value) => one(value).map(|lab| vec![lab]),
    }
}

fn connected_tests(value: Option<&Value>) -> Result<Vec<String>, String> {
    const EXPECTED: &str = "expected is a list of test names, or nothing for all tests";
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(format!("connectedTests is {}: {EXPECTED}", shown(other))),
    };
    if list.len() > TESTS_CAP {
        return Err(format!("connectedTests names {} tests: at most {TESTS_CAP} are accepted", list.len()));
    }
    list.iter()
        .map(|value| match value {
            // A blank name must not be dropped: a list that became empty would select every test.
            Value::String(name) if name.trim().is_empty() => {
                Err(format!("connectedTests contains a blank name: {EXPECTED}"))
            }
            Value::String(name) if name.len() > TEST_CAP => Err(format!(
                "connectedTests contains {}, which is {} bytes long: at most {TEST_CAP} are accepted",
                quoted(name),
                name.len()
            )),
            Value::String(name) if name.chars().any(char::is_control) => {
                Err(format!("connectedTests contains {}, which has a control character: {EXPECTED}", quoted(name)))
            }
            Value::String(name) => Ok(name.clone()),
            other => Err(format!("connectedTests contains {}: {EXPECTED}", shown(other))),
        })
        .collect()
}

/// A value as an error message quotes it.
fn shown(value: &Value) -> String {
    excerpt(value.to_string().as_bytes(), QUOTED)
}

fn quoted(text: &str) -> String {
    shown(&Value::from(text))
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
