//! What a suite has shipped, and whether it is still that when the tests are over.
//!
//! Its files belong to root inside, in sticky folders of root's, so nobody there can change them. That this held is looked at
//! from outside, when nothing inside lives any more.

use super::planted::{Found, Seen, Watch};
use super::shadow::Originals;
use crate::config::Imports;
use crate::config::SuiteTestOptions;
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

/// A suite's files before its tests run, and a watch on what comes beside them.
#[derive(Debug)]
pub struct Shipped {
    inventory: Inventory,
    originals: Originals,
    watch: Watch,
}

/// What happened to them.
#[derive(Debug)]
pub struct Touched {
    differences: Differences,
    /// Files that took the place of a shipped one, whether they are still there or not.
    seen: Seen,
}

impl Shipped {
    /// Takes stock of the suite in this work tree.
    pub fn look(work: &WorkTree) -> Result<Shipped, Fault> {
        let inventory = take(work)?;
        let originals = Originals::new(inventory.paths());
        let watch = Watch::begin(work, &originals);
        Ok(Shipped { inventory, originals, watch })
    }

    /// What is different now.
    pub async fn touched(self, work: &WorkTree) -> Result<Touched, Fault> {
        let mut seen = self.watch.end().await;
        let differences = self.inventory.differences(&take(work)?);
        for path in &differences.come {
            if let Some(original) = self.originals.hidden_by(path) {
                seen.found.insert(path.clone(), original);
            }
        }
        Ok(Touched { differences, seen })
    }
}

fn take(work: &WorkTree) -> Result<Inventory, Fault> {
    Inventory::take(&work.suite())
        .map_err(|e| Fault::host(Cause::Sandbox, format!("the suite's copy cannot be looked through: {e}")))
}

impl Touched {
    /// Says it. Where a file that was shipped is another one now, no test has passed: who knows what was run.
    pub fn add_to(&self, verdict: &mut Verdict, options: &SuiteTestOptions) {
        let Differences { changed, gone, come } = &self.differences;
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
        if !planted.is_empty() && options.imports == Imports::Suite {
            verdict.tampering.push(format!(
                "files that Python or pytest takes for the suite's lay in its folder when it was over, and were not read: {}",
                some_of(planted, NAMES)
            ));
        }
        self.take_back(verdict, options);
    }

    /// No test passes beside a file that took a shipped one's place: who knows what was run.
    fn take_back(&self, verdict: &mut Verdict, options: &SuiteTestOptions) {
        let own = |path: &str| options.makes.iter().any(|pattern| pattern.matches(path));
        let found: Found = self.seen.found.clone().into_iter().filter(|(path, _)| !own(path)).collect();
        if found.is_empty() && !self.seen.lost {
            return;
        }
        let names: Vec<String> =
            found.iter().map(|(path, original)| format!("{} (for {original})", path.escape_default())).collect();
        let what = match found.is_empty() {
            true => "so many files were made in the suite's folders at once that they could not all be seen".to_owned(),
            false => format!(
                "files were put into the suite's folders that take the place of its own: {}",
                some_of(names.iter().map(String::as_str), NAMES)
            ),
        };
        for case in verdict.cases.iter_mut().filter(|case| case.status == Status::Passed) {
            case.status = Status::Failed;
            case.description = format!("it passed, but {what}");
        }
        verdict.tampering.push(format!("{what}, so none of its tests counts as passed"));
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
        let differences = Differences { changed: texts(changed), gone: Vec::new(), come: texts(come) };
        let options = SuiteTestOptions { imports, ..SuiteTestOptions::default() };
        Touched { differences, seen: Seen::default() }.add_to(&mut verdict, &options);
        verdict
    }

    #[test]
    fn nothing_passes_beside_a_file_that_takes_a_shipped_ones_place_unless_the_suite_makes_it() {
        let seen = |path: &str| Seen { found: [(path.to_owned(), "Makefile".to_owned())].into(), lost: false };
        let makes = vec!["lab1/*".to_owned().try_into().unwrap()];
        let options = SuiteTestOptions { makes, ..SuiteTestOptions::default() };
        let mut verdict = judged(&[], &[], Imports::Suite);
        Touched { differences: Differences::default(), seen: seen("lab1/GNUmakefile") }.add_to(&mut verdict, &options);
        assert_eq!((verdict.cases[0].status, &*verdict.details()), (Status::Passed, ""));
        for imports in [Imports::Suite, Imports::Anything] {
            let options = SuiteTestOptions { imports, makes: options.makes.clone(), ..SuiteTestOptions::default() };
            let mut verdict = judged(&[], &[], imports);
            Touched { differences: Differences::default(), seen: seen("GNUmakefile") }.add_to(&mut verdict, &options);
            assert!(!verdict.is_passed() && verdict.error.is_none(), "{verdict:?}");
            assert!(verdict.details().contains("GNUmakefile (for Makefile)"), "{}", verdict.details());
            assert_eq!(verdict.cases[1].status, Status::Skipped);
        }
        let mut verdict = judged(&[], &[], Imports::Suite);
        let seen = Seen { lost: true, ..Seen::default() };
        Touched { differences: Differences::default(), seen }.add_to(&mut verdict, &SuiteTestOptions::default());
        assert!(!verdict.is_passed() && verdict.cases[0].description.contains("could not all be seen"), "{verdict:?}");
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
