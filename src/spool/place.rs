//! The spool's directory and the files in it, as they may be found: there, gone, another's, out of reach.

use super::book::Held;
use super::{ELSEWHERE, Entry, Head, REJECTED, SET_ASIDE, Spool, durable, file_name, lock};
use anyhow::Context;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// Whether a file is there.
#[derive(Debug, PartialEq, Eq)]
pub enum There {
    /// It is.
    Yes,
    /// It is not, and its directory is: somebody has removed it.
    Removed,
    /// Nobody can say.
    Unknown(String),
}

/// Judges by what the kernel says of a file, and of the directory that it is to be in.
pub fn judge(file: io::Result<()>, dir: io::Result<(u64, u64)>, known: (u64, u64)) -> There {
    match (file, dir) {
        (Ok(()), _) => There::Yes,
        (Err(error), Ok(dir)) if error.kind() == ErrorKind::NotFound && dir == known => There::Removed,
        (Err(error), Ok(_)) if error.kind() == ErrorKind::NotFound => {
            There::Unknown("another directory has come into the place of the spool".into())
        }
        (Err(error), Err(_)) if error.kind() == ErrorKind::NotFound => {
            There::Unknown("the directory of the spool is gone".into())
        }
        (Err(error), _) => There::Unknown(error.to_string()),
    }
}

