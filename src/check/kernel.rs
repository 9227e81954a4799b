//! What the kernel has to offer, and how it was booted: version, namespaces, seccomp, Landlock, /proc, core files.

use super::{Finding, Wanted, boot_with, parameter, read};
use sandbox::plan::{Layer, Policy};
use std::path::Path;

/// Oldest kernel with every system call that the launcher uses: clone3 into a cgroup (5.7), mount_setattr (5.12), Landlock
/// (5.13), cgroup.kill (5.14); and with every memory figure that a result needs.
const OLDEST: (u32, u32) = (5, 14);

/// Oldest kernel that the tests run on.
const TESTED: (u32, u32) = (6, 1);

/// Kinds of namespaces that a sandbox is made of: the name in /proc/self/ns, the one in /proc/sys/user, the configuration.
const NAMESPACES: [(&str, &str, &str); 7] = [
    ("user", "max_user_namespaces", "CONFIG_USER_NS"),
    ("mnt", "max_mnt_namespaces", "CONFIG_NAMESPACES"),
    ("pid", "max_pid_namespaces", "CONFIG_PID_NS"),
    ("net", "max_net_namespaces", "CONFIG_NET_NS"),
    ("ipc", "max_ipc_namespaces", "CONFIG_IPC_NS"),
    ("uts", "max_uts_namespaces", "CONFIG_UTS_NS"),
    ("cgroup", "max_cgroup_namespaces", "CONFIG_CGROUPS"),
];

pub(super) fn look(wanted: &Wanted<'_>) -> Vec<Finding> {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let command_line = read("/proc/cmdline").unwrap_or_default();
    let limits = NAMESPACES.map(|(kind, limit, _)| {
        let there = Path::new("/proc/self/ns").join(kind).exists();
        there.then(|| read(&format!("/proc/sys/user/{limit}")).and_then(|n| n.parse().ok()))
    });
    let switches = Switches {
        debian: read("/proc/sys/kernel/unprivileged_userns_clone"),
        ubuntu: read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
    };
    let filters = read("/proc/sys/kernel/seccomp/actions_avail");
    let compiled = sandbox::confine::seccomp::compile(Policy::Test).map(|_| ()).map_err(|e| e.to_string());
    let modules = read("/sys/kernel/security/lsm");
    vec![
        version(&release),
        root(nix_uid()),
        namespaces(&limits, &switches),
        seccomp(filters.as_deref(), compiled).unless_waived(wanted, Layer::Seccomp),
        landlock(sandbox::sys::landlock_abi(), modules.as_deref(), &command_line)
            .unless_waived(wanted, Layer::Landlock),
        proc(&read("/proc/self/mountinfo").unwrap_or_default()),
        core_pattern(&read("/proc/sys/kernel/core_pattern").unwrap_or_default()),
    ]
}

fn nix_uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|m| m.uid())
}

/// The first two numbers of a release.
pub(super) fn numbers(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-', '+']).map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn version(release: &str) -> Finding {
    const NAME: &str = "kernel";
    match numbers(release) {
        n if n < OLDEST => Finding::red(NAME, release, "Linux 5.14 or newer is needed; Debian 12 has 6.1"),
        n if n < TESTED => {
            let found = format!("{release}, older than any that is tested (6.1)");
            Finding::yellow(NAME, found, "boot Linux 6.1 or newer; Debian 12 has it")
        }
        n if n < (6, 12) => Finding::green(NAME, format!("{release}; from 6.12 on Landlock confines signals, too")),
        _ => Finding::green(NAME, release),
    }
}

fn root(uid: Option<u32>) -> Finding {
    match uid {
        Some(0) => Finding::green("root", "yes"),
        _ => Finding::red("root", "no", "start it with sudo: namespaces, cgroups and id maps need root"),
    }
}

/// What two distributions have against user namespaces, where they have it.
struct Switches {
    debian: Option<String>,
    ubuntu: Option<String>,
}

