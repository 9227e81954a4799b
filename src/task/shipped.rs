//! What a suite has shipped, and whether it is still that when the tests are over.
//!
//! Its files belong to root inside, in sticky folders of root's, so nobody there can change them. That this held is looked at
//! from outside, when nothing inside lives any more.

use super::planted::{Found, Seen, Watch, Weight};
use super::shadow::{Kind, Originals, is_source};
use crate::config::Imports;
use crate::config::SuiteTestOptions;
use crate::contain::work::WorkTree;
use crate::events::Log;
use crate::fault::{Cause, Fault};
use crate::text::some_of;
use crate::verdict::{Status, Verdict};
use sandbox::copy::read_small;
use sandbox::inventory::{Differences, Inventory};
use std::cell::Cell;
use std::collections::BTreeMap;

/// Names in one sentence at the most.
const NAMES: usize = 10;

/// Names that pytest reads beside what Python loads, in whatever folder of a suite they lie.
const CONFIGURATION: [&str; 7] =
    ["pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg", "pyproject.toml"];

/// Largest of the suite's Makefiles and scripts that is read, and all of them together.
const MAX_TOLD: u64 = 512 << 10;
const MAX_ALL_TOLD: usize = 16 << 20;

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
    originals: Originals,
    /// Files that took the place of a shipped one, whether they are still there or not.
    seen: Seen,
}

/// What is said of files that took others' places, by what comes of it.
#[derive(Debug, Default)]
struct Said {
    /// Nobody but a submission wants it.
    planted: Vec<String>,
    /// The suite has taken them from the submission.
    taken: Vec<String>,
    /// They hold what the suite's own do.
    copies: Vec<String>,
    /// Who made them cannot be told.
    doubtful: Vec<String>,
}

impl Shipped {
    /// Takes stock of the suite in this work tree.
    pub fn look(work: &WorkTree) -> Result<Shipped, Fault> {
        let inventory = take(work)?;
        let left = Cell::new(MAX_ALL_TOLD);
        let originals = Originals::new(inventory.paths(), &|path| {
            let text = read_small(&work.suite(), path, MAX_TOLD.min(left.get() as u64)).ok().flatten()?;
            left.set(left.get() - text.len());
            Some(text)
        });
        let watch = Watch::begin(work, &originals);
        Ok(Shipped { inventory, originals, watch })
    }

    /// What is different now.
    pub async fn touched(self, work: &WorkTree) -> Result<Touched, Fault> {
        let mut seen = self.watch.end().await;
        let differences = self.inventory.differences(&take(work)?);
        seen.look_again(work, &self.originals, &differences.come);
        Ok(Touched { differences, originals: self.originals, seen })
    }
}

fn take(work: &WorkTree) -> Result<Inventory, Fault> {
    Inventory::take(&work.suite())
        .map_err(|e| Fault::host(Cause::Sandbox, format!("the suite's copy cannot be looked through: {e}")))
}

impl Touched {
    /// Says it. Where a file that was shipped is another one now, no test has passed: who knows what was run.
    pub fn add_to(&self, verdict: &mut Verdict, options: &SuiteTestOptions, log: &Log) {
        let Differences { changed, gone, come } = &self.differences;
        let attacked: Vec<&str> = changed.iter().chain(gone).map(String::as_str).collect();
        if !attacked.is_empty() {
            let sentence = format!(
                "files that the suite has shipped were changed while it ran, so none of its tests counts as passed: {}",
                some_of(attacked, NAMES)
            );
            take_back(verdict, "it passed, but the suite's own files were changed while it ran");
            verdict.error = Some(match verdict.error.take() {
                None => sentence,
                Some(error) => format!("{sentence}\n{error}"),
            });
        }
        let is_told = |path: &&str| {
            let counts = self.seen.found.get(*path).is_some_and(|found| found.weight == Weight::Counts);
            is_read(path) && !counts && of_pytest(log.written(), path).is_none()
        };
        let planted: Vec<&str> = come.iter().map(String::as_str).filter(is_told).collect();
        if !planted.is_empty() && options.imports == Imports::Suite {
            verdict.tampering.push(format!(
                "files that Python or pytest takes for the suite's lay in its folder when it was over, and pytest did not read them: {}",
                some_of(planted, NAMES)
            ));
        }
        let said = self.said(options, log.written());
        self.add_planted(verdict, &said);
        if !log.displaced().is_empty() {
            let what = some_of(log.displaced().iter().map(String::as_str), NAMES);
            take_back(verdict, &format!("it passed, but {what}"));
            verdict.remarks.push(format!("{what}, so none of the tests counts as passed"));
        }
    }

