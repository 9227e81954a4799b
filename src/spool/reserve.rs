//! Room that is kept on the disk, so that what was taken can be recorded on one that has filled up meanwhile.

use super::durable;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes for the result of each slot. Texts of a result are capped at 8 MiB together; most have a few KiB.
const RESULT: u64 = 8 << 20;

/// Bytes for the record of the task that is asked for next.
const TASK: u64 = 1 << 20;

/// The files that keep it.
#[derive(Debug)]
pub struct Reserve {
    dir: PathBuf,
    slots: usize,
    /// The blocks that a file had when it was whole: some file systems say fewer than it has bytes.
    whole: Mutex<BTreeMap<PathBuf, u64>>,
}

impl Reserve {
    /// For so many slots, in this directory; nothing is kept yet.
    pub fn new(dir: &Path, slots: usize) -> Reserve {
        Reserve { dir: dir.to_owned(), slots, whole: Mutex::default() }
    }

    /// All of it in MiB.
    pub fn mebibytes(&self) -> u64 {
        (self.slots as u64 * RESULT + TASK) >> 20
    }

    /// Makes sure that all of it is there: bytes on the disk, not a promise of the file system's.
    pub fn fill(&self) -> io::Result<()> {
        self.keep(&self.for_task(), TASK)?;
        self.for_results().try_for_each(|path| self.keep(&path, RESULT))
    }

    /// Gives room back piece by piece until `write` succeeds or there is no more: the task's own first, then the results'.
    pub fn use_for(&self, is_task: bool, mut write: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        let own = is_task.then(|| self.for_task());
        let mut last = io::Error::from(io::ErrorKind::StorageFull);
        for path in own.into_iter().chain(self.for_results()) {
            if !durable::remove_if_there(&path)? {
                continue;
            }
            match write() {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn keep(&self, path: &Path, size: u64) -> io::Result<()> {
        let blocks = self.whole.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        // One that was cut, or that has holes, keeps nothing.
        let enough = blocks.unwrap_or(size / 512);
        if std::fs::metadata(path).is_ok_and(|there| there.len() >= size && there.blocks() >= enough) {
            return Ok(());
        }
        // Not one byte over and over: a file system that compresses would keep nothing.
        let bytes: Vec<u8> = (0..size).scan(1u32, |state, _| Some(noise(state))).collect();
        if let Err(error) = durable::write_whole(path, &bytes) {
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        let blocks = std::fs::metadata(path)?.blocks();
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), blocks);
        Ok(())
    }

    fn for_task(&self) -> PathBuf {
        self.dir.join(".reserve-task")
    }

    fn for_results(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (0..self.slots).map(|slot| self.dir.join(format!(".reserve-{slot}")))
    }
}

/// One step of xorshift.
fn noise(state: &mut u32) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    state.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_that_was_cut_or_has_holes_is_made_whole() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = || Reserve::new(dir.path(), 1);
        reserve().fill().unwrap();
        let path = dir.path().join(".reserve-0");
        let blocks = || std::fs::metadata(&path).unwrap().blocks();
        let whole = blocks();
        std::fs::File::create(&path).unwrap().set_len(RESULT).unwrap();
        assert!(blocks() < whole);
        let reserve = reserve();
        reserve.fill().unwrap();
        assert_eq!(blocks(), whole);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(RESULT / 2).unwrap();
        reserve.fill().unwrap();
        assert_eq!(blocks(), whole);
    }

    #[test]
    fn a_task_uses_its_own_room_first() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(dir.path(), 2);
        reserve.fill().unwrap();
        let left = || std::fs::read_dir(dir.path()).unwrap().count();
        reserve.use_for(true, || Ok(())).unwrap();
        assert!(left() == 2 && !dir.path().join(".reserve-task").exists());
        let mut tries = 0;
        let full = || {
            tries += 1;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert!(reserve.use_for(false, full).is_err());
        assert_eq!((tries, left()), (2, 0));
    }
}
