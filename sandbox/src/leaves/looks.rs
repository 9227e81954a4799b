//! Looks at a test's programs while they run: for what the kernel keeps no peak of.

use super::{LOOKS, Leaves, Looks, mapped};
use crate::cgroup::{CgroupError, StageGroup};
use crate::places::Places;
use std::time::{Duration, Instant};

/// How much longer than a look the pause after it is.
const SHARE: u32 = 5;

/// How long a stage has to be seen beyond its limit until a process is ended. What is looked at is read from three places, one
/// after the other, while programs go on; and the kernel's sums are made for each CPU, and lag behind.
const CERTAIN: Duration = Duration::from_millis(20);

/// What one look finds of a stage, in bytes.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// What it is charged for, without pages of files on a disk: the kernel takes those back before it ends anybody.
    charged: u64,
    /// Files in memory that lie in it, a part of that.
    shared: u64,
    /// Files in memory that the test's programs have mapped, wherever they lie.
    mapped: u64,
    /// What TCP holds and is not in `charged`.
    tcp: u64,
}

impl Reading {
    /// All that is sure to be held. Whatever lies in files of the stage may be what is mapped: it is not counted twice, though
    /// programs that write files and map others get by with so much more.
    fn held(&self) -> u64 {
        self.charged + self.mapped.saturating_sub(self.shared) + self.tcp
    }
}

/// Whether a test's stage is beyond its limit with what is mapped: never by one look.
#[derive(Debug, Default)]
pub(super) struct Suspicion(Option<Instant>);

impl Suspicion {
    /// Takes one look, and says whether it is certain by now.
    fn look(&mut self, reading: &Reading, limit: u64, now: Instant) -> bool {
        if reading.held() <= limit {
            self.0 = None;
            return false;
        }
        now.duration_since(*self.0.get_or_insert(now)) >= CERTAIN
    }

    /// Whether there is one.
    fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

impl Leaves {
    /// When programs are to be looked at again; `None`: none is counted at the moment.
    pub fn look_due(&self) -> Option<Instant> {
        let current = self.current.as_ref()?;
        let runs = current.entered > 0 || self.shared.values().any(|leaf| leaf.runs);
        runs.then_some(self.looks.due)
    }

    /// Looks at the programs of the test, if it is time.
    ///
    /// # Errors
    /// When the kernel refuses what it cannot refuse on a sane host.
    pub fn look(&mut self, group: &StageGroup, places: &Places) -> Result<(), CgroupError> {
        let begun = Instant::now();
        if self.look_due().is_none_or(|due| begun < due) {
            return Ok(());
        }
        self.look_at_mapped(group)?;
        self.look_at_places(places);
        if self.entered.is_empty() {
            self.stretch(group, true)?;
        }
        let pause = self.looks.pause.max(begun.elapsed() * SHARE);
        self.looks = Looks { due: Instant::now() + pause, pause: (pause + pause / 2).min(LOOKS[1].max(pause)) };
        Ok(())
    }

    /// Notes places that are full: what filled one may be gone at the test's end, and whoever failed by it has not been told.
    pub(super) fn look_at_places(&mut self, places: &Places) {
        let Some(current) = &mut self.current else { return };
        for full in places.full() {
            if current.filled.iter().all(|known| known.place != full.place) {
                current.filled.push(full);
            }
        }
    }

    /// Files in memory that the test's programs have mapped and others were charged for; where all of it is more than the limit
    /// the largest program ends, as the kernel would have it.
    fn look_at_mapped(&mut self, group: &StageGroup) -> Result<(), CgroupError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let mut pids = group.processes(&current.name)?;
        for (name, leaf) in &self.shared {
            if leaf.runs && current.account.uses().contains(name) {
                pids.extend(group.processes(name)?);
            }
        }
        let seen = mapped::look(&pids);
        let before = current.account.most_mapped();
        let elsewhere = current.account.mapped(seen.bytes, &self.shared)?;
        if elsewhere <= before && !current.suspicion.is_there() {
            return Ok(());
        }
        // Whoever maps more and more is at it right now.
        self.looks.pause = LOOKS[0];
        let Some(stage) = &self.stage else { return Ok(()) };
        let files = stage.in_files_below()?;
        let charged = stage.now()?.saturating_sub(files.cache);
        let reading = Reading { charged, shared: files.shared, mapped: seen.bytes, tcp: stage.tcp()? };
        if current.suspicion.look(&reading, self.limit, Instant::now())
            && let Some((pid, _)) = seen.largest
            && mapped::kill(pid, || group.processes(&current.name).is_ok_and(|pids| pids.contains(&pid)))
        {
            current.account.went_beyond();
            current.suspicion = Suspicion::default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMIT: u64 = 150 * MIB;

    fn reading(charged: u64, shared: u64, mapped: u64) -> Reading {
        Reading { charged: charged * MIB, shared: shared * MIB, mapped: mapped * MIB, tcp: 0 }
    }

    #[test]
    fn a_file_of_the_stage_is_not_counted_twice_however_late_the_kernels_sums_are() {
        let mut suspicion = Suspicion::default();
        let begun = Instant::now();
        for ms in 0..1000 {
            // 80 MiB of an earlier test of this stage, which a program has just mapped.
            assert!(!suspicion.look(&reading(120, 80, 80), LIMIT, begun + Duration::from_millis(ms)));
        }
    }

    #[test]
    fn nobody_is_ended_by_one_look_nor_by_two_that_are_apart() {
        let mut suspicion = Suspicion::default();
        let at = |ms| Instant::now() + Duration::from_millis(ms);
        let (much, little) = (reading(120, 0, 80), reading(40, 0, 80));
        assert!(!suspicion.look(&much, LIMIT, at(0)) && suspicion.is_there());
        assert!(!suspicion.look(&little, LIMIT, at(10)) && !suspicion.is_there());
        assert!(!suspicion.look(&much, LIMIT, at(1000)));
        assert!(!suspicion.look(&much, LIMIT, at(1010)));
        assert!(suspicion.look(&much, LIMIT, at(1100)));
    }

    #[test]
    fn what_was_charged_elsewhere_and_what_tcp_holds_count() {
        let mut suspicion = Suspicion::default();
        let begun = Instant::now();
        let tcp = Reading { tcp: 40 * MIB, ..reading(100, 10, 21) };
        assert!(!suspicion.look(&tcp, LIMIT, begun));
        assert!(suspicion.look(&tcp, LIMIT, begun + CERTAIN));
    }
}