    /// What is to be said of each file. `made`: what pytest has made itself, and whether of something of the submission's.
    fn said(&self, options: &SuiteTestOptions, made: &BTreeMap<String, bool>) -> Said {
        let mut said = Said::default();
        for (path, Found { hides, weight }) in &self.seen.found {
            let is_module = matches!(hides.kind, Kind::Module | Kind::Neighbour);
            let is_own = options.makes.iter().any(|pattern| pattern.matches(path));
            if is_own || (is_module && options.imports == Imports::Anything) || *weight == Weight::Harmless {
                continue;
            }
            let shown = format!("{} (for {})", path.escape_default(), hides.original);
            match (weight, of_pytest(made, path)) {
                (_, Some(false)) => {}
                // What a suite compiles of a submission's it wants to have there; what configures a tool it does not. Whose name the
                // suite says itself it has asked for.
                (_, Some(true)) if self.originals.says(path) => {}
                (_, Some(true)) => {
                    let here = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    match hides.kind {
                        Kind::Settings | Kind::Module => said.taken.push(shown),
                        Kind::Rules if self.originals.has_folder(here) => said.taken.push(shown),
                        // A source that is compiled is what the suite has asked for, whatever its name.
                        Kind::Found if !is_source(path) => said.doubtful.push(shown),
                        Kind::Found | Kind::Rules | Kind::Neighbour | Kind::Doubtful => {}
                    }
                }
                (Weight::Copy(original), None) => {
                    said.copies.push(format!("{} (as {original})", path.escape_default()));
                }
                (Weight::Gone, None) => said.doubtful.push(shown),
                (Weight::Harmless, None) => {}
                (Weight::Counts, None) if hides.kind == Kind::Doubtful => said.doubtful.push(shown),
                (Weight::Counts, None) => {
                    let may_be_copied = matches!(hides.kind, Kind::Found | Kind::Neighbour | Kind::Rules);
                    match may_be_copied && self.originals.copies(path) {
                        true => said.doubtful.push(shown),
                        false => said.planted.push(shown),
                    }
                }
            }
        }
        said
    }

    /// No test passes beside a file that took a shipped one's place: who knows what was run.
    fn add_planted(&self, verdict: &mut Verdict, said: &Said) {
        let some = |names: &[String]| some_of(names.iter().map(String::as_str), NAMES);
        if self.seen.lost || !said.planted.is_empty() {
            let what = match said.planted.is_empty() {
                true => {
                    "so many files were made in the suite's folders at once that they could not all be seen".to_owned()
                }
                false => format!(
                    "files were put into the suite's folders that take the place of its own: {}",
                    some(&said.planted)
                ),
            };
            take_back(verdict, &format!("it passed, but {what}"));
            // Many files alone accuse nobody.
            let told = if said.planted.is_empty() { &mut verdict.remarks } else { &mut verdict.tampering };
            told.push(format!("{what}, so none of its tests counts as passed"));
        }
        if !said.taken.is_empty() {
            let what = format!(
                "the suite itself has put files of the submission's into its folders that take the place of its own: {}",
                some(&said.taken)
            );
            take_back(verdict, &format!("it passed, but {what}"));
            verdict.remarks.push(format!("{what}, so none of its tests counts as passed"));
        }
        if !said.copies.is_empty() {
            verdict.remarks.push(format!(
                "copies of the suite's own files lay where they are found before these: {}",
                some(&said.copies)
            ));
        }
        if !said.doubtful.is_empty() {
            verdict.remarks.push(format!(
                "files came into the suite's folders that a tool could take for the suite's, and whose they are cannot be told: {}",
                some(&said.doubtful)
            ));
        }
    }
}

/// Whether pytest has made the file, or a folder above it: then, whether it could hold what the submission has written.
fn of_pytest(made: &BTreeMap<String, bool>, path: &str) -> Option<bool> {
    let above = path.match_indices('/').map(|(at, _)| &path[..at]);
    above.chain([path]).filter_map(|path| made.get(path)).copied().reduce(|all, one| all || one)
}

