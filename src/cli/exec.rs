//! `exec`: any command, contained and measured.

use super::options::{HostArgs, LogArgs};
use super::signals::Signals;
use super::{Failure, WRONG, out};
use crate::config::{FileOptions, LimitOptions, Limits};
use crate::contain::slots::Slot;
use crate::contain::{Host, Stage, tree};
use anyhow::Context;
use clap::{Args, ValueEnum};
use sandbox::groups::Group;
use sandbox::outcome::{Ended, Outcome, Verdict};
use sandbox::plan::Policy;
use sandbox::wire::Kind;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Exit code where the sandbox could not be made, as of `docker run`.
pub const NO_SANDBOX: u8 = 125;
/// Exit code of a time limit, as of `timeout`.
const TIME_LIMIT: u8 = 124;
/// Exit code where nobody reads the command's output any more: what a shell says of one that SIGPIPE ended.
const UNREAD: u8 = 141;

const AFTER_HELP: &str = "\
The command sees the system's /usr read-only, an empty /tmp and an empty /task, in which it starts, and a loopback \
interface. Its standard input is empty.

    sudo ostest-sandbox exec --mem-limit 64M --report r.json -- sh -c 'id; free -m'
    sudo ostest-sandbox exec --ro ~/src/demo -- make -C ~/src/demo -n

Exit codes: the command's own; 128 + N where signal N ended it; 124 time limit; 137 memory limit; 125 the sandbox could \
not be made.";

/// Flags of `exec`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ExecArgs {
    /// Write a report as JSON: how it ended, what it used and where each figure comes from
    #[arg(long, value_name = "F.json")]
    report: Option<PathBuf>,
    /// Print the plan as JSON instead of carrying it out
    #[arg(long)]
    print_plan: bool,
    /// System calls that are allowed: those of which stage
    #[arg(long, value_enum, default_value_t = StageName::Test)]
    policy: StageName,
    /// Allow a group of system calls beyond those of the test stage; `ostest-sandbox policy groups` has them (repeatable)
    #[arg(long, value_name = "GROUP")]
    allow: Vec<Group>,
    /// Make a file or directory of the host visible at its own path, read-only (repeatable)
    #[arg(long, value_name = "PATH")]
    ro: Vec<PathBuf>,
    #[command(flatten)]
    limits: LimitOptions,
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    log: LogArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StageName {
    Fetch,
    Build,
    Test,
}

/// Runs the command; the number is the exit code.
pub fn main(args: &ExecArgs, signals: Signals) -> Result<u8, Failure> {
    let file = args.host.file().map_err(Failure::with(WRONG))?;
    let ro = args.ro.iter().map(|path| {
        path.canonicalize().with_context(|| format!("--ro {}: name a file or directory that is there", path.display()))
    });
    let ro = ro.collect::<anyhow::Result<_>>().map_err(Failure::with(WRONG))?;
    go(args, &file, ro, signals).map_err(Failure::with(NO_SANDBOX))
}

fn go(args: &ExecArgs, file: &FileOptions, ro: Vec<PathBuf>, signals: Signals) -> anyhow::Result<u8> {
    let mut stage = Stage::new("exec", policy(args.policy), &Limits::from_options(args.limits.or(file.limits()), 1));
    stage.argv.clone_from(&args.command);
    stage.allow = args.allow.iter().copied().collect();
    stage.cwd = "/task".into();
    stage.mounts.push(tree::empty_work(stage.disk));
    for path in ro {
        stage.mounts.push(tree::same_place(path, false));
    }
    if args.print_plan {
        super::log::start(&args.log, file, false)?;
        let host = Host::open(&args.host.resolve(file), false)?;
        let slot = Slot::take(0)?;
        out::json(serde_json::to_string_pretty(&host.plan(&slot, &stage))?)?;
        return Ok(0);
    }
    let host = super::open_host(&args.host, &args.log, file, super::For::Command)?;
    let slot = Slot::take(0)?;
    let plan = host.plan(&slot, &stage);
    let cancel = CancellationToken::new();
    let mut unwritten = None;
    let finished = super::runtime()?.block_on(async {
        tokio::spawn(signals.cancel(cancel.clone()));
        let mut sink = |kind, bytes: &[u8]| {
            if let Err(error) = pass_on(kind, bytes) {
                unwritten.get_or_insert(error);
                cancel.cancel();
            }
        };
        host.run("exec", &plan, &cancel, &mut sink).await
    });
    host.release();
    let outcome = finished?.outcome;
    if let Some(path) = &args.report {
        let text = serde_json::to_string_pretty(&report(&outcome))?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("the report {} cannot be written", path.display()))?;
    }
    match unwritten {
        // As if the command had written there itself.
        Some(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(UNREAD),
        Some(error) => anyhow::bail!("the command's output cannot be written: {error}"),
        None => {}
    }
    if !outcome.message.is_empty() {
        out::say(format_args!("ostest-sandbox: {}", outcome.message));
    }
    Ok(exit_code(&outcome))
}

