//! A question for a task that is on its way, on disk.
//!
//! The file is made before the backend is asked, with room in it, and says whom; what the backend answers is added with one
//! write the instant it is here. A process that is killed has what it wrote: that needs no sync, and no second call. So the time in
//! which the backend alone knows of a task ends with that write. The record, which a loss of power does not harm either, comes after it.

use super::{durable, entry};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file, in the spool.
const FILE: &str = ".asking";

/// Room for an answer. Longer ones may find no room on a full disk; their records have some of their own.
const ROOM: i64 = 64 << 10;

/// The one question that can be on its way.
#[derive(Debug)]
pub struct Question {
    path: PathBuf,
    /// Open only while it is on its way: a disk with a file that is being written to cannot be made read-only.
    file: Mutex<Option<File>>,
}

/// What an earlier run left of its last question.
#[derive(Debug)]
pub struct Left {
    /// When it was asked or answered (RFC 3339, UTC).
    pub time: String,
    /// Who was asked.
    pub backend: String,
    /// The answer; empty if none had come.
    pub answer: Vec<u8>,
}

impl Question {
    /// For the spool in this directory.
    pub fn new(dir: &Path) -> Question {
        Question { path: dir.join(FILE), file: Mutex::default() }
    }

    /// Tries whether it could be asked.
    pub fn probe(&self, backend: &str) -> io::Result<()> {
        let begun = self.begin(backend);
        self.end()?;
        begun
    }

    /// Before it is asked.
    pub fn begin(&self, backend: &str) -> io::Result<()> {
        let mut file = durable::open(&self.path)?;
        let begun = file.write_all(format!("{backend}\n").as_bytes()).and_then(|()| set_room_aside(&file));
        if let Err(error) = begun {
            // Nobody was asked.
            let _ = std::fs::remove_file(&self.path);
            return Err(error);
        }
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// This has been answered.
    pub fn answered(&self, answer: &[u8]) -> io::Result<()> {
        match &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write_all(answer),
            None => Err(io::Error::other("nobody was asked")),
        }
    }

    /// What was answered stands elsewhere.
    pub fn end(&self) -> io::Result<()> {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
        durable::remove_if_there(&self.path).map(|_| ())
    }

    /// Whether something stands there.
    pub fn is_there(&self) -> bool {
        !std::fs::symlink_metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// What an earlier run left.
    pub fn left(&self) -> io::Result<Option<Left>> {
        let bytes = match std::fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let time = std::fs::metadata(&self.path)?.modified()?;
        let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let backend = String::from_utf8_lossy(&bytes[..line]).into_owned();
        let answer = bytes.get(line + 1..).unwrap_or_default().to_vec();
        Ok(Some(Left { time: entry::shown(time), backend, answer }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Has the file system keep blocks for what will be written. The length stays: it says how much of an answer is there.
fn set_room_aside(file: &File) -> io::Result<()> {
    loop {
        return match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, ROOM) {
            Err(Errno::EINTR) => continue,
            // Some file systems cannot; the record has room of its own.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_there_without_another_call() {
        let dir = tempfile::tempdir().unwrap();
        let question = Question::new(dir.path());
        assert!(question.left().unwrap().is_none() && !question.is_there());
        question.begin("http://b").unwrap();
        let left = || Question::new(dir.path()).left().unwrap().unwrap();
        assert_eq!((&*left().backend, &*left().answer), ("http://b", &b""[..]));
        question.answered(b"{\n}").unwrap();
        assert_eq!((&*left().backend, &*left().answer), ("http://b", &b"{\n}"[..]));
        question.begin("http://b").unwrap();
        assert!(left().answer.is_empty(), "another question");
        question.end().unwrap();
        assert!(!question.is_there() && question.answered(b"late").is_err());
        // As older versions wrote it.
        std::fs::write(question.path(), "").unwrap();
        assert!(left().answer.is_empty());
    }
}
