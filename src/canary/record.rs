//! That the canary passed: kept in the state directory, so that a start need not run it again on a host that is still the same.

use crate::contain::Host;
use anyhow::Context;
use sandbox::cgroup::Offers;
use sandbox::plan::Layer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What the name of the canary's record begins with.
const PREFIX: &str = "canary-";

/// That it passed under certain facts.
#[derive(Debug)]
pub struct Record {
    prefix: &'static str,
    boot: String,
    /// The facts as JSON: name and content of the record are made of it.
    text: String,
}

/// Everything that the canary's passing hangs on. Where one of them has changed, it must be run again.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    boot: String,
    kernel: String,
    /// Size and time of change of runner and launcher, in nanoseconds.
    programs: Vec<(u64, u128)>,
    python: String,
    requirements: String,
    waived: BTreeSet<Layer>,
    /// The driver, and what its groups can do. Not where they are: that is another place at each start by hand.
    driver: String,
    offers: Offers,
    /// What was taken away from this process: a shell has passed for itself, and not for a service. Records of versions that did
    /// not know it are read, to be removed.
    #[serde(default)]
    restrictions: String,
}

impl Record {
    /// Of this host as it is. `None` where it cannot be told, and so must not be relied on.
    pub fn of(host: &Host, requirements: &str) -> Option<Record> {
        let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_string());
        let python = host.python().ok()?;
        Record::under(&Facts {
            boot: read("/proc/sys/kernel/random/boot_id")?,
            kernel: read("/proc/sys/kernel/osrelease")?,
            programs: vec![stamp(&std::env::current_exe().ok()?)?, stamp(host.launcher())?],
            python: format!("{} {}", python.version, python.program.display()),
            requirements: requirements.into(),
            waived: host.waived().clone(),
            driver: host.driver().into(),
            offers: host.offers().ok()?,
            restrictions: restrictions(&read("/proc/self/status")?),
        })
    }

    /// The same of something else than the canary.
    pub fn named(self, prefix: &'static str) -> Record {
        Record { prefix, ..self }
    }

    fn under(facts: &Facts) -> Option<Record> {
        Some(Record { prefix: PREFIX, boot: facts.boot.clone(), text: serde_json::to_string(facts).ok()? + "\n" })
    }

    /// Where it is, or would be, kept.
    pub fn path(&self, cache: &Path) -> PathBuf {
        let digest = Sha256::digest(&self.text);
        let key: String = digest.iter().take(10).map(|b| format!("{b:02x}")).collect();
        cache.join(format!("{}{key}", self.prefix))
    }

    /// Whether it was kept.
    pub fn is_kept(&self, cache: &Path) -> bool {
        std::fs::read_to_string(self.path(cache)).is_ok_and(|text| text == self.text)
    }

    /// Keeps it, and forgets those of earlier boots, which can never be asked for again.
    pub fn keep(&self, cache: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(cache).with_context(|| format!("{} cannot be made", cache.display()))?;
        let new = tempfile::Builder::new().prefix(self.prefix).suffix(".new").tempfile_in(cache);
        let new = new.with_context(|| format!("no file can be made in {}", cache.display()))?;
        std::fs::write(new.path(), &self.text).context("the record cannot be written")?;
        new.persist(self.path(cache)).context("the record cannot be put in its place")?;
        for entry in std::fs::read_dir(cache).with_context(|| format!("{} cannot be read", cache.display()))?.flatten()
        {
            let is_record = entry.file_name().to_str().is_some_and(|name| name.starts_with(self.prefix));
            if is_record && is_of_another_boot(&entry.path(), &self.boot) {
                std::fs::remove_file(entry.path())
                    .with_context(|| format!("{} cannot be removed", entry.path().display()))?;
            }
        }
        Ok(())
    }
}

/// What cannot be read as a record may be one that is just being written, or a newer version's.
fn is_of_another_boot(path: &Path, boot: &str) -> bool {
    let record = std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<Facts>(&text).ok());
    record.is_some_and(|facts| facts.boot != boot)
}

/// The lines of a `/proc/PID/status` that tell of them.
fn restrictions(status: &str) -> String {
    let names = ["CapBnd:", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:"];
    let lines = status.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn stamp(program: &Path) -> Option<(u64, u128)> {
    let meta = program.metadata().ok()?;
    let changed = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((meta.len(), changed.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            boot: "b1".into(),
            kernel: "6.1.0".into(),
            programs: vec![(1, 2), (3, 4)],
            python: "3.11.2 /usr/bin/python3.11".into(),
            requirements: "pytest\n".into(),
            waived: BTreeSet::new(),
            driver: "unified".into(),
            offers: Offers {
                memory_peak: true,
                peak_reset: true,
                swap_limit: true,
                cpu_limit: true,
                pids_peak: true,
                pressure: true,
                cores: true,
            },
            restrictions: "CapBnd: 000001ffffffffff".into(),
        }
    }

    fn under(facts: &Facts) -> Record {
        Record::under(facts).unwrap()
    }

    #[test]
    fn whatever_changes_another_record_is_asked_for() {
        let cache = tempfile::tempdir().unwrap();
        let kept = under(&facts());
        assert!(!kept.is_kept(cache.path()));
        kept.keep(cache.path()).unwrap();
        assert!(kept.is_kept(cache.path()));
        for other in [
            Facts { boot: "b2".into(), ..facts() },
            Facts { kernel: "6.1.1".into(), ..facts() },
            Facts { programs: vec![(1, 2), (3, 5)], ..facts() },
            Facts { python: "3.12.0 /usr/bin/python3.12".into(), ..facts() },
            Facts { requirements: "pytest==8\n".into(), ..facts() },
            Facts { waived: BTreeSet::from([Layer::Landlock]), ..facts() },
            Facts { driver: "hybrid".into(), ..facts() },
            Facts { restrictions: "CapBnd: 00000000002000eb".into(), ..facts() },
            Facts { offers: Offers { swap_limit: false, ..facts().offers }, ..facts() },
        ] {
            assert!(!under(&other).is_kept(cache.path()), "{other:?}");
        }
    }

    #[test]
    fn what_a_service_may_not_do_is_told_from_what_it_was_doing() {
        let status = "Name:\tx\nThreads:\t3\nCapBnd:\t00000000002000eb\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t9\nVmRSS:\t7 kB\n";
        assert_eq!(restrictions(status), "CapBnd: 00000000002000eb NoNewPrivs: 1 Seccomp: 2 Seccomp_filters: 9");
    }

    #[test]
    fn a_record_that_holds_something_else_is_none() {
        let cache = tempfile::tempdir().unwrap();
        std::fs::write(under(&facts()).path(cache.path()), "").unwrap();
        assert!(!under(&facts()).is_kept(cache.path()));
    }

    #[test]
    fn records_of_earlier_boots_go_and_nothing_else() {
        let cache = tempfile::tempdir().unwrap();
        let earlier = under(&Facts { boot: "b0".into(), ..facts() });
        earlier.keep(cache.path()).unwrap();
        std::fs::write(cache.path().join("canary-strange"), "no record").unwrap();
        std::fs::create_dir(cache.path().join("venv-1")).unwrap();
        let twin = under(&Facts { kernel: "6.1.1".into(), ..facts() });
        twin.keep(cache.path()).unwrap();
        under(&facts()).keep(cache.path()).unwrap();
        assert!(!earlier.is_kept(cache.path()));
        assert!(twin.is_kept(cache.path()) && under(&facts()).is_kept(cache.path()));
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 4);
    }
}
