//! Files that are whole after a crash: the old one or the new one, never a half. And none that takes the place of a stranger's.

use crate::steps;
use anyhow::Context;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a file is called until it is complete.
const ASIDE: &str = ".new";

/// A directory of root's alone, with those above it.
pub fn make_dir(dir: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| sync_dir(dir)).with_context(|| format!("the directory {} cannot be made", dir.display()))
}

/// What tells a directory from another one that has come into its place.
pub fn identity(dir: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::metadata(dir)?;
    match found.is_dir() {
        true => Ok((found.dev(), found.ino())),
        false => Err(io::Error::from(ErrorKind::NotADirectory)),
    }
}

/// Puts a file there in the place of an older one. When this returns it outlives a loss of power.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = aside(dir, name);
    let done = write_whole(&aside, bytes).and_then(|()| {
        steps::at("spool: written aside");
        std::fs::rename(&aside, dir.join(name))
    });
    if let Err(error) = done {
        // On a full disk its beginning would only be in the way.
        let _ = std::fs::remove_file(&aside);
        return Err(error);
    }
    steps::at("spool: renamed");
    sync_dir(dir)
}

/// Puts a file where there is none. `scratch` is a name that nobody else uses.
pub fn create(dir: &Path, name: &str, scratch: &str, bytes: &[u8]) -> io::Result<()> {
    let scratch = dir.join(scratch);
    let done = write_whole(&scratch, bytes).and_then(|()| move_to(&scratch, &dir.join(name)));
    if done.is_err() {
        let _ = std::fs::remove_file(&scratch);
    }
    done
}

/// Moves a file within its file system, unless there is one in that place already.
pub fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from)?,
        // A file system without links.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            if std::fs::symlink_metadata(to).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)?;
        }
        Err(error) => return Err(error),
    }
    [to.parent(), from.parent()].into_iter().flatten().try_for_each(sync_dir)
}

/// Removes a file, and what was being written in its place, so that both are gone after a loss of power, too. One that is not
/// there is gone.
pub fn remove(dir: &Path, name: &str) -> io::Result<()> {
    // The newer one first: alone, it would be put in its place by the next start.
    let gone = [remove_if_there(&aside(dir, name))?, remove_if_there(&dir.join(name))?];
    if gone.contains(&true) { sync_dir(dir) } else { Ok(()) }
}

/// Moves a file to another name, and removes what was being written in its place. Not synced.
pub fn put_by(dir: &Path, name: &str, to: &Path) -> io::Result<()> {
    remove_if_there(&aside(dir, name))?;
    std::fs::rename(dir.join(name), to)
}

/// `true`: it was there.
pub fn remove_if_there(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(true),
    }
}

/// Ends what was being written when an earlier run ended: what is whole is put in its place, a half is removed.
pub fn sweep(dir: &Path, is_whole: impl Fn(&[u8]) -> bool) -> anyhow::Result<()> {
    let cannot = || format!("the spool {} cannot be read", dir.display());
    for entry in std::fs::read_dir(dir).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(place) = name.strip_prefix('.').and_then(|name| name.strip_suffix(ASIDE)) else { continue };
        let whole = std::fs::read(&path).is_ok_and(|bytes| is_whole(&bytes));
        let done = if whole { std::fs::rename(&path, dir.join(place)) } else { std::fs::remove_file(&path) };
        done.with_context(|| format!("{}, which an earlier run was writing, cannot be put away", path.display()))?;
    }
    sync_dir(dir).with_context(cannot)
}

/// Writes a file in place and syncs it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// An empty file of root's alone.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}

/// Has what was done in a directory outlive a loss of power.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Whether an error says that there is no room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Where a file is while it is being written.
pub fn aside(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{name}{ASIDE}"))
}