fn policy(name: StageName) -> Policy {
    match name {
        StageName::Fetch => Policy::Fetch,
        StageName::Build => Policy::Build,
        StageName::Test => Policy::Test,
    }
}

/// Output goes where ours goes, as it comes.
fn pass_on(kind: Kind, bytes: &[u8]) -> std::io::Result<()> {
    match kind {
        Kind::Stdout => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
        Kind::Stderr => std::io::stderr().write_all(bytes),
        _ => Ok(()),
    }
}

fn exit_code(outcome: &Outcome) -> u8 {
    match (outcome.verdict, &outcome.ended) {
        (Verdict::TimeLimit, _) => TIME_LIMIT,
        (Verdict::MemoryLimit, _) => 137,
        (_, Ended::Exited { code }) => u8::try_from(*code).unwrap_or(1),
        (_, Ended::Signaled { signal }) => u8::try_from(128 + signal).unwrap_or(255),
        (_, Ended::Killed) => 137,
    }
}

/// The report for programs: flat where a figure has one number, with its source beside it.
fn report(outcome: &Outcome) -> serde_json::Value {
    let (how, code, signal) = match &outcome.ended {
        Ended::Exited { code } => ("exited", Some(code), None),
        Ended::Signaled { signal } => ("signaled", None, Some(signal)),
        Ended::Killed => ("killed", None, None),
    };
    let usage = &outcome.usage;
    let value = |f: &Option<sandbox::outcome::Figure>| f.as_ref().map(|f| f.value);
    let source = |f: &Option<sandbox::outcome::Figure>| f.as_ref().map(|f| f.source.clone());
    serde_json::json!({
        "ended": how,
        "exitCode": code,
        "signal": signal,
        "verdict": outcome.verdict,
        "message": outcome.message,
        "wallSeconds": outcome.wall_ms as f64 / 1000.0,
        "cpuSeconds": value(&usage.cpu_us).map(|us| us as f64 / 1e6),
        "throttledSeconds": value(&usage.throttled_us).map(|us| us as f64 / 1e6),
        "cpuStalledSeconds": value(&usage.cpu_stalled_us).map(|us| us as f64 / 1e6),
        "memoryStalledSeconds": value(&usage.memory_stalled_us).map(|us| us as f64 / 1e6),
        "peakMemoryBytes": value(&usage.memory_peak),
        "peakMemorySource": source(&usage.memory_peak),
        "commandPeakMemoryBytes": value(&usage.command_memory_peak),
        "oomKills": value(&usage.oom_kills),
        "peakPids": value(&usage.pids_peak),
        "peakPidsSource": source(&usage.pids_peak),
        "pidsDenied": value(&usage.pids_denied),
        "stdoutBytes": outcome.output.stdout,
        "stderrBytes": outcome.output.stderr,
        "outputTruncated": outcome.output.truncated,
        "limits": outcome.limits,
        "degraded": outcome.degraded,
        "allowed": outcome.allowed,
        "refusedCalls": outcome.denied,
        "refusedCallsUntold": outcome.untold,
        "fullPlaces": outcome.full,
    })
}
