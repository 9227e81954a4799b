//! Limits on v2.

use super::limits::{Applied, CPU_PERIOD_US, Limit, NO_CPU, NO_SWAP, clamped, cpu_quota_us};
use super::{CgroupError, claim, cores, files};
use crate::outcome::Setting;
use crate::plan::{Layer, Limits};
use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use std::path::{Path, PathBuf};

/// Sets a stage's limits. There may be no process in it yet: a memory limit below what is in use
/// kills at once.
pub(super) fn limit(dir: &Path, limits: &Limits, applied: &mut Applied<'_>) -> Result<(), CgroupError> {
    let memory = MemController::new(dir.into(), PathBuf::new(), true);
    applied.must(Limit::bytes(dir, "memory.max", limits.memory).put(|| memory.set_limit(clamped(limits.memory))))?;
    applied.swap(
        "memory.swap.max",
        Limit::exact(dir, "memory.swap.max", 0).or(NO_SWAP).put(|| memory.set_memswap_limit(0)),
    )?;
    // The kernel chooses one process. The whole stage at once would take its init along, whose end
    // then looks like the payload's.
    applied.must(Limit::exact(dir, "memory.oom.group", 0).put_plainly())?;

    let pids = PidController::new(dir.into(), PathBuf::new(), true);
    applied.must(
        Limit::exact(dir, "pids.max", limits.pids).put(|| pids.set_pid_max(MaxValue::Value(clamped(limits.pids)))),
    )?;

    let cpu = CpuController::new(dir.into(), PathBuf::new(), true);
    let quota = cpu_quota_us(limits.cpu_millis);
    applied.may(
        Layer::CpuLimit,
        Limit::exact(dir, "cpu.max", format!("{quota} {CPU_PERIOD_US}"))
            .or(NO_CPU)
            .put(|| cpu.set_cfs_quota_and_period(Some(quota), Some(CPU_PERIOD_US))),
    )
}

/// Confines a stage to cores.
pub(super) fn pin(dir: &Path, cores: &[u32]) -> Result<Setting, CgroupError> {
    let cpuset = CpuSetController::new(dir.into(), PathBuf::new(), true);
    let list = cores::show(cores);
    if !dir.join("cpuset.cpus").exists() {
        return Err(CgroupError::NoCpuset { dir: dir.into() });
    }
    let setting = Limit::exact(dir, "cpuset.cpus", &list).put(|| cpuset.set_cpus(&list))?;
    // What was asked for is kept to the letter even where the group above has none of these cores: then its own cores
    // are used. So what counts is read, too.
    let file = dir.join("cpuset.cpus.effective");
    let read = files::read(&file)?.trim().to_owned();
    match read == list {
        true => Ok(setting),
        false => Err(CgroupError::Mismatch { file, wrote: list, read }),
    }
}

/// Gives the stage's leaves counters of their own. The stage itself can hold no process from now on.
pub(super) fn count_in_leaves(dir: &Path) -> Result<(), CgroupError> {
    // `cpu.stat` is there without its controller, and each controller makes a group dearer.
    claim::enable(dir, &["memory", "pids"], &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    const LIMITS: Limits = Limits { memory: 64 << 20, pids: 100, cpu_millis: 1500, wall_ms: 1 };
    const FRESH: [(&str, &str); 5] = [
        ("memory.max", "max\n"),
        ("memory.swap.max", "max\n"),
        ("memory.oom.group", "0\n"),
        ("pids.max", "max\n"),
        ("cpu.max", "max 100000\n"),
    ];

    fn group(without: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in FRESH.iter().filter(|(name, _)| !without.contains(name)) {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn every_limit_is_set_and_listed() {
        let dir = group(&[]);
        let nothing = BTreeSet::new();
        let mut applied = Applied::new(&nothing, true);
        limit(dir.path(), &LIMITS, &mut applied).unwrap();
        let listed: Vec<_> =
            applied.settings.iter().map(|setting| (setting.file.as_str(), setting.value.as_str())).collect();
        let expected = [
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "0"),
            ("pids.max", "100"),
            ("cpu.max", "150000 100000"),
        ];
        assert_eq!(listed, expected);
        for (name, value) in expected {
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), value);
        }
    }

    #[test]
    fn a_missing_controller_is_an_error_unless_it_can_be_waived_and_was() {
        let everything = BTreeSet::from(Layer::ALL);
        let nothing = BTreeSet::new();
        for (file, waivable) in [
            ("memory.max", None),
            ("pids.max", None),
            ("memory.swap.max", Some(Layer::SwapLimit)),
            ("cpu.max", Some(Layer::CpuLimit)),
        ] {
            let dir = group(&[file]);
            let mut strict = Applied::new(&nothing, true);
            let error = limit(dir.path(), &LIMITS, &mut strict).unwrap_err();
            assert!(matches!(error, CgroupError::Missing { .. }), "{error}");

            let mut lenient = Applied::new(&everything, true);
            let result = limit(dir.path(), &LIMITS, &mut lenient);
            assert_eq!(result.is_ok(), waivable.is_some(), "{file}");
            assert_eq!(lenient.degraded, Vec::from_iter(waivable), "{file}");
        }
    }

    #[test]
    fn cores_are_those_that_are_in_force_or_an_error() {
        let dir = group(&[]);
        let error = pin(dir.path(), &[0]).unwrap_err();
        assert!(matches!(error, CgroupError::NoCpuset { .. }), "{error}");
        fs::write(dir.path().join("cpuset.cpus"), "\n").unwrap();
        for (effective, fine) in [("1-2\n", true), ("0-3\n", false), ("\n", false)] {
            fs::write(dir.path().join("cpuset.cpus.effective"), effective).unwrap();
            assert_eq!(pin(dir.path(), &[1, 2]).is_ok(), fine, "{effective:?}");
        }
    }

    #[test]
    fn a_number_that_the_kernel_cannot_hold_is_refused() {
        let nothing = BTreeSet::new();
        for limits in [
            Limits { memory: u64::MAX, ..LIMITS },
            Limits { pids: u64::MAX, ..LIMITS },
            Limits { cpu_millis: 0, ..LIMITS },
        ] {
            let dir = group(&[]);
            let mut applied = Applied::new(&nothing, true);
            assert!(limit(dir.path(), &limits, &mut applied).is_err());
        }
    }
}
