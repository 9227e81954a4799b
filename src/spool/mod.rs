//! The spool: on disk, every task that was taken and has no confirmed answer. No crash, and no backend that is away, loses one.
//!
//! A file for each attempt ([`Entry`], JSON, for people to read), named by its dialect and id, in the state directory's
//! `spool/`. It is written when the task is taken, written anew when there is a result, and goes away when the backend has
//! said 2xx. Each time it is written aside, synced, renamed over the old one, and the directory synced: after a crash
//! there is the old one or the new one, whole. What a backend refuses for good moves to `rejected/`.
//!
//! A result is sent only as it stands on disk. One that the disk does not take is held in memory until it does: what the next start
//! would say is what stands on disk, and no attempt is to be answered in two ways.
//!
//! The runner knows entries by their names ([`book`]) and reads one when it is sent: however many wait, they are not in memory.

mod book;
mod course;
mod durable;
mod entry;
mod head;
mod place;
mod question;
mod reserve;
mod shelf;
mod start;

pub use course::{Next, Said, TakeError};
pub use entry::{Entry, Stage, name_of};
pub use head::{Head, State};
pub use shelf::{Lying, Shelf};
pub use start::Found;

use anyhow::Context;
use book::{Book, Held};
use question::Question;
use reserve::Reserve;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Most results that may wait. A backend that hands out tasks and takes no results would fill the disk.
pub const MOST_WAITING: usize = 1000;

/// Most results that may lie in `rejected/`, and their bytes: somebody has to look at them.
pub const MOST_REJECTED: usize = 1000;
const REJECTED_BYTES: u64 = 1 << 30;

/// How many results in a row may be refused with one status before no more tasks are taken.
pub const MOST_REFUSALS: u32 = 5;

/// The directory in the state directory.
pub const DIR: &str = "spool";

/// Where entries of other backends wait until a runner asks theirs again: the same attempt may be another one here.
const ELSEWHERE: &str = "elsewhere";

/// Where results are that a backend refused for good, below it.
const REJECTED: &str = "rejected";

/// Where files are put that this program did not write, if they have the name of an attempt that is handed out.
const SET_ASIDE: &str = "set-aside";

/// An open spool: its directory, and what is in it. One runner has it at a time (the state directory's lock).
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    backend: String,
    reserve: Reserve,
    question: Question,
    /// Whether a question is on its way.
    asking: AtomicBool,
    /// Held while files are changed: one at a time, together with what the book says of them.
    files: Mutex<()>,
    /// Held while a file is read: one at a time is in memory.
    reading: Mutex<()>,
    book: Mutex<Book>,
    /// Which directory it is, so that another one in its place is not taken for it.
    identity: Mutex<(u64, u64)>,
    /// The status of the last refusals, and how many there were in a row.
    refusals: Mutex<(u16, u32)>,
    /// Results that were refused for good, and their bytes.
    rejected: Mutex<(usize, u64)>,
    /// Files that are no entries, as they were when they were read.
    strange: Mutex<BTreeMap<PathBuf, (SystemTime, u64)>>,
}

impl Spool {
    /// Whether another task can be taken: there is room for its record and its result, everything that is known is on disk, not too
    /// much waits, and the backend takes results.
    ///
    /// # Errors
    /// A sentence with the remedy.
    pub fn ready(&self) -> anyhow::Result<()> {
        {
            let _files = lock(&self.files);
            self.in_place().with_context(|| self.cannot_be_used())?;
            self.tidy_up();
            self.write_what_is_not().with_context(|| self.cannot_be_used())?;
        }
        let waiting = self.waiting();
        anyhow::ensure!(
            waiting < MOST_WAITING,
            "{waiting} results wait for the backend, which hands out tasks and takes no results; see `ostest-sandbox spool list`"
        );
        let (count, bytes) = self.count_rejected();
        anyhow::ensure!(
            count < MOST_REJECTED && bytes < REJECTED_BYTES,
            "{count} results with {} MiB together lie in {}, which the backend has refused; look at them with `ostest-sandbox spool \
             list`, then `ostest-sandbox spool retry --all` or `ostest-sandbox spool drop --all`",
            bytes >> 20,
            self.dir.join(REJECTED).display()
        );
        let (status, in_a_row) = *lock(&self.refusals);
        anyhow::ensure!(
            in_a_row < MOST_REFUSALS,
            "the backend has refused {in_a_row} results in a row with HTTP {status}; `ostest-sandbox spool list` shows what it said; when \
             that is mended, `ostest-sandbox spool retry --all` sends them again, and the first that is taken ends this (so does SIGHUP)"
        );
        // In this order: what the reserve leaves has to be enough for the question.
        self.reserve.fill().and_then(|()| self.question.probe(&self.backend)).with_context(|| self.cannot_be_used())
    }

    fn cannot_be_used(&self) -> String {
        format!(
            "the spool {} cannot be written to, so no result would be safe; free {} MiB on its disk or give another --state-dir",
            self.dir.display(),
            self.reserve.mebibytes()
        )
    }

