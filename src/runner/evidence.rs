//! Whether a fault is everybody's: tries the step that failed on something that is known to be good.

use super::Shared;
use crate::canary::{self, When};
use crate::check::Grade;
use crate::contain::slots::Slot;
use crate::fault::{Blame, Cause, Fault};
use crate::task::{Assignment, Source, Step, TaskError, rehearse};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where the last repositories are kept that could be fetched, in the state directory: a runner that starts while its git server is
/// half broken has something to compare with.
const FILE: &str = "known-good.json";

/// Where the last submissions are kept with which the suite has started: a runner that starts with a broken suite has something to
/// compare with.
const STARTED: &str = "started.json";

/// Most suites and laboratories that are remembered to start.
const SUITES: usize = 1000;

/// How many of each server.
const KEPT: usize = 2;

/// What a canary takes at the most: its stages may take some minutes each, and an environment may have to be built for it.
pub const CANARY: Duration = Duration::from_secs(3600);

/// The last two repositories that were fetched from each server and mirror, by its cause in words: of two one is another than that
/// which fails.
#[derive(Debug)]
pub struct KnownGood {
    path: PathBuf,
    urls: Mutex<BTreeMap<String, Vec<(String, String)>>>,
}

impl KnownGood {
    /// What an earlier run has kept; a file that cannot be read is as none.
    pub fn read(state_dir: &Path) -> KnownGood {
        let path = state_dir.join(FILE);
        let kept = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        KnownGood { path, urls: Mutex::new(kept.unwrap_or_default()) }
    }

    /// This branch of this repository was fetched.
    pub fn note(&self, cause: &Cause, url: &str, branch: &str) {
        let mut urls = self.lock();
        let known = urls.entry(cause.to_string()).or_default();
        let few = known.len() < KEPT;
        known.retain(|(other, _)| other != url);
        known.push((url.to_owned(), branch.to_owned()));
        if known.len() > KEPT {
            known.remove(0);
        }
        if few {
            keep(&self.path, &*urls);
        }
    }

