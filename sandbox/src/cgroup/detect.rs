//! Finding out which driver fits this host, and where the runner's base lies.

use super::host::{Host, ThisHost, is_ours};
use super::mountinfo::{self, Mount};
use super::{Base, CgroupError, check_name, files};
use std::path::{Path, PathBuf};

/// The controllers without which nothing can be limited.
pub(super) const REQUIRED: [&str; 3] = ["memory", "pids", "cpu"];
/// The leaf into which the runner moves itself: a group that hands controllers to its children may
/// not hold processes (the no-internal-process rule of v2).
pub(super) const SUPERVISOR: &str = "supervisor";
/// The directory of all runners in a v1 hierarchy, and the prefix of their groups in v2.
pub(super) const NAME: &str = "ostest-sandbox";

impl Base {
    /// The base of this runner on this host; nothing is made or changed yet.
    ///
    /// `instance` keeps the runners on one host apart.
    ///
    /// # Errors
    /// When the hierarchies or controllers that either driver needs are missing, or when the group
    /// in which the runner was started is systemd's. The message says what to do.
    pub fn detect(instance: &str) -> Result<Base, CgroupError> {
        let mountinfo = files::read(Path::new("/proc/self/mountinfo"))?;
        let self_cgroup = files::read(Path::new("/proc/self/cgroup"))?;
        detect_in(&mountinfo, &self_cgroup, &ThisHost, instance)
    }
}

/// [`Base::detect`] on the texts and answers of any host.
fn detect_in(mountinfo: &str, self_cgroup: &str, host: &dyn Host, instance: &str) -> Result<Base, CgroupError> {
    check_name(instance)?;
    let mounts = mountinfo::parse(mountinfo);
    let Some(v2) = mounts.iter().find(|mount| mount.v1.is_none()) else {
        return Err(no_v2_tree(&mounts));
    };
    let own = own_group(v2, self_cgroup)?;
    let at_root = missing_from(&host.controllers(&v2.point)?);
    let at_own = missing_from(&host.controllers(&own)?);
    // Asked before what the group was given: in a group of systemd's own nothing is to be enabled by hand.
    if (at_root.is_empty() || at_own.is_empty()) && !is_ours(host, &own) {
        return Err(CgroupError::NotDelegated { group: own });
    }
    if at_own.is_empty() {
        return Ok(Base::Unified { dir: own.join(format!("{NAME}-{instance}")) });
    }
    if at_root.is_empty() {
        return Err(CgroupError::Host {
            missing: format!(
                "the runner's own group {} is not given the controllers {}",
                own.display(),
                at_own.join(", ")
            ),
            remedy:
                "start it as a unit with Delegate=yes, or enable them in `cgroup.subtree_control` of every group above"
                    .into(),
        });
    }
    hybrid(&mounts, v2, instance).ok_or_else(|| neither(&mounts, &at_root))
}

/// The group that this process manages: its own, or the one above when it moved itself into the
/// supervisor leaf before (or was started there, by systemd's DelegateSubgroup=).
fn own_group(v2: &Mount, self_cgroup: &str) -> Result<PathBuf, CgroupError> {
    let own = mountinfo::own_v2_group(self_cgroup).unwrap_or(Path::new("/"));
    let own = match own.file_name() {
        Some(name) if name == SUPERVISOR => own.parent().unwrap_or(own),
        _ => own,
    };
    v2.locate(own).ok_or_else(|| CgroupError::Host {
        missing: format!(
            "the runner's own group {} cannot be seen in the cgroup2 tree at {}, which shows {}",
            own.display(),
            v2.point.display(),
            v2.root.display()
        ),
        remedy: "mount a cgroup2 tree inside the runner's own cgroup namespace (container engines do so with a private cgroup namespace)".into(),
    })
}

/// `None` when one of the v1 hierarchies is not mounted.
fn hybrid(mounts: &[Mount], v2: &Mount, instance: &str) -> Option<Base> {
    // The top of what a mount shows is where we may make groups; when that is not the hierarchy's
    // own root (a container), the groups lie below the container's all the same.
    let below = |mount: &Mount| mount.point.join(NAME).join(instance);
    Some(Base::Hybrid {
        dir: below(v2),
        memory: below(v1(mounts, "memory")?),
        pids: below(v1(mounts, "pids")?),
        cpu: below(v1(mounts, "cpu")?),
        cpuacct: below(v1(mounts, "cpuacct")?),
    })
}

