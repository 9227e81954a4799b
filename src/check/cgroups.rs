//! Control groups: which driver fits, whose the groups are, and what they can limit and count.

use super::facts::{boot_parameter, boot_with, read};
use super::{Finding, Grade};
use crate::contain::{self, Host};
use sandbox::cgroup::{CgroupError, Offers};
use sandbox::plan::Layer;
use std::path::Path;

/// Name of the finding on the driver.
pub const DRIVER: &str = "cgroups";

/// Which groups a runner of this state directory gets.
pub fn driver(state_dir: &Path) -> Finding {
    if !contain::is_root() {
        // Asking systemd for a scope without being root asks a person for a password.
        return Finding::red(DRIVER, "not looked at, since we are not root", "start it with sudo");
    }
    let (table, cmdline) = (read("/proc/cgroups").unwrap_or_default(), read("/proc/cmdline").unwrap_or_default());
    judge_driver(contain::describe_groups(state_dir), &table, &cmdline)
}

fn judge_driver(found: anyhow::Result<String>, table: &str, cmdline: &str) -> Finding {
    let error = match found {
        Ok(described) => return Finding::green(DRIVER, described),
        Err(error) => error,
    };
    let delegate =
        "run it as a unit with Delegate=yes, or under `systemd-run --scope -p Delegate=yes ostest-sandbox …`";
    match error.downcast_ref::<CgroupError>() {
        Some(CgroupError::Host { missing, remedy }) => match memory_is_off(missing, table, cmdline) {
            Some((why, remedy)) => Finding::red(DRIVER, format!("{missing}: {why}"), remedy),
            None => Finding::red(DRIVER, missing, remedy),
        },
        Some(CgroupError::NotDelegated { group }) => {
            let found = format!(
                "the control group {} belongs to systemd, which would take controllers away from it",
                group.display()
            );
            let unit = group.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".service"));
            match unit {
                Some(unit) => Finding::red(
                    DRIVER,
                    found,
                    format!(
                        "`systemctl edit {unit}`, there `[Service]` and `Delegate=yes`, and `systemctl restart {unit}`"
                    ),
                ),
                None => Finding::red(DRIVER, found, delegate),
            }
        }
        Some(other) => Finding::red(DRIVER, other.to_string(), "fix the error above, and mount cgroup v2"),
        None => Finding::red(DRIVER, format!("{error:#}"), delegate),
    }
}

/// Why there is no memory controller, if that is what is missing, and what brings it.
fn memory_is_off(missing: &str, table: &str, cmdline: &str) -> Option<(String, String)> {
    if !missing.contains("memory") {
        return None;
    }
    // name, hierarchy, groups, enabled
    let enabled = table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.first() == Some(&"memory")).then(|| words.get(3) == Some(&"1"))
    });
    let named = |value: &str| value.split(',').any(|name| name == "memory");
    let parameters = || cmdline.split_whitespace();
    let disabled = parameters().any(|word| word.strip_prefix("cgroup_disable=").is_some_and(named));
    let wanted = boot_parameter(cmdline, "cgroup_enable").is_some_and(named);
    match (disabled, enabled) {
        // The firmware of a Raspberry Pi puts it there, and takes the other one as its revocation.
        (true, _) if !wanted => Some((
            "the boot parameter cgroup_disable=memory switched it off".into(),
            "boot without cgroup_disable=memory (Debian, Ubuntu: take it out of /etc/default/grub, `update-grub`, reboot; \
             Raspberry Pi: add cgroup_enable=memory to cmdline.txt, reboot)"
                .into(),
        )),
        (_, Some(false)) => Some((
            "the kernel has it and did not switch it on".into(),
            format!("{}; Raspberry Pi: into cmdline.txt", boot_with("cgroup_enable=memory")),
        )),
        // A kernel whose v1 side was left out does not list it either; there a group above may keep it to itself.
        (_, None) if !table.is_empty() && missing.contains("does not offer") => Some((
            "/proc/cgroups does not know it".into(),
            "use a kernel with CONFIG_MEMCG (each kernel of Debian and Ubuntu has it); in a container, give its group the \
             memory controller"
                .into(),
        )),
        _ => None,
    }
}

/// What an earlier run left behind and cannot be removed.
pub fn left(all: &[String]) -> Option<Finding> {
    let found = format!("an earlier run left something behind, which is not in the way: {}", all.join("; "));
    (!all.is_empty()).then(|| Finding::yellow("left-overs", found, "end what holds it, or start this host anew"))
}

