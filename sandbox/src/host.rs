//! What this host can do, as far as a system call must be asked.

use std::path::Path;

/// Bytes that root may still write to the file system of `path`.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
