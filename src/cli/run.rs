//! The runner, as it is started without a command.

use super::Failure;
use super::fitness::{Fitness, Open, show};
use super::options::RunArgs;
use crate::backend::contract::MemoryUnit;
use crate::backend::{
    Backend, BackendSettings, Credentials, DEFAULT_GET_API, DEFAULT_LOGIN_API, DEFAULT_POST_API, DEFAULT_REFRESH_API,
};
use crate::canary::When;
use crate::check::Grade;
use crate::config::{FileOptions, Grading, HostOptions, memory_unit};
use crate::runner::notify::Manager;
use crate::runner::{Runner, Stop};
use anyhow::Context;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Shortest pause between two questions: 0 would be a hot loop.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Exit code where the runner could not go on.
const COULD_NOT: u8 = 1;

/// Runs until told to stop; the number is the exit code.
pub fn main(args: &RunArgs) -> Result<u8, Failure> {
    go(args).map_err(Failure::with(COULD_NOT))
}

/// What was said on the command line, in the environment and in the file, put together.
pub struct Settings {
    /// The configuration file's content.
    pub file: FileOptions,
    /// Slots.
    pub concurrent: usize,
    /// Whether each has cores of its own.
    pub pin_cores: bool,
    /// How tasks are graded.
    pub grading: Grading,
    /// Where tasks come from.
    pub backend: BackendSettings,
    /// Unit of `memoryUsed`.
    pub memory_unit: MemoryUnit,
    /// The host.
    pub host: HostOptions,
}

impl Settings {
    /// Puts them together.
    pub fn resolve(args: &RunArgs) -> anyhow::Result<Settings> {
        anyhow::ensure!(
            !args.mock,
            "--mock would send made-up results to a backend and is refused; to try the runner out use `ostest-sandbox mock-backend`"
        );
        let file = args.host.file()?;
        let concurrent = args.concurrent.or(file.concurrent).unwrap_or(2);
        anyhow::ensure!((1..=512).contains(&concurrent), "--concurrent must be between 1 and 512, not {concurrent}");
        Ok(Settings {
            concurrent,
            pin_cores: args.pin_cores || file.pin_cores.unwrap_or(false),
            grading: args.grading.resolve(args.limits, &file, concurrent)?,
            backend: backend(args, &file)?,
            memory_unit: memory_unit(args.memory_unit.as_deref().or(file.memory_unit.as_deref()))?,
            host: args.host.resolve(&file),
            file,
        })
    }
}

fn go(args: &RunArgs) -> anyhow::Result<u8> {
    let settings = Settings::resolve(args)?;
    super::log::start(&args.log, &settings.file, true)?;
    let fitness = Fitness::begin(&settings, true)?;
    super::runtime()?.block_on(async {
        let stop = Stop::default();
        tokio::spawn(stop_on_signal(Signals::listen()?, stop.clone()));
        let manager = Manager::default();
        manager.looking();
        let Some(Open { host, slots }) = fit(fitness, &settings, &stop).await? else { return Ok(()) };
        tracing::info!(
            backend = %settings.backend.url,
            concurrent = settings.concurrent,
            cgroup = %host.describe_cgroup(),
            tests = %settings.grading.tests,
            "started; the fetch and prepare stages use the host's network"
        );
        let interval = args.check_interval.or(settings.file.check_interval).map_or(Duration::from_secs(5), |s| s.0);
        let runner = Runner {
            backend: Backend::new(settings.backend)?,
            host,
            grading: settings.grading,
            memory_unit: settings.memory_unit,
            check_interval: interval.max(SHORTEST_INTERVAL),
            once: args.once,
            manager,
        };
        runner.run(slots, stop).await
    })?;
    tracing::info!("ended");
    Ok(0)
}

/// The host, if it is fit; `None` where the runner was told to stop before that was known. A host that is unfit takes no task: it
/// would answer each with an error, and spend the students' attempts.
async fn fit(mut fitness: Fitness, settings: &Settings, stop: &Stop) -> anyhow::Result<Option<Open>> {
    fitness.finish(settings, Some(&settings.backend), When::UnlessKnown, &stop.drain).await;
    if stop.drain.is_cancelled() {
        fitness.release();
        return Ok(None);
    }
    for finding in fitness.findings.of(Grade::Green) {
        tracing::debug!(check = finding.name, "{}", finding.found);
    }
    for finding in fitness.findings.of(Grade::Yellow) {
        tracing::warn!(check = finding.name, "{}; to mend it: {}", finding.found, finding.remedy);
    }
    for finding in fitness.findings.of(Grade::Red) {
        tracing::error!(check = finding.name, "{}; to mend it: {}", finding.found, finding.remedy);
    }
    let red = fitness.findings.of(Grade::Red).count();
    if red == 0 && fitness.canary {
        return Ok(fitness.open);
    }
    fitness.release();
    eprint!("{}", show(fitness.findings.of(Grade::Red), std::io::stderr().is_terminal()));
    anyhow::bail!(
        "this host is not fit to grade ({red} red); `ostest-sandbox check` with the same flags shows everything"
    )
}

fn backend(args: &RunArgs, file: &FileOptions) -> anyhow::Result<BackendSettings> {
    let text = |own: &Option<String>, files: &Option<String>, default: &str| {
        own.clone().or_else(|| files.clone()).unwrap_or_else(|| default.to_string())
    };
    let auth = args.auth || file.auth.unwrap_or(false);
    let mut settings = BackendSettings::new(text(&args.backend_url, &file.backend_url, "http://localhost:5000"));
    settings.get_api = text(&args.get_api, &file.get_api, DEFAULT_GET_API);
    settings.post_api = text(&args.post_api, &file.post_api, DEFAULT_POST_API);
    settings.login_api = text(&args.login_api, &file.login_api, DEFAULT_LOGIN_API);
    settings.refresh_api = text(&args.token_refresh_api, &file.token_refresh_api, DEFAULT_REFRESH_API);
    if let Some(time) = args.refresh_time.or(file.refresh_time) {
        settings.refresh_time = time.0;
    }
    if auth {
        let login = text(&args.login, &file.login, "dora_explorer");
        settings.auth = Some(Credentials { login, password: args.password(file)? });
    }
    Ok(settings)
}

/// The first SIGTERM or SIGINT lets running tasks finish, the second kills them.
async fn stop_on_signal(mut signals: Signals, stop: Stop) {
    for (token, what) in [(&stop.drain, "finishing what runs"), (&stop.now, "killing what runs")] {
        signals.next().await;
        tracing::info!("told to stop; {what}");
        token.cancel();
    }
}

/// For commands that run one thing: the first signal kills it.
pub async fn cancel_on_signal(cancel: CancellationToken) {
    match Signals::listen() {
        Ok(mut signals) => {
            signals.next().await;
            cancel.cancel();
        }
        Err(error) => tracing::error!("{error:#}"),
    }
}

/// SIGTERM and SIGINT, from the moment of listening on: none is lost between two waits.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Signals> {
        let listen = |kind| signal(kind).context("signals cannot be waited for");
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
