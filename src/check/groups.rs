//! Control groups: which driver serves here, what the kernel can count and limit, and whose the group is.

use super::kernel::numbers;
use super::{Finding, Wanted, boot_with, parameter, read};
use sandbox::cgroup::{Base, CgroupError};
use sandbox::plan::Layer;
use std::path::Path;

pub(super) fn look(wanted: &Wanted<'_>) -> Vec<Finding> {
    let command_line = read("/proc/cmdline").unwrap_or_default();
    let base = crate::contain::group(&wanted.host.state_dir);
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut findings = vec![driver(base.as_ref().map(Base::describe), &command_line)];
    if let Ok(base) = &base {
        findings.push(peak(matches!(base, Base::Unified { .. }), numbers(&release)));
        findings.push(cpu(base).unless_waived(wanted, Layer::CpuLimit));
        if wanted.pin_cores {
            findings.push(cores(base.cores(), wanted.slots));
        }
    }
    let v1 = Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists() && v2_counts_swap(base.as_ref().ok());
    findings.push(swap(read("/proc/swaps").as_deref(), v1 || v2).unless_waived(wanted, Layer::SwapLimit));
    findings.push(pressure(read("/proc/pressure/cpu").is_some()));
    findings
}

/// The root has no memory.swap.max; the group that is ours has one, if swap is counted.
fn v2_counts_swap(base: Option<&Base>) -> bool {
    match base {
        Some(Base::Unified { dir }) => {
            dir.parent().is_some_and(|own| own.join("memory.swap.max").exists() || is_root(own))
        }
        _ => false,
    }
}

fn is_root(group: &Path) -> bool {
    !group.join("cgroup.type").exists()
}

/// `base`: the driver and its directories in words, or why there is none.
fn driver(base: Result<String, &anyhow::Error>, command_line: &str) -> Finding {
    const NAME: &str = "cgroups";
    let error = match base {
        Ok(found) => return Finding::green(NAME, found),
        Err(error) => error,
    };
    let found = format!("{error:#}");
    let disabled = parameter(command_line, "cgroup_disable").unwrap_or_default();
    let remedy = match error.downcast_ref::<CgroupError>() {
        Some(CgroupError::NotDelegated { group }) => {
            let unit = group.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            format!(
                "`systemctl edit {unit}` with the lines `[Service]` and `Delegate=yes`, then `systemctl restart {unit}`"
            )
        }
        _ if disabled.split(',').any(|controller| ["memory", "pids", "cpu"].contains(&controller)) => format!(
            "take `cgroup_disable={disabled}` out of GRUB_CMDLINE_LINUX in /etc/default/grub, run `update-grub`, and boot again"
        ),
        // The Raspberry Pi's firmware, for one, boots with cgroup_disable=memory of its own before the file's words.
        Some(CgroupError::Host { missing, .. }) if missing.contains("memory") => {
            boot_with("cgroup_enable=memory systemd.unified_cgroup_hierarchy=1")
        }
        Some(CgroupError::Host { .. }) => boot_with("systemd.unified_cgroup_hierarchy=1"),
        // The sentence has it.
        _ => "see the sentence before".into(),
    };
    Finding::red(NAME, found, remedy)
}

/// Without a peak there is no figure for memoryUsed, which is never made up.
fn peak(unified: bool, version: (u32, u32)) -> Finding {
    const NAME: &str = "memory peak";
    match (unified, version) {
        (false, _) => Finding::green(NAME, "memory.max_usage_in_bytes, which can begin anew"),
        (true, v) if v < (5, 19) => Finding::red(
            NAME,
            "this kernel has no memory.peak, and results could not say how much memory a test took",
            "boot Linux 5.19 or newer; Debian 12 has 6.1",
        ),
        (true, v) if v < (6, 12) => Finding::green(NAME, "memory.peak; it can begin anew from Linux 6.12 on"),
        (true, _) => Finding::green(NAME, "memory.peak, which can begin anew"),
    }
}

fn cores(cores: Result<Vec<u32>, CgroupError>, slots: usize) -> Finding {
    const NAME: &str = "cores";
    match cores {
        Ok(cores) if cores.len() >= slots => Finding::green(NAME, format!("{} for {slots} slots", cores.len())),
        Ok(cores) => Finding::red(
            NAME,
            format!("{} for {slots} slots, each of which is to have its own", cores.len()),
            format!("--concurrent {} or less, or leave --pin-cores out", cores.len().max(1)),
        ),
        Err(error) => Finding::red(NAME, error.to_string(), "leave --pin-cores out"),
    }
}

