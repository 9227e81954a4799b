//! Whether this host is fit to grade: each requirement, present or missing, with what brings it.

mod probes;

use crate::contain::slots::Slot;
use crate::contain::{Host, Stage, tree};
use sandbox::outcome::Verdict;
use sandbox::plan::Policy;
use serde::Serialize;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As it should be.
    Present,
    /// Grading works, something is weaker or missing.
    Degraded,
    /// Grading does not work.
    Missing,
}

/// One requirement of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is required, in one word or two.
    pub name: &'static str,
    /// How it is here.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What mends it; empty where nothing is to be mended.
    pub remedy: String,
}

impl Finding {
    fn present(name: &'static str, found: impl Into<String>) -> Finding {
        Finding { name, grade: Grade::Present, found: found.into(), remedy: String::new() }
    }

    fn degraded(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { name, grade: Grade::Degraded, found: found.into(), remedy: remedy.into() }
    }

    fn missing(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { name, grade: Grade::Missing, found: found.into(), remedy: remedy.into() }
    }
}

/// Everything that can be looked at without making a sandbox.
pub fn look(options: &crate::config::HostOptions) -> Vec<Finding> {
    vec![
        probes::kernel(),
        probes::root(),
        probes::user_namespaces(),
        probes::cgroups(),
        probes::swap(),
        probes::landlock(),
        probes::seccomp(),
        probes::core_pattern(),
        probes::tool("git", "apt-get install git"),
        probes::tool("gcc", "apt-get install build-essential"),
        probes::tool("make", "apt-get install build-essential"),
        probes::python(options.python.as_deref()),
        probes::state_dir(&options.state_dir),
        Finding::present(
            "network",
            "build and test have none; fetch and prepare use the host's, unless a --git-mirror serves them",
        ),
    ]
}

/// A real sandbox: `sh -c true` under small limits, and a look at its own report.
pub async fn smoke(host: &Host) -> Finding {
    const NAME: &str = "sandbox";
    const REMEDY: &str = "see the findings above; the sentence names the step that failed";
    let slot = match Slot::take(0) {
        Ok(slot) => slot,
        Err(error) => return Finding::missing(NAME, format!("{error:#}"), REMEDY),
    };
    let limits = crate::config::Limits::from_options(crate::config::LimitOptions::default(), 1);
    let mut stage = Stage::new("check", Policy::Test, &limits);
    stage.argv = ["sh", "-c", "exit 0"].map(str::to_string).to_vec();
    stage.cwd = "/task".into();
    stage.memory = 64 << 20;
    stage.wall = Duration::from_secs(20);
    stage.mounts.push(tree::empty_work(1 << 20));
    let plan = host.plan(&slot, &stage);
    match host.run("check", &plan, &CancellationToken::new(), &mut |_, _| {}).await {
        Ok(done) if done.outcome.verdict == Verdict::Ok => {
            let peak = done.outcome.usage.memory_peak;
            let peak = peak.map_or("no memory figure".into(), |f| format!("{} KiB by {}", f.value / 1024, f.source));
            Finding::present(NAME, format!("a command ran contained, peak {peak}"))
        }
        Ok(done) => Finding::missing(NAME, format!("a command did not run: {}", done.outcome.message), REMEDY),
        Err(error) => Finding::missing(NAME, error.to_string(), REMEDY),
    }
}
