//! What the kernel must have for a group of calls, and what an operator can do where it has not.
//!
//! The launcher asks before it makes a sandbox, so that no student's program meets a kernel that refuses what the laboratory is
//! about; `check` asks to tell the operator. What is read is judged by pure functions.

use super::{Group, Groups};
use crate::confine::told::{Availability, availability};
use crate::host::Landlock;
use crate::sys::probe;
use std::io;
use std::path::Path;

/// Why a group cannot be allowed on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The group.
    pub group: Group,
    /// What was found, as the rest of a sentence.
    pub found: String,
    /// What mends it.
    pub remedy: String,
}

/// The first obstacle to any of these.
pub fn obstacle(groups: Groups) -> Option<Obstacle> {
    groups.iter().find_map(|group| {
        let (found, remedy) = look(group)?;
        Some(Obstacle { group, found, remedy })
    })
}

/// What was found, and its remedy.
type Found = Option<(String, String)>;

fn look(group: Group) -> Found {
    match group {
        Group::Landlock => judge_landlock(&crate::host::landlock()),
        Group::Xattrs => judge_xattrs(&probe::user_attribute()),
        Group::Userfaultfd => judge_userfaultfd(&probe::userfaultfd()),
        Group::Perf => judge_perf(number("/proc/sys/kernel/perf_event_paranoid"), &probe::counter()),
        Group::IoUring => judge_io_uring(number("/proc/sys/kernel/io_uring_disabled"), &probe::io_uring()),
        Group::SeccompNotify => judge_seccomp_notify(availability().ok()),
        Group::Containers => judge_containers(&Namespaces {
            most: number("/proc/sys/user/max_user_namespaces"),
            debian: number("/proc/sys/kernel/unprivileged_userns_clone"),
            ubuntu: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        }),
    }
}

fn number(path: impl AsRef<Path>) -> Option<i64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn because(found: impl Into<String>, remedy: impl Into<String>) -> Found {
    Some((found.into(), remedy.into()))
}

fn sysctl(setting: &str) -> String {
    format!("`sysctl -w {setting}`, and to keep it `echo {setting} >>/etc/sysctl.d/60-ostest-sandbox.conf`")
}

fn errno(answer: &io::Result<()>) -> Option<i32> {
    answer.as_ref().err().and_then(io::Error::raw_os_error)
}

/// By what is around the grader: a unit's or a container's filter, which holds inside of sandboxes as well.
fn filtered(calls: &str) -> Found {
    because(
        format!("a filter around this process refuses {calls}"),
        format!(
            "allow that: `SystemCallFilter={calls}` in a drop-in of the unit (`systemctl edit`), or in the container's seccomp profile"
        ),
    )
}

fn judge_landlock(state: &Landlock) -> Found {
    match state {
        Landlock::Abi(_) => None,
        _ => because(
            "the kernel has no Landlock, or does not use it",
            "use a kernel with CONFIG_SECURITY_LANDLOCK, and boot with landlock in lsm=",
        ),
    }
}

fn judge_xattrs(answer: &io::Result<()>) -> Found {
    match answer {
        Ok(()) => None,
        Err(error) => because(
            format!("file systems in memory take no user.* attributes here ({error})"),
            "use Linux 6.6 or newer with CONFIG_TMPFS_XATTR (each kernel of Debian and Ubuntu has it)",
        ),
    }
}

fn judge_userfaultfd(answer: &io::Result<()>) -> Found {
    match errno(answer) {
        None => None,
        Some(libc::EINVAL) => because("the kernel cannot keep userfaultfd to user mode", "use Linux 5.11 or newer"),
        Some(libc::EPERM) => filtered("userfaultfd"),
        Some(_) => because("the kernel has no userfaultfd", "use a kernel with CONFIG_USERFAULTFD"),
    }
}

fn judge_perf(paranoid: Option<i64>, answer: &io::Result<()>) -> Found {
    match paranoid {
        // Root is refused nothing by the kernel.
        Some(2) if matches!(errno(answer), Some(libc::EPERM | libc::ENOSYS)) => filtered("perf_event_open"),
        Some(2) => None,
        None => because("the kernel has no performance events", "use a kernel with CONFIG_PERF_EVENTS"),
        Some(level @ 3..) => because(
            format!("kernel.perf_event_paranoid={level} refuses them to everybody but root"),
            sysctl("kernel.perf_event_paranoid=2"),
        ),
        Some(level) => because(
            format!("kernel.perf_event_paranoid={level} lets every program look at the kernel's own work, and others'"),
            sysctl("kernel.perf_event_paranoid=2"),
        ),
    }
}

