//! What this host can do, as far as a system call must be asked.

use rustix::fs::StatVfsMountFlags;
use std::path::Path;

/// What the file system of a directory has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that root may still write.
    pub bytes: u64,
    /// Files that may still be made; `None` where the file system makes inodes as they are needed (btrfs).
    pub files: Option<u64>,
    /// Nothing can be written.
    pub read_only: bool,
    /// Nothing in it can be executed, nor mapped as code.
    pub no_exec: bool,
}

/// How this kernel stands to Landlock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landlock {
    /// It is there, with this ABI.
    Abi(i32),
    /// It was built in, and `lsm=` leaves it out.
    SwitchedOff,
    /// It was not built in, or an outer filter hides the call.
    Absent,
    /// The kernel answers something else.
    Unclear(String),
}

/// Asks the kernel for its Landlock.
pub fn landlock() -> Landlock {
    match crate::sys::landlock_version() {
        Ok(abi) => Landlock::Abi(abi),
        Err(error) => match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => Landlock::SwitchedOff,
            Some(libc::ENOSYS) => Landlock::Absent,
            _ => Landlock::Unclear(error.to_string()),
        },
    }
}

/// Asks the file system of `path`, which must exist.
pub fn room(path: &Path) -> std::io::Result<Room> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Room {
        bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        files: (stat.f_files > 0).then_some(stat.f_favail),
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        no_exec: stat.f_flag.contains(StatVfsMountFlags::NOEXEC),
    })
}
