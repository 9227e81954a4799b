//! Room: in the state directory and in memory. And the clock, by which certificates are judged.

use super::Finding;
use super::facts::read;
use crate::config::Limits;
use crate::units::show_bytes;
use sandbox::host::{Room, room};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Name of the finding on the state directory.
pub const DIRECTORY: &str = "state directory";

/// Room for some environments of suites, 50 MiB and 2500 files each with pytest alone.
const BYTES: u64 = 1 << 30;
/// The same in files.
const FILES: u64 = 20_000;
/// Less than this, and not even locks and records can be written.
const HARDLY: u64 = 1 << 20;
/// The same in files.
const HARDLY_FILES: u64 = 16;

/// The state directory, or the place where it will be made.
pub fn directory(dir: &Path) -> Finding {
    let nearest = dir.ancestors().find(|around| around.exists()).unwrap_or(Path::new("/"));
    judge_room(dir, room(nearest))
}

fn judge_room(dir: &Path, room: std::io::Result<Room>) -> Finding {
    let shown = dir.display();
    let elsewhere = "make room there, or name another with --state-dir";
    let room = match room {
        Ok(room) => room,
        Err(error) => return Finding::red(DIRECTORY, format!("{shown} cannot be looked at: {error}"), elsewhere),
    };
    if room.read_only {
        return Finding::red(
            DIRECTORY,
            format!("{shown} lies on a read-only file system"),
            "name another with --state-dir",
        );
    }
    let free = match room.files {
        Some(files) => format!("{shown}: {} and {files} files free", show_bytes(room.bytes)),
        None => format!("{shown}: {} free", show_bytes(room.bytes)),
    };
    let fewer = |count: u64| room.files.is_some_and(|files| files < count);
    if room.bytes < HARDLY || fewer(HARDLY_FILES) {
        return Finding::red(DIRECTORY, format!("{free}: nothing can be kept there"), elsewhere);
    }
    if room.no_exec {
        return Finding::red(
            DIRECTORY,
            format!("{free}, mounted noexec: nothing that suites start through the gate would start"),
            "mount it without noexec, or name another with --state-dir",
        );
    }
    if room.bytes < BYTES || fewer(FILES) {
        let found = format!("{free}; environments of suites need {} and {FILES} files", show_bytes(BYTES));
        return Finding::yellow(DIRECTORY, found, elsewhere);
    }
    Finding::green(DIRECTORY, free)
}

/// Memory of the host, against what all slots together may use. Files of a task are memory, too.
pub fn memory(slots: usize, limits: &Limits) -> Finding {
    judge_memory(&read("/proc/meminfo").unwrap_or_default(), slots, limits.memory, limits.disk)
}

fn judge_memory(meminfo: &str, slots: usize, memory: u64, disk: u64) -> Finding {
    const NAME: &str = "memory";
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let Some(total) = kib("MemTotal").map(|kib| kib.saturating_mul(1024)) else {
        return Finding::yellow(NAME, "the kernel does not say how much there is", "mount /proc");
    };
    let need = memory.saturating_add(disk).saturating_mul(slots as u64);
    let sum = format!(
        "{slots} slots may use {} together (--mem-limit {} and --disk-limit {} each)",
        show_bytes(need),
        show_bytes(memory),
        show_bytes(disk)
    );
    match need <= total {
        true => Finding::green(NAME, format!("{} in all; {sum}", show_bytes(total))),
        false => Finding::yellow(
            NAME,
            format!("{} in all, and {sum}", show_bytes(total)),
            "lower --concurrent, --mem-limit or --disk-limit, or add memory",
        ),
    }
}

/// The clock, against the time at which this program was installed: one that has lost its battery says 1970.
pub fn clock(program: Option<PathBuf>) -> Finding {
    let written = program.and_then(|path| path.metadata().ok()?.modified().ok());
    judge_clock(SystemTime::now(), written)
}

/// How to set a clock.
pub const SET_CLOCK: &str = "`timedatectl set-ntp true`, or set it with `date -s`";

fn judge_clock(now: SystemTime, written: Option<SystemTime>) -> Finding {
    const NAME: &str = "clock";
    let shown = humantime::format_rfc3339_seconds(now);
    match written {
        Some(written) if now < written => Finding::yellow(
            NAME,
            format!(
                "{shown}, before this program was written ({}): certificates will look as if they were not valid yet",
                humantime::format_rfc3339_seconds(written)
            ),
            SET_CLOCK,
        ),
        _ => Finding::green(NAME, shown.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_full_or_read_only_state_directory_is_red_and_a_small_one_yellow() {
        let plenty = Room { bytes: 9 << 30, files: Some(1 << 20), read_only: false, no_exec: false };
        let grade = |room: Room| judge_room(Path::new("/var/lib/x"), Ok(room)).grade;
        assert_eq!(grade(plenty), Grade::Green);
        assert_eq!(grade(Room { files: None, ..plenty }), Grade::Green, "btrfs counts no inodes");
        assert_eq!(grade(Room { bytes: 64 << 20, ..plenty }), Grade::Yellow);
        assert_eq!(grade(Room { files: Some(500), ..plenty }), Grade::Yellow);
        assert_eq!(grade(Room { no_exec: true, ..plenty }), Grade::Red);
        assert_eq!(grade(Room { bytes: 4096, ..plenty }), Grade::Red);
        assert_eq!(grade(Room { files: Some(0), ..plenty }), Grade::Red);
        assert_eq!(grade(Room { read_only: true, ..plenty }), Grade::Red);
        let error = judge_room(Path::new("/x"), Err(std::io::Error::other("I/O error")));
        assert!(error.grade == Grade::Red && error.remedy.contains("--state-dir"), "{error:?}");
    }

    #[test]
    fn memory_is_weighed_against_all_slots() {
        let meminfo = "MemTotal:        2014320 kB\nMemFree:  100 kB\n";
        assert_eq!(judge_memory(meminfo, 2, 512 << 20, 256 << 20).grade, Grade::Green);
        let tight = judge_memory(meminfo, 4, 512 << 20, 256 << 20);
        assert!(tight.grade == Grade::Yellow && tight.found.contains("4 slots may use 3.0 GiB"), "{tight:?}");
        assert_eq!(judge_memory(meminfo, usize::MAX, u64::MAX, 1).grade, Grade::Yellow);
        assert_eq!(judge_memory("", 1, 1, 1).grade, Grade::Yellow);
    }

    #[test]
    fn a_clock_before_the_program_is_wrong() {
        let day = |n: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(n * 86_400);
        let lost = judge_clock(day(1), Some(day(20_000)));
        assert!(lost.grade == Grade::Yellow && lost.remedy.contains("timedatectl"), "{lost:?}");
        assert_eq!(judge_clock(day(20_001), Some(day(20_000))).grade, Grade::Green);
        assert_eq!(judge_clock(day(1), None).grade, Grade::Green);
    }
}
