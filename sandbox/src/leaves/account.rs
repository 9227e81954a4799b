//! The memory of one test: the peak of all that runs for it.
//!
//! That is its own leaf and the leaves that it uses, together. What the kernel counts in them and is no memory of a program's is
//! taken off: pages of files on a disk, which go to whoever touches them first, and the file in which pytest keeps the
//! program's output.
//!
//! Such pages come and go, and nobody keeps a peak of what is left without them. So the time is cut into stretches, each with a
//! peak of its own, where the kernel can begin one anew: of a stretch that part is taken off which was there at its beginning or
//! at its end, whichever was more. Where the kernel cannot (v2 before 6.12), there is one stretch, the whole test, and the leaves
//! that it uses are not in its figure but said apart.

use crate::cgroup::{CgroupError, InFiles, Meter};
use crate::outcome::{Figure, LeafMemory, Left};
use rustix::fs::{FileType, fstat};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// What is mapped and charged elsewhere is not told below this: the kernel's sums lag behind by a batch for each CPU.
const WORTH_TELLING: u64 = 2 << 20;

/// A leaf that outlives tests.
#[derive(Debug)]
pub struct Shared {
    /// Its memory.
    pub meter: Meter,
    /// Whether a process was in it at the last look. What lies in files that nobody has open runs for nobody.
    pub runs: bool,
    /// Programs in it that were ended because nobody who had started them was left.
    pub orphans: Left,
}

/// Leaves that outlive tests, by name.
pub type AllShared = BTreeMap<String, Shared>;

/// What one look finds of files in memory that programs have mapped, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mapped {
    /// Those that their leaves were not charged for.
    elsewhere: u64,
    /// What the leaves hold, without pages of files on a disk, and such files of which that is sure.
    whole: u64,
}

impl Mapped {
    /// `parts`: what each of the leaves holds, and what of it lies in files.
    fn of(bytes: u64, parts: &[(u64, InFiles)]) -> Mapped {
        let (mut held, mut charged, mut shared) = (0, 0, 0);
        for (now, files) in parts {
            held += now.saturating_sub(files.cache);
            charged += files.shared.min(files.mapped);
            shared += files.shared;
        }
        let worth = |bytes: u64| if bytes >= WORTH_TELLING { bytes } else { 0 };
        let sure = worth(bytes.saturating_sub(shared));
        Mapped { elsewhere: worth(bytes.saturating_sub(charged)), whole: if sure > 0 { held + sure } else { 0 } }
    }

    /// What holds of it, after another look just before. The kernel's sum of what is mapped lags behind, and then files of the
    /// leaves' own (`shared`) look as if they were somebody else's.
    fn and(self, before: Mapped, shared: u64) -> Mapped {
        let elsewhere = if shared < WORTH_TELLING { self.elsewhere } else { self.elsewhere.min(before.elsewhere) };
        Mapped { elsewhere, whole: self.whole.min(before.whole) }
    }
}

/// The account of one test.
#[derive(Debug)]
pub struct Account {
    own: Meter,
    uses: Vec<String>,
    /// The highest that was seen without what is taken off.
    highest: u64,
    /// What is taken off: at the beginning of the stretch, and the most of all.
    held: u64,
    most_held: u64,
    /// What leaves that are gone have left behind, in the group above all.
    dead: Option<u64>,
    /// The peak of its own leaf, as the kernel counts it.
    own_peak: Option<u64>,
    /// At the last look.
    last: Mapped,
    memory: LeafMemory,
}

/// Files that take programs' output, held to see how large they are.
#[derive(Debug, Default)]
pub struct Captured(Vec<OwnedFd>);

impl Captured {
    /// Those of these that are files; each once.
    pub fn new(fds: Vec<OwnedFd>) -> Captured {
        let mut seen = Vec::new();
        let mut kept = Vec::new();
        for fd in fds {
            let Ok(stat) = fstat(&fd) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && !seen.contains(&(stat.st_dev, stat.st_ino))
            {
                seen.push((stat.st_dev, stat.st_ino));
                kept.push(fd);
            }
        }
        Captured(kept)
    }