/// What groups can limit and count, looked at in one that is made for it. `slots`: those that are to have cores of their own.
pub fn offers(host: &Host, slots: Option<usize>) -> Vec<Finding> {
    match host.offers() {
        Ok(offers) => {
            let swaps = read("/proc/swaps").unwrap_or_default();
            let pinned = slots.map(|slots| {
                let cores = host.cores()?;
                contain::slots::share(&cores, slots).map(|shares| shares.iter().map(Vec::len).min().unwrap_or(0))
            });
            judge_offers(&offers, host.driver(), &swaps, pinned)
        }
        Err(error) => vec![Finding::red(
            "limits",
            format!("no group could be tried out: {error:#}"),
            "fix the error above; a start sweeps what a crash left",
        )],
    }
}

/// `pinned`: cores for each slot, or why there are none.
fn judge_offers(offers: &Offers, driver: &str, swaps: &str, pinned: Option<anyhow::Result<usize>>) -> Vec<Finding> {
    let mut found = vec![swap(offers, driver, swaps), cpu(offers), peaks(offers), pressure(offers)];
    found.extend(pinned.map(cores));
    found
}

fn swap(offers: &Offers, driver: &str, swaps: &str) -> Finding {
    const NAME: &str = "swap limit";
    // Below a heading.
    let areas = swaps.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
    match (areas, offers.swap_limit) {
        (0, false) => Finding::green(NAME, "not needed: the host has no swap"),
        (_, true) => Finding::green(NAME, "swap can be limited, and is limited to nothing"),
        (areas, false) => {
            let bring = match driver {
                "unified" => format!("{}, on a kernel with CONFIG_SWAP", boot_with("swapaccount=1")),
                _ => boot_with("swapaccount=1"),
            };
            let found =
                format!("the host has swap ({areas} in /proc/swaps) that cannot be limited: memory limits mean little");
            Finding::red(NAME, found, format!("`swapoff -a`, or {bring}")).lacking(Layer::SwapLimit)
        }
    }
}

fn cpu(offers: &Offers) -> Finding {
    const NAME: &str = "cpu limit";
    match offers.cpu_limit {
        true => Finding::green(NAME, "cpu time can be limited"),
        false => Finding::red(
            NAME,
            "this kernel cannot limit cpu time",
            "use a kernel with CONFIG_CFS_BANDWIDTH (each kernel of Debian and Ubuntu has it)",
        )
        .lacking(Layer::CpuLimit),
    }
}

fn peaks(offers: &Offers) -> Finding {
    const NAME: &str = "memory peak";
    if !offers.memory_peak {
        // A result is to say how much memory was used, and no figure is made up.
        return Finding::red(
            NAME,
            "this kernel does not tell it on cgroup v2, and no result could say how much memory was used",
            "use Linux 5.19 or newer (Ubuntu 22.04: `apt-get install linux-generic-hwe-22.04`)",
        );
    }
    let reset = if offers.peak_reset { "resettable" } else { "not resettable (Linux 6.12 is)" };
    let pids =
        if offers.pids_peak { "pids.peak available" } else { "no pids.peak (Linux 6.1 has it), so it is sampled" };
    Finding::green(NAME, format!("peak of memory available and {reset}; {pids}"))
}

fn pressure(offers: &Offers) -> Finding {
    const NAME: &str = "pressure";
    match offers.pressure {
        true => Finding::green(NAME, "time lost to a lack of cpu and memory is counted (PSI)"),
        false => Finding::yellow(
            NAME,
            "not counted: results cannot say that a slow run was short of cpu or memory",
            format!("{}, on a kernel with CONFIG_PSI", boot_with("psi=1")),
        ),
    }
}