fn v1<'m>(mounts: &'m [Mount], controller: &str) -> Option<&'m Mount> {
    mounts.iter().find(|mount| {
        let options = mount.v1.as_deref().unwrap_or_default();
        options.iter().any(|option| option == controller)
    })
}

fn missing_from(offered: &[String]) -> Vec<&'static str> {
    REQUIRED.into_iter().filter(|needed| !offered.iter().any(|have| have == needed)).collect()
}

fn no_v2_tree(mounts: &[Mount]) -> CgroupError {
    let missing = if mounts.is_empty() {
        "neither a cgroup2 tree nor v1 controllers are mounted"
    } else {
        "v1 controllers are mounted, but no cgroup2 tree, without which a sandbox cannot be killed as a whole"
    };
    CgroupError::Host {
        missing: missing.into(),
        remedy:
            "boot with the kernel parameter systemd.unified_cgroup_hierarchy=1, or mount a tree beside the v1 ones: \
                 mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
                .into(),
    }
}

fn neither(mounts: &[Mount], missing_in_v2: &[&str]) -> CgroupError {
    let missing_in_v1: Vec<&str> = ["memory", "pids", "cpu", "cpuacct"]
        .into_iter()
        .filter(|controller| v1(mounts, controller).is_none())
        .collect();
    let nowhere = |name: &&&str| missing_in_v2.contains(*name) && missing_in_v1.contains(*name);
    let lost: Vec<&str> = REQUIRED.iter().filter(nowhere).copied().collect();
    let remedy = if lost.contains(&"memory") {
        "boot without the kernel parameter cgroup_disable=memory (a Raspberry Pi: with cgroup_enable=memory), on a kernel \
         with CONFIG_MEMCG"
    } else if lost.is_empty() {
        "the controllers are divided between v1 and v2: boot with the kernel parameter systemd.unified_cgroup_hierarchy=1"
    } else {
        "use a kernel that has these controllers (CONFIG_CGROUP_PIDS, CONFIG_CGROUP_SCHED), or mount them"
    };
    CgroupError::Host {
        missing: format!(
            "the cgroup2 tree does not offer {}, and no v1 hierarchy has {}",
            missing_in_v2.join(", "),
            missing_in_v1.join(", ")
        ),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Recorded;
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const HYBRID_SELF: &str = "8:pids:/\n4:memory:/some/where\n2:cpuacct:/\n1:cpu:/\n0::/\n";
    const V2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
    const ALL: &str = "cpuset cpu io memory hugetlb pids rdma misc\n";

    fn bare() -> Recorded<'static> {
        Recorded { offers: &[], systemd: false, delegated: &[] }
    }

    fn message(result: Result<Base, CgroupError>) -> String {
        result.expect_err("must be refused").to_string()
    }

    #[test]
    fn a_hybrid_host_without_systemd() {
        let base = detect_in(HYBRID, HYBRID_SELF, &bare(), "one").unwrap();
        let at = |name: &str| PathBuf::from(format!("/sys/fs/cgroup/{name}/ostest-sandbox/one"));
        let expected = Base::Hybrid {
            dir: at("unified"),
            memory: at("memory"),
            pids: at("pids"),
            cpu: at("cpu"),
            cpuacct: at("cpuacct"),
        };
        assert_eq!(base, expected);
    }

    #[test]
    fn debian_mounts_cpu_and_cpuacct_together() {
        let text = "\
30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:13 - cgroup cgroup rw,cpu,cpuacct
34 25 0:30 / /sys/fs/cgroup/memory rw,nosuid shared:14 - cgroup cgroup rw,memory
35 25 0:31 / /sys/fs/cgroup/pids rw,nosuid shared:15 - cgroup cgroup rw,pids
";
        let own = "3:cpu,cpuacct:/system.slice\n0::/system.slice/foo.service\n";
        let host = Recorded { systemd: true, ..bare() };
        let Base::Hybrid { cpu, cpuacct, .. } = detect_in(text, own, &host, "one").unwrap() else {
            panic!("hybrid was expected");
        };
        assert_eq!(cpu, Path::new("/sys/fs/cgroup/cpu,cpuacct/ostest-sandbox/one"));
        assert_eq!(cpu, cpuacct);
    }

    #[test]
    fn a_delegated_service_on_debian_12() {
        let host = Recorded {
            offers: &[("/sys/fs/cgroup", ALL), ("/sys/fs/cgroup/system.slice/foo.service", ALL)],
            systemd: true,
            delegated: &["/sys/fs/cgroup/system.slice/foo.service"],
        };
        let expected = Base::Unified { dir: "/sys/fs/cgroup/system.slice/foo.service/ostest-sandbox-one".into() };
        for own in ["0::/system.slice/foo.service\n", "0::/system.slice/foo.service/supervisor\n"] {
            assert_eq!(detect_in(V2, own, &host, "one").unwrap(), expected);
        }
    }

    #[test]
    fn a_service_without_delegation_is_refused() {
        let host =
            Recorded { offers: &[("/sys/fs/cgroup/system.slice/foo.service", ALL)], systemd: true, delegated: &[] };
        let text = message(detect_in(V2, "0::/system.slice/foo.service\n", &host, "one"));
        assert!(text.contains("Delegate=yes") && text.contains("foo.service"), "{text}");
    }

    #[test]
    fn a_login_session_is_systemds_whatever_controllers_it_has() {
        let session = "/sys/fs/cgroup/user.slice/user-0.slice/session-1.scope";
        let own = "0::/user.slice/user-0.slice/session-1.scope\n";
        for offered in ["memory pids", ALL] {
            let offers = [("/sys/fs/cgroup", ALL), (session, offered)];
            let host = Recorded { offers: &offers, systemd: true, delegated: &[] };
            let result = detect_in(V2, own, &host, "one");
            assert!(matches!(result, Err(CgroupError::NotDelegated { ref group }) if group == Path::new(session)));
        }
    }

    #[test]
    fn a_service_that_was_given_fewer_controllers_is_told_which() {
        let host = Recorded {
            offers: &[("/sys/fs/cgroup", ALL), ("/sys/fs/cgroup/user.slice", "memory pids")],
            systemd: true,
            delegated: &["/sys/fs/cgroup/user.slice"],
        };
        let text = message(detect_in(V2, "0::/user.slice\n", &host, "one"));
        assert!(text.contains("controllers cpu"), "{text}");
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        let host = Recorded { offers: &[("/sys/fs/cgroup", ALL)], ..bare() };
        let expected = Base::Unified { dir: "/sys/fs/cgroup/ostest-sandbox-one".into() };
        assert_eq!(detect_in(V2, "0::/\n", &host, "one").unwrap(), expected);
    }

    #[test]
    fn the_root_of_the_mount_is_honoured() {
        let text = V2.replace("0:26 / ", "0:26 /docker/abc ");
        let host = Recorded { offers: &[("/sys/fs/cgroup", ALL)], ..bare() };
        let expected = Base::Unified { dir: "/sys/fs/cgroup/ostest-sandbox-one".into() };
        let found = detect_in(&text, "0::/docker/abc\n", &host, "one").unwrap();
        assert_eq!(found, expected);
        let outside = message(detect_in(&text, "0::/elsewhere\n", &host, "one"));
        assert!(outside.contains("/elsewhere cannot be seen"), "{outside}");
    }

    #[test]
    fn v1_alone_is_refused_with_both_remedies() {
        let text: String =
            HYBRID.lines().filter(|line| !line.contains("cgroup2")).map(|line| format!("{line}\n")).collect();
        let text = message(detect_in(&text, "4:memory:/\n", &bare(), "one"));
        assert!(text.contains("systemd.unified_cgroup_hierarchy=1") && text.contains("-t cgroup2"), "{text}");
    }

    #[test]
    fn a_kernel_that_keeps_memory_off_is_named() {
        let host = Recorded { offers: &[("/sys/fs/cgroup", "cpuset cpu io pids")], ..bare() };
        let text = message(detect_in(V2, "0::/\n", &host, "one"));
        assert!(text.contains("does not offer memory") && text.contains("cgroup_enable=memory"), "{text}");
    }

    #[test]
    fn an_instance_cannot_leave_its_place() {
        assert!(detect_in(HYBRID, HYBRID_SELF, &bare(), "../x").is_err());
    }
}
