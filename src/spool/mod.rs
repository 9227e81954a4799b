//! The spool: on disk, every task that was taken and has no confirmed answer. No crash, and no backend that is away, loses one.
//!
//! A file for each attempt ([`Entry`], JSON, for people to read), named by its dialect and id, in the state directory's
//! `spool/`. It is written when the task is taken, written anew when there is a result, and goes away when the backend has
//! said 2xx. Each time it is written aside, synced, renamed over the old one, and the directory synced: after a crash
//! there is the old one or the new one, whole. What a backend refuses for good moves to `rejected/`.

mod durable;
mod entry;
mod shelf;

pub use entry::{Entry, Stage, name_of};
pub use shelf::{Lying, Shelf};

use crate::backend::contract::{Key, Task};
use anyhow::Context;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Most results that may wait. A backend that hands out tasks and takes no results would fill the disk.
pub const MOST_WAITING: usize = 1000;

/// Bytes that are kept for each slot, so that the result of a task that was taken can be written to a disk that has filled
/// up meanwhile. Texts of a result are capped at 8 MiB together; most have a few KiB.
const RESERVE: u64 = 8 << 20;

/// The directory in the state directory.
pub const DIR: &str = "spool";

/// Where entries of other backends wait until a runner asks theirs again: the same attempt may be another one here.
const ELSEWHERE: &str = "elsewhere";

/// A file that is there while the backend is asked.
const ASKING: &str = ".asking";

/// Where results are that a backend refused for good, below it.
const REJECTED: &str = "rejected";

/// An open spool: its directory, and what is in it. One runner has it at a time (the state directory's lock).
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    backend: String,
    slots: usize,
    /// Entries by their names, as they are on disk, and the results that could not be written there.
    book: Mutex<BTreeMap<String, Held>>,
}

/// What is known of an entry without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Taken,
    Waiting,
    /// Confirmed, and its file could not be removed: it is not to be found and sent again.
    Confirmed,
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Found {
    /// Tasks that were taken and not finished.
    pub taken: Vec<Entry>,
    /// Results that the backend has not confirmed, the oldest first.
    pub waiting: Vec<Entry>,
    /// Names of entries of other backends; they stay.
    pub others: Vec<String>,
    /// Files that are no entries, and why; they stay.
    pub unreadable: Vec<(PathBuf, String)>,
    /// When the runner was asking the backend as it was killed, if it was (RFC 3339, UTC).
    pub asking: Option<String>,
}

/// Why a task was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It is in hand already.
    #[error("it is in hand already, so this time is not counted")]
    InHand,
    /// The disk does not take it.
    #[error("{0:#}")]
    Disk(anyhow::Error),
}

impl Spool {
    /// Opens the spool of a state directory for a runner of this backend, and says what an earlier run left in it.
    ///
    /// # Errors
    /// The directory cannot be made, read or written to.
    pub fn open(state_dir: &Path, backend: &str, slots: usize) -> anyhow::Result<(Spool, Found)> {
        let dir = state_dir.join(DIR);
        for below in [REJECTED, ELSEWHERE] {
            durable::make_dir(&dir.join(below))?;
        }
        let spool = Spool { dir, backend: backend.to_owned(), slots, book: Mutex::default() };
        for dir in [&spool.dir, &spool.dir.join(REJECTED), &spool.dir.join(ELSEWHERE)] {
            // Half of JSON is none.
            durable::sweep(dir, |bytes| Entry::parse(bytes).is_ok())?;
        }
        let mut found = Found { asking: entry::changed_at(&spool.dir.join(ASKING)), ..Found::default() };
        spool.asked();
        found.others = spool.part()?;
        for (path, entry) in read_all(&spool.dir)? {
            match entry {
                Err(problem) => found.unreadable.push((path, problem)),
                Ok(entry) => match entry.stage {
                    Stage::Taken => {
                        spool.book().insert(entry.name(), Held::Taken);
                        found.taken.push(entry);
                    }
                    Stage::Waiting { .. } => {
                        spool.book().insert(entry.name(), Held::Waiting);
                        found.waiting.push(entry);
                    }
                    Stage::Rejected { .. } => {
                        found.unreadable.push((path, format!("it is refused already and belongs into {REJECTED}/")));
                    }
                },
            }
        }
        found.waiting.sort_by_key(Entry::since);
        Ok((spool, found))
    }

