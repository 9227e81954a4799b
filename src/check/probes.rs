//! One function a requirement.

use super::Finding;
use std::path::Path;

/// Oldest kernel that has every system call the launcher uses: clone3 into a cgroup (5.7), mount_setattr (5.12),
/// Landlock (5.13), cgroup.kill (5.14).
const OLDEST: (u32, u32) = (5, 14);

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

pub fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).filter_map(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST {
        Finding::present("kernel", release)
    } else {
        Finding::missing("kernel", release, "Linux 5.14 or newer is needed; Debian 12 has 6.1")
    }
}

pub fn root() -> Finding {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata("/proc/self").map(|m| m.uid()) {
        Ok(0) => Finding::present("root", "yes"),
        _ => Finding::missing("root", "no", "start with sudo: namespaces, cgroups and id maps need it"),
    }
}

pub fn user_namespaces() -> Finding {
    const NAME: &str = "user namespaces";
    match read("/proc/sys/user/max_user_namespaces").and_then(|n| n.parse::<u64>().ok()) {
        None => Finding::missing(NAME, "the kernel has none", "a kernel with CONFIG_USER_NS is needed"),
        Some(0) => Finding::missing(NAME, "switched off", "sysctl -w user.max_user_namespaces=15000"),
        // Debian's and Ubuntu's switches for unprivileged users do not hold for root, who makes ours.
        Some(n) => Finding::present(NAME, format!("up to {n}")),
    }
}

pub fn cgroups() -> Finding {
    match sandbox::cgroup::Base::detect("check") {
        Ok(base) => Finding::present("cgroups", base.describe()),
        Err(error) => {
            let text = error.to_string();
            Finding::missing("cgroups", text, "the sentence before says what is missing and what brings it")
        }
    }
}

pub fn swap() -> Finding {
    let active = read("/proc/swaps").map_or(0, |text| text.lines().count().saturating_sub(1));
    let accounting = ["/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"].iter().any(|p| Path::new(p).exists())
        || Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    match (active, accounting) {
        (0, _) => Finding::present("swap", "none, so no limit on it is needed"),
        (_, true) => Finding::present("swap", "can be limited"),
        (n, false) => Finding::missing(
            "swap",
            format!("{n} active areas and no accounting"),
            "boot with swapaccount=1, or `swapoff -a`, or --allow-degraded swap-limit",
        ),
    }
}

pub fn landlock() -> Finding {
    match sandbox::sys::landlock_abi() {
        0 => Finding::missing(
            "landlock",
            "not offered by this kernel",
            "add landlock to the boot parameter lsm= (and CONFIG_SECURITY_LANDLOCK), or --allow-degraded landlock",
        ),
        abi @ 1..=5 => Finding::present("landlock", format!("ABI {abi}; signals are scoped from ABI 6 (6.12) on")),
        abi => Finding::present("landlock", format!("ABI {abi}")),
    }
}

pub fn seccomp() -> Finding {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let compiled = sandbox::confine::seccomp::compile(sandbox::plan::Policy::Test);
    match compiled {
        Ok(_) if actions.contains("errno") => Finding::present("seccomp", "filters are available"),
        Ok(_) => Finding::missing("seccomp", "no filters", "a kernel with CONFIG_SECCOMP_FILTER is needed"),
        Err(error) => Finding::missing("seccomp", error.to_string(), "this machine's architecture has no policy"),
    }
}

pub fn core_pattern() -> Finding {
    let pattern = read("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.starts_with('|') {
        let found = format!("{pattern}: cores go to a program of the host, so sandboxes make none");
        let remedy = "sysctl -w kernel.core_pattern=core lets suites look at cores";
        return Finding::degraded("core_pattern", found, remedy);
    }
    Finding::present("core_pattern", pattern)
}

pub fn tool(name: &'static str, remedy: &str) -> Finding {
    let found = crate::contain::PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Finding::present(name, path.display().to_string()),
        None => Finding::missing(name, "not in the directories that are visible inside", remedy),
    }
}

pub fn python(named: Option<&Path>) -> Finding {
    const NAME: &str = "python";
    let python = match crate::contain::python::find(named) {
        Ok(python) => python,
        Err(error) => return Finding::missing(NAME, format!("{error:#}"), "apt-get install python3 python3-venv"),
    };
    let ensurepip = std::process::Command::new(&python.program).args(["-I", "-c", "import ensurepip, venv"]).output();
    if ensurepip.is_ok_and(|o| o.status.success()) {
        Finding::present(NAME, format!("{} at {}", python.version, python.program.display()))
    } else {
        let found = format!("{} at {} cannot make environments", python.version, python.program.display());
        Finding::missing(NAME, found, "apt-get install python3-venv")
    }
}

pub fn state_dir(path: &Path) -> Finding {
    const NAME: &str = "state directory";
    /// Room for a few environments of suites.
    const ENOUGH: u64 = 1 << 30;
    let shown = path.display();
    let nearest = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    match sandbox::host::free_bytes(nearest) {
        Ok(free) if free >= ENOUGH => {
            Finding::present(NAME, format!("{shown}, {} free", crate::units::show_bytes(free)))
        }
        Ok(free) => Finding::degraded(
            NAME,
            format!("{shown}, only {} free", crate::units::show_bytes(free)),
            "make room, or name another with --state-dir",
        ),
        Err(error) => Finding::missing(NAME, format!("{shown}: {error}"), "name another with --state-dir"),
    }
}
