//! Reading figures. What this kernel has no file for is `None`; a file that is there but makes no
//! sense is an error, never a 0.

use super::{Base, CgroupError, files};
use crate::outcome::{Figure, Meanwhile, Usage};
use std::path::Path;

/// What was counted in leaves that are gone. The kernel adds most figures up over a group's whole
/// life and all its descendants, but not these two, everywhere.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Retired {
    pub(super) oom_kills: u64,
    pub(super) pids_denied: u64,
}

impl Retired {
    /// Adds what was counted in a leaf that is about to go.
    pub(super) fn add(&mut self, leaf: &Base) -> Result<(), CgroupError> {
        self.oom_kills += value(oom_kills_of(leaf)?);
        self.pids_denied += value(pids_denied_of(leaf)?);
        Ok(())
    }
}

/// The figures of a stage. `leaves` are those that exist.
pub(super) fn of_stage(stage: &Base, leaves: &[Base], retired: Retired) -> Result<Usage, CgroupError> {
    let mut usage = common(stage)?;
    usage.oom_kills = oom_kills_of(stage)?;
    usage.pids_denied = pids_denied_of(stage)?;
    if let (Base::Hybrid { .. }, Some(sum)) = (stage, &mut usage.oom_kills) {
        // v1 counts in the victim's own group only; v2 in every group above it, too.
        sum.value += retired.oom_kills;
        for leaf in leaves {
            sum.value += value(oom_kills_of(leaf)?);
        }
    }
    usage.throttled_us = throttled(stage)?;
    let kills = value(usage.oom_kills.clone());
    if kills > 0 && !memory_limit_was_reached(stage)? {
        // The figures would blame the command for what others did.
        return Err(CgroupError::MemoryAbove { dir: stage.v2().into(), kills });
    }
    if let Some(sum) = &mut usage.pids_denied {
        // v1, and v2 before 6.11, count in the group whose fork failed; v2 since then in the one
        // whose limit it was (the stage's, leaves have none) and above. The sum is right in all.
        sum.value += retired.pids_denied;
        for leaf in leaves {
            sum.value += value(pids_denied_of(leaf)?);
        }
    }
    Ok(usage)
}

/// The figures of a leaf.
pub(super) fn of_leaf(leaf: &Base) -> Result<Usage, CgroupError> {
    let mut usage = common(leaf)?;
    usage.oom_kills = oom_kills_of(leaf)?;
    // What the leaf shows would always be 0 and say nothing.
    if !counts_at_the_limit(leaf) {
        usage.pids_denied = pids_denied_of(leaf)?;
    }
    Ok(usage)
}

/// What only a stage has figures of, for [`Meanwhile::since`].
pub(super) fn met(stage: &Base) -> Result<Meanwhile, CgroupError> {
    let pids_denied = if counts_at_the_limit(stage) { pids_denied_of(stage)? } else { None };
    Ok(Meanwhile { pids_denied, throttled_us: throttled(stage)?, full: Vec::new(), filled: Vec::new() })
}

/// Whether a failed fork is counted where the limit is, and not in the group of the process: since 6.11, on v2. These kernels
/// have another file.
fn counts_at_the_limit(group: &Base) -> bool {
    matches!(group, Base::Unified { .. }) && group.v2().join("pids.events.local").exists()
}

/// What is read alike for a stage and for a leaf.
fn common(group: &Base) -> Result<Usage, CgroupError> {
    let (memory_peak, cpu_us, pids) = match group {
        Base::Unified { dir } => (
            // Since 5.19.
            single(dir, "memory.peak")?,
            required_key(dir, "cpu.stat", "usage_usec")?,
            dir,
        ),
        Base::Hybrid { memory, pids, cpuacct, .. } => {
            let cpu_ns = single(cpuacct, "cpuacct.usage")?;
            (
                single(memory, "memory.max_usage_in_bytes")?,
                cpu_ns.map(|figure| Figure { value: figure.value / 1000, ..figure }),
                pids,
            )
        }
    };
    Ok(Usage {
        memory_peak,
        cpu_us,
        cpu_stalled_us: stalled(group.v2(), "cpu.pressure")?,
        memory_stalled_us: stalled(group.v2(), "memory.pressure")?,
        pids_peak: single(pids, "pids.peak")?,
        ..Usage::default()
    })
}

/// Time for which the limit on CPU time held the group back.
fn throttled(group: &Base) -> Result<Option<Figure>, CgroupError> {
    match group {
        Base::Unified { dir } => key(dir, "cpu.stat", "throttled_usec"),
        // In nanoseconds.
        Base::Hybrid { cpu, .. } => {
            let figure = key(cpu, "cpu.stat", "throttled_time")?;
            Ok(figure.map(|figure| Figure { value: figure.value / 1000, ..figure }))
        }
    }
}

