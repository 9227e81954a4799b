//! Files in memory that programs have mapped, whoever was charged for them.
//!
//! A page of such a file is charged to whoever touched it first: an earlier stage, an earlier test, the runner. Whoever maps it
//! later uses memory that stands in nobody's figure. The kernel keeps no peak of that, so it is looked at while programs run.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io::Read;

/// Bytes below which a process is not looked at more closely: the launcher's time is the host's.
const WORTH_A_LOOK: u64 = 1 << 20;

/// Bytes of a list of mappings that are read. A process can have 65 530 of them, with a path in each.
const MAPS: u64 = 256 << 10;

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
        [(pid, shared)] => distinct(pid).or_else(|| share(pid)).map_or(shared, |bytes| bytes.min(shared)),
        _ => with_files.iter().map(|(pid, shared)| share(*pid).unwrap_or(*shared)).sum(),
    };
    all
}

/// Bytes of files in memory that a process has mapped, each part of a file once: whoever maps a ring buffer twice in a row, or the same memory at
/// several addresses (a garbage collector), has it once, and the kernel counts it resident as often as it is mapped. `None` where there
/// are more mappings than are worth reading.
fn distinct(pid: i32) -> Option<u64> {
    let (mut text, file) = (String::new(), fs::File::open(format!("/proc/{pid}/maps")).ok()?);
    file.take(MAPS).read_to_string(&mut text).ok()?;
    if text.len() as u64 == MAPS {
        return None;
    }
    Some(parts_of_files(&text))
}

/// The bytes of all parts of files in a `/proc/PID/maps`, each counted once.
fn parts_of_files(text: &str) -> u64 {
    let mut parts: Vec<(&str, &str, u64, u64)> = text.lines().filter_map(part).collect();
    parts.sort_unstable();
    let mut counted = ("", "", 0);
    let mut bytes = 0;
    for (device, inode, begin, end) in parts {
        let done = if (counted.0, counted.1) == (device, inode) { counted.2 } else { 0 };
        bytes += end.saturating_sub(begin.max(done));
        counted = (device, inode, done.max(end));
    }
    bytes
}

/// The device, the inode and the range of the file in a line `7f00-7f20 rw-s 00001000 00:01 42 /memfd:x`; `None` without a file.
fn part(line: &str) -> Option<(&str, &str, u64, u64)> {
    let mut words = line.split_ascii_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let begin = u64::from_str_radix(words.nth(1)?, 16).ok()?;
    let (device, inode) = (words.next()?, words.next()?);
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let length = hex(to)?.checked_sub(hex(from)?)?;
    // What lies on a disk is no memory of a file: programs and libraries.
    (inode != "0" && device.starts_with("00:")).then(|| (device, inode, begin, begin.saturating_add(length)))
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
        // SAFETY: as above.
        let again = unsafe { rustix::mm::mmap(std::ptr::null_mut(), SIZE, prot, flags, &file, 0) }.unwrap();
        let seen = look(&[me]);
        assert!(seen.bytes >= SIZE as u64 && seen.bytes < 48 << 20, "mapped twice: {seen:?}");
        for at in [at, again] {
            // SAFETY: exactly the mappings that were made above, to which no reference exists.
            unsafe { rustix::mm::munmap(at, SIZE) }.unwrap();
        }
    }

    #[test]
    fn each_part_of_a_file_counts_once() {
        let maps = "1000-3000 rw-s 00000000 00:01 42 /memfd:ring (deleted)\n3000-5000 rw-s 00000000 00:01 42 /memfd:ring (deleted)\n\
                    5000-7000 rw-s 00001000 00:01 42 /memfd:ring (deleted)\n7000-8000 rw-p 00000000 00:00 0 [heap]\n\
                    8000-9000 r--p 00004000 fe:01 42 /usr/lib/x\n9000-a000 r--p 00009000 00:01 42 /memfd:ring (deleted)\nnonsense\n";
        assert_eq!(parts_of_files(maps), 0x3000 + 0x1000);
        assert_eq!(parts_of_files("2-1 r--p 0 00:01 7 /x\n1-ffffffffffffffff r--p ffffffffffffffff 00:01 7 /x\n"), 0);
    }
}