    /// Whether another task can be taken: there is room for its result, and not too many wait.
    ///
    /// # Errors
    /// A sentence with the remedy.
    pub fn ready(&self) -> anyhow::Result<()> {
        let waiting = self.waiting();
        anyhow::ensure!(
            waiting < MOST_WAITING,
            "{waiting} results wait for the backend, which hands out tasks and takes no results; see `ostest-sandbox spool list`"
        );
        durable::probe(&self.dir)
            .and_then(|()| (0..self.slots).try_for_each(|slot| durable::reserve(&self.dir, slot, RESERVE)))
            .with_context(|| {
                format!(
                    "the spool {} cannot be written to, so no result would be safe; free {} MiB on its disk or give another \
                     --state-dir",
                    self.dir.display(),
                    (self.slots as u64 * RESERVE) >> 20
                )
            })
    }

    /// Notes that the backend is about to be asked, until [`Spool::asked`]: of a runner that is killed in between nobody knows
    /// whether it was handed a task.
    pub fn asking(&self) {
        // Not synced, and an error is none: it only helps to explain.
        let _ = std::fs::write(self.dir.join(ASKING), "");
    }

    /// What the backend has answered is on record.
    pub fn asked(&self) {
        let _ = std::fs::remove_file(self.dir.join(ASKING));
    }

    /// Records a task before anything is done for it.
    ///
    /// # Errors
    /// [`TakeError::InHand`] for an attempt that is being graded or whose result waits: it is not to be graded beside itself.
    pub fn take(&self, task: &Task) -> Result<(), TakeError> {
        let entry = Entry::taken(&self.backend, task, SystemTime::now());
        let name = entry.name();
        {
            let mut book = self.book();
            if book.get(&name).is_some_and(|held| *held != Held::Confirmed) {
                return Err(TakeError::InHand);
            }
            book.insert(name, Held::Taken);
        }
        self.write(&entry).map_err(TakeError::Disk)
    }

    /// Whether an attempt is in hand: being graded, or its result waits.
    pub fn has(&self, key: &Key) -> bool {
        self.book().get(&name_of(key)).is_some_and(|held| *held != Held::Confirmed)
    }

    /// Records the result of an attempt, which from here on waits for the backend.
    ///
    /// # Errors
    /// The disk does not take it, not even what was kept for it. It counts as waiting all the same.
    pub fn finish(&self, key: &Key, task: Option<&Task>, result: &serde_json::Value) -> anyhow::Result<()> {
        let mut entry = Entry::finished(&self.backend, key, task, result, SystemTime::now());
        if let Ok(before) = self.read(&entry.name()) {
            (entry.task, entry.taken) = (before.task, before.taken);
        }
        self.book().insert(entry.name(), Held::Waiting);
        if let Err(first) = self.write(&entry) {
            tracing::warn!("the spool's own reserve is used: {first:#}");
            let freed = (0..self.slots).filter(|slot| durable::give_up_reserve(&self.dir, *slot));
            let mut tries = freed.map(|_| self.write(&entry));
            anyhow::ensure!(tries.any(|written| written.is_ok()), "{first:#}");
        }
        Ok(())
    }

    /// The backend has taken the result: nothing is kept of it.
    ///
    /// # Errors
    /// The file cannot be removed; it would be sent again at the next start, with the same content.
    pub fn confirm(&self, key: &Key) -> anyhow::Result<()> {
        let name = name_of(key);
        let gone = durable::remove(&self.dir, &file_name(&name));
        match &gone {
            Ok(()) => self.book().remove(&name),
            Err(_) => self.book().insert(name.clone(), Held::Confirmed),
        };
        gone.with_context(|| format!("the delivered {name} cannot be taken out of the spool {}", self.dir.display()))
    }

    /// The backend has refused the result for good: it is kept aside, with the reason, and not sent again unless somebody says so.
    ///
    /// # Errors
    /// The disk does not take it, or has not taken the result before; the entry stays where it was.
    pub fn reject(&self, key: &Key, status: u16, reason: &str) -> anyhow::Result<()> {
        let name = name_of(key);
        let entry = self.read(&name)?;
        // Otherwise a record without the result would take its place.
        anyhow::ensure!(matches!(entry.stage, Stage::Waiting { .. }), "the result of {name} is not on disk");
        let entry = entry.rejected(SystemTime::now(), status, reason);
        let kept = entry.name_aside();
        durable::replace(&self.dir.join(REJECTED), &file_name(&kept), &entry.to_bytes())
            .and_then(|()| durable::remove(&self.dir, &file_name(&name)))
            .with_context(|| format!("{name} cannot be put into {}", self.dir.join(REJECTED).display()))?;
        self.book().remove(&name);
        Ok(())
    }