/// The total of a pressure file's line `some`, in microseconds. The files are the v2 tree's own, not a controller's: a
/// hybrid host has them, too. `None` where the kernel does not count pressure: it was built without, or booted without
/// `psi=1`.
fn stalled(dir: &Path, name: &str) -> Result<Option<Figure>, CgroupError> {
    let file = dir.join(name);
    let text = match files::read_if_present(&file) {
        // Older kernels show the file all the same, and refuse to open it.
        Err(CgroupError::Read { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(None),
        other => other?,
    };
    let Some(text) = text else { return Ok(None) };
    // some avg10=0.00 avg60=0.00 avg300=0.00 total=0
    let total = text.lines().find_map(|line| {
        let words = line.strip_prefix("some ")?;
        words.split(' ').find_map(|word| word.strip_prefix("total="))?.parse().ok()
    });
    match total {
        Some(value) => Ok(Some(Figure { value, source: name.into() })),
        None => Err(CgroupError::Parse { file, text, expected: "a line `some` with a total" }),
    }
}

/// Processes that were killed for want of memory: of this group; on v2 of those below it, too.
fn oom_kills_of(group: &Base) -> Result<Option<Figure>, CgroupError> {
    match group {
        Base::Unified { dir } => key(dir, "memory.events", "oom_kill"),
        // Since 4.13.
        Base::Hybrid { memory, .. } => key(memory, "memory.oom_control", "oom_kill"),
    }
}

/// How far below its limit a group's peak may be when memory ran out there.
const NEAR: u64 = 8 << 20;

/// Whether memory ran out at this group's own limit, ever. The count of kills does not tell: a group
/// above that runs out, or the host, chooses its victims here, too. Nor does `memory.events`, which
/// adds up what happened at limits below.
fn memory_limit_was_reached(group: &Base) -> Result<bool, CgroupError> {
    match group {
        // Since 5.2.
        Base::Unified { dir } => Ok(key(dir, "memory.events.local", "oom")?.is_none_or(|figure| figure.value > 0)),
        // v1 counts failures in `memory.failcnt` and `memory.memsw.failcnt`. With our limits it is the
        // second one that would tell, which newer kernels (6.18) leave at 0. So its peak has to be near: the kernel charges in
        // batches per CPU, and gives up a huge page of 2 MiB before it kills.
        Base::Hybrid { memory, .. } => {
            let limit = single(memory, "memory.limit_in_bytes")?;
            let peak = single(memory, "memory.max_usage_in_bytes")?;
            Ok(limit.zip(peak).is_none_or(|(limit, peak)| peak.value.saturating_add(NEAR) >= limit.value))
        }
    }
}

/// Forks that the limit on processes made fail, as this group counts them.
fn pids_denied_of(group: &Base) -> Result<Option<Figure>, CgroupError> {
    let (Base::Unified { dir: pids } | Base::Hybrid { pids, .. }) = group;
    required_key(pids, "pids.events", "max")
}

/// The processes and threads that are in a stage now.
pub(super) fn pids_current(stage: &Base) -> Option<u64> {
    let (Base::Unified { dir: pids } | Base::Hybrid { pids, .. }) = stage;
    let figure = single(pids, "pids.current").ok().flatten();
    figure.map(|figure| figure.value)
}

/// A file that holds one number.
fn single(dir: &Path, name: &str) -> Result<Option<Figure>, CgroupError> {
    let file = dir.join(name);
    let Some(text) = files::read_if_present(&file)? else {
        return Ok(None);
    };
    Ok(Some(Figure { value: files::number(&file, &text)?, source: name.into() }))
}

/// A number behind a key that older kernels do not have in this file.
fn key(dir: &Path, name: &str, key: &str) -> Result<Option<Figure>, CgroupError> {
    let file = dir.join(name);
    let Some(text) = files::read_if_present(&file)? else {
        return Ok(None);
    };
    let figure = |value| Figure { value, source: name.into() };
    Ok(files::keyed(&file, &text, key)?.map(figure))
}

/// A number behind a key that every kernel with this file has.
fn required_key(dir: &Path, name: &str, wanted: &str) -> Result<Option<Figure>, CgroupError> {
    let file = dir.join(name);
    match key(dir, name, wanted)? {
        None if file.exists() => {
            Err(CgroupError::Parse { text: files::read(&file)?, file, expected: "a line with the total" })
        }
        figure => Ok(figure),
    }
}

fn value(figure: Option<Figure>) -> u64 {
    figure.map_or(0, |figure| figure.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).unwrap();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
    }

    fn unified(dir: &Path) -> Base {
        Base::Unified { dir: dir.into() }
    }

    fn hybrid(dir: &Path) -> Base {
        Base::Hybrid { dir: dir.into(), memory: dir.into(), pids: dir.into(), cpu: dir.into(), cpuacct: dir.into() }
    }

    fn figure(value: u64, source: &str) -> Option<Figure> {
        Some(Figure { value, source: source.into() })
    }

    #[test]
    fn v2_figures_with_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let stage = unified(dir.path());
        write(
            dir.path(),
            &[
                ("memory.peak", "1048576\n"),
                ("cpu.stat", "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\nnr_throttled 1\nthrottled_usec 70\n"),
                ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=90\nfull avg10=0.00 total=80\n"),
                ("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 total=0\n"),
                ("pids.peak", "7\n"),
                ("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n"),
                ("memory.events.local", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 0\n"),
                ("pids.events", "max 4\n"),
            ],
        );
        let usage = of_stage(&stage, &[], Retired::default()).unwrap();
        let expected = Usage {
            memory_peak: figure(1_048_576, "memory.peak"),
            command_memory_peak: None,
            cpu_us: figure(2500, "cpu.stat"),
            throttled_us: figure(70, "cpu.stat"),
            cpu_stalled_us: figure(90, "cpu.pressure"),
            memory_stalled_us: figure(0, "memory.pressure"),
            pids_peak: figure(7, "pids.peak"),
            oom_kills: figure(2, "memory.events"),
            pids_denied: figure(4, "pids.events"),
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn v2_adds_up_denied_forks_but_not_oom_kills() {
        let dir = tempfile::tempdir().unwrap();
        let leaf = dir.path().join("leaf");
        for at in [dir.path(), &leaf] {
            write(at, &[("memory.events", "oom_kill 2\n"), ("pids.events", "max 3\n")]);
        }
        let retired = Retired { oom_kills: 10, pids_denied: 10 };
        let usage = of_stage(&unified(dir.path()), &[unified(&leaf)], retired).unwrap();
        assert_eq!(usage.oom_kills, figure(2, "memory.events"));
        assert_eq!(usage.pids_denied, figure(16, "pids.events"));
    }

    #[test]
    fn v1_figures_are_converted_and_added_up() {
        let dir = tempfile::tempdir().unwrap();
        let leaf = dir.path().join("leaf");
        let oom = "oom_kill_disable 0\nunder_oom 0\noom_kill";
        write(
            dir.path(),
            &[
                ("memory.max_usage_in_bytes", "4096\n"),
                ("cpuacct.usage", "1234567\n"),
                ("cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 5000\n"),
                ("memory.oom_control", &format!("{oom} 0\n")),
                ("pids.events", "max 0\n"),
            ],
        );
        write(&leaf, &[("memory.oom_control", &format!("{oom} 3\n")), ("pids.events", "max 5\n")]);
        let mut retired = Retired::default();
        retired.add(&hybrid(&leaf)).unwrap();
        let usage = of_stage(&hybrid(dir.path()), &[hybrid(&leaf)], retired).unwrap();
        let expected = Usage {
            memory_peak: figure(4096, "memory.max_usage_in_bytes"),
            command_memory_peak: None,
            cpu_us: figure(1234, "cpuacct.usage"),
            throttled_us: figure(5, "cpu.stat"),
            cpu_stalled_us: None,
            memory_stalled_us: None,
            pids_peak: None,
            oom_kills: figure(6, "memory.oom_control"),
            pids_denied: figure(10, "pids.events"),
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn a_leaf_says_nothing_about_denied_forks_where_the_kernel_counts_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("pids.events", "max 0\n")]);
        let leaf = unified(dir.path());
        let before = of_leaf(&leaf).unwrap();
        assert_eq!(before.pids_denied, figure(0, "pids.events"));
        write(dir.path(), &[("pids.events.local", "max 0\n")]);
        assert_eq!(of_leaf(&leaf).unwrap().pids_denied, None);
    }

    #[test]
    fn kills_are_the_stages_only_where_its_limit_was_reached() {
        for (reached, is_ours) in [(0, false), (2, true)] {
            let dir = tempfile::tempdir().unwrap();
            // What a group below met stands in the first file only.
            write(dir.path(), &[("memory.events", "max 7\noom 5\noom_kill 1\n")]);
            write(dir.path(), &[("memory.events.local", &format!("max 7\noom {reached}\noom_kill 0\n"))]);
            let usage = of_stage(&unified(dir.path()), &[], Retired::default());
            assert_eq!(usage.is_ok(), is_ours, "{usage:?}");
        }
    }

    #[test]
    fn missing_files_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let usage = of_stage(&unified(dir.path()), &[], Retired::default()).unwrap();
        assert_eq!(usage, Usage::default());
        assert_eq!(pids_current(&unified(dir.path())), None);
    }

    #[test]
    fn nonsense_is_an_error_and_never_zero() {
        for (name, text) in [
            ("memory.peak", "max\n"),
            ("memory.peak", ""),
            ("pids.peak", "-1\n"),
            ("cpu.stat", "user_usec 1\n"),
            ("cpu.stat", "usage_usec x\n"),
            ("cpu.stat", "usage_usec 1\nthrottled_usec -1\n"),
            ("cpu.pressure", "full avg10=0.00 total=1\n"),
            ("memory.pressure", "some avg10=0.00 total=\n"),
            ("memory.events", "oom_kill\n"),
            ("pids.events", "\n"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), &[(name, text)]);
            let usage = of_stage(&unified(dir.path()), &[], Retired::default());
            assert!(usage.is_err(), "{name} holding {text:?}");
        }
    }
}
