//! Whether a task can start under the operator's limits: one that does nothing, a project with nothing to build and a suite with one
//! empty test, is graded with them. Where that does not work, nothing will; what the least is that does is tried out, and not
//! reckoned, because it hangs on the kernel, the interpreter and the C library.

use super::nest::write_all;
use super::record::Record;
use super::{DISK, MEMORY, OUTPUT, PIDS, TIME, When};
use crate::check::Finding;
use crate::config::{Grading, Limits, StageOptions, TestOptions, lab_section};
use crate::contain::Host;
use crate::contain::slots::Slot;
use crate::task::{Assignment, Source, grade};
use crate::units::show_bytes;
use anyhow::Context;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Name of the finding.
const NAME: &str = "task limits";

/// The least that works is told to an eighth.
const EXACT: u64 = 8;

const PROJECT: [(&str, &str); 1] = [("Makefile", "all:\n")];
const SUITE: [(&str, &str); 2] =
    [("ostest.toml", "[build]\ncommand = [\"make\"]\n"), ("test_least.py", "def test_nothing():\n    pass\n")];

/// One of a task's limits.
struct Limit {
    name: &'static str,
    get: fn(&Limits) -> u64,
    set: fn(&mut Limits, u64),
    show: fn(u64) -> String,
    /// With this much a task that does nothing is graded anywhere.
    ample: u64,
}

const LIMITS: [Limit; 6] = [
    Limit { name: "mem-limit", get: |l| l.memory, set: |l, to| l.memory = to, show: show_bytes, ample: MEMORY },
    Limit { name: "pids-limit", get: |l| l.pids, set: |l, to| l.pids = to, show: |n| n.to_string(), ample: PIDS },
    Limit { name: "disk-limit", get: |l| l.disk, set: |l, to| l.disk = to, show: show_bytes, ample: DISK },
    Limit { name: "output-limit", get: |l| l.output, set: |l, to| l.output = to, show: show_bytes, ample: OUTPUT },
    Limit { name: "cpu-limit", get: |l| l.cpu_millis, set: |l, to| l.cpu_millis = to, show: seconds, ample: 1000 },
    Limit {
        name: "timeout",
        get: |l| l.timeout.as_millis().try_into().unwrap_or(u64::MAX),
        set: |l, to| l.timeout = Duration::from_millis(to),
        show: |ms| format!("{} s", seconds(ms)),
        ample: TIME.as_millis() as u64,
    },
];

/// Thousandths.
fn seconds(thousandths: u64) -> String {
    (thousandths as f64 / 1000.0).to_string()
}

/// Tries the limits of all tasks, and those of each laboratory that has its own.
pub async fn look(
    host: &Host,
    grading: &Grading,
    slot: &Slot,
    requirements: &str,
    when: When,
    cancel: &CancellationToken,
) -> Vec<Finding> {
    let sets = sets(grading);
    let record = Record::of(host, &format!("{requirements}\nlimits: {sets:?}")).map(|record| record.named("limits-"));
    let cache = host.state_dir.join("cache");
    if when == When::UnlessKnown && record.as_ref().is_some_and(|record| record.is_kept(&cache)) {
        return vec![Finding::green(NAME, "a task that does nothing was graded with them before, since this boot")];
    }
    let trial = match Trial::new(host, grading, slot, requirements, cancel) {
        Ok(trial) => trial,
        Err(error) => {
            return vec![Finding::yellow(NAME, format!("not tried: {error:#}"), "mend what the sentence names")];
        }
    };
    let mut found = Vec::new();
    for (place, limits) in &sets {
        found.extend(trial.judge(place, limits).await);
        if cancel.is_cancelled() {
            return Vec::new();
        }
    }
    if found.is_empty() {
        if let Some(Err(error)) = record.map(|record| record.keep(&cache)) {
            tracing::warn!("that limits were tried could not be kept: {error:#}");
        }
        found.push(Finding::green(NAME, "a task that does nothing is graded with them"));
    }
    found
}

/// Limits that differ, with how an operator writes one of them.
fn sets(grading: &Grading) -> Vec<(String, Limits)> {
    let mut all = vec![("--".to_string(), grading.limits)];
    for lab in grading.labs.keys() {
        let limits = grading.limits.with(lab_section(&grading.labs, lab.parse().ok()));
        if all.iter().all(|(_, known)| *known != limits) {
            all.push((format!("[lab.{lab}] "), limits));
        }
    }
    all
}

/// A task that does nothing.
struct Trial<'a> {
    host: &'a Host,
    grading: &'a Grading,
    slot: &'a Slot,
    cancel: &'a CancellationToken,
    dir: TempDir,
}