/// `limits`: for each kind `None` where the kernel does not have it, else how many there may be, where it says so.
fn namespaces(limits: &[Option<Option<u64>>; 7], switches: &Switches) -> Finding {
    const NAME: &str = "namespaces";
    for ((kind, limit, config), there) in NAMESPACES.iter().zip(limits) {
        match there {
            None => {
                let found = format!("this kernel has no {kind} namespaces");
                return Finding::red(NAME, found, format!("boot a kernel that was built with {config}"));
            }
            Some(Some(0)) => {
                let remedy = format!(
                    "sysctl -w user.{limit}=15000, and a line `user.{limit} = 15000` in a file of /etc/sysctl.d"
                );
                return Finding::red(NAME, format!("{kind} namespaces are switched off: user.{limit} is 0"), remedy);
            }
            Some(_) => {}
        }
    }
    // Both ask for capabilities over the caller's own user namespace, which the launcher, being root, has.
    let mut others = Vec::new();
    if switches.debian.as_deref() == Some("0") {
        others.push("kernel.unprivileged_userns_clone=0");
    }
    if switches.ubuntu.as_deref().is_some_and(|value| value != "0") {
        others.push("kernel.apparmor_restrict_unprivileged_userns");
    }
    match others[..] {
        [] => Finding::green(NAME, "all seven kinds"),
        _ => Finding::green(NAME, format!("all seven kinds; {} does not concern root", others.join(" and "))),
    }
}

fn seccomp(actions: Option<&str>, compiled: Result<(), String>) -> Finding {
    const NAME: &str = "seccomp";
    let has = |action: &str| actions.is_some_and(|all| all.split(' ').any(|a| a == action));
    match compiled {
        Err(error) => Finding::red(NAME, error, "run the grader on x86-64 or aarch64"),
        Ok(()) if has("errno") && has("kill_process") => Finding::green(NAME, "filters are available"),
        Ok(()) => Finding::red(
            NAME,
            "this kernel has no filters that could answer or kill",
            "boot a kernel that was built with CONFIG_SECCOMP_FILTER, or accept it with --allow-degraded seccomp",
        ),
    }
}

fn landlock(abi: i32, modules: Option<&str>, command_line: &str) -> Finding {
    const NAME: &str = "landlock";
    match abi {
        1..=5 => Finding::green(NAME, format!("ABI {abi}; it confines signals from ABI 6 on (Linux 6.12)")),
        6.. => Finding::green(NAME, format!("ABI {abi}")),
        _ => {
            // Written anew, the list must hold what it held: a module that is not named is off.
            let present = parameter(command_line, "lsm").or(modules).unwrap_or("yama,apparmor,bpf");
            let present: Vec<&str> =
                present.split(',').filter(|m| !["landlock", "capability", ""].contains(m)).collect();
            let list = [&["landlock"], &present[..]].concat().join(",");
            let found = match parameter(command_line, "lsm") {
                Some(list) => format!("off: the kernel was booted with lsm={list}"),
                None => "off, or not in this kernel".into(),
            };
            let remedy = format!(
                "{} (a kernel since 5.13 with CONFIG_SECURITY_LANDLOCK), or accept it with --allow-degraded landlock",
                boot_with(&format!("lsm={list}"))
            );
            Finding::red(NAME, found, remedy)
        }
    }
}

/// A new /proc can be mounted inside only where the one outside is whole (`mount_too_revealing` in fs/namespace.c).
/// Container engines put things over parts of it.
fn proc(mountinfo: &str) -> Finding {
    const NAME: &str = "/proc";
    let over: Vec<&str> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        // An empty directory of the kernel's own for this purpose hides nothing.
        .filter(|point| point.starts_with("/proc/") && *point != "/proc/sys/fs/binfmt_misc")
        .collect();
    match over[..] {
        [] => Finding::green(NAME, "whole"),
        _ => Finding::yellow(
            NAME,
            format!("parts of it are covered, and the kernel may refuse sandboxes theirs: {}", over.join(", ")),
            "start the container with an unmasked /proc (podman: --security-opt unmask=ALL, docker: --security-opt \
             systempaths=unconfined)",
        ),
    }
}

