//! The course of one attempt through the spool: taken, finished, sent, and gone or refused.

use super::book::Held;
use super::place::There;
use super::{Entry, Head, Spool, Stage, State, durable, file_name, fits, lock, name_of};
use crate::backend::Parcel;
use crate::backend::contract::{Key, Task, smallest};
use anyhow::Context;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

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

/// What can be done for a result now.
#[derive(Debug)]
pub enum Next {
    /// It can be sent.
    Send(Parcel),
    /// Somebody has dropped it.
    Dropped,
    /// It cannot be sent now, and stays.
    NotYet(String),
}

/// Whether a task was answered while the question that brought it was on its way.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// It was not.
    No,
    /// It was, and that answer waits to be sent once more.
    WaitsAgain,
    /// It was, and the answer cannot be got at. To grade it again would be to answer it in two ways.
    OutOfReach,
}

/// Results of attempts.
pub type Results = Vec<(Key, Value)>;

impl Spool {
    /// Records a task before anything is done for it.
    ///
    /// # Errors
    /// [`TakeError::InHand`] for an attempt that is being graded or whose result waits: it is not to be graded beside itself.
    /// After [`TakeError::Disk`] it is in hand all the same, and is recorded as soon as the disk takes it.
    pub fn take(&self, task: &Task) -> Result<(), TakeError> {
        let _files = lock(&self.files);
        let entry = Entry::taken(&self.backend, task, SystemTime::now());
        let name = entry.name();
        if lock(&self.book).get(&name).is_some_and(Held::is_in_hand) {
            return Err(TakeError::InHand);
        }
        // What was said of it before is over, and the next start is not to take it for the answer.
        let _ = durable::remove_if_there(&self.said(&name));
        let written = self.write(&name, &entry.to_bytes(), true);
        lock(&self.book).set(&name, Held::Taken { entry: Box::new(entry), on_disk: written.is_ok() });
        written.map_err(TakeError::Disk)
    }

    /// Notes whether a task waits for something that is broken and not its own: a runner that ends meanwhile has not failed over it, so
    /// the next one grades it instead of answering it as interrupted.
    ///
    /// # Errors
    /// The disk does not take it. Then the next start does as was noted before.
    pub fn note_held(&self, key: &Key, held: bool) -> anyhow::Result<()> {
        self.amend(key, |entry| std::mem::replace(&mut entry.held, held) != held)
    }

    /// Notes that a task that an earlier run did not finish is graded again.
    ///
    /// # Errors
    /// The disk does not take it. Then it is not counted.
    pub fn note_resumed(&self, key: &Key) -> anyhow::Result<()> {
        self.amend(key, |entry| {
            entry.resumed += 1;
            true
        })
    }

    /// Changes what is noted of a task that has no result yet. `change` says whether anything is different.
    fn amend(&self, key: &Key, change: impl FnOnce(&mut Entry) -> bool) -> anyhow::Result<()> {
        let _files = lock(&self.files);
        let name = name_of(key);
        let mut entry = match lock(&self.book).get(&name) {
            Some(Held::Taken { entry, .. }) => entry.clone(),
            // Answered meanwhile.
            _ => return Ok(()),
        };
        if !change(&mut entry) {
            return Ok(());
        }
        let written = self.write(&name, &entry.to_bytes(), true);
        lock(&self.book).set(&name, Held::Taken { entry, on_disk: written.is_ok() });
        written
    }

    /// Whether an attempt is in hand: being graded, or its result waits.
    pub fn has(&self, key: &Key) -> bool {
        lock(&self.book).get(&name_of(key)).is_some_and(Held::is_in_hand)
    }

    /// Has a result wait once more that was confirmed while the question was on its way that brought its task again.
    pub fn say_again(&self, key: &Key) -> Said {
        let _files = lock(&self.files);
        let name = name_of(key);
        let aside = match lock(&self.book).get(&name) {
            Some(Held::Confirmed { crossed: true, aside }) => *aside,
            _ => return Said::No,
        };
        if aside && let Err(error) = std::fs::rename(self.said(&name), self.path(&name)) {
            tracing::error!(task = %key, "what it was answered cannot be put back into the spool: {error}");
            return Said::OutOfReach;
        }
        lock(&self.book).set(&name, Held::Waiting(None));
        Said::WaitsAgain
    }

    /// Records the result of an attempt, which from here on waits for the backend.
    ///
    /// # Errors
    /// The disk does not take it, not even what was kept for it. It counts as waiting all the same, is in memory, and is written as
    /// soon as the disk takes it ([`Spool::write_held`]); before that it is not sent.
    pub fn finish(&self, key: &Key, task: Option<&Task>, result: &Value) -> anyhow::Result<()> {
        let _files = lock(&self.files);
        let mut entry = Entry::finished(&self.backend, key, task, result, SystemTime::now());
        let name = entry.name();
        if let Some(Held::Taken { entry: before, .. }) = lock(&self.book).get(&name) {
            (entry.task, entry.taken) = (before.task.clone(), before.taken.clone());
        }
        let bytes = entry.to_bytes();
        let written = self.write(&name, &bytes, false);
        let held = match &written {
            Ok(()) => Held::Waiting(Some(bytes.into())),
            Err(_) => Held::Unwritten(Box::new(entry)),
        };
        lock(&self.book).set(&name, held);
        written
    }

