//! What the harness has said, read by somebody who believes nothing but single messages.

use ostest_sandbox::junit::Outcome;
use serde_json::Value;
use std::collections::HashSet;

/// Which messages there are at all, in whatever order.
///
/// The real log looks at the order and at what contradicts what, so it can only know less. Whatever it knows must be here.
#[derive(Debug, Default)]
pub struct Said {
    /// `test`: place in the list, and name.
    pub listed: HashSet<(u64, String)>,
    /// `start`: place.
    pub started: HashSet<u64>,
    /// `end`: place and status.
    pub ended: HashSet<(u64, String)>,
    /// `unknown`: name.
    pub unknown: HashSet<String>,
    /// `finish`: exit status.
    pub finished: HashSet<i64>,
    /// `hello`: whether the harness is another user.
    pub apart: HashSet<bool>,
    /// `collected`: how many.
    pub counted: HashSet<u64>,
}

impl Said {
    /// Of these lines.
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Said {
        let mut said = Said::default();
        for line in lines {
            let Ok(value) = serde_json::from_slice::<Value>(line) else { continue };
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            let index = value["index"].as_u64();
            match (value["event"].as_str(), index) {
                (Some("hello"), _) => drop(said.apart.insert(value["apart"] == Value::Bool(true))),
                (Some("test"), Some(index)) => drop(said.listed.insert((index, text("name")))),
                (Some("start"), Some(index)) => drop(said.started.insert(index)),
                (Some("end"), Some(index)) => drop(said.ended.insert((index, text("status")))),
                (Some("unknown"), _) => drop(said.unknown.insert(text("test"))),
                (Some("finish"), _) => said.finished.extend(value["exitstatus"].as_i64()),
                (Some("collected"), _) => said.counted.extend(value["count"].as_u64()),
                _ => {}
            }
        }
        said
    }

    /// Whether somebody said that the test at this place in the list, of this name, began and ended so.
    pub fn confirms(&self, index: usize, name: &str, status: Outcome) -> bool {
        let index = index as u64;
        self.listed.contains(&(index, name.to_owned()))
            && self.started.contains(&index)
            && self.ended.contains(&(index, status.to_string()))
    }
}
