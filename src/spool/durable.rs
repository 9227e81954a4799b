//! Files that are whole after a crash: the old one or the new one, never a half.

use crate::steps;
use anyhow::Context;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a file is called until it is complete.
const ASIDE: &str = ".new";

/// A directory of root's alone, with those above it.
pub fn make_dir(dir: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| sync_dir(dir)).with_context(|| format!("the directory {} cannot be made", dir.display()))
}

/// Puts a file there in the place of an older one. When this returns it outlives a loss of power.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = dir.join(format!(".{name}{ASIDE}"));
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

/// Moves a file to another directory of the same file system.
pub fn put_away(from: &Path, to: &Path) -> anyhow::Result<()> {
    let dirs = [from.parent(), to.parent()];
    let moved = std::fs::rename(from, to).and_then(|()| dirs.into_iter().flatten().try_for_each(sync_dir));
    moved.with_context(|| format!("{} cannot be moved to {}", from.display(), to.display()))
}

/// Removes a file, so that it is gone after a loss of power, too. One that is not there is gone.
pub fn remove(dir: &Path, name: &str) -> io::Result<()> {
    match std::fs::remove_file(dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_dir(dir),
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

/// Tries whether files can be written, without waiting for the disk.
pub fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".probe{ASIDE}"));
    let written = open(&path).and_then(|mut file| file.write_all(&[b'\n'; 4096]));
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

/// Keeps room for a slot's result: bytes that are there, not a promise of the file system's.
pub fn reserve(dir: &Path, slot: usize, size: u64) -> io::Result<()> {
    let path = reserve_path(dir, slot);
    if std::fs::metadata(&path).is_ok_and(|there| there.len() >= size) {
        return Ok(());
    }
    // Not one byte over and over: a file system that compresses would keep nothing.
    let bytes: Vec<u8> = (0..size).scan(1u32, |state, _| Some(noise(state))).collect();
    let written = write_whole(&path, &bytes);
    if written.is_err() {
        let _ = std::fs::remove_file(&path);
    }
    written
}

/// Gives that room back. `true`: there was some.
pub fn give_up_reserve(dir: &Path, slot: usize) -> bool {
    std::fs::remove_file(reserve_path(dir, slot)).is_ok()
}

fn reserve_path(dir: &Path, slot: usize) -> PathBuf {
    dir.join(format!(".reserve-{slot}"))
}

/// One step of xorshift.
fn noise(state: &mut u32) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    state.to_le_bytes()[0]
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