    /// Bytes of memory that they take.
    fn bytes(&self) -> u64 {
        let blocks = self.0.iter().filter_map(|fd| fstat(fd).ok()).map(|stat| stat.st_blocks.cast_unsigned());
        blocks.sum::<u64>() * 512
    }
}

impl Account {
    /// Of a leaf that was just made. The first stretch begins with the end of one that is not counted.
    pub fn new(own: Meter) -> Account {
        Account {
            own,
            uses: Vec::new(),
            highest: 0,
            held: 0,
            most_held: 0,
            dead: None,
            own_peak: None,
            last: Mapped::default(),
            memory: LeafMemory::default(),
        }
    }

    /// The leaves that it uses.
    pub fn uses(&self) -> &[String] {
        &self.uses
    }

    /// It uses this leaf, too.
    pub fn use_also(&mut self, leaf: &str) {
        if !self.uses.iter().any(|used| used == leaf) {
            self.uses.push(leaf.into());
        }
    }

    /// Its own peak, as the kernel counts it, over all stretches.
    pub fn own_peak(&self) -> Option<u64> {
        self.own_peak
    }

    /// Ends a stretch and begins another. `counted`: what ran in it ran for the test.
    ///
    /// # Errors
    /// When figures cannot be read.
    pub fn stretch(
        &mut self,
        programs: &mut Meter,
        shared: &mut AllShared,
        captured: &Captured,
        counted: bool,
    ) -> Result<(), CgroupError> {
        let peak = self.own.peak()?;
        self.own_peak = self.own_peak.max(peak);
        let others: Vec<&Shared> =
            shared.iter().filter(|(name, leaf)| leaf.runs && self.uses.contains(name)).map(|(_, leaf)| leaf).collect();
        let mut cache = self.own.in_files()?.cache;
        for other in &others {
            cache += other.meter.in_files()?.cache;
        }
        let output = captured.bytes();
        let held = cache + output;
        if counted && let Some(peak) = peak {
            let off = self.held.max(held);
            self.memory.cache = self.memory.cache.max(cache);
            self.memory.captured = self.memory.captured.max(output);
            self.most_held = self.most_held.max(off);
            if self.own.is_anew() {
                let peak = self.together(peak, &others, programs, shared)?;
                self.highest = self.highest.max(peak.saturating_sub(off));
            } else {
                self.highest = self.highest.max(self.own.now()?.saturating_sub(held));
            }
        }
        self.memory.tcp = self.memory.tcp.max(self.own.tcp()? + sum(&others, Meter::tcp)?);
        self.held = held;
        self.own.begin()?;
        programs.begin()?;
        for leaf in shared.values_mut() {
            leaf.meter.begin()?;
        }
        Ok(())
    }

    /// The peak of its own leaf and the others together. Both bounds are never too low: the sum of their peaks, which need not
    /// have been at one time; and the peak of the group above, without what leaves that are gone have left in it, which is
    /// the rest of it as long as no other leaf runs.
    fn together(
        &mut self,
        own: u64,
        others: &[&Shared],
        programs: &Meter,
        shared: &AllShared,
    ) -> Result<u64, CgroupError> {
        if others.is_empty() {
            return Ok(own);
        }
        let mut all = own;
        for other in others {
            all += other.meter.peak()?.unwrap_or(0);
        }
        let mut level = programs.now()?.saturating_sub(self.own.now()?);
        for leaf in shared.values() {
            level = level.saturating_sub(leaf.meter.now()?);
        }
        // It only shrinks: files of an earlier test are removed. What is read while programs run may be off.
        let dead = self.dead.map_or(level, |dead| dead.min(level));
        self.dead = Some(dead);
        let alone = shared.values().all(|leaf| !leaf.runs || others.iter().any(|other| std::ptr::eq(*other, leaf)));
        match programs.peak()? {
            Some(peak) if alone && programs.is_anew() => {
                let idle = shared.values().filter(|leaf| !leaf.runs);
                let mut rest = dead;
                for leaf in idle {
                    rest += leaf.meter.now()?;
                }
                Ok(all.min(peak.saturating_sub(rest)).max(own))
            }
            _ => Ok(all),
        }
    }

