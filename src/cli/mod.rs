//! The command line: what can be said on it, and which command it leads to.

pub mod attacks;
pub mod check;
pub mod exec;
pub mod fitness;
pub mod grade;
pub mod journal;
pub mod lines;
pub mod log;
pub mod logfile;
pub mod mock;
pub mod options;
pub mod out;
pub mod policy;
pub mod run;
pub mod signals;
pub mod spool;
pub mod table;
pub mod waiting;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use options::{HostArgs, LogArgs, RunArgs};
use signals::Signals;

const LONG_ABOUT: &str = "\
Grades operating-systems students' C programs in a Linux sandbox.

Without a command it is the runner: it asks a backend for tasks, fetches each student's repository, builds it, runs the \
course's test suite against it in a sandbox, and uploads the results. It needs root:

    sudo ostest-sandbox --backend-url http://localhost:5000 --tests /srv/course --mem-limit 512M

Try a host with `ostest-sandbox check`, one submission with `ostest-sandbox grade PROJECT --tests SUITE`, any command \
with `ostest-sandbox exec -- CMD`, and the whole way without a real backend with `ostest-sandbox mock-backend`.";

const AFTER_HELP: &str = "\
Values come from the command line, else from the environment, else from --config FILE, else they are the defaults.
Keys of FILE are the flags without dashes; it may hold [fetch], [prepare], [build], [test] and [lab.N] sections.
Exit codes of the runner: 0 it ended as it was told to, 1 it could not go on, 2 the command line or FILE is wrong.";

/// Everything that can be said on the command line.
#[derive(Debug, Parser)]
#[command(name = "ostest-sandbox", version, about = "Grades operating-systems students' C programs in a Linux sandbox")]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// A command other than running.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The runner's flags.
    #[command(flatten)]
    pub run: Box<RunArgs>,
}

/// Commands other than running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Grade one local submission, without a backend
    Grade(Box<grade::GradeArgs>),
    /// Run any command in a sandbox, contained and measured
    Exec(Box<exec::ExecArgs>),
    /// Say whether this host is fit to grade, and what to do if it is not
    Check(Box<check::CheckArgs>),
    /// Show what was taken and has no confirmed answer; send it again or throw it away
    Spool(Box<spool::SpoolArgs>),
    /// Show which system calls a sandbox allows, and why
    Policy(Box<policy::PolicyArgs>),
    /// Serve a list of tasks as a backend would, to try the runner with
    MockBackend(Box<mock::MockArgs>),
}

/// Parses the command line, `-auth` included, which the old manual writes with one dash.
pub fn parse() -> Cli {
    let words = std::env::args_os().map(|word| if word == "-auth" { "--auth".into() } else { word });
    let matches = taking_minus(Cli::command()).get_matches_from(words);
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Has a number with a minus taken for a value, so that it is refused as one, with the name of its flag.
fn taking_minus(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_action().takes_values() && arg.get_long().is_some() {
        true => arg.allow_negative_numbers(true),
        false => arg,
    });
    command.mut_subcommands(taking_minus)
}

/// Runs what was asked for. The number is the exit code.
pub fn main(cli: Cli, signals: anyhow::Result<Signals>) -> u8 {
    let signals = match signals {
        Ok(signals) => signals,
        Err(error) => {
            journal::complain(&format!("ostest-sandbox: {error:#}"));
            return could_not(cli.command.as_ref());
        }
    };
    let done = match cli.command {
        None => run::main(&cli.run, signals),
        Some(Command::Grade(args)) => grade::main(&args, signals),
        Some(Command::Exec(args)) => exec::main(&args, signals),
        Some(Command::Check(args)) => check::main(&args, signals),
        Some(Command::MockBackend(args)) => mock::main(&args, signals),
        // These have nothing to clean up.
        Some(Command::Spool(args)) => {
            signals.let_go();
            spool::main(&args)
        }
        Some(Command::Policy(args)) => {
            signals.let_go();
            policy::main(&args)
        }
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            journal::complain(&format!("ostest-sandbox: {:#}", failure.error));
            failure.code
        }
    }
}

/// The exit code that a command uses for "could not".
fn could_not(command: Option<&Command>) -> u8 {
    match command {
        Some(Command::Exec(_)) => exec::NO_SANDBOX,
        Some(Command::Grade(_) | Command::Check(_) | Command::Policy(_)) => 2,
        None | Some(Command::Spool(_) | Command::MockBackend(_)) => 1,
    }
}

/// Exit code of a command line, an environment or a configuration that is wrong, whichever the command.
const WRONG: u8 = 2;

/// A command that could not do its work, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// With the exit code that this command uses for "could not".
    pub fn with(code: u8) -> impl FnOnce(anyhow::Error) -> Failure {
        move |error| Failure { code, error }
    }
}

/// Starts the runtime; until then the program has one thread, which the mount namespace needs.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .map_err(|e| anyhow::anyhow!("the runtime cannot be started: {e}"))
}

/// What a host is opened for, by commands that run one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// One submission: needs an interpreter.
    Grading,
    /// Any command: needs none, which saves the time to ask it.
    Command,
}

/// Starts the log, and opens the host for a command that runs one thing.
pub fn open_host(
    host: &HostArgs,
    log: &LogArgs,
    file: &crate::config::FileOptions,
    purpose: For,
) -> anyhow::Result<crate::contain::Host> {
    log::start(log, file, false)?;
    crate::check::descriptors::ensure()?;
    let host = open(&host.resolve(file), purpose != For::Command)?;
    for left in host.left() {
        tracing::warn!("an earlier run left something behind, which is not in the way: {left}");
    }
    Ok(host)
}

/// Opens the host with a mount namespace of this process's own, so that work trees end with it. `python`: whether suites will be
/// run.
pub fn open(options: &crate::config::HostOptions, python: bool) -> anyhow::Result<crate::contain::Host> {
    let host = crate::contain::Host::open(options, python)?;
    sandbox::mounts::private_namespace()?;
    host.claim()?;
    Ok(host)
}