    /// One that is not `url`.
    fn other_than(&self, cause: &Cause, url: &str) -> Option<(String, String)> {
        self.lock().get(&cause.to_string())?.iter().rev().find(|(known, _)| known != url).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<(String, String)>>> {
        // No statement in here can fail half way.
        self.urls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A submission with which the suite has started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Its repository.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// What was graded of it.
    pub commit: String,
}

/// With what the suite has started: the last such submissions, of [`KEPT`] repositories; and which suites have.
#[derive(Debug)]
pub struct Started {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: Vec<Submission>,
    /// Suites that have started in this run, each for these laboratories.
    suites: BTreeSet<(String, Vec<u32>)>,
}

impl Started {
    /// What an earlier run has kept; a file that cannot be read is as none.
    pub fn read(state_dir: &Path) -> Started {
        let path = state_dir.join(STARTED);
        let kept = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Started { path, inner: Mutex::new(Inner { known: kept.unwrap_or_default(), ..Inner::default() }) }
    }

    /// The suite has started with this commit.
    pub fn note(&self, url: &str, branch: &str, commit: &str) {
        let one = Submission { url: url.into(), branch: branch.into(), commit: commit.into() };
        let known = &mut self.lock().known;
        if known.last() == Some(&one) {
            return;
        }
        known.retain(|other| other.url != url);
        known.push(one);
        if known.len() > KEPT {
            known.remove(0);
        }
        keep(&self.path, known);
    }

    /// One of another repository than `url`.
    pub fn other_than(&self, url: &str) -> Option<Submission> {
        self.lock().known.iter().rev().find(|known| known.url != url).cloned()
    }

    /// This very suite starts for these laboratories.
    pub fn note_suite(&self, fingerprint: &str, labs: &[u32]) {
        let suites = &mut self.lock().suites;
        if suites.len() >= SUITES {
            suites.clear();
        }
        suites.insert((fingerprint.to_owned(), labs.to_vec()));
    }

    /// Whether it is known to.
    pub fn knows_suite(&self, fingerprint: &str, labs: &[u32]) -> bool {
        self.lock().suites.contains(&(fingerprint.to_owned(), labs.to_vec()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No statement in here can fail half way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lost with it is only a comparison. Not synced: after a loss of power the next task writes it again.
fn keep(path: &Path, what: &impl Serialize) {
    let aside = path.with_extension("new");
    let text = serde_json::to_vec_pretty(what).unwrap_or_default();
    let written = std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, path));
    if let Err(error) = written {
        tracing::debug!("{} cannot be written: {error}", path.display());
    }
}

impl Shared {
    /// Whether the step that failed for the repository `url` works for others at this moment. `false` where there is nothing to
    /// compare with.
    pub(super) async fn works_for_others(&self, slot: &Slot, cause: &Cause, step: Step, url: &str) -> bool {
        match cause {
            // The suite's own repository, which every task needs.
            Cause::Server(_) | Cause::Mirror(_) if step != Step::Fetch => false,
            Cause::Server(_) | Cause::Mirror(_) => {
                let Some((known, branch)) = self.known_good.other_than(cause, url) else { return false };
                let tried = self.rehearse(slot, &Source::Git { url: known, branch }, &[], Step::Fetch).await;
                // A repository that is gone since was said to be gone by the server.
                tried.is_ok_and(|fault| fault.is_none_or(|fault| fault.blame == Blame::Submission))
            }
            Cause::Sandbox | Cause::Runner => self.canary(slot).await.is_ok(),
            // What one laboratory needs keeps no other.
            Cause::Programs | Cause::Groups => {
                let tried =
                    self.rehearse(slot, &Source::Git { url: url.into(), branch: String::new() }, &[], step).await;
                tried.is_ok_and(|fault| fault.is_none())
            }
            // Every task needs these.
            Cause::Suite | Cause::Index | Cause::Environment | Cause::Submission | Cause::Deadline => false,
        }
    }

    /// Does the steps of a task through `step` and keeps nothing: the fault that it met, if it met one.
    ///
    /// # Errors
    /// The runner was told to stop meanwhile.
    pub(super) async fn rehearse(
        &self,
        slot: &Slot,
        source: &Source,
        labs: &[u32],
        step: Step,
    ) -> Result<Option<Fault>, ()> {
        let rules = self.rules();
        let assignment = Assignment {
            attempt: "probe".into(),
            source: source.clone(),
            labs: labs.to_vec(),
            connected_tests: Vec::new(),
        };
        let done = rehearse(&self.runner.host, &rules.grading, slot, &assignment, step, &self.stop.now).await;
        match done {
            Ok(()) => Ok(None),
            Err(TaskError::Fault(fault)) => Ok(Some(fault)),
            Err(TaskError::Interrupted) => Err(()),
        }
    }

    /// Grades the canary: what is wrong with the host, if anything is.
    pub(super) async fn canary(&self, slot: &Slot) -> Result<(), Fault> {
        let rules = self.rules();
        let _promise = self.runner.manager.vigil.promise("the canary", CANARY);
        let found = canary::run(&self.runner.host, &rules.grading, slot, When::Always, &self.stop.now).await;
        match found.iter().find(|finding| finding.grade == Grade::Red) {
            None => Ok(()),
            Some(finding) => Err(Fault::host(Cause::Sandbox, format!("{}: {}", finding.name, finding.found))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_compared_with_another_repository_and_its_last_commit() {
        let dir = tempfile::tempdir().unwrap();
        let started = Started::read(dir.path());
        started.note("a", "main", "1");
        assert_eq!(started.other_than("a"), None);
        started.note("a", "main", "2");
        for started in [started, Started::read(dir.path())] {
            let found = started.other_than("b").unwrap();
            assert_eq!((found.url.as_str(), found.commit.as_str()), ("a", "2"));
        }
        std::fs::write(dir.path().join(STARTED), "[{}]").unwrap();
        assert_eq!(Started::read(dir.path()).other_than("b"), None);
    }

    #[test]
    fn a_suite_is_known_by_what_it_is_and_for_each_laboratory() {
        let dir = tempfile::tempdir().unwrap();
        let started = Started::read(dir.path());
        started.note_suite("a", &[1]);
        assert!(started.knows_suite("a", &[1]) && !started.knows_suite("a", &[2]) && !started.knows_suite("b", &[1]));
        (0..SUITES).for_each(|n| started.note_suite(&n.to_string(), &[]));
        assert!(started.lock().suites.len() <= SUITES && started.knows_suite(&(SUITES - 1).to_string(), &[]));
    }

    #[test]
    fn what_was_fetched_is_known_to_the_next_run_and_is_no_comparison_with_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (Cause::Server("a.example:443".into()), Cause::Mirror("https://b.example/".into()));
        KnownGood::read(dir.path()).note(&here, "https://a.example/one", "main");
        let known = KnownGood::read(dir.path());
        assert_eq!(known.other_than(&here, "https://a.example/one"), None);
        assert_eq!(known.other_than(&there, "https://a.example/two"), None);
        let found = known.other_than(&here, "https://a.example/two");
        assert_eq!(found, Some(("https://a.example/one".into(), "main".into())));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(KnownGood::read(dir.path()).other_than(&here, ""), None);
    }
}
