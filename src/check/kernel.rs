//! The kernel itself: its version, our power over it, its namespaces and file systems.

use super::Finding;
use super::facts::{number, read, sysctl, version as parse_version};

/// Oldest kernel that has every system call the launcher uses: clone3 into a cgroup (5.7), mount_setattr (5.12),
/// Landlock (5.13), cgroup.kill (5.14).
const OLDEST: (u32, u32) = (5, 14);

/// Name of the finding on our power.
pub const ROOT: &str = "root";
/// Name of the finding on file systems.
pub const FILE_SYSTEMS: &str = "file systems";

/// Its release.
pub fn version() -> Finding {
    judge_version(&read("/proc/sys/kernel/osrelease").unwrap_or_default())
}

fn judge_version(release: &str) -> Finding {
    match parse_version(release) {
        Some(version) if version >= OLDEST => Finding::green("kernel", release),
        _ => Finding::red(
            "kernel",
            format!(
                "{release:?}, older than 5.14, which brought cgroup.kill after mount_setattr (5.12) and Landlock (5.13)"
            ),
            "install a newer kernel: Debian 12 has 6.1, Ubuntu 22.04 has 5.15",
        ),
    }
}

/// Capabilities that runner and launcher use on the host, with their bits (linux/capability.h). CAP_SYS_RESOURCE is not among them:
/// without it rlimits cannot be raised, and lower ones are never weaker.
const CAPABILITIES: [(&str, u32); 6] = [
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SYS_ADMIN", 21),
];

/// Whether we are root, the host's, and with all of root's power.
pub fn root() -> Finding {
    judge_root(&read("/proc/self/status").unwrap_or_default(), &read("/proc/self/uid_map").unwrap_or_default())
}

/// Whether we have this capability, by its bit (linux/capability.h).
pub fn holds(bit: u32) -> bool {
    let status = read("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|held| held & (1 << bit) != 0)
}

fn judge_root(status: &str, uid_map: &str) -> Finding {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    // Real, effective, saved, file system.
    if field("Uid").and_then(|ids| ids.split_whitespace().nth(1)) != Some("0") {
        return Finding::red(ROOT, "no: namespaces, control groups and id maps need it", "start it with sudo");
    }
    let held = field("CapEff").and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(0);
    let lacking: Vec<_> =
        CAPABILITIES.iter().filter(|(_, bit)| held & (1 << bit) == 0).map(|(name, _)| *name).collect();
    if !lacking.is_empty() {
        return Finding::red(
            ROOT,
            format!("without {}", lacking.join(", ")),
            "let it have them: CapabilityBoundingSet= of the unit must name them, a container needs `--privileged`",
        );
    }
    if !maps_the_slots(uid_map) {
        return Finding::red(
            ROOT,
            "root of a user namespace in which the ids of slots (from 1879048192 on) do not exist",
            "start it as the host's root: outside the container, or in one that is not rootless",
        );
    }
    Finding::green(ROOT, "yes, the host's, with the capabilities it needs")
}

/// Whether the ids that slots use exist in this user namespace. Lines are `INSIDE OUTSIDE COUNT`.
fn maps_the_slots(uid_map: &str) -> bool {
    let (first, last) = crate::contain::slots::ids();
    uid_map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        matches!(numbers[..], [inside, _, count] if inside <= first.into() && u64::from(last) < inside + count)
    })
}

/// Kinds of namespaces of a sandbox: their file, their limit, and the option that brings them.
const NAMESPACES: [(&str, &str, &str); 6] = [
    ("mnt", "max_mnt_namespaces", "CONFIG_NAMESPACES"),
    ("pid", "max_pid_namespaces", "CONFIG_PID_NS"),
    ("ipc", "max_ipc_namespaces", "CONFIG_IPC_NS"),
    ("uts", "max_uts_namespaces", "CONFIG_UTS_NS"),
    ("net", "max_net_namespaces", "CONFIG_NET_NS"),
    ("cgroup", "max_cgroup_namespaces", "CONFIG_CGROUPS"),
];

