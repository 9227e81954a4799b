//! The runner, as it is started without a command.

use super::fitness::{Fitness, Open, show};
use super::options::RunArgs;
use super::signals::Signals;
use super::waiting::Waiting;
use super::{Failure, WRONG};
use crate::backend::contract::{MemoryUnit, Shape};
use crate::backend::{
    Backend, BackendSettings, Credentials, DEFAULT_GET_API, DEFAULT_LOGIN_API, DEFAULT_POST_API, DEFAULT_REFRESH_API,
};
use crate::canary::When;
use crate::check::Grade;
use crate::config::{FileOptions, Grading, HostOptions};
use crate::proxy::Place;
use crate::runner::notify::Manager;
use crate::runner::{Rules, Runner, Stop};
use crate::spool::Spool;
use crate::status::Board;
use anyhow::Context;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Shortest pause between two questions: 0 would be a hot loop.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Exit code where the runner could not go on.
const COULD_NOT: u8 = 1;

/// Runs until told to stop; the number is the exit code.
pub fn main(args: &RunArgs, signals: Signals) -> Result<u8, Failure> {
    sandbox::sys::give_large_blocks_back();
    let settings = Settings::resolve(args).map_err(Failure::with(WRONG))?;
    go(args, settings, signals).map_err(Failure::with(COULD_NOT))
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
    /// How results are put.
    pub shape: Shape,
    /// Pause when there is no task.
    pub check_interval: Duration,
    /// How long running tasks may go on after the first signal.
    pub drain_timeout: Duration,
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
        let concurrent = args.concurrent.or(file.concurrent).map_or(2, |slots| slots.0);
        let mut grading = args.grading.resolve(args.limits, &file, concurrent)?;
        // Known now, and not when the first tasks have failed by it.
        for env in [&grading.fetch.env, &grading.prepare.env] {
            crate::task::outward::upstream(env).map_err(anyhow::Error::msg)?;
        }
        grading.answer_within = args.answer_within.or(file.answer_within).map(|within| within.0);
        let backend = backend(args, &file)?;
        // One that is no URL is told of where it is called.
        grading.backend = url::Url::parse(&backend.url).ok().as_ref().and_then(Place::of_url);
        let interval = args.check_interval.or(file.check_interval).map_or(Duration::from_secs(5), |s| s.0);
        Ok(Settings {
            concurrent,
            pin_cores: args.pin_cores || file.pin_cores.unwrap_or(false),
            check_interval: interval.max(SHORTEST_INTERVAL),
            drain_timeout: args.drain_timeout.or(file.drain_timeout).map_or(grading.limits.timeout, |s| s.0),
            grading,
            backend,
            shape: Shape {
                unit: args.memory_unit.or(file.memory_unit).map_or(MemoryUnit::KiB, |unit| unit.0),
                error_limit: args.error_limit.or(file.error_limit).map(|limit| limit.0),
            },
            host: args.host.resolve(&file),
            file,
        })
    }

    /// What can change while the runner runs.
    fn rules(&self) -> Rules {
        Rules { grading: self.grading.clone(), shape: self.shape, check_interval: self.check_interval }
    }

    /// Settings that are others now and are not taken over without a new start.
    fn fixed_that_differ(&self, new: &Settings) -> Vec<&'static str> {
        let (old_backend, new_backend) = (&self.backend, &new.backend);
        let addresses = |b: &BackendSettings| {
            let (get, post, ca) = (b.get_api.clone(), b.post_api.clone(), b.ca_file.clone());
            (get, post, ca, b.connect_timeout, b.idle_timeout, b.request_timeout)
        };
        let log = |file: &FileOptions| (file.logger_level.clone(), file.logger_output.clone(), file.log_format.clone());
        let pairs = [
            ("backend-url", old_backend.url != new_backend.url),
            ("the backend's paths, time-outs or ca-file", addresses(old_backend) != addresses(new_backend)),
            ("concurrent", self.concurrent != new.concurrent),
            ("pin-cores", self.pin_cores != new.pin_cores),
            ("drain-timeout", self.drain_timeout != new.drain_timeout),
            ("state-dir, python, toolchain or allow-degraded", self.host != new.host),
            ("logger-level, logger-output or log-format", log(&self.file) != log(&new.file)),
        ];
        pairs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

fn go(args: &RunArgs, settings: Settings, mut signals: Signals) -> anyhow::Result<u8> {
    super::log::start(&args.log, &settings.file, true)?;
    // No core of this process, which knows passwords, and nobody but root looks into it.
    nix::sys::prctl::set_dumpable(false).context("the runner cannot be kept from leaving core files")?;
    let fitness = Fitness::begin(&settings, true)?;
    super::runtime()?.block_on(async {
        let stop = Stop::default();
        let mut hang_up = signals.take_hang_up()?;
        tokio::spawn(stop_on_signal(signals, stop.clone()));
        let manager = Manager::default();
        manager.looking();
        let (open, read_again) = {
            let mut fit = std::pin::pin!(fit(fitness, &settings, &stop));
            let mut read_again = false;
            loop {
                tokio::select! {
                    open = &mut fit => break (open?, read_again),
                    // Looking at the host takes seconds, and minutes where an environment is built: whoever has moved the log's
                    // file away must not wait as long.
                    Some(()) = hang_up.recv() => {
                        super::log::reopen();
                        read_again = true;
                    }
                }
            }
        };
        let Some(Open { host, slots }) = open else { return Ok(()) };
        tracing::info!(
            backend = %settings.backend.url,
            concurrent = settings.concurrent,
            cgroup = %host.describe_cgroup(),
            tests = %crate::task::fetch::shown(&settings.grading.tests),
            "started"
        );
        let backend = Arc::new(Backend::new(settings.backend.clone())?);
        let (change, rules) = watch::channel(Arc::new(settings.rules()));
        let (spool, found) = Spool::open(&host.state_dir, backend.address(), slots.len())?;
        let runner = Runner {
            board: Board::begin(&host.state_dir, backend.address(), slots.len(), {
                let manager = manager.clone();
                move |status| manager.say(&status.line())
            }),
            backend: backend.clone(),
            host,
            spool,
            rules,
            once: args.once,
            resume: args.resume || settings.file.resume.unwrap_or(false),
            drain_timeout: settings.drain_timeout,
            manager: manager.clone(),
        };
        let reload = Reload { args: args.clone(), first: settings, manager, backend, change };
        if read_again {
            reload.read_again();
        }
        tokio::spawn(async move {
            while hang_up.recv().await.is_some() {
                reload.manager.reloading();
                super::log::reopen();
                reload.read_again();
                reload.manager.reloaded();
            }
        });
        runner.run(slots, found, stop).await
    })?;
    tracing::info!("ended");
    Ok(0)
}

