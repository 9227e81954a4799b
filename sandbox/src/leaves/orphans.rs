//! Programs in a leaf that outlives tests, of which nobody is a parent any more.
//!
//! What a fixture has started and keeps, a server, descends from the harness. A daemon that a `make` of the fixture's has left does not,
//! and would be there while later tests' tools run, of the same user as they. So when the fixture has been set up, who has no
//! ancestor there is ended. Nobody inside can change who his parent is but by the parent's end.

use super::ends::{GRACE, names_of};
use super::{Leaves, mapped};
use crate::cgroup::{CgroupError, StageGroup};
use crate::outcome::Left;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long who has no parent may outrun us by forking, before all that the leaf holds is ended.
const OUTRUN: Duration = Duration::from_secs(2);

/// Steps from a process to its eldest ancestor at the most. A sandbox has fewer processes.
const STEPS: usize = 1 << 16;

impl Leaves {
    /// The harness is this process: what it has started descends from it.
    pub fn serve(&mut self, harness: i32) {
        self.harness = Some(harness);
    }

    /// What has this leaf has been set up.
    pub(super) fn settle(&mut self, group: &StageGroup, leaf: &str) -> Result<(), CgroupError> {
        let (false, Some(harness)) = (self.keep || !self.shared.contains_key(leaf), self.harness) else {
            return Ok(());
        };
        let begun = Instant::now();
        let (mut ended, mut names) = (BTreeSet::new(), Vec::new());
        loop {
            let orphans: Vec<i32> =
                group.processes(leaf)?.into_iter().filter(|pid| !descends(*pid, harness, parent)).collect();
            if orphans.is_empty() {
                break;
            }
            if begun.elapsed() < GRACE {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            names_of(&orphans, &mut names);
            for pid in &orphans {
                mapped::kill(*pid, || group.processes(leaf).is_ok_and(|pids| pids.contains(pid)));
                ended.insert(*pid);
            }
            if begun.elapsed() > OUTRUN {
                group.empty_leaf(leaf, super::ends::PATIENCE)?;
                break;
            }
        }
        if let Some(shared) = self.shared.get_mut(leaf).filter(|_| !ended.is_empty()) {
            let before = std::mem::take(&mut shared.orphans);
            names.retain(|name| !before.names.contains(name));
            let (count, names) = (before.count + ended.len() as u64, [before.names, names].concat());
            shared.orphans = Left { count, names, ended: true };
        }
        Ok(())
    }
}

/// Whether a process has this ancestor. One that is gone is nobody's orphan: the next look does not find it.
fn descends(pid: i32, ancestor: i32, parent: impl Fn(i32) -> Option<i32>) -> bool {
    let mut at = pid;
    for _ in 0..STEPS {
        match parent(at) {
            Some(next) if next == ancestor => return true,
            // The first process of all, or a parent that this namespace does not see.
            Some(0 | 1) => return false,
            Some(next) => at = next,
            None => return at == pid,
        }
    }
    false
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name, which is the program's to choose, ends with the last bracket.
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[behind + 1..]).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_descends_from_the_harness_is_no_orphan() {
        // 10 is the harness; 5 the sandbox's init, whose parent is the launcher.
        let parents = |pid| match pid {
            10 | 30 | 40 => Some(5),
            5 => Some(2),
            2 => Some(1),
            11 => Some(10),
            12 => Some(11),
            31 => Some(30),
            50 => Some(51),
            _ => None,
        };
        let found = |pid| descends(pid, 10, parents);
        assert_eq!([11, 12, 30, 31, 40].map(found), [true, true, false, false, false]);
        assert!(found(77), "it has ended");
        assert!(!found(50), "its parent has ended meanwhile");
    }

    #[test]
    fn a_process_has_the_parent_that_the_kernel_says() {
        let me = std::process::id().cast_signed();
        assert_eq!(parent(me), Some(nix::unistd::getppid().as_raw()));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(descends(child.id().cast_signed(), me, parent) && !descends(me, child.id().cast_signed(), parent));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
