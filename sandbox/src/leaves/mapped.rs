//! Files in memory that programs have mapped, whoever was charged for them.
//!
//! A page of such a file is charged to whoever touched it first: an earlier stage, an earlier test, the runner. Whoever maps it
//! later uses memory that stands in nobody's figure. The kernel keeps no peak of that, so it is looked at while programs run.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;

/// Bytes below which a process is not looked at more closely: the launcher's time is the host's.
const WORTH_A_LOOK: u64 = 1 << 20;

/// What some processes have mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Bytes of files in memory; what several have mapped is shared out among them by the kernel.
    pub bytes: u64,
    /// The process with most memory of any kind, and how much that is.
    pub largest: Option<(i32, u64)>,
}

/// Looks at these processes. One that has ended has nothing mapped.
pub fn look(pids: &[i32]) -> Mapped {
    let mut all = Mapped::default();
    let mut with_files = Vec::new();
    for &pid in pids {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let [shared, anonymous] = ["RssShmem:", "RssAnon:"].map(|key| kib(&status, key));
        let resident = shared + anonymous;
        if all.largest.is_none_or(|(_, most)| resident > most) {
            all.largest = Some((pid, resident));
        }
        if shared >= WORTH_A_LOOK {
            with_files.push((pid, shared));
        }
    }
    all.bytes = match with_files[..] {
        // With nobody to share them: a share costs the kernel a walk through all that is mapped.
        [(_, shared)] => shared,
        _ => with_files.iter().map(|(pid, shared)| share(*pid).unwrap_or(*shared)).sum(),
    };
    all
}

/// A process's share of the files in memory that it and others have mapped, where the kernel says it.
fn share(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    text.contains("Pss_Shmem:").then(|| kib(&text, "Pss_Shmem:"))
}

/// Bytes behind a key of a file that says kilobytes.
fn kib(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Kills one process, if `still` finds its number among those that are meant once it is held.
pub fn kill(pid: i32, still: impl FnOnce() -> bool) -> bool {
    let held = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    held.is_some_and(|held| still() && pidfd_send_signal(&held, Signal::KILL).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::{MapFlags, ProtFlags};

    #[test]
    fn what_is_mapped_is_seen_and_what_lies_in_a_file_is_not() {
        const SIZE: usize = 32 << 20;
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, SIZE as u64).unwrap();
        rustix::io::pwrite(&file, &vec![1u8; SIZE], 0).unwrap();
        let me = std::process::id().cast_signed();
        assert!(look(&[me]).bytes < 16 << 20, "written and not mapped: {:?}", look(&[me]));
        let (prot, flags) = (ProtFlags::READ, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: a new mapping of a file of that length, at a place that the kernel chooses; nothing else knows of it.
        let at = unsafe { rustix::mm::mmap(std::ptr::null_mut(), SIZE, prot, flags, &file, 0) }.unwrap();
        assert!(share(me).is_none_or(|bytes| bytes >= SIZE as u64), "{:?}", share(me));
        let seen = look(&[me, 0, i32::MAX]);
        assert!(seen.bytes >= SIZE as u64 && seen.bytes < 48 << 20, "{seen:?}");
        assert!(seen.largest.is_some_and(|(pid, most)| pid == me && most >= SIZE as u64), "{seen:?}");
        // SAFETY: exactly the mapping that was made above, to which no reference exists.
        unsafe { rustix::mm::munmap(at, SIZE) }.unwrap();
    }
}
