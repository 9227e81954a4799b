//! The runner, as it is started without a command.

use super::Failure;
use super::options::RunArgs;
use crate::backend::{
    Backend, BackendSettings, Credentials, DEFAULT_GET_API, DEFAULT_LOGIN_API, DEFAULT_POST_API, DEFAULT_REFRESH_API,
};
use crate::canary;
use crate::check::{self, Finding, Grade};
use crate::config::{FileOptions, Grading, memory_unit};
use crate::contain::Host;
use crate::contain::slots::{self, Slot};
use crate::runner::{Runner, Stop};
use anyhow::Context;
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

fn go(args: &RunArgs) -> anyhow::Result<u8> {
    anyhow::ensure!(
        !args.mock,
        "--mock would send made-up results to a backend and is refused; to try the runner out use `ostest-sandbox mock-backend`"
    );
    let file = args.host.file()?;
    let concurrent = args.concurrent.or(file.concurrent).unwrap_or(2);
    anyhow::ensure!((1..=512).contains(&concurrent), "--concurrent must be between 1 and 512, not {concurrent}");
    let grading = args.grading.resolve(args.limits, &file, concurrent)?;
    let settings = backend(args, &file)?;
    let memory_unit = memory_unit(args.memory_unit.as_deref().or(file.memory_unit.as_deref()))?;
    let pin_cores = args.pin_cores || file.pin_cores.unwrap_or(false);
    super::log::start(&args.log, &file, true)?;
    let options = args.host.resolve(&file);
    go_on_if_fit(&check::look(&check::Wanted {
        host: &options,
        slots: concurrent,
        limits: &grading.limits,
        pin_cores,
    }))?;
    let mut host = super::claim_host(&options, super::For::Runner)?;
    host.become_runner()?;
    let mut slots = (0..concurrent).map(Slot::take).collect::<anyhow::Result<Vec<_>>>()?;
    if pin_cores {
        let shares = slots::share(&host.cores()?, concurrent)?;
        slots = slots.into_iter().zip(shares).map(|(slot, cores)| slot.on(cores)).collect();
    }
    tracing::info!(
        backend = %settings.url,
        concurrent,
        cgroup = %host.describe_cgroup(),
        tests = %grading.tests,
        "started; the fetch and prepare stages use the host's network"
    );
    let interval = args.check_interval.or(file.check_interval).map_or(Duration::from_secs(5), |s| s.0);
    super::runtime()?.block_on(async {
        go_on_if_fit(&check::look_at_backend(&settings.url).await)?;
        sing(&host, &slots[0], &grading, &file).await?;
        let runner = Runner {
            backend: Backend::new(settings)?,
            host,
            grading,
            memory_unit,
            check_interval: interval.max(SHORTEST_INTERVAL),
            once: args.once,
        };
        let stop = Stop::default();
        tokio::spawn(stop_on_signal(Signals::listen()?, stop.clone()));
        runner.run(slots, stop).await
    })?;
    tracing::info!("ended");
    Ok(0)
}

/// What `check` would say stands in the way of the runner, too; what it would warn of is in the log.
fn go_on_if_fit(findings: &[Finding]) -> anyhow::Result<()> {
    for finding in findings {
        match finding.grade {
            Grade::Green => tracing::debug!("{finding}"),
            Grade::Yellow => tracing::warn!("{finding}"),
            Grade::Red => tracing::error!("{finding}"),
        }
    }
    let red: Vec<String> = findings.iter().filter(|f| f.grade == Grade::Red).map(|f| format!("  {f}")).collect();
    anyhow::ensure!(
        red.is_empty(),
        "this host is not fit to grade, and no task was taken (`ostest-sandbox check` says all of it):\n{}",
        red.join("\n")
    );
    Ok(())
}

/// The canary, unless it sang on this host as it is now.
async fn sing(host: &Host, slot: &Slot, grading: &Grading, file: &FileOptions) -> anyhow::Result<()> {
    let memory = canary::Memory::of(host)?;
    if memory.is_good() {
        return Ok(());
    }
    let finding = canary::sing(host, slot, Some(grading), file).await;
    let green = finding.grade == Grade::Green;
    go_on_if_fit(&[finding])?;
    if green && let Err(error) = memory.keep() {
        tracing::warn!("the canary will be run again at the next start, for it cannot be noted that it was: {error}");
    }
    Ok(())
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
