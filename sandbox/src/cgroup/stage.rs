//! The group of one stage, and its leaves.

use super::limits::{Applied, swap_is_on};
use super::tree::{self, PATIENCE};
use super::usage::{self, Retired};
use super::{Base, CgroupError, Rise, check_name, files, hybrid, unified};
use crate::ledger::Account;
use crate::outcome::{Meanwhile, Setting, Usage};
use crate::plan::{Layer, Limits};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The leaf in which the sandbox's pid 1 lives.
pub const INIT: &str = "init";
/// The leaf in which the command starts.
pub const PAYLOAD: &str = "payload";

/// How long dropping a group that nobody removed may take.
const DROP_PATIENCE: Duration = Duration::from_secs(2);

/// The control group of one stage: the limits are on it, its processes are in leaves below it.
///
/// Dropping it kills what is in it and removes it as well as can be; [`StageGroup::remove`] says
/// whether that worked.
#[derive(Debug)]
pub struct StageGroup {
    pub(super) stage: Base,
    /// Above all leaves that were asked for, once there was one.
    pub(super) programs: Option<Base>,
    pub(super) leaves: BTreeMap<String, Base>,
    retired: Retired,
    /// Retired leaves whose directories are still there.
    dying: Vec<Base>,
    /// To which pages are booked that the groups do not count.
    account: Option<Account>,
    removed: bool,
    pub(super) spared: bool,
}

impl StageGroup {
    /// Makes the group with its leaves `init` and `payload`, and puts every limit in force before
    /// there is any process.
    ///
    /// Gives back the limits as the kernel holds them, and the layers that were waived and are in
    /// fact not in force.
    ///
    /// # Errors
    /// When the name is taken or none, when a directory cannot be made, or when a limit cannot be
    /// put in force and is not waived. Nothing is left behind then.
    pub fn create(
        base: &Base,
        name: &str,
        limits: &Limits,
        waived: &BTreeSet<Layer>,
    ) -> Result<(StageGroup, Vec<Setting>, Vec<Layer>), CgroupError> {
        Self::create_with(base, name, limits, Applied::new(waived, swap_is_on()), &files::make_dir)
    }

    fn create_with(
        base: &Base,
        name: &str,
        limits: &Limits,
        mut applied: Applied<'_>,
        make_dir: MakeDir<'_>,
    ) -> Result<(StageGroup, Vec<Setting>, Vec<Layer>), CgroupError> {
        check_name(name)?;
        let stage = base.child(name);
        make_group(&stage, make_dir)?;
        // From here on dropping it cleans up.
        let (leaves, retired, dying) = (BTreeMap::new(), Retired::default(), Vec::new());
        let mut group =
            StageGroup { stage, programs: None, leaves, retired, dying, account: None, removed: false, spared: false };
        match &group.stage {
            Base::Unified { dir } => {
                unified::limit(dir, limits, &mut applied)?;
                unified::count_in_leaves(dir)?;
            }
            Base::Hybrid { memory, pids, cpu, .. } => hybrid::limit((memory, pids, cpu), limits, &mut applied)?,
        }
        for leaf in [INIT, PAYLOAD] {
            group.make_leaf_with(leaf, make_dir)?;
        }
        Ok((group, applied.settings, applied.degraded))
    }

    /// Books to this account what tasks in any leaf take of the kernel's memory that the groups do not count: of those that are there,
    /// and of those that are made from now on.
    ///
    /// # Errors
    /// When the ledger does not take a group.
    pub fn book(&mut self, account: Account) -> Result<(), CgroupError> {
        for leaf in self.leaves.values() {
            enter(&account, leaf)?;
        }
        self.account = Some(account);
        Ok(())
    }

