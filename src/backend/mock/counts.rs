//! What the embedded backend has counted, for programs and for people.

use super::{Failure, Life, Sums};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What the embedded backend has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks and results.
    pub sums: Sums,
    /// Questions to a path to which only a redirect leads.
    pub followed: u64,
    /// Failures that were staged.
    pub staged: BTreeMap<Failure, u64>,
    /// Like the backend in use: how its attempts have fared.
    pub life: Option<Life>,
}

impl Counts {
    /// As JSON, on one line when printed.
    pub fn to_json(&self) -> Value {
        let staged: serde_json::Map<String, Value> =
            self.staged.iter().map(|(failure, count)| (failure.to_string(), Value::from(*count))).collect();
        let mut object = self.sums.to_json();
        object["followedRedirects"] = Value::from(self.followed);
        object["staged"] = Value::from(staged);
        if let Some(life) = &self.life {
            object["attempts"] = life.to_json();
        }
        object
    }
}

impl fmt::Display for Counts {
    /// A line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sums { tasks, handed_out, answered, results, again, otherwise, unknown } = self.sums;
        write!(
            f,
            "tasks {tasks}, handed out {handed_out}, answered {answered}; results {results}, of them for tasks never \
             handed out {unknown}; tasks answered again with the same {again}, with something else {otherwise}; redirects \
             followed {}; failures staged: ",
            self.followed
        )?;
        match self.staged.is_empty() {
            true => f.write_str("none")?,
            false => {
                let parts: Vec<String> =
                    self.staged.iter().map(|(failure, count)| format!("{failure} {count}")).collect();
                f.write_str(&parts.join(", "))?;
            }
        }
        match &self.life {
            Some(life) => write!(f, "; {life}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let sums = Sums { tasks: 9, handed_out: 8, answered: 7, results: 6, again: 5, otherwise: 4, unknown: 3 };
        let mut counts = Counts { sums, followed: 2, staged: BTreeMap::new(), life: None };
        assert!(counts.to_string().ends_with("failures staged: none"));
        counts.staged = [(Failure::ServerError, 1), (Failure::Drop, 10)].into();
        assert_eq!(
            counts.to_string(),
            "tasks 9, handed out 8, answered 7; results 6, of them for tasks never handed out 3; tasks answered again with the \
             same 5, with something else 4; redirects followed 2; failures staged: 500 1, drop 10"
        );
        let expected = serde_json::json!({
            "tasks": 9, "handedOut": 8, "answered": 7, "results": 6, "answeredAgainSame": 5, "answeredAgainDifferent": 4,
            "neverHandedOut": 3, "followedRedirects": 2, "staged": {"500": 1, "drop": 10},
        });
        assert_eq!(counts.to_json(), expected);
        counts.life = Some(Life { states: [("ERROR".into(), 2)].into(), lost: 1, ..Life::default() });
        assert!(
            counts.to_string().ends_with(
                "drop 10; attempts: ERROR 2; handed out and lost 1, handed out twice 0; results refused: none"
            )
        );
        assert_eq!(counts.to_json()["attempts"]["states"]["ERROR"], 2);
    }
}
