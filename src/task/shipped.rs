//! What a suite has shipped, and whether it is still that when the tests are over.
//!
//! Its files belong to root inside, in sticky folders of root's, so nobody there can change them. That this held is looked at
//! from outside, when nothing inside lives any more.

use crate::config::Imports;
use crate::contain::work::WorkTree;
use crate::fault::{Cause, Fault};
use crate::text::some_of;
use crate::verdict::{Status, Verdict};
use sandbox::inventory::{Differences, Inventory};

/// Names in one sentence at the most.
const NAMES: usize = 10;

/// Names that pytest reads beside what Python loads, in whatever folder of a suite they lie.
const CONFIGURATION: [&str; 7] =
    ["pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg", "pyproject.toml"];

/// Ends of names that Python loads or obeys.
const LOADED: [&str; 3] = [".py", ".pyc", ".pth"];

/// A suite's files before its tests run.
#[derive(Debug)]
pub struct Shipped(Inventory);

/// What happened to them.
#[derive(Debug)]
pub struct Touched(Differences);

impl Shipped {
    /// Takes stock of the suite in this work tree.
    pub fn look(work: &WorkTree) -> Result<Shipped, Fault> {
        Ok(Shipped(take(work)?))
    }

    /// What is different now.
    pub fn touched(&self, work: &WorkTree) -> Result<Touched, Fault> {
        Ok(Touched(self.0.differences(&take(work)?)))
    }
}

fn take(work: &WorkTree) -> Result<Inventory, Fault> {
    Inventory::take(&work.suite())
        .map_err(|e| Fault::host(Cause::Sandbox, format!("the suite's copy cannot be looked through: {e}")))
}

impl Touched {
    /// Says it. Where a file that was shipped is another one now, no test has passed: who knows what was run.
    pub fn add_to(&self, verdict: &mut Verdict, imports: Imports) {
        let Differences { changed, gone, come } = &self.0;
        let attacked: Vec<&str> = changed.iter().chain(gone).map(String::as_str).collect();
        if !attacked.is_empty() {
            let sentence = format!(
                "files that the suite has shipped were changed while it ran, so none of its tests counts as passed: {}",
                some_of(attacked, NAMES)
            );
            for case in verdict.cases.iter_mut().filter(|case| case.status == Status::Passed) {
                case.status = Status::Failed;
                case.description = "it passed, but the suite's own files were changed while it ran".into();
            }
            verdict.error = Some(match verdict.error.take() {
                None => sentence,
                Some(error) => format!("{sentence}\n{error}"),
            });
        }
        let planted: Vec<&str> = come.iter().map(String::as_str).filter(|path| is_read(path)).collect();
        if !planted.is_empty() && imports == Imports::Suite {
            verdict.tampering.push(format!(
                "files that Python or pytest takes for the suite's lay in its folder when it was over, and were not read: {}",
                some_of(planted, NAMES)
            ));
        }
    }
}

/// Whether Python or pytest would read it.
fn is_read(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    CONFIGURATION.contains(&name) || LOADED.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Case;
    use std::time::Duration;

    fn judged(changed: &[&str], come: &[&str], imports: Imports) -> Verdict {
        let case = |status| Case {
            name: "a::b".into(),
            status,
            description: String::new(),
            duration: Duration::ZERO,
            memory: 0,
            measured: None,
        };
        let mut verdict = Verdict {
            cases: vec![case(Status::Passed), case(Status::Skipped)],
            error: None,
            tampering: Vec::new(),
            remarks: Vec::new(),
            duration: Duration::ZERO,
        };
        let texts = |all: &[&str]| all.iter().map(|text| text.to_string()).collect();
        Touched(Differences { changed: texts(changed), gone: Vec::new(), come: texts(come) })
            .add_to(&mut verdict, imports);
        verdict
    }

    #[test]
    fn nothing_passes_beside_a_shipped_file_that_was_changed() {
        let verdict = judged(&["checker/checker.c"], &[], Imports::Anything);
        assert!(verdict.error.as_ref().is_some_and(|e| e.contains("checker/checker.c")), "{verdict:?}");
        let statuses: Vec<Status> = verdict.cases.iter().map(|case| case.status).collect();
        assert_eq!(statuses, [Status::Failed, Status::Skipped]);
    }

    #[test]
    fn what_was_planted_is_said_and_what_was_built_is_not() {
        let built = ["checker/checker.o", "lab1/bin/checker", "out.txt", "pytest.ini.c"];
        assert_eq!(judged(&[], &built, Imports::Suite).details(), "");
        let planted = judged(&[], &["conftest.py", "lab1/json.pyc", "tox.ini", "a.o"], Imports::Suite);
        assert!(planted.details().ends_with("conftest.py, lab1/json.pyc, tox.ini"), "{}", planted.details());
        assert_eq!(planted.error, None);
        assert_eq!(judged(&[], &["conftest.py"], Imports::Anything).details(), "");
    }
}
