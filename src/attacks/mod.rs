//! The attack suite: programs that try to get out, tried on the host that grades.
//!
//! Each attack runs as a student's program does, in a sandbox of the test stage (or of the build stage), with small limits of
//! its own. Whether it got what it wanted is not only its own word: what it aims at stands outside ([`bait`]), and the host is
//! looked at before and after ([`outside`]). It changes nothing but what the suite itself has laid out.
//!
//! Debug builds can switch layers off ([`Off`]): an attack has to fail where the first layer against it is off, and where the
//! second is, and to succeed where all are. So it is shown that either layer holds, and that the attack can tell.

mod bait;
mod case;
mod list;
mod outside;
mod programs;
mod trial;

pub use case::{Case, End};
pub use trial::{Off, Report, Verdict};

use crate::contain::Host;
use crate::contain::slots::Slot;
use anyhow::Context;
use bait::Bait;
use sandbox::groups::Groups;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// All of them, or those whose names contain one of the words.
///
/// # Errors
/// Where a head cannot be read, or no attack has such a name.
pub fn cases(words: &[String]) -> anyhow::Result<Vec<Case>> {
    let all = list::FILES.iter().map(|file| Case::read(*file)).collect::<Result<Vec<_>, _>>();
    let mut cases = all.map_err(|e| anyhow::anyhow!("an attack's head is wrong: {e}"))?;
    if !words.is_empty() {
        cases.retain(|case| words.iter().any(|word| case.file.name.contains(word.as_str())));
        anyhow::ensure!(!cases.is_empty(), "no attack has a name with {} in it", words.join(" or "));
    }
    Ok(cases)
}

/// Tries them, one after the other in each slot. `each` hears of every one as it ends; the reports come in the order of the
/// cases. `allow`: groups of calls that the attacks have beyond those of the test stage. Where every layer is off there must be one slot: what an attack does to the host is seen by all.
///
/// # Errors
/// Where they cannot be tried at all. That a single one cannot is its own verdict.
pub async fn run(
    host: &Host,
    slots: &[Slot],
    cases: &[Case],
    off: Off,
    allow: Groups,
    cancel: &CancellationToken,
    each: &mut dyn FnMut(&Report),
) -> anyhow::Result<Vec<Report>> {
    let first = slots.first().context("there is no slot")?;
    anyhow::ensure!(slots.len() == 1 || off != Off::Everything, "with every layer off one attack is tried at a time");
    if let Some(missing) = outside::tools_missing() {
        anyhow::bail!(
            "{missing} is missing, which the attack suite needs: `apt-get install build-essential util-linux`"
        );
    }
    let programs = programs::directory(host, first, cancel).await.context("the attacks cannot be made")?;
    let next = Cell::new(0);
    let (reports, each) = (RefCell::new(BTreeMap::new()), RefCell::new(each));
    let baits = slots.iter().map(|_| Bait::lay()).collect::<anyhow::Result<Vec<_>>>();
    let baits = baits.context("what the attacks aim at cannot be laid out")?;
    let worker = async |slot: &Slot, bait: &Bait| -> anyhow::Result<()> {
        let range = trial::Range::open(host, slot, &programs, bait, off, allow)?;
        while let Some(case) = cases.get(next.get()) {
            let number = next.replace(next.get() + 1);
            let report = range.attempt(case, cancel).await;
            anyhow::ensure!(!cancel.is_cancelled(), "interrupted before all attacks were tried");
            (each.borrow_mut())(&report);
            reports.borrow_mut().insert(number, report);
        }
        Ok(())
    };
    let done = futures_util::future::join_all(slots.iter().zip(&baits).map(|(slot, bait)| worker(slot, bait))).await;
    done.into_iter().collect::<anyhow::Result<()>>()?;
    Ok(reports.into_inner().into_values().collect())
}