/// All kinds of namespaces but those of users.
pub fn namespaces() -> Finding {
    judge_namespaces(&NAMESPACES.map(|(file, limit, _)| {
        let there = std::path::Path::new("/proc/self/ns").join(file).exists();
        there.then(|| number(format!("/proc/sys/user/{limit}")))
    }))
}

/// `None`: the kernel has no such kind. `Some(None)`: it has, without a limit.
fn judge_namespaces(found: &[Option<Option<u64>>; 6]) -> Finding {
    const NAME: &str = "namespaces";
    for ((kind, limit, option), found) in NAMESPACES.into_iter().zip(found) {
        match found {
            None => {
                let remedy = format!("use a kernel with {option} (each kernel of Debian and Ubuntu has it)");
                return Finding::red(NAME, format!("this kernel has no {kind} namespaces"), remedy);
            }
            Some(Some(0)) => {
                let remedy = sysctl(&format!("user.{limit}"), "15000");
                return Finding::red(NAME, format!("{kind} namespaces are switched off by user.{limit}=0"), remedy);
            }
            Some(_) => {}
        }
    }
    Finding::green(NAME, NAMESPACES.map(|(kind, _, _)| kind).join(", "))
}

/// Namespaces of users, with the switches of distributions.
#[derive(Debug, Clone, Copy)]
struct UserNamespaces {
    /// `user.max_user_namespaces`.
    most: Option<u64>,
    /// Debian's `kernel.unprivileged_userns_clone`.
    debian: Option<u64>,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns`.
    ubuntu: Option<u64>,
}

/// Whether user namespaces can be made.
pub fn user_namespaces() -> Finding {
    judge_user_namespaces(UserNamespaces {
        most: number("/proc/sys/user/max_user_namespaces"),
        debian: number("/proc/sys/kernel/unprivileged_userns_clone"),
        ubuntu: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
    })
}

fn judge_user_namespaces(found: UserNamespaces) -> Finding {
    const NAME: &str = "user namespaces";
    let most = match found.most {
        None => {
            return Finding::red(
                NAME,
                "this kernel has none",
                "use a kernel with CONFIG_USER_NS (each kernel of Debian and Ubuntu has it)",
            );
        }
        Some(0) => {
            let found = "switched off by user.max_user_namespaces=0, which holds for root, too";
            return Finding::red(NAME, found, sysctl("user.max_user_namespaces", "15000"));
        }
        Some(most) => most,
    };
    // Both switches ask for CAP_SYS_ADMIN where a namespace is made. The launcher, which makes ours, has it; nothing inside may
    // make another one: the filters refuse that in any case.
    let mut said = format!("up to {most}");
    if found.debian == Some(0) {
        said += "; kernel.unprivileged_userns_clone=0 does not concern root, who makes them";
    }
    if found.ubuntu.is_some_and(|on| on != 0) {
        said += "; kernel.apparmor_restrict_unprivileged_userns=1 does not concern root, who makes them";
    }
    Finding::green(NAME, said)
}

/// File systems that a sandbox is made of.
const MADE_OF: [(&str, &str); 3] =
    [("tmpfs", "CONFIG_TMPFS"), ("proc", "CONFIG_PROC_FS"), ("devpts", "CONFIG_UNIX98_PTYS")];

/// Whether the kernel has the file systems that a sandbox is made of. Nothing else is used: no overlay, no loop devices.
pub fn file_systems() -> Finding {
    judge_file_systems(&read("/proc/filesystems").unwrap_or_default())
}

fn judge_file_systems(list: &str) -> Finding {
    let has = |name: &str| list.lines().any(|line| line.split_whitespace().last() == Some(name));
    match MADE_OF.iter().find(|(name, _)| !has(name)) {
        Some((name, option)) => Finding::red(
            FILE_SYSTEMS,
            format!("this kernel has no {name}"),
            format!("use a kernel with {option} (each kernel of Debian and Ubuntu has it)"),
        ),
        None if !has("mqueue") => Finding::yellow(
            FILE_SYSTEMS,
            "this kernel has no mqueue: programs that use POSIX message queues (mq_open) fail here",
            "use a kernel with CONFIG_POSIX_MQUEUE (each kernel of Debian and Ubuntu has it)",
        ),
        None => Finding::green(FILE_SYSTEMS, MADE_OF.map(|(name, _)| name).join(", ") + ", mqueue"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    const HOST_MAP: &str = "         0          0 4294967295";

    fn status(uid: u32, capabilities: &str) -> String {
        format!("Name:\tostest\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapPrm:\t0\nCapEff:\t{capabilities}\n")
    }

    #[test]
    fn kernels_are_old_enough_or_not() {
        for (release, grade) in [
            ("6.1.0-18-amd64", Grade::Green),
            ("5.14.0-503.el9.x86_64", Grade::Green),
            ("6.18.44", Grade::Green),
            ("5.10.0-28-amd64", Grade::Red),
            ("4.18.0", Grade::Red),
            ("", Grade::Red),
        ] {
            assert_eq!(judge_version(release).grade, grade, "{release}");
        }
    }

    #[test]
    fn root_is_the_hosts_with_all_its_power() {
        assert_eq!(judge_root(&status(0, "000001ffffffffff"), HOST_MAP).grade, Grade::Green);
        assert!(judge_root(&status(1000, "0000000000000000"), HOST_MAP).remedy.contains("sudo"));
        // Docker's default set.
        let docker = judge_root(&status(0, "00000000a80425fb"), HOST_MAP);
        assert!(docker.grade == Grade::Red && docker.found.contains("CAP_SYS_ADMIN"), "{docker:?}");
        // Rootless podman: root inside is an ordinary user outside, with 65536 more.
        let rootless = judge_root(&status(0, "000001ffffffffff"), "0 1000 1\n1 100000 65536");
        assert!(rootless.grade == Grade::Red && rootless.found.contains("user namespace"), "{rootless:?}");
        assert_eq!(judge_root("", "").grade, Grade::Red);
    }

    #[test]
    fn a_kind_of_namespace_that_is_missing_or_off_is_named() {
        let all = [Some(Some(96_365)); 6];
        assert_eq!(judge_namespaces(&all).grade, Grade::Green);
        let mut off = all;
        off[4] = Some(Some(0));
        assert!(judge_namespaces(&off).remedy.contains("sysctl -w user.max_net_namespaces=15000"));
        let mut without = all;
        without[1] = None;
        assert!(judge_namespaces(&without).remedy.contains("CONFIG_PID_NS"));
        assert_eq!(judge_namespaces(&[Some(None); 6]).grade, Grade::Green, "no limit is no obstacle");
    }

    #[test]
    fn switches_for_unprivileged_users_do_not_concern_root() {
        let plain = UserNamespaces { most: Some(15_000), debian: None, ubuntu: None };
        let debian = judge_user_namespaces(UserNamespaces { debian: Some(0), ..plain });
        assert!(debian.grade == Grade::Green && debian.found.contains("does not concern root"), "{debian:?}");
        let ubuntu = judge_user_namespaces(UserNamespaces { ubuntu: Some(1), ..plain });
        assert!(ubuntu.grade == Grade::Green && ubuntu.found.contains("apparmor"), "{ubuntu:?}");
        assert_eq!(judge_user_namespaces(UserNamespaces { debian: Some(1), ..plain }).found, "up to 15000");
        let off = judge_user_namespaces(UserNamespaces { most: Some(0), ..plain });
        assert!(off.grade == Grade::Red && off.remedy.contains("/etc/sysctl.d/"), "{off:?}");
        let none = judge_user_namespaces(UserNamespaces { most: None, ..plain });
        assert!(none.remedy.contains("CONFIG_USER_NS"));
    }

    #[test]
    fn file_systems_are_whole_words() {
        let list = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevpts\nnodev\tmqueue\n\text4\n";
        assert_eq!(judge_file_systems(list).grade, Grade::Green);
        let without = judge_file_systems(&list.replace("\ttmpfs", "\tdevtmpfs"));
        assert!(without.grade == Grade::Red && without.remedy.contains("CONFIG_TMPFS"), "{without:?}");
        let queues = judge_file_systems(&list.replace("mqueue", "queue"));
        assert!(queues.grade == Grade::Yellow && queues.remedy.contains("CONFIG_POSIX_MQUEUE"), "{queues:?}");
    }
}
