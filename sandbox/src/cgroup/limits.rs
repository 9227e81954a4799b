//! Setting a limit so that it holds: written, read back, compared.

use super::{CgroupError, files};
use crate::outcome::Setting;
use crate::plan::Layer;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// The period over which CPU time is shared out, in microseconds; the kernel's own default.
pub(super) const CPU_PERIOD_US: u64 = 100_000;

pub(super) const NO_CPU: &str = "the cpu time cannot be limited: use a kernel with CONFIG_CFS_BANDWIDTH, or accept it with --allow-degraded cpu-limit";
pub(super) const NO_SWAP: &str = "the host has swap that cannot be limited, and memory limits mean little: boot with the kernel parameter swapaccount=1, turn swap off, or accept it with --allow-degraded swap-limit";
pub(super) const NO_CONTROLLER: &str =
    "its controller is not enabled here: claim the base first, and see that it is mounted";

/// What cgroups-rs answers.
type Answer = cgroups_rs::fs::error::Result<()>;

/// One value for one file.
pub(super) struct Limit<'a> {
    /// The group.
    pub(super) dir: &'a Path,
    /// The file in it.
    pub(super) file: &'static str,
    /// What is written.
    pub(super) value: String,
    /// What the kernel may make of it.
    pub(super) rounded: Option<String>,
    /// What to do where the file does not exist.
    pub(super) remedy: &'static str,
}

impl<'a> Limit<'a> {
    /// A value that must be read back to the letter.
    pub(super) fn exact(dir: &'a Path, file: &'static str, value: impl ToString) -> Self {
        Limit { dir, file, value: value.to_string(), rounded: None, remedy: NO_CONTROLLER }
    }

    /// A number of bytes, which the kernel counts in pages and rounds down.
    pub(super) fn bytes(dir: &'a Path, file: &'static str, value: u64) -> Self {
        let page = page_size();
        Limit { rounded: Some((value / page * page).to_string()), ..Limit::exact(dir, file, value) }
    }

    /// With another remedy.
    pub(super) fn or(self, remedy: &'static str) -> Self {
        Limit { remedy, ..self }
    }

    /// Has the value written by `set`, and reads it back.
    pub(super) fn put(self, set: impl FnOnce() -> Answer) -> Result<Setting, CgroupError> {
        let file = self.dir.join(self.file);
        // cgroups-rs opens with O_CREAT, whose error on a cgroup file system is EACCES or EPERM.
        if !file.exists() {
            return Err(CgroupError::Missing { file, remedy: self.remedy });
        }
        set().map_err(|error| CgroupError::Write {
            file: file.clone(),
            value: self.value.clone(),
            source: into_io(error),
        })?;
        let read = files::read(&file)?.trim().to_owned();
        if read != self.value && Some(&read) != self.rounded.as_ref() {
            return Err(CgroupError::Mismatch { file, wrote: self.value, read });
        }
        Ok(Setting { file: self.file.into(), value: read })
    }

    /// The same for a file that cgroups-rs does not know.
    pub(super) fn put_plainly(self) -> Result<Setting, CgroupError> {
        let (file, value) = (self.dir.join(self.file), self.value.clone());
        let mut answer = Ok(());
        let setting = self.put(|| {
            answer = files::write(&file, &value);
            Ok(())
        });
        answer.and(setting)
    }
}

/// The limits that are in force, and those that are not but were waived.
pub(super) struct Applied<'a> {
    waived: &'a BTreeSet<Layer>,
    swap_is_on: bool,
    /// As read back.
    pub(super) settings: Vec<Setting>,
    /// Waived, and in fact not in force.
    pub(super) degraded: Vec<Layer>,
}

impl<'a> Applied<'a> {
    pub(super) fn new(waived: &'a BTreeSet<Layer>, swap_is_on: bool) -> Self {
        Applied { waived, swap_is_on, settings: Vec::new(), degraded: Vec::new() }
    }

    /// Takes a limit that nobody can waive.
    pub(super) fn must(&mut self, limit: Result<Setting, CgroupError>) -> Result<(), CgroupError> {
        self.settings.push(limit?);
        Ok(())
    }

    /// Takes a limit that the operator may have waived.
    pub(super) fn may(&mut self, layer: Layer, limit: Result<Setting, CgroupError>) -> Result<(), CgroupError> {
        match limit {
            Err(_) if self.waived.contains(&layer) => self.degraded.push(layer),
            other => self.settings.push(other?),
        }
        Ok(())
    }

    /// Takes the limit on swap. Where there is no file to limit it and no swap either, nothing is missing.
    pub(super) fn swap(&mut self, file: &'static str, limit: Result<Setting, CgroupError>) -> Result<(), CgroupError> {
        match limit {
            Err(CgroupError::Missing { .. }) if !self.swap_is_on => {
                self.settings.push(Setting { file: file.into(), value: "absent, host has no swap".into() });
                Ok(())
            }
            other => self.may(Layer::SwapLimit, other),
        }
    }
}

