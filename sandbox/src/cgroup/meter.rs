//! A group's memory from a moment on, read again and again while programs run.
//!
//! The kernel keeps the highest level of a group's whole life. Both kinds of kernel file can be told to begin anew ([`super::Rise`]
//! says how), so that the peak of each stretch of time is known, and what of it was no memory of a program's.

use super::{Base, CgroupError, files};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What of a group's memory lies in files, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InFiles {
    /// Pages of files that lie on a disk, which the kernel keeps because there is room. Nothing inside can write to a disk, so
    /// they are clean, and go when somebody needs the room.
    pub cache: u64,
    /// Files in memory: /tmp, /dev/shm, the work tree, memfd.
    pub shared: u64,
    /// Pages of any of these that a program has mapped.
    pub mapped: u64,
}

/// A group, with its files open.
#[derive(Debug)]
pub struct Meter {
    current: (File, PathBuf),
    peak: Option<(File, PathBuf)>,
    stat: (File, PathBuf),
    tcp: Option<(File, PathBuf)>,
    /// What begins a peak anew.
    order: &'static str,
    /// The names of the parts in `memory.stat`.
    keys: [&'static str; 3],
    anew: bool,
}

impl Meter {
    /// Opens the files of a group.
    pub(super) fn open(group: &Base) -> Result<Meter, CgroupError> {
        let (dir, names, order, keys) = match group {
            Base::Unified { dir } => {
                (dir, ["memory.current", "memory.peak"], "reset", ["file", "shmem", "file_mapped"])
            }
            Base::Hybrid { memory, .. } => {
                (memory, ["memory.usage_in_bytes", "memory.max_usage_in_bytes"], "0", ["cache", "shmem", "mapped_file"])
            }
        };
        Ok(Meter {
            current: must_open(dir, names[0])?,
            // Before 5.19 v2 has none, before 6.12 it cannot be written.
            peak: may_open(dir, names[1], true)?.or(may_open(dir, names[1], false)?),
            stat: must_open(dir, "memory.stat")?,
            tcp: match group {
                Base::Unified { .. } => None,
                Base::Hybrid { .. } => may_open(dir, "memory.kmem.tcp.usage_in_bytes", false)?,
            },
            order,
            keys,
            anew: false,
        })
    }

    /// Begins its peak anew. `false`: this kernel cannot, or keeps none.
    ///
    /// # Errors
    /// When the kernel refuses what it can do.
    pub fn begin(&mut self) -> Result<bool, CgroupError> {
        let Some((file, path)) = &mut self.peak else { return Ok(false) };
        self.anew = match file.write_all(self.order.as_bytes()) {
            Ok(()) => true,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBADF)) => false,
            Err(source) => return Err(CgroupError::Write { file: path.clone(), value: self.order.into(), source }),
        };
        Ok(self.anew)
    }

    /// Whether its peak is that since [`Meter::begin`].
    pub fn is_anew(&self) -> bool {
        self.anew
    }

    /// Bytes now.
    ///
    /// # Errors
    /// When the file makes no sense.
    pub fn now(&self) -> Result<u64, CgroupError> {
        number(&self.current)
    }

    /// The highest level, since [`Meter::begin`] where that worked. `None`: this kernel keeps none.
    ///
    /// # Errors
    /// When the file makes no sense.
    pub fn peak(&self) -> Result<Option<u64>, CgroupError> {
        self.peak.as_ref().map(number).transpose()
    }

    /// What of it lies in files.
    ///
    /// # Errors
    /// When the file makes no sense.
    pub fn in_files(&self) -> Result<InFiles, CgroupError> {
        self.parts("")
    }

    /// The same with all groups below: v1 has names of their own for these sums.
    ///
    /// # Errors
    /// When the file makes no sense.
    pub fn in_files_below(&self) -> Result<InFiles, CgroupError> {
        self.parts(if self.keys[0] == "cache" { "total_" } else { "" })
    }

    fn parts(&self, prefix: &str) -> Result<InFiles, CgroupError> {
        let text = text(&self.stat)?;
        let value = |key| Ok(files::keyed(&self.stat.1, &text, &format!("{prefix}{key}"))?.unwrap_or(0));
        let [all, shared, mapped] = self.keys.map(value);
        let (all, shared) = (all?, shared?);
        Ok(InFiles { cache: all.saturating_sub(shared), shared, mapped: mapped? })
    }

    /// What TCP holds for it and is not in its memory: v1 counts that apart.
    ///
    /// # Errors
    /// When the file makes no sense.
    pub fn tcp(&self) -> Result<u64, CgroupError> {
        self.tcp.as_ref().map_or(Ok(0), number)
    }
}

fn must_open(dir: &Path, name: &str) -> Result<(File, PathBuf), CgroupError> {
    let path = dir.join(name);
    match File::open(&path) {
        Ok(file) => Ok((file, path)),
        Err(source) => Err(CgroupError::Read { file: path, source }),
    }
}

fn may_open(dir: &Path, name: &str, write: bool) -> Result<Option<(File, PathBuf)>, CgroupError> {
    let path = dir.join(name);
    match File::options().read(true).write(write).open(&path) {
        Ok(file) => Ok(Some((file, path))),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EACCES | libc::EPERM)) => Ok(None),
        Err(source) => Err(CgroupError::Read { file: path, source }),
    }
}

/// Read from its beginning, which has the kernel make it anew.
fn text((file, path): &(File, PathBuf)) -> Result<String, CgroupError> {
    let mut bytes = vec![0u8; 8192];
    let mut length = 0;
    loop {
        match file.read_at(&mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(source) => return Err(CgroupError::Read { file: path.clone(), source }),
        }
        if length == bytes.len() {
            bytes.resize(length * 2, 0);
        }
    }
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn number(file: &(File, PathBuf)) -> Result<u64, CgroupError> {
    files::number(&file.1, &text(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart_by_both_kinds_of_kernel() {
        for unified in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let at = || dir.path().to_path_buf();
            let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
            let group = match unified {
                true => Base::Unified { dir: at() },
                false => Base::Hybrid { dir: at(), memory: at(), pids: at(), cpu: at(), cpuacct: at() },
            };
            assert!(Meter::open(&group).is_err(), "no files");
            write("memory.current", "4096\n");
            write("memory.usage_in_bytes", "4096\n");
            write("memory.stat", "file 900\ncache 900\nshmem 500\nfile_mapped 70\nmapped_file 70\n");
            let mut meter = Meter::open(&group).unwrap();
            assert_eq!((meter.now().unwrap(), meter.peak().unwrap(), meter.tcp().unwrap()), (4096, None, 0));
            assert_eq!(meter.in_files().unwrap(), InFiles { cache: 400, shared: 500, mapped: 70 });
            assert!(!meter.begin().unwrap() && !meter.is_anew());
            write("memory.stat", "nonsense\nshmem x\n");
            assert!(meter.in_files().is_err());
        }
    }
}
