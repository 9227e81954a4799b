//! Limits on v1 hierarchies.

use super::limits::{Applied, CPU_PERIOD_US, Limit, NO_CPU, NO_SWAP, clamped, cpu_quota_us};
use super::{CgroupError, files};
use crate::plan::{Layer, Limits};
use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use std::path::{Path, PathBuf};

/// Sets a stage's limits, before it has leaves or processes.
pub(super) fn limit(
    (memory_dir, pids_dir, cpu_dir): (&Path, &Path, &Path),
    limits: &Limits,
    applied: &mut Applied<'_>,
) -> Result<(), CgroupError> {
    reach_below(memory_dir)?;
    let memory = MemController::new(memory_dir.into(), PathBuf::new(), false);
    applied.must(
        Limit::bytes(memory_dir, "memory.limit_in_bytes", limits.memory)
            .put(|| memory.set_limit(clamped(limits.memory))),
    )?;
    // Memory and swap together may never be limited to less than memory alone: hence second.
    applied.swap(
        "memory.memsw.limit_in_bytes",
        Limit::bytes(memory_dir, "memory.memsw.limit_in_bytes", limits.memory)
            .or(NO_SWAP)
            .put(|| memory.set_memswap_limit(clamped(limits.memory))),
    )?;

    // TCP's buffers have a count of their own on v1, which is not a part of the former.
    applied.must(
        Limit::bytes(memory_dir, TCP, limits.memory).or(NO_TCP).put(|| memory.set_tcp_limit(clamped(limits.memory))),
    )?;

    let pids = PidController::new(pids_dir.into(), PathBuf::new(), false);
    applied.must(
        Limit::exact(pids_dir, "pids.max", limits.pids).put(|| pids.set_pid_max(MaxValue::Value(clamped(limits.pids)))),
    )?;

    let cpu = CpuController::new(cpu_dir.into(), PathBuf::new(), false);
    let quota = cpu_quota_us(limits.cpu_millis);
    let period =
        Limit::exact(cpu_dir, "cpu.cfs_period_us", CPU_PERIOD_US).or(NO_CPU).put(|| cpu.set_cfs_period(CPU_PERIOD_US));
    let both = period.and_then(|period| {
        let quota = Limit::exact(cpu_dir, "cpu.cfs_quota_us", quota).or(NO_CPU).put(|| cpu.set_cfs_quota(quota))?;
        applied.settings.push(period);
        Ok(quota)
    });
    applied.may(Layer::CpuLimit, both)
}

const TCP: &str = "memory.kmem.tcp.limit_in_bytes";
const NO_TCP: &str = "what TCP holds cannot be limited by this kernel on cgroup v1: boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or use a kernel with CONFIG_MEMCG_V1";

/// Has the stage's limit on TCP's buffers cover a leaf. The kernel counts them for those groups only that have had a limit set
/// (`memcg1_tcpmem_active`), and with them for the groups above: so the leaf gets the same one.
pub(super) fn count_tcp(stage: &Path, leaf: &Path) -> Result<(), CgroupError> {
    let limit = files::read(&stage.join(TCP))?;
    Limit::exact(leaf, TCP, limit.trim()).put_plainly().map(drop)
}

/// Makes the group's limit and its peak cover the leaves. Kernels before 5.11 count each group on
/// its own unless told otherwise while it has no children; later ones always have 1 here.
fn reach_below(memory: &Path) -> Result<(), CgroupError> {
    let file = memory.join("memory.use_hierarchy");
    match files::read_if_present(&file)? {
        Some(text) if text.trim() == "0" => {
            let limit = Limit::exact(memory, "memory.use_hierarchy", 1);
            limit.put_plainly().map(drop)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    const LIMITS: Limits = Limits { memory: 64 << 20, pids: 100, cpu_millis: 500, wall_ms: 1 };
    const FRESH: [(&str, &str); 7] = [
        ("memory.use_hierarchy", "0\n"),
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory.memsw.limit_in_bytes", "9223372036854771712\n"),
        ("memory.kmem.tcp.limit_in_bytes", "9223372036854771712\n"),
        ("pids.max", "max\n"),
        ("cpu.cfs_period_us", "100000\n"),
        ("cpu.cfs_quota_us", "-1\n"),
    ];

    fn limited(without: &[&str], applied: &mut Applied<'_>) -> (tempfile::TempDir, Result<(), CgroupError>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in FRESH.iter().filter(|(name, _)| !without.contains(name)) {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let at = dir.path();
        let result = limit((at, at, at), &LIMITS, applied);
        (dir, result)
    }

    #[test]
    fn every_limit_is_set_and_listed() {
        let nothing = BTreeSet::new();
        let mut applied = Applied::new(&nothing, true);
        let (dir, result) = limited(&[], &mut applied);
        result.unwrap();
        let listed: Vec<_> =
            applied.settings.iter().map(|setting| (setting.file.as_str(), setting.value.as_str())).collect();
        let expected = [
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "67108864"),
            ("memory.kmem.tcp.limit_in_bytes", "67108864"),
            ("pids.max", "100"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "50000"),
        ];
        assert_eq!(listed, expected);
        let reach = fs::read_to_string(dir.path().join("memory.use_hierarchy")).unwrap();
        assert_eq!(reach, "1");
    }

    #[test]
    fn without_swap_accounting_swap_must_be_off_or_waived() {
        let (nothing, waived) = (BTreeSet::new(), BTreeSet::from([Layer::SwapLimit]));
        let without = ["memory.memsw.limit_in_bytes"];
        let mut strict = Applied::new(&nothing, true);
        assert!(limited(&without, &mut strict).1.is_err());
        let mut no_swap = Applied::new(&nothing, false);
        assert!(limited(&without, &mut no_swap).1.is_ok());
        assert!(no_swap.degraded.is_empty());
        let mut allowed = Applied::new(&waived, true);
        assert!(limited(&without, &mut allowed).1.is_ok());
        assert_eq!(allowed.degraded, [Layer::SwapLimit]);
    }

    #[test]
    fn without_bandwidth_control_the_cpu_limit_must_be_waived() {
        let (nothing, waived) = (BTreeSet::new(), BTreeSet::from([Layer::CpuLimit]));
        for missing in ["cpu.cfs_period_us", "cpu.cfs_quota_us"] {
            let mut strict = Applied::new(&nothing, true);
            let error = limited(&[missing], &mut strict).1.unwrap_err();
            assert!(error.to_string().contains("cpu-limit"), "{error}");
            let mut allowed = Applied::new(&waived, true);
            assert!(limited(&[missing], &mut allowed).1.is_ok());
            assert_eq!(allowed.degraded, [Layer::CpuLimit]);
            let listed = allowed.settings.iter().any(|s| s.file.starts_with("cpu"));
            assert!(!listed, "half a limit is none");
        }
    }
}