/// The setting is there since Linux 6.6.
fn judge_io_uring(disabled: Option<i64>, answer: &io::Result<()>) -> Found {
    match (disabled, errno(answer)) {
        (Some(level @ 1..), _) => because(
            format!("kernel.io_uring_disabled={level} refuses it to ordinary users"),
            sysctl("kernel.io_uring_disabled=0"),
        ),
        (_, Some(libc::ENOSYS)) => because("the kernel has no io_uring", "use a kernel with CONFIG_IO_URING"),
        (_, Some(libc::EPERM)) => filtered("io_uring_setup io_uring_enter io_uring_register"),
        _ => None,
    }
}

fn judge_seccomp_notify(available: Option<Availability>) -> Found {
    match available {
        Some(Availability::Sure | Availability::Perhaps) => None,
        _ => because("the kernel's filters have no listeners", "use Linux 5.0 or newer"),
    }
}

/// User namespaces, with the switches of distributions. Those do not concern the launcher, which is root; a student's program is
/// what they are made for.
struct Namespaces {
    most: Option<i64>,
    debian: Option<i64>,
    ubuntu: Option<i64>,
}

fn judge_containers(found: &Namespaces) -> Found {
    match found {
        Namespaces { most: None, .. } => {
            because("the kernel has no user namespaces", "use a kernel with CONFIG_USER_NS")
        }
        Namespaces { debian: Some(0), .. } => because(
            "kernel.unprivileged_userns_clone=0 refuses user namespaces to ordinary users",
            sysctl("kernel.unprivileged_userns_clone=1"),
        ),
        Namespaces { ubuntu: Some(1..), .. } => because(
            "kernel.apparmor_restrict_unprivileged_userns=1 takes an ordinary user's namespaces their capabilities",
            sysctl("kernel.apparmor_restrict_unprivileged_userns=0"),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(code))
    }

    #[test]
    fn a_kernel_that_refuses_is_told_with_what_mends_it() {
        let remedy = |found: Found| found.expect("an obstacle").1;
        assert_eq!(judge_perf(Some(2), &Ok(())), None);
        assert!(remedy(judge_perf(Some(2), &answer(libc::EPERM))).contains("SystemCallFilter=perf_event_open"));
        for level in [-1, 0, 1, 3, 4] {
            assert!(remedy(judge_perf(Some(level), &Ok(()))).contains("perf_event_paranoid=2"), "{level}");
        }
        assert!(remedy(judge_perf(None, &answer(libc::ENOSYS))).contains("CONFIG_PERF_EVENTS"));
        assert_eq!(judge_io_uring(Some(0), &answer(libc::EFAULT)), None);
        assert_eq!(judge_io_uring(None, &answer(libc::EFAULT)), None, "before 6.6");
        assert!(remedy(judge_io_uring(Some(1), &answer(libc::EFAULT))).contains("io_uring_disabled=0"));
        assert!(remedy(judge_io_uring(None, &answer(libc::ENOSYS))).contains("CONFIG_IO_URING"));
        assert!(remedy(judge_io_uring(None, &answer(libc::EPERM))).contains("seccomp profile"));
        assert!(remedy(judge_userfaultfd(&answer(libc::EPERM))).contains("SystemCallFilter=userfaultfd"));
        assert_eq!(judge_userfaultfd(&Ok(())), None);
        assert!(remedy(judge_userfaultfd(&answer(libc::EINVAL))).contains("5.11"));
        assert!(remedy(judge_userfaultfd(&answer(libc::ENOSYS))).contains("CONFIG_USERFAULTFD"));
        assert!(remedy(judge_xattrs(&answer(libc::EOPNOTSUPP))).contains("6.6"));
        assert_eq!(judge_landlock(&Landlock::Abi(1)), None);
        assert!(remedy(judge_landlock(&Landlock::SwitchedOff)).contains("lsm="));
        assert_eq!(judge_seccomp_notify(Some(Availability::Perhaps)), None);
        assert!(remedy(judge_seccomp_notify(Some(Availability::Never))).contains("5.0"));
    }

    #[test]
    fn what_is_no_matter_to_root_is_one_to_a_student() {
        let plain = Namespaces { most: Some(15_000), debian: None, ubuntu: None };
        assert_eq!(judge_containers(&plain), None);
        let debian = judge_containers(&Namespaces { debian: Some(0), ..plain }).expect("an obstacle");
        assert!(debian.1.contains("unprivileged_userns_clone=1"), "{debian:?}");
        let plain = Namespaces { most: Some(15_000), debian: Some(1), ubuntu: Some(0) };
        assert_eq!(judge_containers(&plain), None);
        assert!(judge_containers(&Namespaces { ubuntu: Some(1), ..plain }).is_some());
        assert!(judge_containers(&Namespaces { most: None, debian: None, ubuntu: None }).is_some());
    }
}