impl<'a> Trial<'a> {
    fn new(
        host: &'a Host,
        grading: &'a Grading,
        slot: &'a Slot,
        requirements: &str,
        cancel: &'a CancellationToken,
    ) -> anyhow::Result<Trial<'a>> {
        let work = host.state_dir.join("work");
        std::fs::create_dir_all(&work).with_context(|| format!("{} cannot be made", work.display()))?;
        let dir = tempfile::Builder::new().prefix("least-").tempdir_in(&work);
        let dir = dir.with_context(|| format!("no directory can be made in {}", work.display()))?;
        let trial = Trial { host, grading, slot, cancel, dir };
        write_all(&trial.project(), &PROJECT)?;
        let mut suite = SUITE.to_vec();
        suite.push(("requirements.txt", requirements));
        write_all(&trial.suite(), &suite)?;
        Ok(trial)
    }

    fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn suite(&self) -> PathBuf {
        self.dir.path().join("suite")
    }

    /// Why it was not graded with these limits, in a line; none where it was.
    async fn fails(&self, limits: Limits) -> Option<String> {
        let own = Grading {
            tests: self.suite().display().to_string(),
            tests_branch: None,
            // A guard against hanging, as for the canary.
            limits: Limits { timeout: limits.timeout.min(TIME), ..limits },
            build: StageOptions::default(),
            test: TestOptions::default(),
            labs: BTreeMap::new(),
            ..self.grading.clone()
        };
        let assignment = Assignment {
            attempt: "least".into(),
            source: Source::Directory(self.project()),
            labs: Vec::new(),
            connected_tests: Vec::new(),
        };
        let verdict = grade(self.host, &own, self.slot, &assignment, None, self.cancel, &mut |_| {}).await.verdict;
        if verdict.is_passed() {
            return None;
        }
        let case = || verdict.cases.first().map(|case| case.description.clone());
        let why = verdict.error.clone().or_else(case).unwrap_or_default();
        // A sentence, and the first of what is behind it.
        Some(why.lines().filter(|line| !line.trim().is_empty()).take(2).collect::<Vec<_>>().join(": "))
    }

    /// Nothing, or what is wrong with these limits.
    async fn judge(&self, place: &str, limits: &Limits) -> Vec<Finding> {
        let Some(why) = self.fails(*limits).await else { return Vec::new() };
        let mut ample = *limits;
        for limit in &LIMITS {
            (limit.set)(&mut ample, limit.ample.max((limit.get)(limits)));
        }
        if let Some(why) = self.fails(ample).await {
            let found = format!("not tried: a task that does nothing fails whatever the limits: {why}");
            return vec![Finding::yellow(NAME, found, "mend what the sentence names")];
        }
        let mut found = Vec::new();
        for limit in LIMITS.iter().filter(|limit| (limit.get)(limits) < limit.ample) {
            let given = (limit.get)(limits);
            let with = |value| {
                let mut one = ample;
                (limit.set)(&mut one, value);
                one
            };
            let Some(why) = self.fails(with(given)).await else { continue };
            let (mut bad, mut good) = (given, limit.ample);
            while let Some(middle) = between(bad, good) {
                if self.cancel.is_cancelled() {
                    return found;
                }
                match self.fails(with(middle)).await {
                    None => good = middle,
                    Some(_) => bad = middle,
                }
            }
            let (name, shown, least) = (limit.name, (limit.show)(given), (limit.show)(good));
            found.push(Finding::red(
                NAME,
                format!(
                    "{place}{name} {shown}: nothing can be graded with it ({why}); the least that works here is {least}"
                ),
                format!(
                    "raise {place}{name}: a task that does nothing needs {least}, and each submission and suite more"
                ),
            ));
        }
        if found.is_empty() {
            let found = format!("{place}: nothing can be graded with these limits together: {why}");
            return vec![Finding::red(NAME, found, "raise them")];
        }
        found
    }
}

/// The next value to try, as many times the first as the second is of it; none where they are near enough.
fn between(bad: u64, good: u64) -> Option<u64> {
    if good - bad <= (good / EXACT).max(1) {
        return None;
    }
    let middle = ((bad.max(1) as f64) * (good as f64)).sqrt() as u64;
    Some(middle.clamp(bad + 1, good - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_limit_is_read_where_it_is_written() {
        let mut limits = Limits::from_options(crate::config::LimitOptions::default(), 1);
        for (number, limit) in LIMITS.iter().enumerate() {
            (limit.set)(&mut limits, 1000 + number as u64);
        }
        for (number, limit) in LIMITS.iter().enumerate() {
            assert_eq!((limit.get)(&limits), 1000 + number as u64, "{}", limit.name);
        }
        assert_eq!((LIMITS[5].show)(1500), "1.5 s");
    }

    proptest! {
        #[test]
        fn a_search_ends_near_whatever_works(bad in 0u64..1 << 40, more in 1u64..1 << 40, needed in 0.0f64..=1.0) {
            let top = bad + more;
            let needed = (bad + 1) + ((more - 1) as f64 * needed) as u64;
            let (mut low, mut high, mut steps) = (bad, top, 0);
            while let Some(middle) = between(low, high) {
                prop_assert!(low < middle && middle < high);
                if middle >= needed { high = middle } else { low = middle }
                steps += 1;
            }
            prop_assert!(low < needed && needed <= high);
            prop_assert!(high - low <= (high / EXACT).max(1) && steps <= 20, "{} steps", steps);
        }
    }
}