    /// The account, where there is one.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// The v2 directory of the `init` leaf, for clone3 with CLONE_INTO_CGROUP: a process that is
    /// born there does not have to be moved.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn open_dir(&self) -> io::Result<OwnedFd> {
        let dir = self.stage.v2().join(INIT);
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_DIRECTORY);
        Ok(options.open(dir)?.into())
    }

    /// Puts pid 1 into the `init` leaf of every hierarchy in which it was not born there. It must be
    /// waiting: what it uses before counts elsewhere.
    ///
    /// # Errors
    /// When the process is gone or the kernel refuses.
    pub fn place_init(&self, pid: Pid) -> Result<(), CgroupError> {
        self.place(INIT, pid)
    }

    /// Puts a process into the `payload` leaf.
    ///
    /// # Errors
    /// As [`StageGroup::place_init`].
    pub fn place_payload(&self, pid: Pid) -> Result<(), CgroupError> {
        self.place(PAYLOAD, pid)
    }

    /// Confines the stage to these cores. Before there is a process in it.
    ///
    /// # Errors
    /// Where this host cannot: on v1 hierarchies, without the controller cpuset, or when one of the
    /// cores is none of the runner's.
    pub fn pin(&self, cores: &[u32]) -> Result<Setting, CgroupError> {
        match &self.stage {
            Base::Unified { dir } => unified::pin(dir, cores),
            Base::Hybrid { dir, .. } => Err(CgroupError::NoCpuset { dir: dir.clone() }),
        }
    }

    /// Begins to watch how far a leaf's memory rises. `None` where this kernel cannot tell. On v1
    /// the leaf's own peak begins anew with it.
    ///
    /// # Errors
    /// When there is no such leaf, or its figures cannot be read.
    pub fn watch_rise(&self, leaf: &str) -> Result<Option<Rise>, CgroupError> {
        Rise::begin(self.leaf(leaf)?)
    }

    fn make_leaf_with(&mut self, leaf: &str, make_dir: MakeDir<'_>) -> Result<(), CgroupError> {
        check_name(leaf)?;
        let group = self.stage.child(leaf);
        make_group(&group, make_dir)?;
        let within = self.count_tcp(&group);
        let booked = self.book_leaf(&group);
        self.leaves.insert(leaf.into(), group);
        within.and(booked)
    }

    pub(super) fn book_leaf(&self, group: &Base) -> Result<(), CgroupError> {
        self.account.as_ref().map_or(Ok(()), |account| enter(account, group))
    }

    pub(super) fn count_tcp(&self, group: &Base) -> Result<(), CgroupError> {
        match (&self.stage, group) {
            (Base::Hybrid { memory: stage, .. }, Base::Hybrid { memory, .. }) => hybrid::count_tcp(stage, memory),
            _ => Ok(()),
        }
    }

    /// Puts a process, with all its threads, into a leaf. What it used before stays counted where it
    /// was.
    ///
    /// # Errors
    /// When there is no such leaf, the process is gone, or the kernel refuses.
    pub fn place(&self, leaf: &str, pid: Pid) -> Result<(), CgroupError> {
        let group = self.leaf(leaf)?;
        for dir in group.v1() {
            files::write(&dir.join("cgroup.procs"), &pid.to_string())?;
        }
        let file = group.v2().join("cgroup.procs");
        // Moving can wait for a grace period of many milliseconds, even to where the process is.
        let there = files::pids(&file, &files::read(&file)?)?;
        if there.contains(&pid.as_raw()) {
            return Ok(());
        }
        files::write(&file, &pid.to_string())
    }

    /// What was used in a leaf. On v2 kernels that count a failed fork at the limit and not at the
    /// process, `pids_denied` is `None`.
    ///
    /// # Errors
    /// When there is no such leaf, or a file is there but makes no sense.
    pub fn leaf_usage(&self, leaf: &str) -> Result<Usage, CgroupError> {
        usage::of_leaf(self.leaf(leaf)?)
    }

    /// What is counted of the stage as a whole and has no file in a leaf, so far. Failed forks only where the kernel counts
    /// them at the limit: elsewhere leaves know their own.
    ///
    /// # Errors
    /// When a file is there but makes no sense.
    pub fn met(&self) -> Result<Meanwhile, CgroupError> {
        usage::met(&self.stage)
    }

    /// Takes leave of a leaf in which there is no process, keeping its figures in those of the stage; `false` where there is
    /// one. Its directories are removed by [`StageGroup::bury`].
    ///
    /// # Errors
    /// When there is no such leaf, or a figure cannot be read.
    pub fn retire_leaf_if_empty(&mut self, leaf: &str) -> Result<bool, CgroupError> {
        if tree::is_populated(self.leaf(leaf)?)? {
            return Ok(false);
        }
        let mut retired = self.retired;
        retired.add(self.leaf(leaf)?)?;
        self.retired = retired;
        self.dying.extend(self.leaves.remove(leaf));
        Ok(true)
    }

    /// Removes what can be removed of retired leaves, without waiting: the last process is out of sight a moment before the
    /// kernel lets go of its group. Gives the number of those that are left.
    ///
    /// # Errors
    /// When the kernel refuses for any other reason.
    pub fn bury(&mut self) -> Result<usize, CgroupError> {
        for group in std::mem::take(&mut self.dying) {
            let mut gone = true;
            if let Some(account) = &self.account {
                // Nobody is in it. What stays in the table is in nobody's way, and the runner takes it away.
                let _ = account.take_away(group.v2());
            }
            for dir in group.dirs() {
                gone &= tree::try_remove(dir)?;
            }
            if !gone {
                self.dying.push(group);
            }
        }
        Ok(self.dying.len())
    }

    /// How many retired leaves are still to be buried.
    pub fn dying(&self) -> usize {
        self.dying.len()
    }

    /// Whether a retired leaf of this name is still to be buried.
    pub fn is_dying(&self, leaf: &str) -> bool {
        self.dying.iter().any(|group| group.v2().ends_with(leaf))
    }

    /// Kills every process of the stage; does not wait for them to be gone.
    ///
    /// # Errors
    /// When a file of the group cannot be read or written.
    pub fn kill(&self) -> Result<(), CgroupError> {
        if self.spared { Ok(()) } else { tree::kill(&self.stage) }
    }

    /// Switches [`StageGroup::kill`] off, for a plan that has to end without it ([`crate::switch::Switch::CgroupKill`]).
    pub fn spare(&mut self) {
        self.spared = true;
    }

    /// Whether any process is in the stage, in any hierarchy.
    ///
    /// # Errors
    /// When a file of the group is there but makes no sense.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        tree::is_populated(&self.stage)
    }

    /// What the stage used so far, removed leaves included: memory in bytes, CPU time in
    /// microseconds. `None` stands for what this kernel does not count.
    ///
    /// # Errors
    /// When a file is there but cannot be read or makes no sense.
    pub fn usage(&self) -> Result<Usage, CgroupError> {
        let leaves: Vec<Base> = self.leaves.values().cloned().collect();
        usage::of_stage(&self.stage, &leaves, self.retired)
    }

    /// The number of processes and threads now, for kernels without `pids.peak`. `None` when it
    /// cannot be read.
    pub fn sample_pids(&self) -> Option<u64> {
        usage::pids_current(&self.stage)
    }

    /// Kills every process, waits until they are gone, at most 10 s, and removes the group from
    /// every hierarchy.
    ///
    /// # Errors
    /// When a process does not go away or a directory cannot be removed. What is left is removed by
    /// the next [`Base::sweep`]. Of a group that is spared: when a process is in it.
    pub fn remove(mut self) -> Result<(), CgroupError> {
        if self.spared && self.is_populated()? {
            // Who asked for this wants to know who lives on. Dropping it ends them.
            let (dir, pids) = (self.stage.v2().into(), tree::processes(&self.stage.dirs())?);
            return Err(CgroupError::StillPopulated { dir, pids });
        }
        // Dropping it must not wait a second time for what does not go away.
        self.removed = true;
        tree::destroy(&self.stage, PATIENCE)
    }

    pub(super) fn leaf(&self, leaf: &str) -> Result<&Base, CgroupError> {
        self.leaves
            .get(leaf)
            .ok_or_else(|| CgroupError::Missing { file: self.stage.v2().join(leaf), remedy: "make the leaf first" })
    }
}