    /// Results of this backend's that somebody has put into the spool since it was opened.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn search(&self) -> anyhow::Result<Vec<Entry>> {
        let mut new = Vec::new();
        for entry in read_all(&self.dir)?.into_values().flatten() {
            let mut book = self.book();
            if entry.backend == self.backend
                && matches!(entry.stage, Stage::Waiting { .. })
                && !book.contains_key(&entry.name())
            {
                book.insert(entry.name(), Held::Waiting);
                new.push(entry);
            }
        }
        Ok(new)
    }

    /// Whether the result of an attempt still lies there: an operator may have dropped it.
    pub fn is_waiting_on_disk(&self, key: &Key) -> bool {
        self.dir.join(file_name(&name_of(key))).exists()
    }

    /// Thinks no more of an attempt that was dropped.
    pub fn forget(&self, key: &Key) {
        self.book().remove(&name_of(key));
    }

    /// Results that wait for the backend.
    pub fn waiting(&self) -> usize {
        self.book().values().filter(|held| **held == Held::Waiting).count()
    }

    /// Results that were refused for good.
    pub fn rejected(&self) -> usize {
        std::fs::read_dir(self.dir.join(REJECTED))
            .map_or(0, |entries| entries.flatten().filter(|e| is_entry(&e.path())).count())
    }

    /// Takes back what is this backend's, and puts away what is not; the names of all that is not.
    fn part(&self) -> anyhow::Result<Vec<String>> {
        let elsewhere = self.dir.join(ELSEWHERE);
        let mut others = Vec::new();
        for (path, entry) in read_all(&self.dir)? {
            if let Ok(entry) = entry
                && entry.backend != self.backend
            {
                durable::put_away(&path, &elsewhere.join(file_name(&entry.name_elsewhere())))?;
            }
        }
        for (path, entry) in read_all(&elsewhere)? {
            match entry {
                Ok(entry) if entry.backend == self.backend && !self.dir.join(file_name(&entry.name())).exists() => {
                    durable::put_away(&path, &self.dir.join(file_name(&entry.name())))?;
                }
                Ok(entry) => others.push(entry.name_elsewhere()),
                Err(problem) => tracing::error!(file = %path.display(), "it is left alone: {problem}"),
            }
        }
        Ok(others)
    }

    fn read(&self, name: &str) -> anyhow::Result<Entry> {
        let path = self.dir.join(file_name(name));
        read_entry(&path).map_err(|problem| anyhow::anyhow!("{} cannot be read: {problem}", path.display()))
    }

    fn write(&self, entry: &Entry) -> anyhow::Result<()> {
        let name = file_name(&entry.name());
        durable::replace(&self.dir, &name, &entry.to_bytes())
            .with_context(|| format!("{name} cannot be written to the spool {}", self.dir.display()))
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        // Whoever panicked with the lock left a map that is as good as before.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file_name(name: &str) -> String {
    format!("{name}.json")
}

fn is_entry(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.ends_with(".json") && !name.starts_with('.')
}

/// Every entry of a directory by its file, in the order of names; none where there is no directory.
fn read_all(dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, Result<Entry, String>>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("the spool {} cannot be read", dir.display())),
    };
    let mut all = BTreeMap::new();
    for entry in entries {
        let path = entry.with_context(|| format!("the spool {} cannot be read", dir.display()))?.path();
        if is_entry(&path) {
            match read_entry(&path) {
                // A runner has delivered it meanwhile.
                Err(_) if !path.exists() => {}
                read => {
                    all.insert(path, read);
                }
            }
        }
    }
    Ok(all)
}

fn read_entry(path: &Path) -> Result<Entry, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let entry = Entry::parse(&bytes)?;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    match [entry.name(), entry.name_aside(), entry.name_elsewhere()].contains(&name.to_owned()) {
        true => Ok(entry),
        false => Err(format!("its name does not fit: it holds {}", entry.name())),
    }
}

#[cfg(test)]
mod tests;
