//! Room and time: disk for what is kept, memory for all slots, and a clock that can be right.

use super::{Finding, Wanted, read};
use crate::units::show_bytes;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Room for a few environments of suites.
const ENOUGH: u64 = 1 << 30;
/// Below this nothing new can be kept.
const TOO_LITTLE: u64 = 64 << 20;
/// An environment has some 2000 files.
const ENOUGH_FILES: u64 = 20_000;

pub(super) fn look(wanted: &Wanted<'_>) -> Vec<Finding> {
    let dir = &wanted.host.state_dir;
    let nearest = dir.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let space = sandbox::host::free_space(nearest).map_err(|e| e.to_string());
    let need = (wanted.limits.memory.saturating_add(wanted.limits.disk)).saturating_mul(wanted.slots as u64);
    let built = std::env::current_exe().and_then(std::fs::metadata).and_then(|m| m.modified()).ok();
    vec![
        state_dir(dir, space.as_ref()),
        memory(&read("/proc/meminfo").unwrap_or_default(), need, wanted.slots),
        clock(SystemTime::now(), built),
    ]
}

fn state_dir(dir: &Path, space: Result<&sandbox::host::Space, &String>) -> Finding {
    const NAME: &str = "state directory";
    const REMEDY: &str = "make room, or name another with --state-dir";
    let shown = dir.display();
    match space {
        Err(error) => Finding::red(NAME, format!("{shown}: {error}"), "name another with --state-dir"),
        Ok(space) => {
            // Some file systems have no fixed number of files, and say 0 of 0.
            let few_files = space.all_files > 0 && space.free_files < ENOUGH_FILES;
            let found = format!("{shown}, {} free", show_bytes(space.free));
            match space.free {
                free if free < TOO_LITTLE => Finding::red(NAME, found, REMEDY),
                free if free < ENOUGH => Finding::yellow(NAME, found, REMEDY),
                _ if few_files => {
                    Finding::yellow(NAME, format!("{found}, but only {} files", space.free_files), REMEDY)
                }
                _ => Finding::green(NAME, found),
            }
        }
    }
}

/// `need`: what all slots together may take in memory, their files included.
fn memory(meminfo: &str, need: u64, slots: usize) -> Finding {
    const NAME: &str = "memory";
    let available = meminfo.lines().find_map(|line| {
        let kib: u64 = line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse().ok()?;
        kib.checked_mul(1024)
    });
    let wanted = format!("{slots} slots may take {} (slots × (mem-limit + disk-limit))", show_bytes(need));
    match available {
        None => Finding::green(NAME, format!("{wanted}; how much is available the kernel does not say")),
        Some(available) if available < need => Finding::yellow(
            NAME,
            format!("{} available, and {wanted}", show_bytes(available)),
            "less --concurrent, --mem-limit or --disk-limit, or more memory: else the host may run out before a task does",
        ),
        Some(available) => Finding::green(NAME, format!("{} available; {wanted}", show_bytes(available))),
    }
}

/// `built`: when this program was put here.
fn clock(now: SystemTime, built: Option<SystemTime>) -> Finding {
    const NAME: &str = "clock";
    // A day: whoever unpacked the program may live in another time zone than the file system thinks.
    let early =
        built.and_then(|built| built.duration_since(now).ok()).is_some_and(|by| by > Duration::from_secs(86_400));
    match early {
        true => Finding::yellow(
            NAME,
            "it is behind the day on which this program was installed: certificates will seem not valid yet",
            "timedatectl set-ntp true",
        ),
        false => Finding::green(NAME, "not before this program was installed"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use sandbox::host::Space;

    #[test]
    fn disk_runs_low_before_it_runs_out() {
        let judge =
            |free, free_files, all_files| state_dir(Path::new("/x"), Ok(&Space { free, free_files, all_files })).grade;
        assert_eq!(judge(5 << 30, 1_000_000, 2_000_000), Grade::Green);
        assert_eq!(judge(5 << 30, 0, 0), Grade::Green, "btrfs counts no files");
        assert_eq!(judge(5 << 30, 10, 2_000_000), Grade::Yellow);
        assert_eq!(judge(500 << 20, 1_000_000, 2_000_000), Grade::Yellow);
        assert_eq!(judge(1 << 20, 1_000_000, 2_000_000), Grade::Red);
        assert_eq!(state_dir(Path::new("/x"), Err(&"gone".into())).grade, Grade::Red);
    }

    #[test]
    fn memory_must_do_for_all_slots() {
        let meminfo = "MemTotal:        4000000 kB\nMemFree:  1 kB\nMemAvailable:    2097152 kB\n";
        assert_eq!(memory(meminfo, 2 << 30, 2).grade, Grade::Green);
        assert_eq!(memory(meminfo, (2 << 30) + 1, 2).grade, Grade::Yellow);
        assert_eq!(memory("", 1, 1).grade, Grade::Green);
    }

    #[test]
    fn a_clock_before_the_program_is_wrong() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(clock(now, Some(now + Duration::from_secs(200_000))).grade, Grade::Yellow);
        assert_eq!(clock(now, Some(now + Duration::from_secs(3_600))).grade, Grade::Green);
        assert_eq!(clock(now, Some(SystemTime::UNIX_EPOCH)).grade, Grade::Green);
        assert_eq!(clock(now, None).grade, Grade::Green);
    }
}
