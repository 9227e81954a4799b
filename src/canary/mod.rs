//! The canary: a tiny submission with a tiny suite, graded through every stage as a task of the backend would be. How each of its
//! tests must end is known beforehand, and a verdict that is wrong either way means that this host grades nothing.
//!
//! It proves what no file of /proc tells: that git, pip, make, gcc and pytest work inside, that limits are in force and figures are
//! right, that nothing outside can be reached.

mod judge;
mod least;
mod nest;
mod record;

use crate::check::Finding;
use crate::config::{Grading, Limits, Mirror, StageOptions, TestOptions};
use crate::contain::Host;
use crate::contain::slots::Slot;
use crate::task::{Assignment, Progress, Source, grade, prepare, suite};
use anyhow::Context;
use nest::Nest;
use record::Record;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Memory that one of its tests uses.
const USED: u64 = 64 << 20;

/// Memory that another one asks for in vain.
const TOO_MUCH: u64 = 4 * MEMORY;

/// Its limits. Not the operator's: these must hold what it does, and prove the kernel, not the operator's numbers.
const MEMORY: u64 = 256 << 20;
const PIDS: u64 = 64;
const DISK: u64 = 64 << 20;
const OUTPUT: u64 = 1 << 20;
/// A guard against hanging. An emulated processor takes half a minute for what takes a second elsewhere.
const TIME: Duration = Duration::from_secs(300);

/// Where its repository seems to be: a name that by its standard (RFC 2606) nobody has.
const URL_PREFIX: &str = "https://canary.invalid/";

/// Whether it is to be run where it is known to have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In any case.
    Always,
    /// Not if it passed since the last boot, with the same programs and the same host.
    UnlessKnown,
}

/// Runs it, and judges what came of it. `grading` is the operator's: how to reach a package index, and which suite there is.
pub async fn run(host: &Host, grading: &Grading, slot: &Slot, when: When, cancel: &CancellationToken) -> Vec<Finding> {
    run_with(host, grading, slot, when, cancel, &mut |_| {}).await
}

/// The same, for somebody who wants to know how far it is.
pub async fn run_with(
    host: &Host,
    grading: &Grading,
    slot: &Slot,
    when: When,
    cancel: &CancellationToken,
    progress: Progress<'_>,
) -> Vec<Finding> {
    let broken = |error: anyhow::Error| vec![judge::could_not(&error)];
    let requirements = match requirements(host, grading).await {
        Ok(text) => text,
        Err(error) => return broken(error),
    };
    // That it passed once says nothing of an environment that was damaged since: it is built anew by running it.
    let sound = match prepare::is_sound(host, &requirements).await {
        Ok(sound) => sound,
        Err(error) => return broken(error),
    };
    let record = Record::of(host, &requirements);
    let cache = host.state_dir.join("cache");
    if when == When::UnlessKnown
        && sound
        && let Some(record) = &record
        && record.is_kept(&cache)
    {
        return vec![Finding::green(
            judge::STAGES,
            format!("passed before, since this boot: {}", record.path(&cache).display()),
        )];
    }
    // At the level that is always on: lines of an error need it most.
    let span = tracing::error_span!("task", task = %"canary");
    let flown = fly(host, grading, slot, &requirements, cancel, progress).instrument(span).await;
    let (graded, untouched) = match flown {
        Ok(done) => done,
        Err(error) => return broken(error),
    };
    let found = judge::judge(&graded, untouched);
    if let Some(record) = record
        && found.iter().all(|finding| finding.grade == crate::check::Grade::Green)
        && let Err(error) = record.keep(&cache)
    {
        // Nothing is lost but the time of running it again.
        tracing::warn!("that the canary passed could not be kept: {error:#}");
    }
    found
}

/// The task itself; and whether the file outside is as it was.
async fn fly(
    host: &Host,
    grading: &Grading,
    slot: &Slot,
    requirements: &str,
    cancel: &CancellationToken,
    progress: Progress<'_>,
) -> anyhow::Result<(crate::task::Graded, bool)> {
    let nest = Nest::build(&host.state_dir.join("work"), requirements, (USED >> 20, TOO_MUCH >> 20)).await?;
    let own = Grading {
        tests: nest.suite().display().to_string(),
        tests_branch: None,
        limits: Limits {
            memory: MEMORY,
            pids: PIDS,
            cpu_millis: grading.limits.cpu_millis,
            disk: DISK,
            output: OUTPUT,
            timeout: TIME,
        },
        proxy_timeout: Duration::from_secs(10),
        allow_url: vec![URL_PREFIX.into()],
        mirrors: vec![Mirror { prefix: URL_PREFIX.into(), dir: nest.repositories() }],
        allow_internal: grading.allow_internal.clone(),
        backend: grading.backend.clone(),
        answer_within: None,
        credentials: BTreeMap::new(),
        fetch: grading.fetch.clone(),
        prepare: grading.prepare.clone(),
        // The operator's commands are for the operator's suite.
        build: StageOptions::default(),
        test: TestOptions::default(),
        labs: BTreeMap::new(),
    };
    let assignment = Assignment {
        attempt: "canary".into(),
        source: Source::Git { url: format!("{URL_PREFIX}{}.git", nest::REPOSITORY), branch: nest::BRANCH.into() },
        labs: Vec::new(),
        connected_tests: Vec::new(),
    };
    let graded = grade(host, &own, slot, &assignment, None, cancel, progress).await;
    let untouched = nest.outside_is_untouched()?;
    Ok((graded, untouched))
}

/// Tries the operator's limits. Only where the canary has passed: then what fails fails by them.
pub async fn try_limits(
    host: &Host,
    grading: &Grading,
    slot: &Slot,
    when: When,
    cancel: &CancellationToken,
) -> Vec<Finding> {
    match requirements(host, grading).await {
        Ok(text) => least::look(host, grading, slot, &text, when, cancel).await,
        Err(error) => vec![judge::could_not(&error)],
    }
}

/// Whose environment it runs in: that of the operator's suite, which the first task would need as well. A suite that is a repository
/// is not fetched for this; then an environment of the cache will do, so that a host whose index is away, and that needs
/// none, is not called unfit.
async fn requirements(host: &Host, grading: &Grading) -> anyhow::Result<String> {
    if suite::is_git(&grading.tests) {
        let cached = prepare::cached_requirements(host).await?;
        return Ok(cached.unwrap_or_else(|| suite::DEFAULT_REQUIREMENTS.into()));
    }
    let own = suite::read_requirements(Path::new(&grading.tests));
    own.with_context(|| format!("requirements.txt of the suite {} cannot be read", grading.tests))
}
