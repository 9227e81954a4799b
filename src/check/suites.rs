//! What suites of an operating-systems course look at: core files, and debuggers.

use super::Finding;
use super::facts::{number, read, sysctl};

/// Where the kernel puts core files.
pub fn core_pattern() -> Finding {
    let pattern = read("/proc/sys/kernel/core_pattern").unwrap_or_default();
    judge_core_pattern(&pattern, sandbox::confine::rlimits::own_core_limit())
}

/// `limit`: our own limit on core files in bytes, which sandboxes get, too.
fn judge_core_pattern(pattern: &str, limit: u64) -> Finding {
    const NAME: &str = "core_pattern";
    let mend = || sysctl("kernel.core_pattern", "core");
    if let Some(handler) = pattern.strip_prefix('|') {
        let handler = handler.split_whitespace().next().unwrap_or_default();
        let found = format!("cores go to the program {handler} of the host, so sandboxes make none");
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
    let made = match limit {
        0 => "; our limit is 0, so none are made (`ulimit -c unlimited`, or LimitCORE=infinity in the unit)",
        1 => "; our limit is one byte, so none are made",
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
        let apport = judge_core_pattern("|/usr/share/apport/apport -p%p -s%s -c%c", u64::MAX);
        assert!(apport.grade == Grade::Yellow && apport.remedy.contains("disable --now apport"), "{apport:?}");
        let systemd = judge_core_pattern("|/usr/lib/systemd/systemd-coredump %P %u", u64::MAX);
        assert!(systemd.remedy.contains("sysctl -w kernel.core_pattern=core"), "{systemd:?}");
        let elsewhere = judge_core_pattern("/var/crash/core.%e.%p", u64::MAX);
        assert!(
            elsewhere.grade == Grade::Yellow && elsewhere.found.contains("no directory /var/crash"),
            "{elsewhere:?}"
        );
        for fine in ["core", "core.%p", "/tmp/core.%p", "cores/core"] {
            assert_eq!(judge_core_pattern(fine, u64::MAX), Finding::green("core_pattern", fine));
        }
        assert!(judge_core_pattern("core", 0).found.contains("ulimit -c"));
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