fn cores(pinned: anyhow::Result<usize>) -> Finding {
    const NAME: &str = "cores";
    match pinned {
        Ok(each) => Finding::green(NAME, format!("{each} for each slot (--pin-cores)")),
        Err(error) => Finding::of(
            Grade::Red,
            NAME,
            format!("--pin-cores cannot be kept: {error:#}"),
            "leave --pin-cores out, lower --concurrent, or use cgroup v2 with the controller cpuset".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a Debian 12 host with cgroup v2.
    const TABLE: &str =
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t99\t1\nmemory\t0\t99\t1\npids\t0\t99\t1\n";
    const ALL: Offers = Offers {
        memory_peak: true,
        peak_reset: true,
        swap_limit: true,
        cpu_limit: true,
        pids_peak: true,
        pressure: true,
        cores: true,
    };
    const SWAP: &str = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 999 0 -2\n";

    fn no_memory(table: &str, cmdline: &str) -> Finding {
        let missing = "the cgroup2 tree does not offer memory, and no v1 hierarchy has memory, pids, cpu, cpuacct";
        let error = CgroupError::Host { missing: missing.into(), remedy: "the driver's own".into() };
        judge_driver(Err(error.into()), table, cmdline)
    }

    #[test]
    fn what_is_left_over_is_yellow_and_named() {
        assert_eq!(left(&[]), None);
        let finding = left(&["the control group /x still holds processes (7)".into()]).unwrap();
        assert!(finding.grade == Grade::Yellow && finding.found.contains("processes (7)"), "{finding:?}");
    }

    #[test]
    fn a_memory_controller_that_is_off_is_told_from_one_that_is_not_there() {
        let off = TABLE.replace("memory\t0\t99\t1", "memory\t0\t1\t0");
        let disabled = no_memory(&off, "quiet cgroup_disable=memory psi=1");
        assert!(disabled.found.contains("cgroup_disable=memory switched it off"), "{disabled:?}");
        assert!(disabled.remedy.starts_with("boot without cgroup_disable=memory"), "{disabled:?}");
        let one_of_many = no_memory(&off, "cgroup_disable=io,memory");
        assert!(one_of_many.remedy.starts_with("boot without"), "{one_of_many:?}");
        let not_on = no_memory(&off, "quiet");
        assert!(not_on.remedy.contains("cgroup_enable=memory"), "{not_on:?}");
        let not_built = no_memory(&TABLE.replace("memory\t0\t99\t1\n", ""), "quiet");
        assert!(not_built.remedy.contains("CONFIG_MEMCG"), "{not_built:?}");
        let raspberry = no_memory(&off, "cgroup_disable=memory cgroup_enable=memory");
        assert!(raspberry.remedy.contains("cmdline.txt"), "{raspberry:?}");
        let on = no_memory(TABLE, "quiet");
        assert_eq!(on.remedy, "the driver's own");
    }

    #[test]
    fn another_missing_controller_keeps_its_own_remedy() {
        let error = CgroupError::Host { missing: "no v1 hierarchy has pids".into(), remedy: "mount it".into() };
        let finding = judge_driver(Err(error.into()), TABLE, "cgroup_disable=memory");
        assert_eq!((finding.grade, finding.remedy.as_str()), (Grade::Red, "mount it"));
    }

    #[test]
    fn a_group_of_systemds_wants_delegation() {
        let group = "/sys/fs/cgroup/system.slice/grader.service".into();
        let finding = judge_driver(Err(CgroupError::NotDelegated { group }.into()), TABLE, "");
        assert!(finding.found.contains("grader.service") && finding.remedy.contains("Delegate=yes"), "{finding:?}");
        assert!(finding.remedy.contains("systemctl edit grader.service"), "{finding:?}");
        let no_bus = judge_driver(Err(anyhow::anyhow!("systemd did not make the scope")), TABLE, "");
        assert!(no_bus.grade == Grade::Red && no_bus.remedy.contains("systemd-run"), "{no_bus:?}");
        let ours = judge_driver(Ok("unified: …; systemd delegated grader.service to it".into()), TABLE, "");
        assert_eq!(ours.grade, Grade::Green);
    }

    #[test]
    fn swap_must_be_limited_where_there_is_any() {
        let without = Offers { swap_limit: false, ..ALL };
        assert_eq!(swap(&ALL, "unified", SWAP).grade, Grade::Green);
        assert_eq!(swap(&without, "hybrid", "Filename\tType\n").grade, Grade::Green);
        let finding = swap(&without, "hybrid", SWAP);
        assert_eq!((finding.grade, finding.layer), (Grade::Red, Some(Layer::SwapLimit)));
        assert!(finding.remedy.contains("swapaccount=1"), "{finding:?}");
    }

    #[test]
    fn what_only_weakens_results_is_yellow_and_what_contains_is_red() {
        let grades = |offers: &Offers| -> Vec<Grade> {
            judge_offers(offers, "unified", SWAP, None).iter().map(|finding| finding.grade).collect()
        };
        use Grade::{Green, Red, Yellow};
        assert_eq!(grades(&ALL), [Green; 4]);
        let ubuntu_22 = Offers { memory_peak: false, peak_reset: false, pids_peak: false, ..ALL };
        assert_eq!(grades(&ubuntu_22), [Green, Green, Red, Green]);
        assert_eq!(grades(&Offers { peak_reset: false, pids_peak: false, ..ALL }), [Green; 4]);
        assert_eq!(grades(&Offers { cpu_limit: false, pressure: false, ..ALL }), [Green, Red, Green, Yellow]);
    }

    #[test]
    fn cores_are_looked_at_only_where_they_were_asked_for() {
        let last = |pinned| judge_offers(&ALL, "unified", SWAP, pinned).pop().map(|f| (f.name, f.grade));
        assert_eq!(last(None).map(|(name, _)| name), Some("pressure"));
        assert_eq!(last(Some(Ok(2))), Some(("cores", Grade::Green)));
        assert_eq!(last(Some(Err(anyhow::anyhow!("no cpuset")))), Some(("cores", Grade::Red)));
    }
}