    /// Its own and the leaves that it uses have this much of files in memory mapped. Gives how much of it they were not charged
    /// for.
    ///
    /// # Errors
    /// When figures cannot be read.
    pub fn mapped(&mut self, bytes: u64, shared: &AllShared) -> Result<u64, CgroupError> {
        if bytes < WORTH_TELLING {
            self.last = Mapped::default();
            return Ok(0);
        }
        let mut parts = vec![(self.own.now()?, self.own.in_files()?)];
        for (name, leaf) in shared {
            if self.uses.contains(name) {
                parts.push((leaf.meter.now()?, leaf.meter.in_files()?));
            }
        }
        let seen = Mapped::of(bytes, &parts);
        let sure = seen.and(self.last, parts.iter().map(|(_, files)| files.shared).sum());
        self.last = seen;
        self.memory.mapped = self.memory.mapped.max(sure.elsewhere);
        self.memory.with_mapped = self.memory.with_mapped.max(sure.whole);
        Ok(sure.elsewhere)
    }

    /// The most of that so far.
    pub fn most_mapped(&self) -> u64 {
        self.memory.mapped
    }

    /// The most that its output took.
    pub fn most_captured(&self) -> u64 {
        self.memory.captured
    }

    /// One of its processes was ended because it went beyond the limit with what it had mapped.
    pub fn went_beyond(&mut self) {
        self.memory.ended_beyond += 1;
    }

    /// What all of it comes to.
    ///
    /// # Errors
    /// When figures cannot be read.
    pub fn finish(mut self, shared: &AllShared) -> Result<(LeafMemory, Vec<String>), CgroupError> {
        if let Some(own) = self.own_peak {
            let whole = match self.own.is_anew() {
                true => self.highest,
                false => self.highest.max(own.saturating_sub(self.most_held)),
            };
            let source = match self.own.is_anew() {
                true => "peaks of the test's leaves",
                false => "peak of the test's own leaf",
            };
            self.memory.peak = Some(Figure { value: whole, source: source.into() });
        }
        if !self.own.is_anew() {
            for (name, leaf) in shared.iter().filter(|(_, leaf)| leaf.runs) {
                if self.uses.contains(name) {
                    let files = leaf.meter.in_files()?;
                    self.memory.missing += leaf.meter.now()?.saturating_sub(files.cache);
                }
            }
        }
        Ok((self.memory, self.uses))
    }
}

fn sum(others: &[&Shared], figure: impl Fn(&Meter) -> Result<u64, CgroupError>) -> Result<u64, CgroupError> {
    others.iter().map(|other| figure(&other.meter)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn look(bytes: u64, now: u64, shared: u64, mapped: u64) -> Mapped {
        let files = InFiles { cache: 0, shared: shared * MIB, mapped: mapped * MIB };
        Mapped::of(bytes * MIB, &[(now * MIB, files)])
    }

    #[test]
    fn files_of_its_own_are_somebody_elses_by_no_single_look() {
        let late = look(80, 90, 80, 10);
        assert_eq!(late, Mapped { elsewhere: 70 * MIB, whole: 0 });
        let right = look(80, 90, 80, 80);
        assert_eq!(right.and(late, 80 * MIB), Mapped::default());
        assert_eq!(late.and(right, 80 * MIB), Mapped::default());
    }

    #[test]
    fn files_that_others_were_charged_for_are_told_at_once_and_the_sum_by_two_looks() {
        let seen = look(80, 10, 0, 0);
        assert_eq!(seen, Mapped { elsewhere: 80 * MIB, whole: 90 * MIB });
        assert_eq!(seen.and(Mapped::default(), 0), Mapped { elsewhere: 80 * MIB, whole: 0 });
        assert_eq!(seen.and(seen, 0), seen);
    }
}
