//! Slots: one worker each, with a range of host ids that no other slot of any runner has.

use anyhow::Context;
use sandbox::plan::IdRange;
use std::collections::BTreeSet;
use std::fs::{DirEntry, File, TryLockError};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// First host id of the first range: above what systemd and container engines give out (they end at 0x6FFF_FFFF),
/// below 2^31, from where some tools take ids for negative.
const FIRST_ID: u32 = 0x7000_0000;

/// Ids in a range.
const IDS: u32 = 65_536;

/// Ranges that there are.
const RANGES: u32 = 1024;

/// Where ranges are locked, for all runners of a host together.
const LOCKS: &str = "/run/ostest-sandbox/ids";

/// One worker's place: its number on this runner and its ids.
#[derive(Debug)]
pub struct Slot {
    /// Number on this runner, from 0.
    pub number: usize,
    /// Host ids.
    pub ids: IdRange,
    /// Cores of its own; empty: it shares the runner's with the others.
    pub cores: Vec<u32>,
    /// Held as long as the slot lives; the kernel lets go of it when the runner dies.
    _lock: File,
}

impl Slot {
    /// Takes the first range of host ids that no runner on this host holds and no process has: a sandbox whose runner crashed may
    /// have processes that cannot be killed, and whoever had their ids could be reached by them.
    pub fn take(number: usize) -> anyhow::Result<Slot> {
        Slot::take_in(Path::new(LOCKS), number, &ranges_with_processes()?)
    }

    /// With cores of its own.
    pub fn on(self, cores: Vec<u32>) -> Slot {
        Slot { cores, ..self }
    }

    /// Number of its range of ids, which no other slot on this host has.
    pub fn range(&self) -> u32 {
        (self.ids.base - FIRST_ID) / IDS
    }

    fn take_in(locks: &Path, number: usize, inhabited: &BTreeSet<u32>) -> anyhow::Result<Slot> {
        std::fs::create_dir_all(locks)
            // Whoever can open a lock can hold it: any user of the host could take all ranges away.
            .and_then(|()| std::fs::set_permissions(locks, PermissionsExt::from_mode(0o700)))
            .with_context(|| format!("the directory {} for locks on id ranges cannot be made", locks.display()))?;
        for range in (0..RANGES).filter(|range| !inhabited.contains(range)) {
            let path: PathBuf = locks.join(range.to_string());
            let file = File::options().create(true).append(true).open(&path);
            let file = file.with_context(|| format!("the lock {} cannot be opened", path.display()))?;
            match file.try_lock() {
                Ok(()) => {
                    let ids = IdRange { base: FIRST_ID + range * IDS, count: IDS };
                    return Ok(Slot { number, ids, cores: Vec::new(), _lock: file });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("the lock {} cannot be taken", path.display()));
                }
            }
        }
        anyhow::bail!("all {RANGES} ranges of host ids are in use; are there runners that hang?")
    }
}

/// Ranges of which a process has an id. The kernel gives a process's directory in /proc to its effective user.
fn ranges_with_processes() -> anyhow::Result<BTreeSet<u32>> {
    let processes = std::fs::read_dir("/proc").context("the processes of this host cannot be listed")?;
    let mut inhabited = BTreeSet::new();
    for process in processes.flatten().filter(is_process) {
        // One that has gone meanwhile has none.
        if let Some(range) = process.metadata().ok().and_then(|meta| range_of(meta.uid()))
            && !is_zombie(&process)
        {
            inhabited.insert(range);
        }
    }
    Ok(inhabited)
}

fn is_process(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// Dead, and only not yet waited for: on hosts whose init waits for nobody that lasts for ever.
fn is_zombie(process: &DirEntry) -> bool {
    let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
    // The state stands behind the name, which may hold anything.
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['Z', 'X']))
}

fn range_of(id: u32) -> Option<u32> {
    let (first, last) = ids();
    (first..=last).contains(&id).then(|| (id - first) / IDS)
}

/// The first and the last host id that any slot of any runner may use.
pub fn ids() -> (u32, u32) {
    (FIRST_ID, FIRST_ID + (RANGES * IDS - 1))
}

/// Shares cores out among slots, as many to each, in the order of their numbers: neighbours often share a cache. What
/// is left over is left to the host.
pub fn share(cores: &[u32], slots: usize) -> anyhow::Result<Vec<Vec<u32>>> {
    let each = cores.len() / slots.max(1);
    anyhow::ensure!(
        each > 0,
        "--pin-cores needs a core for each of the {slots} slots, and this runner has {}; lower --concurrent, or leave \
         --pin-cores out",
        cores.len()
    );
    Ok(cores.chunks(each).take(slots).map(<[u32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_out_whole_and_only_where_there_are_enough() {
        assert_eq!(share(&[0, 1, 2, 3, 6], 2).unwrap(), [vec![0, 1], vec![2, 3]]);
        assert_eq!(share(&[4, 5], 2).unwrap(), [vec![4], vec![5]]);
        assert!(share(&[0, 1], 3).is_err_and(|e| e.to_string().contains("--concurrent")));
    }

    #[test]
    fn ids_that_a_process_has_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let inhabited = BTreeSet::from_iter([0, 2, 3].map(|range| range_of(FIRST_ID + range * IDS + 1000).unwrap()));
        let slots = [0, 1, 2].map(|number| Slot::take_in(dir.path(), number, &inhabited).unwrap().range());
        assert_eq!(slots, [1, 1, 1], "each gives it back at once");
        let held: Vec<Slot> = (0..3).map(|n| Slot::take_in(dir.path(), n, &inhabited).unwrap()).collect();
        assert_eq!(held.iter().map(Slot::range).collect::<Vec<_>>(), [1, 4, 5]);
        assert_eq!([0, 1000, FIRST_ID - 1, FIRST_ID + RANGES * IDS].map(range_of), [None; 4], "ids of the host's");
    }

    #[test]
    fn nobody_else_can_take_the_locks() {
        let dir = tempfile::tempdir().unwrap();
        let locks = dir.path().join("ids");
        std::fs::create_dir(&locks).unwrap();
        std::fs::set_permissions(&locks, PermissionsExt::from_mode(0o755)).unwrap();
        let _slot = Slot::take_in(&locks, 0, &BTreeSet::new()).unwrap();
        assert_eq!(std::fs::metadata(&locks).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn no_two_slots_share_ids_and_a_range_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let take = |number| Slot::take_in(dir.path(), number, &BTreeSet::new()).unwrap();
        let (first, second) = (take(0), take(1));
        assert_eq!(second.ids.base - first.ids.base, IDS);
        let base = first.ids.base;
        drop(first);
        assert_eq!(take(0).ids.base, base);
    }
}
