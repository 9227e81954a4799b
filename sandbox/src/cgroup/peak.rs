//! How far a group's memory rises from a moment on.
//!
//! A peak covers a group's whole life, so it says nothing about a part of it. Both kinds of kernel
//! file can be told to begin anew: on v2 a write to an open `memory.peak` resets it for this
//! descriptor alone (since 6.12), on v1 a write to `memory.max_usage_in_bytes` resets the file for
//! everybody. So on v1 this is for groups whose peak nobody else wants.

use super::{Base, CgroupError, files};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A peak that began at a moment of the reader's choosing.
#[derive(Debug)]
pub struct Rise {
    peak: File,
    path: PathBuf,
    /// Bytes in use at the start.
    level: u64,
}

impl Rise {
    /// Begins to watch a group. `None` where this kernel cannot reset its peak.
    pub(super) fn begin(group: &Base) -> Result<Option<Rise>, CgroupError> {
        let (path, current, order) = match group {
            Base::Unified { dir } => (dir.join("memory.peak"), dir.join("memory.current"), "reset"),
            Base::Hybrid { memory, .. } => {
                (memory.join("memory.max_usage_in_bytes"), memory.join("memory.usage_in_bytes"), "0")
            }
        };
        let opened = File::options().read(true).write(true).open(&path);
        let mut peak = match opened {
            Ok(file) => file,
            // Before 5.19 there is no such file, before 6.12 it cannot be written.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EACCES | libc::EPERM)) => {
                return Ok(None);
            }
            Err(source) => return Err(CgroupError::Read { file: path, source }),
        };
        let level = files::number(&current, &files::read(&current)?)?;
        match peak.write_all(order.as_bytes()) {
            Ok(()) => Ok(Some(Rise { peak, path, level })),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
            Err(source) => Err(CgroupError::Write { file: path, value: order.into(), source }),
        }
    }

    /// Bytes by which the group's memory has been above its level at the start, at the most.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no number.
    pub fn bytes(&mut self) -> Result<u64, CgroupError> {
        let text =
            read_again(&mut self.peak).map_err(|source| CgroupError::Read { file: self.path.clone(), source })?;
        Ok(files::number(&self.path, &text)?.saturating_sub(self.level))
    }

    /// The file that the figure is read from.
    pub fn source(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn read_again(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_counts_from_the_level_at_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let group = Base::Unified { dir: dir.path().into() };
        assert!(Rise::begin(&group).unwrap().is_none(), "no such file");
        std::fs::write(dir.path().join("memory.current"), "4096\n").unwrap();
        std::fs::write(dir.path().join("memory.peak"), "1048576\n").unwrap();
        let mut rise = Rise::begin(&group).unwrap().expect("a plain file takes any order");
        assert_eq!(rise.source(), "memory.peak");
        assert!(rise.bytes().is_err(), "the order is no number");
        for (peak, expected) in [("12288\n", 8192), ("4096\n", 0), ("100\n", 0)] {
            std::fs::write(rise.path(), peak).unwrap();
            assert_eq!(rise.bytes().unwrap(), expected);
        }
    }

    #[test]
    fn nothing_is_made_up_where_the_level_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("memory.max_usage_in_bytes"), "4096\n").unwrap();
        let at = || dir.path().to_path_buf();
        let group = Base::Hybrid { dir: at(), memory: at(), pids: at(), cpu: at(), cpuacct: at() };
        assert!(Rise::begin(&group).is_err());
    }
}
