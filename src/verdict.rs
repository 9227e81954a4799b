//! The verdict: what the backend is told about a task, before it is put into a dialect.

use crate::text::visible;
use crate::units::show_bytes;
use sandbox::outcome::LeafUsage;
use std::time::Duration;

/// What is said about one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Every collected test exactly once, in the order of collection; named tests that do not exist after them.
    pub cases: Vec<Case>,
    /// Set when the run itself broke: a text on which a student or a teacher can act.
    pub error: Option<String>,
    /// What was seen of attempts to change the result: sentences. They change nothing else.
    pub tampering: Vec<String>,
    /// What has to be known of the run, and is nobody's fault: sentences. They change nothing either.
    pub remarks: Vec<String>,
    /// Wall clock of the suite's run.
    pub duration: Duration,
}

/// What is said about one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// `module::test[params]`: pytest's class name without a leading `tests.`, then `::`, then the test's name.
    pub name: String,
    /// How it ended; only `Passed` counts as passed.
    pub status: Status,
    /// Text of a failure or skip; empty for a pass.
    pub description: String,
    /// Wall clock of the test.
    pub duration: Duration,
    /// Peak memory in bytes as the kernel measured it; 0 for a test that never ran.
    pub memory: u64,
    /// What was measured of it, all together; none for a test that never ran.
    pub measured: Option<LeafUsage>,
}

/// Where a test's figure of memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemorySource {
    /// The peak of all programs that ran for it: those that it started, and those of the fixtures that it uses.
    Programs,
    /// The peak of the programs that it started itself: what its fixtures' took meanwhile this kernel cannot tell.
    OwnPrograms,
    /// It started none: how far the harness's own memory rose above its level at the test's start.
    HarnessRise,
    /// It started none, and this kernel cannot tell what the harness took; the figure is 0.
    NotKnown,
}

/// The figure for a test's memory in bytes, and where it comes from.
pub fn memory_of(leaf: &LeafUsage) -> (u64, MemorySource) {
    let value = |figure: &Option<sandbox::outcome::Figure>| figure.as_ref().map(|f| f.value);
    let peak = value(&leaf.memory.peak);
    if leaf.entered > 0 || peak.is_some_and(|peak| peak > 0) {
        return match peak.or(value(&leaf.usage.memory_peak)) {
            Some(peak) if leaf.memory.missing > 0 => (peak, MemorySource::OwnPrograms),
            Some(peak) => (peak, MemorySource::Programs),
            None => (0, MemorySource::NotKnown),
        };
    }
    match value(&leaf.harness_rise) {
        Some(rise) => (rise, MemorySource::HarnessRise),
        None => (0, MemorySource::NotKnown),
    }
}

/// What there is to be said of a test whether it passed or not: sentences of the sandbox's.
pub fn remarks_on(leaf: &LeafUsage) -> Vec<String> {
    let mut remarks = Vec::new();
    let left = &leaf.left;
    if left.count > 0 && left.ended {
        let (what, were) = if left.count == 1 { ("process", "was") } else { ("processes", "were") };
        let names = if left.names.is_empty() { String::new() } else { format!(": {}", left.names.join(", ")) };
        remarks.push(format!(
            "{} {what} that this test started {were} still running at its end and {were} ended{names}",
            left.count
        ));
    }
    let memory = &leaf.memory;
    if memory.mapped > 0 {
        remarks.push(format!(
            "its programs had up to {} of files in memory mapped that others have written (an earlier stage or test, or pytest): they are not in the figure of its memory",
            show_bytes(memory.mapped)
        ));
    }
    if memory.missing > 0 {
        remarks.push(format!(
            "programs of its fixtures held {} at its end: this kernel cannot tell their peak in a test, which is not in the figure",
            show_bytes(memory.missing)
        ));
    }
    remarks
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It passed.
    Passed,
    /// An assertion failed.
    Failed,
    /// Its set-up or tear-down broke.
    Error,
    /// The suite skipped it.
    Skipped,
    /// It was skipped, and the suite says that this one may be; or it failed, as the suite expects it to (xfail). The others decide.
    SkipAllowed,
    /// It was running when the run was stopped.
    Stopped,
    /// It never started, or the suite does not have it.
    NotRun,
}

impl Verdict {
    /// A verdict for a run that broke before any test was known.
    pub fn broken(error: impl Into<String>) -> Self {
        Verdict {
            cases: Vec::new(),
            error: Some(error.into()),
            tampering: Vec::new(),
            remarks: Vec::new(),
            duration: Duration::ZERO,
        }
    }

    /// What is said beside the cases: what broke the run, what was seen of tampering, and what else has to be known; empty for most.
    pub fn details(&self) -> String {
        let parts = [self.error.clone().unwrap_or_default(), self.noted()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// What was seen of tampering, and what else has to be known, a line each; empty for most.
    pub fn noted(&self) -> String {
        let mut lines = vec![self.tampering_told()];
        lines.extend(self.remarks.iter().map(|text| format!("note: {}", visible(text).replace('\n', " "))));
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }

    /// What was seen of tampering, in a sentence; empty for most.
    pub fn tampering_told(&self) -> String {
        match &self.tampering[..] {
            [] => String::new(),
            all => {
                // Names of files may hold anything, and each is a part of a sentence.
                let all: Vec<String> = all.iter().map(|text| visible(text).replace('\n', " ")).collect();
                format!("tampering was seen: {}", all.join("; "))
            }
        }
    }

    /// At least one case passed, all others too but for skips that the suite allows, and the run itself did not break.
    pub fn is_passed(&self) -> bool {
        let all = |good: &[Status]| self.cases.iter().all(|case| good.contains(&case.status));
        let any = self.cases.iter().any(|case| case.status == Status::Passed);
        self.error.is_none() && any && all(&[Status::Passed, Status::SkipAllowed])
    }
}