fn core_pattern(pattern: &str) -> Finding {
    const NAME: &str = "core files";
    if pattern.starts_with('|') {
        let found =
            format!("kernel.core_pattern is {pattern}: cores go to a program of the host, so sandboxes make none");
        return Finding::yellow(NAME, found, "sysctl -w kernel.core_pattern=core, if suites are to look at cores");
    }
    Finding::green(NAME, format!("kernel.core_pattern is {pattern}"))
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (release, grade) in [
            ("6.12.117+deb13-cloud-amd64", Grade::Green),
            ("6.1.0-50-amd64", Grade::Green),
            ("5.15.0-113-generic", Grade::Yellow),
            ("5.10.0-30-amd64", Grade::Red),
            ("4.19", Grade::Red),
            ("10.0-rc1", Grade::Green),
            ("", Grade::Red),
        ] {
            assert_eq!(version(release).grade, grade, "{release}");
        }
    }

    #[test]
    fn namespaces_that_are_switched_off_are_named_with_the_command() {
        let fine = [Some(Some(15_655)); 7];
        let none = Switches { debian: None, ubuntu: None };
        assert_eq!(namespaces(&fine, &none).grade, Grade::Green);
        assert_eq!(namespaces(&[Some(None); 7], &none).grade, Grade::Green, "an old kernel without such a limit");
        let mut off = fine;
        off[0] = Some(Some(0));
        let finding = namespaces(&off, &none);
        assert_eq!(finding.grade, Grade::Red);
        assert!(finding.remedy.starts_with("sysctl -w user.max_user_namespaces="), "{finding}");
        let mut missing = fine;
        missing[3] = None;
        assert!(namespaces(&missing, &none).remedy.contains("CONFIG_NET_NS"));
        // Debian 12 hardened, Ubuntu 24.04 as it comes.
        let switches = Switches { debian: Some("0".into()), ubuntu: Some("1".into()) };
        let finding = namespaces(&fine, &switches);
        assert_eq!(finding.grade, Grade::Green);
        assert!(finding.found.contains("unprivileged_userns_clone") && finding.found.contains("apparmor"), "{finding}");
    }

    #[test]
    fn landlock_is_put_in_front_of_the_modules_that_are_there() {
        assert_eq!(landlock(2, None, "").grade, Grade::Green);
        assert_eq!(landlock(7, None, "").grade, Grade::Green);
        // Booted with a list that leaves it out: that list counts, and what the kernel made of it has `capability` in it.
        let finding = landlock(0, Some("lockdown,capability,yama,apparmor"), "ro lsm=lockdown,yama,apparmor quiet");
        assert_eq!(finding.grade, Grade::Red);
        assert!(finding.remedy.contains("`lsm=landlock,lockdown,yama,apparmor`"), "{finding}");
        assert!(finding.found.contains("lsm=lockdown,yama,apparmor"), "{finding}");
        let finding = landlock(0, Some("capability,selinux"), "ro");
        assert!(finding.remedy.contains("`lsm=landlock,selinux`"), "{finding}");
        assert!(landlock(0, None, "lsm=").remedy.contains("`lsm=landlock`"));
    }

    #[test]
    fn seccomp_must_be_able_to_answer_and_to_kill() {
        let all = "kill_process kill_thread trap errno user_notif trace log allow";
        assert_eq!(seccomp(Some(all), Ok(())).grade, Grade::Green);
        assert_eq!(seccomp(Some("kill_thread trap errno trace allow"), Ok(())).grade, Grade::Red);
        assert_eq!(seccomp(None, Ok(())).grade, Grade::Red);
        assert_eq!(seccomp(Some(all), Err("no policy".into())).grade, Grade::Red);
    }

    #[test]
    fn a_proc_that_an_engine_covers_is_seen() {
        let whole =
            "22 1 0:20 / /proc rw - proc proc rw\n30 22 0:29 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n";
        assert_eq!(proc(whole).grade, Grade::Green);
        let covered = format!("{whole}40 22 0:50 / /proc/kcore rw - tmpfs tmpfs rw\n");
        assert_eq!(proc(&covered).grade, Grade::Yellow);
        assert!(proc(&covered).found.contains("/proc/kcore"));
    }

    #[test]
    fn cores_for_a_program_of_the_host_are_a_weakness() {
        let apport = "|/usr/share/apport/apport -p%p -s%s -c%c -d%d -P%P -u%u -g%g -- %E";
        assert_eq!(core_pattern(apport).grade, Grade::Yellow);
        assert_eq!(core_pattern("core").grade, Grade::Green);
    }

    #[test]
    fn only_root_will_do() {
        assert_eq!(root(Some(0)).grade, Grade::Green);
        assert_eq!(root(Some(1000)).grade, Grade::Red);
        assert_eq!(root(None).grade, Grade::Red);
    }
}