/// Of all that changes a file the caller holds `files`.
impl Spool {
    /// The file of an entry.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(file_name(name))
    }

    /// Where a confirmed result is while a question is on its way. The next start removes it.
    pub(super) fn said(&self, name: &str) -> PathBuf {
        self.dir.join(format!(".said-{}", file_name(name)))
    }

    /// Makes sure that the directory is the one that it was. If it is gone it is made anew.
    pub(super) fn in_place(&self) -> anyhow::Result<()> {
        let known = *lock(&self.identity);
        let found = durable::identity(&self.dir);
        let what = match &found {
            Ok(found) if *found == known => return Ok(()),
            Ok(_) => "another directory has come into its place",
            Err(error) if error.kind() == ErrorKind::NotFound => "it is gone",
            Err(error) => anyhow::bail!("{}: {error}", self.dir.display()),
        };
        for below in [REJECTED, ELSEWHERE] {
            durable::make_dir(&self.dir.join(below))?;
        }
        *lock(&self.identity) = durable::identity(&self.dir)?;
        let missing = lock(&self.book).lose_all_files();
        tracing::error!(
            missing,
            "the spool {}: {what}; it is used as it is now, and what is known by heart is written again; results that are missing are sent \
             when their files are put back",
            self.dir.display()
        );
        Ok(())
    }

    /// Whether a file of the spool is there.
    pub(super) fn is_there(&self, path: &Path) -> There {
        let file = std::fs::symlink_metadata(path).map(|_| ());
        judge(file, durable::identity(&self.dir), *lock(&self.identity))
    }

    /// Writes an entry, out of the reserve if the disk is full. What this program did not write is not overwritten.
    pub(super) fn write(&self, name: &str, bytes: &[u8], is_task: bool) -> anyhow::Result<()> {
        let file = file_name(name);
        let cannot = || format!("{file} cannot be written to the spool {}", self.dir.display());
        self.clear_the_way(name).with_context(cannot)?;
        let write = || durable::replace(&self.dir, &file, bytes);
        let written = match write() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.in_place()?;
                write()
            }
            written => written,
        };
        match written {
            Err(error) if durable::is_full(&error) => {
                tracing::warn!("the spool's own reserve is used: {error}");
                self.reserve.use_for(is_task, write).with_context(cannot)
            }
            written => written.with_context(cannot),
        }
    }

    /// Writes everything that is in memory alone.
    pub(super) fn write_what_is_not(&self) -> anyhow::Result<()> {
        let names = lock(&self.book).names(Held::is_unwritten);
        for name in names {
            let (bytes, is_task) = match lock(&self.book).get(&name) {
                Some(Held::Taken { entry, .. }) => (entry.to_bytes(), true),
                Some(Held::Unwritten(entry)) => (entry.to_bytes(), false),
                _ => continue,
            };
            self.write(&name, &bytes, is_task)?;
            let mut book = lock(&self.book);
            match book.remove(&name) {
                Some(Held::Taken { entry, .. }) => book.set(&name, Held::Taken { entry, on_disk: true }),
                _ => book.set(&name, Held::Waiting(Some(bytes.into()))),
            }
            tracing::warn!(entry = name, "the disk has taken what it had not taken before");
        }
        // The answer to a question was kept while it was the only record.
        if !self.asking.load(Ordering::Relaxed) && self.question.is_there() {
            self.question.end()?;
        }
        Ok(())
    }

    /// Removes what was confirmed and is still there.
    pub(super) fn tidy_up(&self) {
        if self.asking.load(Ordering::Relaxed) {
            return;
        }
        let names = lock(&self.book).names(|held| matches!(held, Held::Confirmed { .. } | Held::Refused { .. }));
        for name in names {
            let refused = match lock(&self.book).get(&name) {
                Some(Held::Refused { status, reason }) => Some((*status, reason.clone())),
                _ => None,
            };
            let done = match refused {
                None => self.remove_confirmed(&name),
                Some((status, reason)) => self.put_to_rejected(&name, status, &reason),
            };
            match done {
                Ok(()) => drop(lock(&self.book).remove(&name)),
                Err(error) => tracing::debug!(entry = name, "it is still in the spool: {error:#}"),
            }
        }
    }

    /// Removes the file of a confirmed result, wherever it is.
    pub(super) fn remove_confirmed(&self, name: &str) -> anyhow::Result<()> {
        // An answer that brought it would have the next start answer it anew.
        if self.question.is_there() {
            let alone = lock(&self.book).count(Held::is_unwritten) > 0;
            anyhow::ensure!(!alone, "a task has no other record than the answer that brought it");
            self.question.end()?;
        }
        durable::remove(&self.dir, &file_name(name))
            .and_then(|()| durable::remove_if_there(&self.said(name)))
            .with_context(|| format!("the delivered {name} cannot be taken out of the spool {}", self.dir.display()))?;
        Ok(())
    }

    /// Moves a refused result to where such are.
    pub(super) fn put_to_rejected(&self, name: &str, status: u16, reason: &str) -> anyhow::Result<()> {
        let entry = self.read(name)?;
        // Otherwise a record without the result would take its place.
        anyhow::ensure!(matches!(entry.stage, super::Stage::Waiting { .. }), "the result of {name} is not on disk");
        let entry = entry.rejected(SystemTime::now(), status, reason);
        let rejected = self.dir.join(REJECTED);
        durable::make_dir(&rejected)?;
        durable::replace(&rejected, &file_name(&entry.name_aside()), &entry.to_bytes())
            .and_then(|()| durable::remove(&self.dir, &file_name(name)))
            .with_context(|| format!("{name} cannot be put into {}", rejected.display()))
    }

    /// An entry, whole.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<Entry> {
        let path = self.path(name);
        let read = std::fs::read(&path).map_err(|error| error.to_string()).and_then(|bytes| Entry::parse(&bytes));
        read.map_err(|problem| anyhow::anyhow!("{} cannot be read: {problem}", path.display()))
    }

    /// Puts aside what has the name of an attempt and is not this program's: of another version, or no entry, or another backend's.
    /// It may hold a result that somebody wants. It is not sent beside the one that is made now.
    fn clear_the_way(&self, name: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        let problem = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => error.to_string(),
            Ok(bytes) => match Head::parse(&bytes) {
                Ok(head) if head.backend == self.backend && head.name() == name => return Ok(()),
                Ok(head) => format!("it is another one's: {} of {}", head.name(), head.backend),
                Err(problem) => problem,
            },
        };
        self.set_aside(name, &path, &format!("it had the name of an attempt that is graded now: {problem}"))
    }

    /// Keeps a file of the spool that is not to be used for whoever wants to look at it.
    pub(super) fn set_aside(&self, name: &str, path: &Path, problem: &str) -> anyhow::Result<()> {
        let dir = self.dir.join(SET_ASIDE);
        durable::make_dir(&dir)?;
        let time: String = super::entry::shown(SystemTime::now()).chars().filter(char::is_ascii_alphanumeric).collect();
        for number in 0.. {
            let to = dir.join(file_name(&format!("{name}@{time}-{number}")));
            match durable::move_to(path, &to) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("{} cannot be set aside", path.display())),
                Ok(()) => {
                    tracing::error!(file = %to.display(), "it is kept here, for you to look at: {problem}");
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn only_not_found_in_the_directory_that_is_known_is_somebodys_word() {
        let error = |number: i32| Err(io::Error::from_raw_os_error(number));
        let (here, there) = ((1, 2), (1, 3));
        assert_eq!(judge(Ok(()), Ok(here), here), There::Yes);
        assert_eq!(judge(error(Errno::ENOENT as i32), Ok(here), here), There::Removed);
        let unknown = |file: i32, dir: io::Result<(u64, u64)>| matches!(judge(error(file), dir, here), There::Unknown(problem) if !problem.is_empty());
        assert!(unknown(Errno::ENOENT as i32, Ok(there)), "unmounted, or moved and made anew");
        for dir in [Errno::ENOENT as i32, Errno::EIO as i32, Errno::ESTALE as i32, Errno::ENOTDIR as i32] {
            assert!(unknown(Errno::ENOENT as i32, error2(dir)), "{dir}");
        }
        for file in
            [Errno::EIO as i32, Errno::ESTALE as i32, Errno::EACCES as i32, Errno::ENOTDIR as i32, Errno::ELOOP as i32]
        {
            assert!(unknown(file, Ok(here)) && unknown(file, error2(Errno::EIO as i32)), "{file}");
        }
        fn error2(number: i32) -> io::Result<(u64, u64)> {
            Err(io::Error::from_raw_os_error(number))
        }
    }
}
