//! The end of a leaf: what it comes to, and what becomes of the programs that are left in it.

use super::{Closed, Leaves, SESSION, met_in};
use crate::cgroup::{CgroupError, StageGroup};
use crate::outcome::{Figure, LeafUsage, Left};
use crate::places::Places;
use std::time::{Duration, Instant};

/// How long the last programs of a test may take to end by themselves: a pipeline's last word is not something left behind.
pub(super) const GRACE: Duration = Duration::from_millis(50);

/// How long what is left may take to be gone once it was ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Names of what was left that are told.
const NAMES: usize = 8;

impl Leaves {
    /// Ends a leaf that outlived tests.
    pub(super) fn end(&mut self, group: &mut StageGroup, leaf: &str) -> Result<Option<LeafUsage>, CgroupError> {
        self.leave(group, leaf)?;
        self.ended.insert(leaf.into());
        let Some(shared) = self.shared.get(leaf) else { return Ok(None) };
        let own_peak = shared.meter.peak()?;
        let left = self.end_what_is_left(group, leaf)?;
        let orphans = self.shared.remove(leaf).map(|shared| shared.orphans).unwrap_or_default();
        let closed = Closed { left, own_peak, orphans, ..Closed::default() };
        let usage = describe(group, leaf, &closed)?;
        self.over.push_back((closed, usage.clone()));
        Ok(Some(usage))
    }

    pub(super) fn close(&mut self, group: &mut StageGroup, places: &Places) -> Result<Option<LeafUsage>, CgroupError> {
        self.entered.clear();
        self.stretch(group, true)?;
        let Some(mut current) = self.current.take() else { return Ok(None) };
        // What pytest captures is written by its own tests as well, and is nobody's memory there either.
        let captured = current.account.most_captured();
        let harness_rise = match &mut current.rise {
            None => None,
            Some(rise) => Some(Figure { value: rise.bytes()?.saturating_sub(captured), source: rise.source().into() }),
        };
        let wall_ms = current.since.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let mut meanwhile = group.met()?.since(&current.before);
        meanwhile.full = places.full();
        let mut filled = std::mem::take(&mut current.filled);
        filled.retain(|was| meanwhile.full.iter().all(|is| is.place != was.place));
        meanwhile.filled = filled;
        let mut beside = [0; 2];
        for leaf in current.account.uses().iter().filter(|leaf| self.shared.contains_key(*leaf)) {
            let before = current.met.get(leaf).copied().unwrap_or_default();
            for (sum, (now, before)) in beside.iter_mut().zip(met_in(group, leaf)?.into_iter().zip(before)) {
                *sum += now.saturating_sub(before);
            }
        }
        let own_peak = current.account.own_peak();
        let (memory, uses) = current.account.finish(&self.shared)?;
        let left = self.end_what_is_left(group, &current.name)?;
        let (entered, alive, orphans) = (current.entered, current.alive, Left::default());
        let closed =
            Closed { entered, wall_ms, harness_rise, meanwhile, own_peak, memory, uses, left, beside, alive, orphans };
        let usage = describe(group, &current.name, &closed)?;
        self.over.push_back((closed, usage.clone()));
        Ok(Some(usage))
    }

    /// Ends what still runs in a leaf, unless it is to go on.
    fn end_what_is_left(&self, group: &StageGroup, leaf: &str) -> Result<Left, CgroupError> {
        let until = Instant::now() + GRACE;
        while group.is_in_use(leaf)? {
            let pids: Vec<i32> = group.processes(leaf)?.into_iter().filter(|pid| !self.helpers.contains(pid)).collect();
            if !pids.is_empty() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let mut names = Vec::new();
            names_of(&pids, &mut names);
            if !self.keep {
                group.empty_leaf(leaf, PATIENCE)?;
            }
            return Ok(Left { count: pids.len() as u64, names, ended: !self.keep });
        }
        Ok(Left::default())
    }

    /// The stage is about to be stopped: whether the test that is running has programs at work.
    pub fn look_who_is_alive(&mut self, group: &StageGroup) {
        let Some(current) = &mut self.current else { return };
        let used = current.account.uses().iter().filter(|leaf| *leaf != SESSION && self.shared.contains_key(*leaf));
        current.alive = used.chain([&current.name]).any(|leaf| group.is_in_use(leaf).unwrap_or(false));
    }

    /// The figures of every leaf that is still there, when all is over: of those whose processes outlived them the final
    /// ones, and of the one that was current.
    ///
    /// # Errors
    /// When a figure cannot be read.
    pub fn finish(mut self, group: &mut StageGroup) -> Result<Vec<LeafUsage>, CgroupError> {
        let mut all = Vec::new();
        // The places are gone; the outcome says what was full.
        all.extend(self.close(group, &Places::default())?);
        for (name, closed) in &self.lingering {
            all.push(describe(group, name, closed)?);
        }
        for (name, shared) in &self.shared {
            let own_peak = shared.meter.peak()?;
            let orphans = shared.orphans.clone();
            all.push(describe(group, name, &Closed { own_peak, orphans, ..Closed::default() })?);
        }
        // Of these nobody knows yet whether there was somebody left.
        for (closed, told) in &self.over {
            let now = describe(group, &told.leaf, closed)?;
            if now != *told && all.iter().all(|usage: &LeafUsage| usage.leaf != now.leaf) {
                all.push(now);
            }
        }
        Ok(all)
    }
}

/// Adds the programs' names to those that are told.
pub(super) fn names_of(pids: &[i32], names: &mut Vec<String>) {
    for pid in pids {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        let name = name.map(|name| crate::denied::shown(&name)).unwrap_or_default();
        if !name.is_empty() && !names.contains(&name) && names.len() < NAMES {
            names.push(name);
        }
    }
}

fn describe(group: &StageGroup, name: &str, closed: &Closed) -> Result<LeafUsage, CgroupError> {
    let mut usage = group.leaf_usage(name)?;
    // Where the kernel's own was begun anew it covers the last stretch only.
    if let (Some(figure), Some(peak)) = (&mut usage.memory_peak, closed.own_peak) {
        figure.value = figure.value.max(peak);
    }
    for (figure, beside) in [&mut usage.oom_kills, &mut usage.pids_denied].into_iter().zip(closed.beside) {
        if let Some(figure) = figure {
            figure.value += beside;
        }
    }
    Ok(LeafUsage {
        leaf: name.into(),
        entered: closed.entered,
        wall_ms: closed.wall_ms,
        harness_rise: closed.harness_rise.clone(),
        usage,
        meanwhile: closed.meanwhile.clone(),
        memory: closed.memory.clone(),
        uses: closed.uses.clone(),
        left: closed.left.clone(),
        alive: closed.alive,
        orphans: closed.orphans.clone(),
    })
}
