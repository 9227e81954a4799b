//! The test stage: the course's suite against the student's project.

use super::shipped::Shipped;
use super::suite::Suite;
use super::{Context, Event, Progress, TaskError, sandbox_failed, starter};
use crate::config::{Home, Imports, Leftovers, SuiteTestOptions, lab_section};
use crate::contain::tree::{self, inside};
use crate::contain::work::WorkTree;
use crate::contain::{ContainError, Finished, PATH, Stage};
use crate::fault::{Cause, Fault};
use crate::judge::{self, InForce, Run};
use crate::template::{self, Values};
use crate::verdict::Verdict;
use crate::{events, harness, junit, steps};
use sandbox::confine::told;
use sandbox::outcome::Outcome;
use sandbox::plan::{APART, Channel, Channels, LeafChannels, Policy};
use sandbox::wire::Kind;
use std::path::Path;
use std::time::Duration;

/// Descriptor of the events socket inside.
const EVENTS_FD: i32 = 3;

/// Descriptor of the report inside.
const REPORT_FD: i32 = 4;

/// Descriptor of the socket for leaves inside, the harness's alone.
const LEAVES_FD: i32 = 5;

/// Descriptor of the gates' socket inside.
const GATE_FD: i32 = 6;

/// Where the gate is inside.
const GATE: &str = "/run/ostest/ostest-gate";

/// Where the shared object is that starts it.
const SPAWN: &str = "/run/ostest/ostest-spawn.so";

/// Most bytes of events.
const EVENTS_LIMIT: u64 = 256 << 20;

/// Largest report.
const REPORT_LIMIT: u64 = 64 << 20;

/// What starts a suite that has a `run_tests.py`, as the course's own has.
const RUN_TESTS: [&str; 9] = [
    "python",
    "run_tests.py",
    "--src",
    "{project}",
    "--lab",
    "{lab}",
    "--proxy_timeout",
    "{proxy_timeout}",
    "--junit-xml={report}",
];

/// What starts any other.
const PYTEST: [&str; 4] = ["python", "-m", "pytest", "--junit-xml={report}"];

/// What came of a run of the suite.
#[derive(Debug)]
pub struct Ran {
    /// What the backend is told.
    pub verdict: Verdict,
    /// How the sandbox ended.
    pub outcome: Outcome,
    /// The harness never said a word: pytest did not come so far as to load it.
    pub silent: bool,
    /// The list of tests is complete, or a limit of the sandbox's kept it from being so.
    pub collected: bool,
}

/// Runs the suite and judges what came of it.
pub async fn run(
    context: &Context<'_>,
    work: &WorkTree,
    suite: &Suite,
    venv: &Path,
    progress: Progress<'_>,
) -> Result<Ran, TaskError> {
    let stage = stage(context, work, suite, venv)?;
    let plan = context.host.plan(context.slot, &stage);
    let mut log = events::Log::new();
    let mut is_collected = false;
    let mut sink = |kind: Kind, bytes: &[u8]| {
        if kind == Kind::Event {
            log.push_line(bytes);
            steps::at("test: the harness has said something");
            let (done, total) = log.progress();
            progress(Event::Tests { done, total });
            if !is_collected && log.is_collected() && log.collect_errors().is_empty() {
                is_collected = true;
                progress(Event::Collected);
            }
        }
    };
    let shipped = Shipped::look(work)?;
    let finished =
        context.host.run("test", &plan, context.cancel, &mut sink).await.and_then(|done| done.unless_killed("test"));
    let finished = finished.map_err(ContainError::of_own_command)?;
    let touched = shipped.touched(work).await?;
    let outcome = &finished.outcome;
    tracing::info!(
        verdict = ?outcome.verdict,
        wall_ms = outcome.wall_ms,
        peak_bytes = outcome.memory_peak(),
        "the suite has run"
    );
    tracing::debug!(stdout = %finished.stdout.lines(200), stderr = %finished.stderr.lines(200), "what the suite printed");
    let mut verdict = judge::judge(&Run {
        log: &log,
        report: report(&finished),
        outcome,
        leaves: &finished.leaves,
        apart: stage.apart,
        suite_stderr_tail: &tail(&finished),
        skips: context.grading.test.skips.as_ref().unwrap_or(&suite.options.test.skips),
        quiet: &told::quiet_of(&plan.policy_name()),
        limits: InForce {
            memory: plan.limits.memory,
            pids: plan.limits.pids,
            cpu_millis: plan.limits.cpu_millis,
            file: plan.rlimits.fsize,
            cores: plan.rlimits.core_most,
            test_time: test_time(context, suite),
        },
        time_limit: stage.wall,
    });
    touched.add_to(&mut verdict, &suite.options.test, &log);
    let is_complete = log.is_collected() && log.collect_errors().is_empty();
    use sandbox::outcome::Verdict::{Failed, Ok as Good, Signaled};
    let is_limited = !matches!(outcome.verdict, Good | Failed | Signaled);
    // What the submission has broken says nothing of the suite.
    let collected = is_complete || is_limited || verdict.error.is_none();
    Ok(Ran { verdict, outcome: finished.outcome, silent: log.greeting().is_none(), collected })
}