    /// The result of an attempt as it is to be sent.
    pub fn next(&self, key: &Key) -> Next {
        let name = name_of(key);
        let is_missing = match lock(&self.book).get(&name) {
            Some(Held::Waiting(_)) => false,
            Some(Held::Missing) => true,
            Some(Held::Unwritten(_)) => return Next::NotYet("the disk does not take it".into()),
            _ => return Next::Dropped,
        };
        let _reading = lock(&self.reading);
        let path = self.path(&name);
        // Opened before it is read: what is sent is what was looked at, also if somebody replaces the file meanwhile.
        let opened = File::open(&path);
        match self.is_there(&path) {
            There::Yes => {}
            There::Removed if is_missing => {
                return Next::NotYet("its file has gone with the directory of the spool".into());
            }
            There::Removed => return Next::Dropped,
            There::Unknown(problem) => return Next::NotYet(problem),
        }
        let shown = || path.display().to_string();
        let file = match opened {
            Ok(file) => file,
            Err(error) => return Next::NotYet(format!("{}: {error}", shown())),
        };
        let mut bytes = Vec::new();
        let read = (&file).read_to_end(&mut bytes).map_err(|error| error.to_string());
        let head = match read.and_then(|_| Head::parse(&bytes)).and_then(|head| fits(&path, &head).map(|()| head)) {
            Ok(head) => head,
            Err(problem) => return Next::NotYet(format!("{}: {problem}", shown())),
        };
        match head.result {
            Some(range) if head.state == State::Waiting && head.backend == self.backend => {
                if is_missing {
                    lock(&self.book).set(&name, Held::Waiting(None));
                }
                Next::Send(Parcel::new(file, range.start as u64, range.len() as u64))
            }
            _ => Next::NotYet(format!("{} is not what was written there", shown())),
        }
    }

    /// From here on the result is sent in its smallest form, also after a restart. `false`: it cannot be made smaller.
    ///
    /// # Errors
    /// It cannot be read, or the disk does not take it; the form stays.
    pub fn make_smaller(&self, key: &Key) -> anyhow::Result<bool> {
        let _files = lock(&self.files);
        let name = name_of(key);
        let entry = self.read(&name)?;
        let Stage::Waiting { result, .. } = &entry.stage else { anyhow::bail!("the result of {name} is not on disk") };
        let small = smallest(result);
        if small == *result {
            return Ok(false);
        }
        let bytes = entry.in_form(small).to_bytes();
        self.write(&name, &bytes, false)?;
        lock(&self.book).set(&name, Held::Waiting(Some(bytes.into())));
        Ok(true)
    }

    /// The backend has taken the result: nothing is kept of it, but while a question is on its way, because that may bring the same
    /// task again.
    ///
    /// # Errors
    /// The file cannot be removed; it would be sent again at the next start, with the same content.
    pub fn confirm(&self, key: &Key) -> anyhow::Result<()> {
        let _files = lock(&self.files);
        self.forgive();
        let name = name_of(key);
        if self.asking.load(Ordering::Relaxed) {
            let moved = durable::put_by(&self.dir, &file_name(&name), &self.said(&name));
            lock(&self.book).set(&name, Held::Confirmed { crossed: true, aside: moved.is_ok() });
            return moved.with_context(|| format!("the delivered {name} cannot be put away"));
        }
        let gone = self.remove_confirmed(&name);
        let mut book = lock(&self.book);
        match &gone {
            Ok(()) => drop(book.remove(&name)),
            Err(_) => book.set(&name, Held::Confirmed { crossed: false, aside: false }),
        }
        gone
    }

    /// The backend has refused the result for good: it is kept aside, with the reason, and not sent again unless somebody says so.
    ///
    /// # Errors
    /// The disk does not take it, or has not taken the result before; the entry stays where it was, and is moved as soon as that can
    /// be done.
    pub fn reject(&self, key: &Key, status: u16, reason: &str) -> anyhow::Result<()> {
        let _files = lock(&self.files);
        {
            let mut refusals = lock(&self.refusals);
            let in_a_row = if refusals.0 == status { refusals.1.saturating_add(1) } else { 1 };
            *refusals = (status, in_a_row);
        }
        let name = name_of(key);
        let kept = self.put_to_rejected(&name, status, reason);
        let mut book = lock(&self.book);
        match &kept {
            Ok(()) => drop(book.remove(&name)),
            Err(_) if book.get(&name).is_some_and(Held::is_waiting) => {
                book.set(&name, Held::Refused { status, reason: reason.to_owned() });
            }
            Err(_) => {}
        }
        drop(book);
        self.count_rejected();
        kept
    }

    /// Thinks no more of an attempt that was dropped.
    pub fn forget(&self, key: &Key) {
        lock(&self.book).remove(&name_of(key));
    }

    /// Results that the disk never took: first those of which it holds nothing that the next start would answer, then the others.
    pub fn in_memory_alone(&self) -> (Results, Results) {
        let _files = lock(&self.files);
        let book = lock(&self.book);
        // A file that is not there because its directory is not says nothing: the next start may find both.
        let absent = |path: &Path| self.is_there(path) == There::Removed;
        let results = book.names(Held::is_unwritten).into_iter().filter_map(|name| match book.get(&name) {
            Some(Held::Unwritten(entry)) => match &entry.stage {
                Stage::Waiting { result, .. } => Some((entry.key()?, result.clone())),
                _ => None,
            },
            _ => None,
        });
        let is_asked = self.question.is_there();
        results.partition(|(key, _)| {
            let name = file_name(&name_of(key));
            !is_asked && absent(&self.dir.join(&name)) && absent(&durable::aside(&self.dir, &name))
        })
    }
}