/// Microseconds of CPU time in each period. 1000 thousandths of a core are one whole period.
pub(super) fn cpu_quota_us(cpu_millis: u64) -> i64 {
    let quota = cpu_millis.saturating_mul(CPU_PERIOD_US / 1000);
    clamped(quota)
}

/// cgroups-rs takes signed numbers. What does not fit is no value for the kernel either: the read
/// back value differs then, or the write fails.
pub(super) fn clamped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Whether the host has active swap. Where that cannot be found out, it is taken to have some.
pub(super) fn swap_is_on() -> bool {
    match files::read_if_present(Path::new("/proc/swaps")) {
        // A kernel without swap has no such file.
        Ok(text) => text.is_some_and(|text| lists_swap(&text)),
        Err(_) => true,
    }
}

/// Whether anything stands below the heading of `/proc/swaps`.
fn lists_swap(text: &str) -> bool {
    text.lines().skip(1).any(|line| !line.trim().is_empty())
}

fn page_size() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    // Every Linux knows its page size; 4096 divides every other one, so that comparing stays strict.
    size.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0).unwrap_or(4096)
}

/// The kernel's answer inside of an error of cgroups-rs.
fn into_io(error: cgroups_rs::fs::error::Error) -> io::Error {
    use std::error::Error;
    let cause = error.source().and_then(|s| s.downcast_ref::<io::Error>());
    match cause.and_then(io::Error::raw_os_error) {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn group(file: &str, text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(file), text).unwrap();
        dir
    }

    #[test]
    fn a_value_that_is_not_held_is_an_error() {
        let dir = group("pids.max", "max\n");
        let limit = Limit::exact(dir.path(), "pids.max", 100);
        let error = limit.put(|| Ok(())).unwrap_err();
        assert!(
            matches!(error, CgroupError::Mismatch { ref wrote, ref read, .. } if wrote == "100" && read == "max"),
            "{error}"
        );
    }

    #[test]
    fn bytes_may_be_rounded_down_to_pages_and_no_further() {
        let page = page_size();
        let asked = 100 * page + 17;
        for (held, fine) in [(asked, true), (100 * page, true), (99 * page, false), (101 * page, false)] {
            let dir = group("memory.max", &format!("{held}\n"));
            let limit = Limit::bytes(dir.path(), "memory.max", asked);
            assert_eq!(limit.put(|| Ok(())).is_ok(), fine, "{held}");
        }
    }

    #[test]
    fn a_missing_file_is_named_and_never_made() {
        let dir = tempfile::tempdir().unwrap();
        let error =
            Limit::exact(dir.path(), "cpu.max", "1 2").or(NO_CPU).put(|| panic!("nothing may be written")).unwrap_err();
        assert!(error.to_string().contains("--allow-degraded cpu-limit"), "{error}");
        assert!(!dir.path().join("cpu.max").exists());
    }

    #[test]
    fn swap_may_only_be_unlimited_where_there_is_none_or_it_was_waived() {
        let missing = || Err(CgroupError::Missing { file: "memory.swap.max".into(), remedy: NO_SWAP });
        let (nothing, waived) = (BTreeSet::new(), BTreeSet::from([Layer::SwapLimit]));

        let mut no_swap = Applied::new(&nothing, false);
        no_swap.swap("memory.swap.max", missing()).unwrap();
        assert_eq!(no_swap.settings[0].value, "absent, host has no swap");
        assert!(no_swap.degraded.is_empty());

        let mut swap = Applied::new(&nothing, true);
        assert!(swap.swap("memory.swap.max", missing()).is_err());

        let mut allowed = Applied::new(&waived, true);
        allowed.swap("memory.swap.max", missing()).unwrap();
        assert_eq!(allowed.degraded, [Layer::SwapLimit]);
        assert!(allowed.settings.is_empty());
    }

    #[test]
    fn a_swap_limit_that_the_kernel_refuses_is_an_error_even_without_swap() {
        let refused =
            Err(CgroupError::Mismatch { file: "memory.swap.max".into(), wrote: "0".into(), read: "max".into() });
        let nothing = BTreeSet::new();
        let mut applied = Applied::new(&nothing, false);
        assert!(applied.swap("memory.swap.max", refused).is_err());
    }

    #[test]
    fn swaps_has_a_heading() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!lists_swap(heading));
        assert!(!lists_swap(""));
        assert!(lists_swap(&format!("{heading}/dev/dm-1   partition\t8388604\t0\t-2\n")));
    }

    #[test]
    fn a_core_is_a_whole_period() {
        assert_eq!(cpu_quota_us(1000), 100_000);
        assert_eq!(cpu_quota_us(1), 100);
        assert_eq!(cpu_quota_us(u64::MAX), i64::MAX);
    }
}