/// The report as it was parsed; none if nothing was written.
fn report(finished: &Finished) -> Option<Result<junit::Report, junit::JunitError>> {
    let bytes = &finished.report;
    (!bytes.is_empty())
        .then(|| junit::parse(bytes, &junit::Caps { bytes: REPORT_LIMIT as usize, ..junit::Caps::default() }))
}

/// The end of what the suite printed, for a suite that could not start.
fn tail(finished: &Finished) -> String {
    let parts = [finished.stderr.lines(30), finished.stdout.lines(30)];
    parts.into_iter().filter(|p| !p.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

/// The limit on each phase of a test: the operator's, or else the suite's.
fn test_time(context: &Context<'_>, suite: &Suite) -> Option<Duration> {
    let limit = context.grading.test.test_timeout.or(suite.options.test.test_timeout);
    limit.map(|limit| limit.0).filter(|limit| !limit.is_zero())
}

/// Whether what a test leaves running goes on: the operator's word for the laboratory, or else the suite's.
fn keeps_leftovers(context: &Context<'_>, suite: &Suite) -> bool {
    let lab = context.assignment.labs.iter().max().copied();
    let of_lab = lab_section(&context.grading.labs, lab).or(suite.options.of_lab(lab).limits()).leftovers;
    of_lab.or(suite.options.test.leftovers) == Some(Leftovers::Keep)
}

/// Shows that the suite's command can be started, before there is anything to run it on.
///
/// # Errors
/// The suite's fault.
pub fn check_command(context: &Context<'_>, suite: &Suite) -> Result<(), Fault> {
    command(context, suite).map(|_| ())
}

/// Whole seconds, as suites take them; half a second must not become none.
fn proxy_timeout(context: &Context<'_>) -> u64 {
    context.grading.proxy_timeout.as_secs_f64().ceil() as u64
}

fn command(context: &Context<'_>, suite: &Suite) -> Result<Vec<String>, Fault> {
    let default: &[&str] = if suite.has_run_tests { &RUN_TESTS } else { &PYTEST };
    let template = context.grading.test.command.clone().or_else(|| suite.options.test.command.clone());
    let template = template.unwrap_or_else(|| default.iter().map(|w| (*w).to_string()).collect());
    let proxy_timeout = proxy_timeout(context);
    let values = Values {
        project: inside::PROJECT.into(),
        lab: context.assignment.labs.iter().max().copied(),
        labs: context.assignment.labs.clone(),
        proxy_timeout: (proxy_timeout > 0).then_some(proxy_timeout),
        report: format!("/proc/self/fd/{REPORT_FD}"),
    };
    let argv = template::fill(&template, &values).map_err(Fault::suite)?;
    starter::is_python(&argv).map_err(Fault::suite)?;
    Ok(argv)
}

/// What the harness holds pytest to, and what it lets in all the same.
fn guard(suite: &SuiteTestOptions) -> &'static str {
    match (suite.load_student_code, suite.imports) {
        (true, _) => "held,modules,libraries",
        (false, Imports::Anything) => "held,modules",
        (false, Imports::Suite) => "held",
    }
}

fn stage(context: &Context<'_>, work: &WorkTree, suite: &Suite, venv: &Path) -> Result<Stage, TaskError> {
    let (own, suites) = (&context.grading.test, &suite.options.test);
    let assignment = context.assignment;
    let lab = assignment.labs.iter().max().copied();
    let proxy_timeout = proxy_timeout(context);
    let mut stage = Stage::new("test", Policy::Test, &context.limits);
    stage.argv = command(context, suite)?;
    stage.apart = true;
    stage.allow = context.allow;
    stage.cwd = inside::SUITE.into();
    let wished = own.timeout.or(suites.timeout).map(|t| t.0);
    stage.wall =
        wished.unwrap_or(context.limits.timeout).min(context.limits.timeout).min(context.grading.longest_test());
    stage.channels = Channels {
        events: Some(Channel { fd: EVENTS_FD, limit: EVENTS_LIMIT }),
        report: Some(Channel { fd: REPORT_FD, limit: REPORT_LIMIT }),
        leaves: Some(LeafChannels {
            control: LEAVES_FD,
            gate: GATE_FD,
            keep_leftovers: keeps_leftovers(context, suite),
        }),
    };
    stage.mounts.extend([
        tree::bind(work.project(), inside::PROJECT, true),
        tree::bind(work.suite(), inside::SUITE, true),
        tree::bind(venv, inside::VENV, false),
        tree::home(suites.home == Home::Writable, context.limits.disk),
        tree::bind(&context.host.gate().map_err(sandbox_failed)?.program, GATE, false),
        tree::bind(&context.host.gate().map_err(sandbox_failed)?.library, SPAWN, false),
    ]);
    stage.mounts.extend(harness::FILES.map(|(name, text)| tree::file(format!("{}/{name}", inside::HARNESS), text)));
    let mut set = |name: &str, value: String| stage.env.insert(name.to_string(), value);
    set("PATH", format!("{}/bin:{PATH}", inside::VENV));
    set("HOME", inside::HOME.into());
    set("VIRTUAL_ENV", inside::VENV.into());
    set("OSTEST_PROJECT", inside::PROJECT.into());
    set("OSTEST_PROXY_TIMEOUT", proxy_timeout.to_string());
    set("OSTEST_ATTEMPT", assignment.attempt.clone());
    if let Some(lab) = lab {
        set("OSTEST_LAB", lab.to_string());
    }
    // The plugin takes these out of the environment again before a test runs.
    set("PYTHONPATH", inside::HARNESS.into());
    set("PYTEST_ADDOPTS", "-p ostest_harness -p no:cacheprovider".into());
    set("OSTEST_EVENTS_FD", EVENTS_FD.to_string());
    set("OSTEST_REPORT_FD", REPORT_FD.to_string());
    set("OSTEST_LEAVES_FD", LEAVES_FD.to_string());
    set("OSTEST_GATE_FD", GATE_FD.to_string());
    set("OSTEST_GATE", GATE.into());
    set("OSTEST_SPAWN", SPAWN.into());
    set("OSTEST_APART", format!("{}:{}", APART.uid, APART.gid));
    set("OSTEST_GUARD", guard(suites).into());
    if let Some(limit) = test_time(context, suite) {
        set("OSTEST_TEST_TIMEOUT", limit.as_secs_f64().to_string());
    }
    // Byte code is read from where prepare put it and written nowhere: what lies beside a source could be a student's.
    set("PYTHONPYCACHEPREFIX", format!("{}/pycache", inside::VENV));
    set("PYTHONDONTWRITEBYTECODE", "1".into());
    if !assignment.connected_tests.is_empty() {
        let select = format!("{}/select.json", inside::HARNESS);
        let names = serde_json::to_string(&assignment.connected_tests)
            .map_err(|e| Fault::host(Cause::Runner, format!("the list of tests cannot be written: {e}")))?;
        stage.env.insert("OSTEST_SELECT".into(), select.clone());
        stage.mounts.push(tree::file(select, names));
    }
    Ok(stage)
}
