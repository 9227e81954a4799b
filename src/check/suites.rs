//! What suites of an operating-systems course look at: core files, and debuggers.

use super::Finding;
use super::facts::{number, read, sysctl};

/// The bit of the capability that raises hard limits.
const CAP_SYS_RESOURCE: u32 = 24;

/// Our own limit on core files, in bytes, which sandboxes get, too.
#[derive(Debug, Clone, Copy)]
struct Limit {
    soft: u64,
    hard: u64,
    /// Whether we can raise the hard one (CAP_SYS_RESOURCE).
    can_raise: bool,
}

/// Where the kernel puts core files.
pub fn core_pattern() -> Finding {
    use sandbox::confine::rlimits::{own_core_ceiling, own_core_limit};
    let pattern = read("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let can_raise = super::kernel::holds(CAP_SYS_RESOURCE);
    judge_core_pattern(&pattern, Limit { soft: own_core_limit(), hard: own_core_ceiling(), can_raise })
}

fn judge_core_pattern(pattern: &str, limit: Limit) -> Finding {
    const NAME: &str = "core_pattern";
    let mend = || sysctl("kernel.core_pattern", "core");
    if let Some(handler) = pattern.strip_prefix('|') {
        let handler = handler.split_whitespace().next().unwrap_or_default();
        // Only at a limit of 1 the kernel does not start it.
        let made = if limit.hard > 0 || limit.can_raise {
            "so sandboxes make none"
        } else {
            "which a student's crash starts: our hard limit on core files is 0, and root may not raise it"
        };
        let found = format!("cores go to the program {handler} of the host, {made}");
        // Ubuntu's service puts its handler back at each boot, after the files of sysctl.d.
        let keeper = match handler.rsplit('/').next() {
            Some("apport") => ", and `systemctl disable --now apport`",
            _ => "",
        };
        return Finding::yellow(NAME, found, mend() + keeper);
    }
    // A name with a directory is looked up inside, by the process that dies.
    let dir = pattern.rsplit_once('/').map(|(dir, _)| dir);
    match dir {
        Some(dir) if pattern.starts_with('/') && dir != "/tmp" && dir != "/dev/shm" => {
            return Finding::yellow(
                NAME,
                format!("{pattern}: sandboxes have no directory {dir}, so they make no cores"),
                mend(),
            );
        }
        _ => {}
    }
    // sudo sets both limits to 0 whatever the shell has that calls it.
    let made = match limit {
        Limit { soft: 0, hard: 1.., .. } => {
            "; our limit is 0, so none are made (`ulimit -c unlimited` before the start, or LimitCORE=infinity in the unit)"
        }
        Limit { soft: 0, can_raise: true, .. } => {
            "; our limit is 0, which is what sudo sets, so none are made (`sudo sh -c 'ulimit -c unlimited; exec ostest-sandbox …'`, \
             or LimitCORE=infinity in the unit)"
        }
        Limit { soft: 0, .. } => {
            "; our limit is 0, so none are made, and root may not raise it here (start the container with `--ulimit core=-1`, and \
             without sudo)"
        }
        Limit { soft: 1, .. } => "; our limit is one byte, so none are made",
        _ => "",
    };
    Finding::green(NAME, format!("{pattern}{made}"))
}

/// Who may trace whom.
pub fn ptrace() -> Finding {
    judge_ptrace(number("/proc/sys/kernel/yama/ptrace_scope"))
}

/// Whether who does not own a file can give it a second name.
pub fn links() -> Finding {
    judge_links(number("/proc/sys/fs/protected_hardlinks"))
}

fn judge_links(protected: Option<u64>) -> Finding {
    const NAME: &str = "hard links";
    match protected {
        Some(0) => Finding::yellow(
            NAME,
            "fs.protected_hardlinks=0: a submission can give a suite's file a second name, which counts as a change of it, and \
             then none of its tests counts as passed",
            sysctl("fs.protected_hardlinks", "1"),
        ),
        Some(_) => Finding::green(NAME, "only who owns a file, or may write it, can link it"),
        None => Finding::green(NAME, "the kernel does not say who can link a file"),
    }
}

fn judge_ptrace(scope: Option<u64>) -> Finding {
    const NAME: &str = "ptrace";
    match scope {
        None => Finding::green(NAME, "not restricted by Yama"),
        Some(0) => Finding::green(NAME, "kernel.yama.ptrace_scope=0"),
        Some(1) => {
            Finding::green(NAME, "kernel.yama.ptrace_scope=1: gdb and strace work on what they start, not on others")
        }
        Some(2) => Finding::yellow(
            NAME,
            "kernel.yama.ptrace_scope=2: suites that use gdb or strace fail inside",
            sysctl("kernel.yama.ptrace_scope", "1"),
        ),
        Some(scope) => Finding::yellow(
            NAME,
            format!("kernel.yama.ptrace_scope={scope}: suites that use gdb or strace fail inside"),
            "take it out of /etc/sysctl.conf and /etc/sysctl.d, and reboot: it cannot be lowered while the kernel runs",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn cores_that_go_to_a_program_or_elsewhere_are_yellow() {
        let limit = |soft, hard, can_raise| Limit { soft, hard, can_raise };
        let any = limit(u64::MAX, u64::MAX, false);
        let apport = judge_core_pattern("|/usr/share/apport/apport -p%p -s%s -c%c", any);
        assert!(apport.grade == Grade::Yellow && apport.remedy.contains("disable --now apport"), "{apport:?}");
        let systemd = judge_core_pattern("|/usr/lib/systemd/systemd-coredump %P %u", any);
        assert!(systemd.remedy.contains("sysctl -w kernel.core_pattern=core"), "{systemd:?}");
        let elsewhere = judge_core_pattern("/var/crash/core.%e.%p", any);
        assert!(
            elsewhere.grade == Grade::Yellow && elsewhere.found.contains("no directory /var/crash"),
            "{elsewhere:?}"
        );
        for fine in ["core", "core.%p", "/tmp/core.%p", "cores/core"] {
            assert_eq!(judge_core_pattern(fine, any), Finding::green("core_pattern", fine));
        }
        for (limit, advice) in [
            (limit(0, u64::MAX, false), "(`ulimit -c unlimited` before"),
            (limit(0, 0, true), "sudo sh -c 'ulimit -c unlimited; exec"),
            (limit(0, 0, false), "--ulimit core=-1"),
        ] {
            let finding = judge_core_pattern("core", limit);
            assert!(finding.grade == Grade::Green && finding.found.contains(advice), "{finding:?}");
        }
        for (limit, starts) in [(any, false), (limit(0, 0, true), false), (limit(0, 0, false), true)] {
            let finding = judge_core_pattern("|/usr/lib/systemd/systemd-coredump %P", limit);
            assert_eq!(finding.found.contains("crash starts"), starts, "{finding:?}");
        }
    }

    #[test]
    fn links_to_files_of_others_are_told_of() {
        assert_eq!(judge_links(Some(1)).grade, Grade::Green);
        let open = judge_links(Some(0));
        assert!(open.grade == Grade::Yellow && open.remedy.contains("fs.protected_hardlinks=1"), "{open:?}");
    }

    #[test]
    fn debuggers_need_to_trace_what_they_start() {
        for (scope, grade) in [
            (None, Grade::Green),
            (Some(0), Grade::Green),
            (Some(1), Grade::Green),
            (Some(2), Grade::Yellow),
            (Some(3), Grade::Yellow),
        ] {
            assert_eq!(judge_ptrace(scope).grade, grade, "{scope:?}");
        }
        assert!(judge_ptrace(Some(3)).remedy.contains("reboot"));
    }
}
