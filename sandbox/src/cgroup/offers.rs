//! What this host's groups can limit and count: not every kernel has every file.
//!
//! The files of a v2 group depend on the kernel's version and configuration and on which controllers its parent hands out,
//! and the root has few of them. So a group is made below the base, looked at, and removed.

use super::{Base, CgroupError, Rise, files, tree};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

/// What a group below a claimed base has. Each field names what depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// A peak of memory: the figure of every result.
    pub memory_peak: bool,
    /// The peak can begin anew at a moment of our choosing.
    pub peak_reset: bool,
    /// Swap can be limited: else a limit on memory is none where there is swap.
    pub swap_limit: bool,
    /// CPU time can be limited.
    pub cpu_limit: bool,
    /// A peak of processes; else it is sampled.
    pub pids_peak: bool,
    /// Time lost to pressure (PSI) is counted.
    pub pressure: bool,
    /// A group can be confined to cores.
    pub cores: bool,
}

impl Base {
    /// Looks at what groups below this base, which must be claimed, can do. `name` is that of the group that is made for it;
    /// two processes must not use the same one.
    ///
    /// # Errors
    /// When the group cannot be made, read or removed, or cannot be killed as a whole, without which nothing works.
    pub fn offers(&self, name: &str) -> Result<Offers, CgroupError> {
        super::check_name(name)?;
        let group = self.child(name);
        let made = group.dirs().into_iter().try_for_each(files::make_dir);
        let offers = made.and_then(|()| look(&group));
        let deadline = Instant::now() + tree::PATIENCE;
        for dir in group.dirs() {
            tree::remove(dir, deadline)?;
        }
        offers
    }
}

/// [`Base::offers`] of a group that is there.
fn look(group: &Base) -> Result<Offers, CgroupError> {
    let kill = group.v2().join("cgroup.kill");
    if !kill.exists() {
        return Err(CgroupError::Missing { file: kill, remedy: "it came with Linux 5.14: use that or a newer kernel" });
    }
    let pressure = pressure_is_counted(&group.v2().join("memory.pressure"))?;
    let peak_reset = Rise::begin(group)?.is_some();
    Ok(match group {
        Base::Unified { dir } => Offers {
            memory_peak: dir.join("memory.peak").exists(),
            peak_reset,
            swap_limit: dir.join("memory.swap.max").exists(),
            cpu_limit: dir.join("cpu.max").exists(),
            pids_peak: dir.join("pids.peak").exists(),
            pressure,
            cores: dir.join("cpuset.cpus").exists(),
        },
        Base::Hybrid { memory, pids, cpu, .. } => Offers {
            memory_peak: memory.join("memory.max_usage_in_bytes").exists(),
            peak_reset,
            swap_limit: memory.join("memory.memsw.limit_in_bytes").exists(),
            cpu_limit: cpu.join("cpu.cfs_quota_us").exists(),
            pids_peak: pids.join("pids.peak").exists(),
            pressure,
            // cpuset is a v1 hierarchy of its own there, which the driver does not use.
            cores: false,
        },
    })
}

/// Older kernels show the file also where pressure is not counted, and refuse to open it.
fn pressure_is_counted(file: &Path) -> Result<bool, CgroupError> {
    match files::read_if_present(file) {
        Ok(text) => Ok(text.is_some()),
        Err(CgroupError::Read { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn group(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), "0\n").unwrap();
        }
        dir
    }

    #[test]
    fn linux_5_15_has_no_peaks() {
        let names = ["cgroup.kill", "memory.current", "memory.max", "memory.swap.max", "cpu.max", "cpuset.cpus"];
        let dir = group(&names);
        let offers = look(&Base::Unified { dir: dir.path().into() }).unwrap();
        let expected = Offers {
            memory_peak: false,
            peak_reset: false,
            swap_limit: true,
            cpu_limit: true,
            pids_peak: false,
            pressure: false,
            cores: true,
        };
        assert_eq!(offers, expected);
    }

    #[test]
    fn a_hybrid_group_is_looked_at_in_its_own_files() {
        let dir = group(&[
            "cgroup.kill",
            "memory.max_usage_in_bytes",
            "memory.usage_in_bytes",
            "pids.peak",
            "memory.pressure",
        ]);
        let at = || dir.path().to_path_buf();
        let offers = look(&Base::Hybrid { dir: at(), memory: at(), pids: at(), cpu: at(), cpuacct: at() }).unwrap();
        assert!(offers.memory_peak && offers.peak_reset && offers.pids_peak && offers.pressure);
        assert!(!offers.swap_limit && !offers.cpu_limit && !offers.cores);
    }

    #[test]
    fn a_group_that_cannot_be_killed_as_a_whole_is_none() {
        let dir = group(&["memory.max"]);
        let error = look(&Base::Unified { dir: dir.path().into() }).unwrap_err();
        assert!(error.to_string().contains("5.14"), "{error}");
    }
}
