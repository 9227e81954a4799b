//! Looks at a test's programs while they run: for what the kernel keeps no peak of.

use super::{LOOKS, Leaves, Looks, mapped};
use crate::cgroup::{CgroupError, StageGroup};
use std::time::Instant;

/// How much longer than a look the pause after it is.
const SHARE: u32 = 5;

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
    pub fn look(&mut self, group: &StageGroup) -> Result<(), CgroupError> {
        let begun = Instant::now();
        if self.look_due().is_none_or(|due| begun < due) {
            return Ok(());
        }
        self.look_at_mapped(group)?;
        if self.entered.is_empty() {
            self.stretch(group, true)?;
        }
        let pause = self.looks.pause.max(begun.elapsed() * SHARE);
        self.looks = Looks { due: Instant::now() + pause, pause: (pause + pause / 2).min(LOOKS[1].max(pause)) };
        Ok(())
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
        if current.account.mapped(seen.bytes, &self.shared)? <= before {
            return Ok(());
        }
        // Whoever maps more and more is at it right now.
        self.looks.pause = LOOKS[0];
        let Some(stage) = &self.stage else { return Ok(()) };
        let within = stage.in_files_below()?;
        let outside = seen.bytes.saturating_sub(within.shared.min(within.mapped));
        if stage.now()? + outside + stage.tcp()? > self.limit
            && let Some((pid, _)) = seen.largest
            && mapped::kill(pid, || group.processes(&current.name).is_ok_and(|pids| pids.contains(&pid)))
        {
            current.account.went_beyond();
        }
        Ok(())
    }
}