impl Drop for StageGroup {
    fn drop(&mut self) {
        if !self.removed {
            // There is nobody to tell; the next sweep finds what is left.
            let _ = tree::destroy(&self.stage, DROP_PATIENCE);
        }
    }
}

/// Enters a group into the ledger.
fn enter(account: &Account, group: &Base) -> Result<(), CgroupError> {
    account.add(group.v2()).map_err(|error| CgroupError::Ledger { dir: group.v2().into(), source: error })
}

/// How a directory is made; tests put the files into it that the kernel would.
pub(super) type MakeDir<'a> = &'a dyn Fn(&Path) -> Result<(), CgroupError>;

/// Makes a group's directory in every hierarchy, or in none.
pub(super) fn make_group(group: &Base, make_dir: MakeDir<'_>) -> Result<(), CgroupError> {
    let mut made: Vec<PathBuf> = Vec::new();
    for dir in group.dirs() {
        if let Err(error) = make_dir(dir) {
            for dir in made {
                // Ours and still empty; the first error is the one to tell.
                let _ = tree::remove(&dir, Instant::now());
            }
            return Err(error);
        }
        made.push(dir.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LIMITS: Limits = Limits { memory: 64 << 20, pids: 100, cpu_millis: 1000, wall_ms: 1 };

    /// Makes a directory with the files that a kernel would put into it.
    fn fake(dir: &Path) -> Result<(), CgroupError> {
        files::make_dir(dir)?;
        for (name, text) in [
            ("cgroup.procs", ""),
            ("cgroup.kill", ""),
            ("cgroup.events", "populated 0\n"),
            ("cgroup.subtree_control", "memory pids\n"),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            ("memory.oom.group", "0\n"),
            ("memory.events", "oom_kill 1\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.memsw.limit_in_bytes", "9223372036854771712\n"),
            ("memory.oom_control", "oom_kill 1\n"),
            ("pids.max", "max\n"),
            ("memory.kmem.tcp.limit_in_bytes", "9223372036854771712\n"),
            ("pids.current", "3\n"),
            ("pids.events", "max 1\n"),
            ("cpu.max", "max 100000\n"),
            ("cpu.cfs_period_us", "100000\n"),
            ("cpu.cfs_quota_us", "-1\n"),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
        Ok(())
    }

    fn unified(dir: &Path) -> Base {
        Base::Unified { dir: dir.into() }
    }

    /// Five hierarchies below one directory.
    fn hybrid(dir: &Path) -> Base {
        let at = |name: &str| {
            let dir = dir.join(name);
            fs::create_dir(&dir).unwrap();
            dir
        };
        Base::Hybrid {
            dir: at("unified"),
            memory: at("memory"),
            pids: at("pids"),
            cpu: at("cpu"),
            cpuacct: at("cpuacct"),
        }
    }

    fn create(base: &Base, limits: &Limits) -> Result<StageGroup, CgroupError> {
        let nothing = BTreeSet::new();
        let applied = Applied::new(&nothing, true);
        StageGroup::create_with(base, "s", limits, applied, &fake).map(|(group, ..)| group)
    }

    fn text(file: &Path) -> String {
        fs::read_to_string(file).unwrap()
    }

    #[test]
    fn limits_stand_on_the_stage_and_not_on_its_leaves() {
        for kind in [unified, hybrid] {
            let dir = tempfile::tempdir().unwrap();
            let base = kind(dir.path());
            let group = create(&base, &LIMITS).unwrap();
            for leaf in [INIT, PAYLOAD] {
                for dir in group.stage.child(leaf).dirs() {
                    assert_eq!(text(&dir.join("pids.max")), "max\n");
                }
            }
            if let Base::Hybrid { memory, .. } = &group.stage {
                let leaf = memory.join(PAYLOAD).join("memory.kmem.tcp.limit_in_bytes");
                assert_eq!(text(&leaf), LIMITS.memory.to_string(), "without one of its own TCP is not counted in it");
            }
            let (Base::Unified { dir: pids } | Base::Hybrid { pids, .. }) = &group.stage;
            assert_eq!(text(&pids.join("pids.max")), "100");
            assert_eq!(group.sample_pids(), Some(3));
            assert!(group.open_dir().is_ok());
        }
    }

    #[test]
    fn a_name_that_is_taken_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let base = hybrid(dir.path());
        let taken = dir.path().join("pids/s");
        fs::create_dir(&taken).unwrap();
        let make = |dir: &Path| files::make_dir(dir);
        let error = make_group(&base.child("s"), &make).unwrap_err();
        assert!(matches!(error, CgroupError::Exists { ref dir } if *dir == taken));
        assert!(taken.exists());
        assert!(!dir.path().join("unified/s").exists(), "made before, and not left");
        assert!(!dir.path().join("memory/s").exists(), "made before, and not left");
    }

    #[test]
    fn a_limit_that_fails_kills_what_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let impossible = Limits { memory: u64::MAX, ..LIMITS };
        assert!(create(&unified(dir.path()), &impossible).is_err());
        let killed = text(&dir.path().join("s/cgroup.kill"));
        assert_eq!(killed, "1", "dropping it went to work");
        let leaf = dir.path().join("s").join(INIT);
        assert!(!leaf.exists(), "no place for a process without limits");
    }

    #[test]
    fn processes_go_into_every_hierarchy_but_do_not_move_twice() {
        let dir = tempfile::tempdir().unwrap();
        let base = hybrid(dir.path());
        let group = create(&base, &LIMITS).unwrap();
        let leaf = group.stage.child(INIT);
        fs::write(leaf.v2().join("cgroup.procs"), "12\n4711\n").unwrap();
        group.place_init(Pid::from_raw(4711)).unwrap();
        assert_eq!(text(&leaf.v2().join("cgroup.procs")), "12\n4711\n");
        for dir in leaf.v1() {
            assert_eq!(text(&dir.join("cgroup.procs")), "4711");
        }
        group.place_init(Pid::from_raw(4712)).unwrap();
        assert_eq!(text(&leaf.v2().join("cgroup.procs")), "4712");
        assert!(group.place("absent", Pid::from_raw(4712)).is_err());
    }

    #[test]
    fn each_driver_adds_up_what_its_kernel_does_not() {
        for (kind, oom_kills) in [(unified as fn(&Path) -> Base, 1), (hybrid, 3)] {
            let dir = tempfile::tempdir().unwrap();
            let mut group = create(&kind(dir.path()), &LIMITS).unwrap();
            let figures = |group: &StageGroup| {
                let usage = group.usage().unwrap();
                (usage.oom_kills.unwrap().value, usage.pids_denied.unwrap().value)
            };
            assert_eq!(figures(&group), (oom_kills, 3));
            group.make_program_leaf("t1", &fake).unwrap();
            let again = group.make_program_leaf("t1", &fake);
            assert!(matches!(again, Err(CgroupError::Exists { .. })));
            assert_eq!(group.leaf_usage("t1").unwrap().oom_kills.unwrap().value, 1);
        }
    }
}
