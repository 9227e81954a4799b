//! What this host can do, as far as a system call must be asked.

use std::path::Path;

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free: u64,
    /// Files that may still be made.
    pub free_files: u64,
    /// Files that there can be; 0 where their number is not fixed.
    pub all_files: u64,
}

/// Room on the file system of `path`.
///
/// # Errors
/// When the path does not exist or the file system does not answer.
pub fn free_space(path: &Path) -> std::io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Space { free: stat.f_bavail.saturating_mul(stat.f_frsize), free_files: stat.f_favail, all_files: stat.f_files })
}
