//! What must come of the canary, and what it means when something else does.

use super::{MEMORY as LIMIT, USED};
use crate::check::Finding;
use crate::task::{Graded, Step};
use crate::verdict::{Case, Status};

/// Name of the finding on the stages.
pub const STAGES: &str = "canary";
const VERDICTS: &str = "canary verdicts";
const FIGURES: &str = "canary memory";
const WALLS: &str = "canary walls";

/// How each test must end.
const EXPECTED: [(&str, Status); 6] = [
    ("test_canary::test_passes", Status::Passed),
    ("test_canary::test_fails", Status::Failed),
    (MEMORY, Status::Passed),
    ("test_canary::test_memory_limit", Status::Passed),
    (NETWORK, Status::Passed),
    (OUTSIDE, Status::Passed),
];
const MEMORY: &str = "test_canary::test_memory";
const NETWORK: &str = "test_canary::test_network";
const OUTSIDE: &str = "test_canary::test_outside";

/// How far figures may be off: the kernel charges in batches for each CPU, and a program has to start.
const SLACK: u64 = 4 << 20;

const LOOK: &str = "look at the sandbox alone with `ostest-sandbox exec -- true`, and at what the suite printed with \
    `ostest-sandbox check --logger-level debug`";

/// It could not even be set up.
pub fn could_not(error: &anyhow::Error) -> Finding {
    Finding::red(STAGES, format!("it could not be set up: {error:#}"), "fix the error above")
}

/// Judges what was graded. `untouched`: whether the file outside is as it was.
pub fn judge(graded: &Graded, untouched: bool) -> Vec<Finding> {
    if let Some(error) = &graded.verdict.error {
        return vec![broken(graded.reached, error)];
    }
    let mut stages = match &graded.outcome {
        Some(outcome) if outcome.degraded.is_empty() => "fetched, prepared, built and tested".to_string(),
        Some(outcome) => {
            let layers: Vec<&str> = outcome.degraded.iter().map(|layer| layer.name()).collect();
            format!("fetched, prepared, built and tested, without {}", layers.join(", "))
        }
        None => return vec![Finding::red(STAGES, "its tests ran, and nothing is known of their sandbox", LOOK)],
    };
    if let Some(why) = graded.outcome.as_ref().and_then(|outcome| outcome.untold.as_ref()) {
        stages.push_str(&format!(
            "; a student will not be told which system calls were refused, because a container around the runner has the \
             kernel's one listener ({why})"
        ));
    }
    let cases = &graded.verdict.cases;
    vec![Finding::green(STAGES, stages), verdicts(cases), figures(graded, cases), walls(cases, untouched)]
}

/// A stage did not do its work. The sentence may have the output of a program below it: of pip's words the last error is kept.
fn broken(step: Step, error: &str) -> Finding {
    let sentence = error.lines().next().unwrap_or_default();
    let said = error.lines().skip(1).filter(|line| !line.trim().is_empty());
    let errors = said.clone().filter(|line| line.to_ascii_lowercase().contains("error")).last();
    let last = errors.or(said.last()).map_or(String::new(), |line| format!(": {}", line.trim()));
    let remedy = match step {
        Step::Prepare => {
            "name an index or a directory of wheels in [prepare] env of the configuration (PIP_INDEX_URL; or PIP_NO_INDEX and \
             PIP_FIND_LINKS), or fill the cache on a host with a network (`ostest-sandbox grade`) and copy cache/venv-* over"
        }
        Step::Fetch => "see that git of this host works: `git --version`, `git ls-remote URL`",
        Step::Build => "see that gcc of this host works, with its headers: `apt-get install build-essential`",
        Step::Tree | Step::Suite | Step::Test => LOOK,
    };
    Finding::red(STAGES, format!("the {step} stage broke: {sentence}{last}"), remedy)
}

fn verdicts(cases: &[Case]) -> Finding {
    let mut wrong = Vec::new();
    for (name, status) in EXPECTED {
        match cases.iter().find(|case| case.name == name) {
            Some(case) if case.status == status => {}
            Some(case) => {
                let why = reason(&case.description).map_or(String::new(), |line| format!(": {line}"));
                wrong.push(format!("{name} must end as {status:?} and ended as {:?}{why}", case.status));
            }
            None => wrong.push(format!("{name} is not in the result")),
        }
    }
    let unknown = cases.iter().filter(|case| EXPECTED.iter().all(|(name, _)| case.name != *name));
    wrong.extend(unknown.map(|case| format!("{} is in the result and not in the suite", case.name)));
    match wrong.is_empty() {
        true => Finding::green(VERDICTS, "what must pass passed, and what must fail failed"),
        false => Finding::red(VERDICTS, wrong.join("; "), LOOK),
    }
}

/// The line of a failure's text that says what was wrong: pytest marks it with an E before the source around it.
fn reason(description: &str) -> Option<&str> {
    let mut lines = description.lines().map(str::trim).filter(|line| !line.is_empty());
    let marked = lines.clone().find_map(|line| line.strip_prefix("E "));
    marked.or_else(|| lines.next()).map(str::trim)
}

fn figures(graded: &Graded, cases: &[Case]) -> Finding {
    let source = graded.outcome.as_ref().and_then(|outcome| outcome.usage.memory_peak.as_ref());
    let Some(source) = source else {
        return Finding::yellow(
            FIGURES,
            "the kernel told no peak, so memoryUsed is 0",
            "use Linux 5.19 or newer, which tells it on cgroup v2",
        );
    };
    let told = cases.iter().find(|case| case.name == MEMORY).map_or(0, |case| case.memory);
    let said = format!(
        "a program that used {} was measured with {}, and a limit of {} held at {} ({})",
        kib(USED),
        kib(told),
        kib(LIMIT),
        kib(source.value),
        source.source
    );
    match source.value.abs_diff(LIMIT) <= SLACK && (USED..=USED + SLACK + USED / 100).contains(&told) {
        true => Finding::green(FIGURES, said),
        false => Finding::red(
            FIGURES,
            said,
            "the memory controller of this host does not count or limit as it should: use another kernel",
        ),
    }
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

fn walls(cases: &[Case], untouched: bool) -> Finding {
    let held = |name: &str| cases.iter().any(|case| case.name == name && case.status == Status::Passed);
    let mut open = Vec::new();
    if !held(NETWORK) {
        open.push("a network was not shown to be out of reach");
    }
    if !held(OUTSIDE) {
        open.push("files of the host were not shown to be out of reach");
    }
    if !untouched {
        open.push("a file of the host was written from inside");
    }
    match open.is_empty() {
        true => Finding::green(WALLS, "no network, and no file of the host could be written"),
        false => Finding::red(
            WALLS,
            open.join("; "),
            "do not grade on this host; report it with the output of `check --json`",
        ),
    }
}

#[cfg(test)]
mod tests;
