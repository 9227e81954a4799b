//! What can go wrong with control groups, each as a sentence with its remedy.

use std::io;
use std::path::PathBuf;

/// Why a control group could not be found, made, limited, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The host's hierarchies are not enough.
    #[error("this host's control groups cannot be used: {missing}; {remedy}")]
    Host {
        /// What is missing.
        missing: String,
        /// What the operator can do.
        remedy: String,
    },
    /// systemd manages the group in which the runner was started.
    #[error(
        "the control group {group} belongs to systemd, which would take controllers away from it again; \
         start the runner in a group of its own: as a unit with Delegate=yes, or under `systemd-run --scope -p Delegate=yes …`"
    )]
    NotDelegated {
        /// The runner's own group.
        group: PathBuf,
    },
    /// There is nothing that could confine a group to cores.
    #[error(
        "{dir} cannot be confined to cores: that takes cgroup v2 and its controller cpuset (CONFIG_CPUSETS, and `cpuset` in the runner's own `cgroup.controllers`); leave --pin-cores out"
    )]
    NoCpuset {
        /// The group's directory.
        dir: PathBuf,
    },
    /// The ledger does not take a group.
    #[error("{dir} could not be entered into the ledger of memory: {source}")]
    Ledger {
        /// The group's directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that cannot be that of a group.
    #[error(
        "{name:?} is no name for a control group; use 1 to 64 letters, digits, '-', '_' and '.', not beginning with '.'"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A file could not be read.
    #[error("{file} could not be read: {source}")]
    Read {
        /// The file.
        file: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("writing {value:?} to {file} failed: {source}; {}", remedy_of(source))]
    Write {
        /// The file.
        file: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel took a value but holds another one.
    #[error(
        "{file} holds {read:?} after {wrote:?} was written to it; the limit is not in force, use a value that the kernel can represent"
    )]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// What was written.
        wrote: String,
        /// What it held afterwards.
        read: String,
    },
    /// A file holds something else than it should.
    #[error("{file} holds {text:?} where {expected} was expected; this kernel's format is not known")]
    Parse {
        /// The file.
        file: PathBuf,
        /// Its content, or the part in question.
        text: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A file that a limit needs does not exist.
    #[error("{file} does not exist; {remedy}")]
    Missing {
        /// The file.
        file: PathBuf,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// A group of that name is there already.
    #[error(
        "the control group {dir} exists already; it is another runner's, or was left by one that crashed: give each runner an instance name of its own, and sweep before the first stage"
    )]
    Exists {
        /// Its directory.
        dir: PathBuf,
    },
    /// A group could not be made.
    #[error("the control group {dir} could not be made: {source}; {}", remedy_of(source))]
    Make {
        /// Its directory.
        dir: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A group could not be removed.
    #[error("the control group {dir} could not be removed: {source}; {}", remedy_of(source))]
    Remove {
        /// Its directory.
        dir: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Processes did not go away.
    #[error(
        "the control group {dir} still holds processes ({}); look at their state in /proc/PID/stack, a process in uninterruptible sleep cannot be killed",
        some_of(pids)
    )]
    StillPopulated {
        /// Its directory.
        dir: PathBuf,
        /// The processes that are listed in it.
        pids: Vec<i32>,
    },
    /// The runner's own group does not become free of processes.
    #[error(
        "processes keep appearing in the control group {dir} ({pids:?}), which must be empty before it can hand out controllers; start the runner in a group of its own"
    )]
    Busy {
        /// Its directory.
        dir: PathBuf,
        /// The processes that are listed in it.
        pids: Vec<i32>,
    },
    /// A group holds processes that cannot be named from here.
    #[error(
        "{file} lists processes of another pid namespace, which cannot be moved from here; start the runner in a control group without them"
    )]
    Foreign {
        /// The `cgroup.procs` in question.
        file: PathBuf,
    },
    /// Processes were killed for want of memory that somebody else had taken.
    #[error(
        "the kernel killed {kills} processes of the control group {dir}, which had not reached its memory limit: a group above it has a smaller one, or the host is out of memory; give the runner more memory than all of its slots may use together"
    )]
    MemoryAbove {
        /// Its directory.
        dir: PathBuf,
        /// How many were killed.
        kills: u64,
    },
}

/// The first of many: a bomb may leave thousands, and who reads it needs one.
fn some_of(pids: &[i32]) -> String {
    let shown = &pids[..pids.len().min(20)];
    let words: Vec<String> = shown.iter().map(i32::to_string).collect();
    match pids.len() - shown.len() {
        0 => words.join(", "),
        more => format!("{} and {more} more", words.join(", ")),
    }
}

/// What the operator can do about an errno of the cgroup file systems.
fn remedy_of(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "run the runner as root, in a control group that is delegated to it",
        Some(libc::EROFS) => {
            "mount the control groups writable (in a container: a private cgroup namespace and a read-write /sys/fs/cgroup)"
        }
        Some(libc::ENOENT) => "the group is gone or its controller is not enabled in the parent",
        Some(libc::ENODEV) => "the group is being removed",
        Some(libc::EBUSY) => "processes or other groups are still in it",
        Some(libc::EINVAL | libc::ERANGE) => "the kernel does not take this value",
        Some(libc::ESRCH) => "the process is gone",
        Some(libc::EAGAIN) => "a limit of a group above on the number of groups is reached",
        Some(libc::ENOMEM) => "the memory limit is too small to start anything, or the host is out of memory",
        _ => "see the kernel's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_processes_a_message_names_the_first() {
        let error = |count: i32| CgroupError::StillPopulated { dir: "/x".into(), pids: (1..=count).collect() };
        assert!(error(2).to_string().starts_with("the control group /x still holds processes (1, 2); look at"));
        let many = error(20_000).to_string();
        assert!(many.contains("18, 19, 20 and 19980 more); look at"), "{many}");
    }

    #[test]
    fn messages_name_the_file_the_value_the_answer_and_the_remedy() {
        let error = CgroupError::Write {
            file: "/x/memory.max".into(),
            value: "12".into(),
            source: io::Error::from_raw_os_error(libc::EACCES),
        };
        assert_eq!(
            error.to_string(),
            "writing \"12\" to /x/memory.max failed: Permission denied (os error 13); \
             run the runner as root, in a control group that is delegated to it"
        );
    }
}
