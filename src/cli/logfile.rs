//! The log's file, which may be moved away and opened anew while lines are written, and which may be full.

use super::journal::complain;
use anyhow::Context;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Of a file that is made: for root, and for whoever its group is to be. What is logged names students.
const MODE: u32 = 0o640;

/// A file that lines are appended to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Whether the last line could only be written in part.
    torn: bool,
    /// Lines that it did not take since it took one.
    aside: u64,
}

impl LogFile {
    /// Opens or makes it.
    ///
    /// # Errors
    /// It cannot be.
    pub fn open(path: &Path) -> anyhow::Result<LogFile> {
        // What is opened later is to be the same, wherever this program is then.
        let path = std::path::absolute(path).with_context(|| format!("the log file {} has no path", path.display()))?;
        let file = append_to(&path).with_context(|| format!("the log file {} cannot be opened", path.display()))?;
        Ok(LogFile { path, open: Mutex::new(Open { file, torn: false, aside: 0 }) })
    }

    /// Appends a line. What a full disk does not take goes to standard error, and nobody waits for it; the sentence says so in the
    /// log as soon as that can be written to again.
    pub fn write(&self, line: &[u8]) -> Option<String> {
        // A fault elsewhere leaves it in order: each line is written whole, or known to be torn.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.append(line) {
            Ok(()) => {
                let aside = std::mem::take(&mut open.aside);
                (aside > 0).then(|| {
                    format!("the log file could not be written to for a while; {aside} lines went to standard error")
                })
            }
            Err(error) => {
                if open.aside == 0 {
                    let path = self.path.display();
                    complain(&format!(
                        "ostest-sandbox: the log file {path} cannot be written to ({error}); until it can, its lines come here"
                    ));
                }
                open.aside += 1;
                // Who has closed it does not want to know.
                let _ = io::stderr().write_all(line);
                None
            }
        }
    }

    /// Goes on in the file that the path names now, and makes it if there is none.
    ///
    /// # Errors
    /// It cannot be opened; then lines go on to the one that was open.
    pub fn reopen(&self) -> anyhow::Result<()> {
        let opened = append_to(&self.path);
        let file = opened.with_context(|| format!("the log file {} cannot be opened again", self.path.display()))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        (open.file, open.torn) = (file, false);
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(MODE).open(path)
}

impl Open {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.put(b"\n")?;
            self.torn = false;
        }
        self.put(line)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.torn = !left.is_empty();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_is_opened_anew_and_the_old_one_is_kept_where_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("logs")).unwrap();
        let log = LogFile::open(&at("logs/a")).unwrap();
        assert_eq!(log.write(b"1\n"), None);
        assert_eq!(std::fs::metadata(at("logs/a")).unwrap().mode() & 0o137, 0, "neither others nor the group write it");
        std::fs::rename(at("logs/a"), at("logs/a.1")).unwrap();
        log.write(b"2\n");
        log.reopen().unwrap();
        log.write(b"3\n");
        assert_eq!(std::fs::read_to_string(at("logs/a.1")).unwrap(), "1\n2\n");
        assert_eq!(std::fs::read_to_string(at("logs/a")).unwrap(), "3\n");
        std::fs::rename(at("logs"), at("elsewhere")).unwrap();
        assert!(log.reopen().is_err_and(|error| format!("{error:#}").contains("cannot be opened again: No such file")));
        log.write(b"4\n");
        assert_eq!(std::fs::read_to_string(at("elsewhere/a")).unwrap(), "3\n4\n");
    }

    #[test]
    fn what_it_does_not_take_is_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        // The kernel's own disk that is always full.
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let log = LogFile::open(&path).unwrap();
        assert_eq!((log.write(b"1\n"), log.write(b"2\n")), (None, None));
        std::fs::remove_file(&path).unwrap();
        log.reopen().unwrap();
        assert!(log.write(b"3\n").is_some_and(|said| said.contains("2 lines")));
        assert_eq!(log.write(b"4\n"), None);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n4\n");
    }

    #[test]
    fn a_line_after_one_that_is_torn_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut open = Open { file: append_to(&path).unwrap(), torn: false, aside: 0 };
        open.put(b"hal").unwrap();
        open.torn = true;
        open.append(b"whole\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hal\nwhole\n");
    }
}