    /// Notes that the backend is about to be asked, until [`Spool::asked`].
    ///
    /// # Errors
    /// The disk does not take it, or there is something that it has not taken before: nothing must be asked then.
    pub fn asking(&self) -> anyhow::Result<()> {
        let _files = lock(&self.files);
        anyhow::ensure!(
            lock(&self.book).count(Held::is_unwritten) == 0,
            "there is something that the disk has not taken"
        );
        self.question.begin(&self.backend).with_context(|| self.cannot_be_used())?;
        // A question that is sent from here on means a new grading.
        lock(&self.book).uncross();
        self.asking.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The backend has answered this, of which nothing else knows yet.
    pub fn answered(&self, answer: &[u8]) {
        if let Err(error) = self.question.answered(answer) {
            tracing::warn!("the backend's answer cannot be noted before it is recorded: {error}");
        }
    }

    /// What the backend has answered is on record.
    pub fn asked(&self) {
        let _files = lock(&self.files);
        self.asking.store(false, Ordering::Relaxed);
        // If it is not, the answer is the only record.
        if lock(&self.book).count(Held::is_unwritten) == 0
            && let Err(error) = self.question.end()
        {
            tracing::warn!("{} cannot be removed: {error}", self.question.path().display());
        }
        self.tidy_up();
    }

    /// Removes what was confirmed and could not be removed before, or was kept for a question that is answered now.
    pub fn tidy(&self) {
        let _files = lock(&self.files);
        self.tidy_up();
    }

    /// Writes what could not be written before.
    ///
    /// # Errors
    /// The disk still does not take it.
    pub fn write_held(&self) -> anyhow::Result<()> {
        let _files = lock(&self.files);
        self.write_what_is_not()
    }

    /// Results that wait for the backend.
    pub fn waiting(&self) -> usize {
        lock(&self.book).count(Held::is_waiting)
    }

    /// Results whose files went away with the directory, and which are too long for a copy in memory.
    pub fn missing(&self) -> usize {
        lock(&self.book).count(|held| matches!(held, Held::Missing))
    }

    /// Tasks and results that are in memory alone.
    pub fn unwritten(&self) -> usize {
        lock(&self.book).count(Held::is_unwritten)
    }

    /// Results that were refused for good, when they were counted last.
    pub fn rejected(&self) -> usize {
        lock(&self.rejected).0
    }

    /// A new word of the operator's: refusals are counted anew.
    pub fn forgive(&self) {
        *lock(&self.refusals) = (0, 0);
    }

    fn count_rejected(&self) -> (usize, u64) {
        let sizes = std::fs::read_dir(self.dir.join(REJECTED)).into_iter().flatten().flatten();
        let sizes = sizes.filter(|found| is_entry(&found.path())).map(|found| found.metadata().map_or(0, |m| m.len()));
        let found = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
        *lock(&self.rejected) = found;
        found
    }
}

/// What is behind a lock. Whoever panicked with it left it as good as before: no statement that holds one fails half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn file_name(name: &str) -> String {
    format!("{name}.json")
}

fn is_entry(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.ends_with(".json") && !name.starts_with('.')
}

/// The files of a directory that are named like entries, in the order of names; none where there is no directory.
fn files_of(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("the spool {} cannot be read", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(cannot)?,
    };
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.with_context(cannot)?;
    paths.retain(|path| is_entry(path));
    paths.sort();
    Ok(paths)
}

/// Longest file that is read whole to see whose it is, in bytes.
const SHORT: u64 = 64 << 10;

/// What was read of an entry, or what is wrong with it.
type HeadAndBytes = Result<(Head, Option<Vec<u8>>), String>;

/// What an entry says, with its bytes where it is short; none if it is gone meanwhile. Its name has to fit. The result of a long one is
/// looked at when it is sent.
fn read_head(path: &Path) -> Option<HeadAndBytes> {
    let read = || -> std::io::Result<HeadAndBytes> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() > SHORT {
            let mut beginning = Vec::new();
            file.by_ref().take(SHORT).read_to_end(&mut beginning)?;
            if let Some(head) = Head::skim(&beginning) {
                return Ok(Ok((head, None)));
            }
            return Ok(Head::parse(&std::fs::read(path)?).map(|head| (head, None)));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Head::parse(&bytes).map(|head| (head, Some(bytes))))
    };
    match read() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(format!("it cannot be read: {error}"))),
        Ok(head) => Some(head.and_then(|(head, bytes)| fits(path, &head).map(|()| (head, bytes)))),
    }
}

/// Whether an entry may have this name.
fn fits(path: &Path, head: &Head) -> Result<(), String> {
    let (file, dir) = (path.file_stem(), path.parent().and_then(Path::file_name));
    let name = match dir.and_then(|dir| dir.to_str()) {
        Some(REJECTED) => head.name_aside(),
        Some(ELSEWHERE) => head.name_elsewhere(),
        Some(SET_ASIDE) => {
            return Err("it was set aside, because it has the name of an attempt that was handed out".into());
        }
        _ => head.name(),
    };
    match file.is_some_and(|file| *file == *name) {
        true => Ok(()),
        false => Err(format!("its name does not fit: it holds {}", head.name())),
    }
}

#[cfg(test)]
mod tests;