/// No test has passed.
fn take_back(verdict: &mut Verdict, why: &str) {
    for case in verdict.cases.iter_mut().filter(|case| case.status == Status::Passed) {
        case.status = Status::Failed;
        case.description = why.into();
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

    fn unjudged() -> Verdict {
        let case = |status| Case {
            name: "a::b".into(),
            status,
            description: String::new(),
            duration: Duration::ZERO,
            memory: 0,
            measured: None,
        };
        Verdict {
            cases: vec![case(Status::Passed), case(Status::Skipped)],
            error: None,
            tampering: Vec::new(),
            remarks: Vec::new(),
            duration: Duration::ZERO,
        }
    }

    fn judged(changed: &[&str], come: &[&str], imports: Imports) -> Verdict {
        let mut verdict = unjudged();
        let texts = |all: &[&str]| all.iter().map(|text| text.to_string()).collect();
        let differences = Differences { changed: texts(changed), gone: Vec::new(), come: texts(come) };
        let options = SuiteTestOptions { imports, ..SuiteTestOptions::default() };
        let touched = Touched { differences, originals: Originals::default(), seen: Seen::default() };
        touched.add_to(&mut verdict, &options, &Log::new());
        verdict
    }

    fn seen(path: &str, kind: Kind, weight: Weight) -> Touched {
        let hides = crate::task::shadow::Hides { original: "Makefile".into(), kind };
        let found = [(path.to_owned(), Found { hides, weight })].into();
        let seen = Seen { found, lost: false };
        Touched { differences: Differences::default(), originals: Originals::default(), seen }
    }

    fn told(touched: &Touched, options: &SuiteTestOptions, said: &[&str]) -> Verdict {
        let mut log = Log::new();
        log.push_line(br#"{"event":"hello","version":1,"pid":1,"python":"3","pytest":"8"}"#);
        said.iter().for_each(|line| log.push_line(line.as_bytes()));
        assert_eq!(log.problems(), &[] as &[String]);
        let mut verdict = unjudged();
        touched.add_to(&mut verdict, options, &log);
        verdict
    }

    #[test]
    fn nothing_passes_beside_a_file_that_takes_a_shipped_ones_place_unless_the_suite_makes_it() {
        let makes = vec!["lab1/*".to_owned().try_into().unwrap()];
        let options = SuiteTestOptions { makes, ..SuiteTestOptions::default() };
        let verdict = told(&seen("lab1/GNUmakefile", Kind::Settings, Weight::Counts), &options, &[]);
        assert_eq!((verdict.cases[0].status, &*verdict.details()), (Status::Passed, ""));
        for imports in [Imports::Suite, Imports::Anything] {
            let options = SuiteTestOptions { imports, makes: options.makes.clone(), ..SuiteTestOptions::default() };
            let verdict = told(&seen("GNUmakefile", Kind::Settings, Weight::Counts), &options, &[]);
            assert!(!verdict.is_passed() && verdict.error.is_none(), "{verdict:?}");
            assert!(verdict.details().contains("GNUmakefile (for Makefile)"), "{}", verdict.details());
            assert_eq!(verdict.cases[1].status, Status::Skipped);
            let verdict = told(&seen("json.py", Kind::Module, Weight::Counts), &options, &[]);
            let expected = if imports == Imports::Suite { Status::Failed } else { Status::Passed };
            assert_eq!(verdict.cases[0].status, expected, "{verdict:?}");
        }
        let none = Touched {
            differences: Differences::default(),
            originals: Originals::default(),
            seen: Seen { lost: true, ..Seen::default() },
        };
        let verdict = told(&none, &SuiteTestOptions::default(), &[]);
        assert!(!verdict.is_passed() && verdict.cases[0].description.contains("could not all be seen"), "{verdict:?}");
    }

    #[test]
    fn what_the_suite_makes_itself_is_no_tampering() {
        let options = SuiteTestOptions::default();
        let made = r#"{"event":"written","text":"lab1/x"}"#;
        let copied = r#"{"event":"copied","text":"lab1/x"}"#;
        let above = r#"{"event":"copied","text":"lab1"}"#;
        for (kind, weight, said, status, details) in [
            (Kind::Settings, Weight::Counts, made, Status::Passed, ""),
            (Kind::Found, Weight::Counts, copied, Status::Passed, "whose they are cannot be told"),
            (Kind::Found, Weight::Counts, above, Status::Passed, "whose they are cannot be told"),
            (
                Kind::Settings,
                Weight::Counts,
                copied,
                Status::Failed,
                "the suite itself has put files of the submission's",
            ),
            (
                Kind::Module,
                Weight::Counts,
                copied,
                Status::Failed,
                "the suite itself has put files of the submission's",
            ),
            (Kind::Neighbour, Weight::Counts, copied, Status::Passed, ""),
            (Kind::Rules, Weight::Harmless, "", Status::Passed, ""),
            (Kind::Rules, Weight::Gone, "", Status::Passed, "whose they are cannot be told"),
            (Kind::Found, Weight::Copy("common/x".into()), "", Status::Passed, "lab1/x (as common/x)"),
            (Kind::Doubtful, Weight::Counts, "", Status::Passed, "whose they are cannot be told"),
            (Kind::Found, Weight::Counts, "", Status::Failed, "tampering was seen: files were put"),
        ] {
            let said: &[&str] = if said.is_empty() { &[] } else { &[said] };
            let verdict = told(&seen("lab1/x", kind, weight.clone()), &options, said);
            let whole = verdict.details();
            assert_eq!(verdict.cases[0].status, status, "{kind:?} {weight:?} {whole}");
            assert!(whole.contains(details) && whole.is_empty() == details.is_empty(), "{kind:?} {weight:?} {whole}");
        }
    }

    #[test]
    fn nothing_passes_by_a_tool_that_obeyed_the_submission() {
        let none =
            Touched { differences: Differences::default(), originals: Originals::default(), seen: Seen::default() };
        let verdict = told(&none, &SuiteTestOptions::default(), &[r#"{"event":"displaced","text":"it lay there"}"#]);
        assert!(
            !verdict.is_passed() && verdict.details().contains("note: it lay there, so none"),
            "{}",
            verdict.details()
        );
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