/// `swaps`: /proc/swaps, one line for each area below a title.
fn swap(swaps: Option<&str>, limited: bool) -> Finding {
    const NAME: &str = "swap";
    let areas = swaps.map_or(0, |text| text.lines().count().saturating_sub(1));
    match (areas, limited) {
        (0, _) => Finding::green(NAME, "none, so none is to be limited"),
        (_, true) => Finding::green(NAME, "there is some, and it can be limited"),
        (_, false) => Finding::red(
            NAME,
            "there is some, and this kernel does not count it: a memory limit would mean little",
            format!("`swapoff -a`, or {}, or accept it with --allow-degraded swap-limit", boot_with("swapaccount=1")),
        ),
    }
}

fn cpu(base: &Base) -> Finding {
    const NAME: &str = "cpu limit";
    // Of v2 the root has no such file; that the kernel can is seen in /proc.
    let there = match base {
        Base::Hybrid { cpu, .. } => cpu.ancestors().any(|dir| dir.join("cpu.cfs_quota_us").exists()),
        Base::Unified { dir } => {
            dir.ancestors().any(|dir| dir.join("cpu.max").exists())
                || Path::new("/proc/sys/kernel/sched_cfs_bandwidth_slice_us").exists()
        }
    };
    match there {
        true => Finding::green(NAME, "can be set"),
        false => Finding::red(
            NAME,
            "this kernel cannot limit cpu time",
            "boot a kernel that was built with CONFIG_CFS_BANDWIDTH, or accept it with --allow-degraded cpu-limit",
        ),
    }
}

/// Only for the reader of reports: nothing depends on it.
fn pressure(there: bool) -> Finding {
    match there {
        true => Finding::green("pressure", "counted"),
        false => {
            Finding::green("pressure", "not counted, and reports do not tell it; psi=1 at boot (CONFIG_PSI) brings it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    fn host(missing: &str) -> anyhow::Error {
        CgroupError::Host { missing: missing.into(), remedy: "do something".into() }.into()
    }

    #[test]
    fn each_way_in_which_groups_cannot_be_had_has_its_remedy() {
        assert_eq!(driver(Ok("unified: /sys/fs/cgroup/x".into()), "").grade, Grade::Green);
        let session: anyhow::Error =
            CgroupError::NotDelegated { group: "/sys/fs/cgroup/system.slice/grader.service".into() }.into();
        for (error, line, words) in [
            (session, "", "systemctl edit grader.service"),
            (
                host("the controllers memory are not enabled"),
                "ro cgroup_disable=memory",
                "take `cgroup_disable=memory` out",
            ),
            (host("the controllers memory are not enabled"), "ro", "cgroup_enable=memory"),
            (host("no cgroup2 tree is mounted"), "ro", "systemd.unified_cgroup_hierarchy=1"),
            (anyhow::anyhow!("busctl is missing"), "ro", "see the sentence"),
        ] {
            let finding = driver(Err(&error), line);
            assert_eq!(finding.grade, Grade::Red);
            assert!(finding.remedy.contains(words), "{finding}");
        }
    }

    #[test]
    fn a_figure_that_cannot_be_had_is_red_and_swap_only_where_there_is_some() {
        assert_eq!(peak(true, (5, 15)).grade, Grade::Red);
        assert_eq!(peak(true, (6, 1)).grade, Grade::Green);
        assert_eq!(peak(false, (5, 15)).grade, Grade::Green);
        let title = "Filename\tType\tSize\tUsed\tPriority";
        let some = format!("{title}\n/dev/sda2 partition 1 0 -2");
        for (swaps, limited, grade) in [
            (None, false, Grade::Green),
            (Some(title), false, Grade::Green),
            (Some(some.as_str()), true, Grade::Green),
            (Some(some.as_str()), false, Grade::Red),
        ] {
            assert_eq!(swap(swaps, limited).grade, grade, "{swaps:?}");
        }
    }

    #[test]
    fn each_slot_needs_a_core() {
        assert_eq!(cores(Ok(vec![0, 1]), 2).grade, Grade::Green);
        assert_eq!(cores(Ok(vec![0, 1]), 3).grade, Grade::Red);
        assert_eq!(cores(Err(CgroupError::NoCpuset { dir: "/x".into() }), 1).grade, Grade::Red);
    }
}