/// The host, if it is fit; `None` where the runner was told to stop before that was known. A host that is unfit takes no task: it
/// would answer each with an error, and spend the students' attempts.
async fn fit(mut fitness: Fitness, settings: &Settings, stop: &Stop) -> anyhow::Result<Option<Open>> {
    {
        let mut waiting = Waiting::on_a_terminal("grading the canary");
        waiting.show("looking for the backend");
        let mut progress = |event| waiting.hear(event);
        fitness.finish(settings, Some(&settings.backend), When::UnlessKnown, &stop.drain, &mut progress).await;
    }
    if stop.drain.is_cancelled() {
        fitness.release();
        return Ok(None);
    }
    for finding in fitness.findings.of(Grade::Green) {
        tracing::debug!(check = finding.name, "{}", finding.found);
    }
    for finding in fitness.findings.of(Grade::Yellow) {
        tracing::warn!(check = finding.name, "{}; to fix it: {}", finding.found, finding.remedy);
    }
    for finding in fitness.findings.of(Grade::Red) {
        tracing::error!(check = finding.name, "{}; to fix it: {}", finding.found, finding.remedy);
    }
    let red = fitness.findings.of(Grade::Red).count();
    if red == 0 && fitness.canary {
        return Ok(fitness.open);
    }
    fitness.release();
    super::out::say_coloured(show(fitness.findings.of(Grade::Red), std::io::stderr().is_terminal()).trim_end());
    anyhow::bail!(
        "this host is not fit to grade ({red} red); `ostest-sandbox check` with the same flags shows everything"
    )
}

/// Addresses and files that are used later are looked at now: whoever mistyped one hears of it at once.
fn backend(args: &RunArgs, file: &FileOptions) -> anyhow::Result<BackendSettings> {
    let text = |own: &Option<String>, files: &Option<String>, default: &str| {
        own.clone().or_else(|| files.clone()).unwrap_or_else(|| default.to_string())
    };
    let auth = args.auth || file.auth.unwrap_or(false);
    let url = args.backend_url.as_deref().or(file.backend_url.as_deref()).unwrap_or("http://localhost:5000");
    crate::backend::address_of(url).context("--backend-url")?;
    let mut settings = BackendSettings::new(url.to_string());
    settings.get_api = text(&args.get_api, &file.get_api, DEFAULT_GET_API);
    settings.post_api = text(&args.post_api, &file.post_api, DEFAULT_POST_API);
    settings.login_api = text(&args.login_api, &file.login_api, DEFAULT_LOGIN_API);
    settings.ca_file = args.ca_file.clone().or_else(|| file.ca_file.clone());
    for (time, own, files) in [
        (&mut settings.connect_timeout, args.connect_timeout, file.connect_timeout),
        (&mut settings.idle_timeout, args.idle_timeout, file.idle_timeout),
        (&mut settings.request_timeout, args.request_timeout, file.request_timeout),
    ] {
        if let Some(given) = own.or(files) {
            *time = given.0;
        }
    }
    settings.refresh_api = text(&args.token_refresh_api, &file.token_refresh_api, DEFAULT_REFRESH_API);
    if let Some(time) = args.refresh_time.or(file.refresh_time) {
        settings.refresh_time = time.0;
    }
    if auth {
        let login = text(&args.login, &file.login, "dora_explorer");
        settings.auth = Some(Credentials { login, password: args.password(file)? });
    }
    if let Some(path) = &settings.ca_file {
        std::fs::metadata(path).with_context(|| {
            format!("--ca-file {}: it cannot be read; name a file with certificates in PEM", path.display())
        })?;
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

/// What SIGHUP does beside opening the log's file anew, which may have been moved away.
struct Reload {
    args: RunArgs,
    first: Settings,
    manager: Manager,
    backend: Arc<Backend>,
    change: watch::Sender<Arc<Rules>>,
}

impl Reload {
    /// Puts the command line, the environment and the file together anew, for the tasks that are taken from now on.
    fn read_again(&self) {
        let done = Settings::resolve(&self.args).and_then(|new| {
            self.backend.renew_login(&new.backend)?;
            Ok(new)
        });
        match done {
            // Half of a new configuration would be neither the old one nor the new.
            Err(error) => tracing::error!(
                "the configuration was read again and is not taken over, the old one stays in force: {error:#}; fix it, and send SIGHUP again"
            ),
            Ok(new) => {
                for name in self.first.fixed_that_differ(&new) {
                    tracing::warn!("{name} has changed, which needs a new start of the runner");
                }
                self.change.send_replace(Arc::new(new.rules()));
                tracing::info!("the configuration was read again, and holds for the next tasks");
            }
        }
    }
}
