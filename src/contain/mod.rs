//! The one place that makes plans out of stages and runs the launcher.

mod cpus;
mod etc;
pub mod frames;
pub mod gate;
mod handed;
mod outlet;
pub mod outside;
pub mod python;
mod scope;
pub mod slots;
pub mod stage;
pub mod state;
pub mod tree;
pub mod work;

use crate::config::HostOptions;
use crate::fault::{Cause, Fault};
use crate::proxy::Rules;
use crate::steps;
use anyhow::Context;
use frames::{Collected, read_frame, read_log};
use outlet::{Outlet, handed_out};
use sandbox::cgroup::{Base, CgroupError, Offers};
use sandbox::groups::{Group, Groups};
use sandbox::ledger::{Claim, Ledger};
use sandbox::outcome::Verdict;
use sandbox::plan::{APART, CommandLine, Layer, Limits, Mount, Network, PLAN_VERSION, Plan, Rlimits, STUDENT_ID, User};
use sandbox::wire::{Kind, Note};
pub use stage::{Finished, Stage, Tail};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

/// Files that a process inside may have open.
pub const OPEN_FILES: u64 = 4096;

/// The same where a descriptor can be work for the kernel. In a container's own /proc it can be a watch on the host's pressure, which takes
/// some 15 ms when its process ends, and nothing hurries that; and counters are gone through at each change of processes, with
/// interrupts off.
const COSTLY_OPEN_FILES: u64 = 1024;

/// PATH inside, without a suite's environment.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What this host gives to every sandbox.
#[derive(Debug)]
pub struct Host {
    launcher: PathBuf,
    /// Where suites can be run.
    gate: Option<gate::Gate>,
    base: Base,
    origin: String,
    state: state::State,
    alone: bool,
    /// Where the runner keeps everything.
    pub state_dir: PathBuf,
    waived: BTreeSet<Layer>,
    toolchain: Vec<PathBuf>,
    python: Option<python::Python>,
    /// The interpreter that the operator named, if any.
    python_named: Option<PathBuf>,
    /// Soft and hard.
    core_limits: [u64; 2],
    /// What packages have put into /etc for their files in /usr.
    linked: Vec<Mount>,
    /// The cores that this process may use.
    cores: Vec<u32>,
    serial: AtomicU64,
    /// Held while the base is looked at and made anew: of two stages one does it.
    mending: Arc<Mutex<()>>,
    left: OnceLock<Vec<String>>,
    /// Opened with the groups.
    ledger: OnceLock<Ledger>,
}

/// Why a stage gave nothing back.
#[derive(Debug, thiserror::Error)]
pub enum ContainError {
    /// The sandbox could not be made, or broke, and the host is at fault.
    #[error("the sandbox of the {stage} stage could not be made: {message}")]
    Host {
        /// The stage.
        stage: &'static str,
        /// The launcher's sentence.
        message: String,
    },
    /// The command could not be started.
    #[error("the {stage} stage could not start: {message}")]
    Command {
        /// The stage.
        stage: &'static str,
        /// The launcher's sentence.
        message: String,
    },
}

impl ContainError {
    /// Who is to blame. `command`: who is to blame for a command that cannot be started, with a sentence for them.
    pub fn fault(self, command: impl FnOnce(String) -> Fault) -> Fault {
        let whole = self.to_string();
        match self {
            ContainError::Host { stage, .. } => Fault::host(
                Cause::Sandbox,
                format!("the sandbox of the {stage} stage could not be made on the grading machine"),
            )
            .with_detail(whole),
            ContainError::Command { .. } => command(whole),
        }
    }

    /// The same for a command of the runner's own: that it is not there is the host's fault.
    pub fn of_own_command(self) -> Fault {
        self.fault(|whole| Fault::host(Cause::Sandbox, whole))
    }
}

/// Takes what a running stage says, as it says it.
pub type Sink<'a> = &'a mut (dyn FnMut(Kind, &[u8]) + Send);

impl Host {
    /// Finds out what this host has. `python`: whether suites will be run, which takes an interpreter.
    pub fn open(options: &HostOptions, python: bool) -> anyhow::Result<Host> {
        if !is_root() {
            anyhow::bail!("ostest-sandbox makes namespaces and cgroups and must be started as root: use sudo");
        }
        let (state, alone) = state::State::open(&options.state_dir)?;
        let state_dir = state.dir().to_path_buf();
        let (base, origin) = scope::base(&instance(&state_dir))?;
        let python = if python { Some(python::find(options.python.as_deref())?) } else { None };
        let mut toolchain = python.as_ref().map(python::Python::toolchain).unwrap_or_default();
        toolchain.extend(options.toolchain.iter().cloned());
        if let Some(wrong) = toolchain.iter().find(|p| !tree::is_plain(p) || !p.exists()) {
            anyhow::bail!("the toolchain path {} does not exist or is not absolute", wrong.display());
        }
        let launcher = find_launcher()?;
        let gate = python.is_some().then(|| gate::install(&launcher, &state_dir)).transpose()?;
        Ok(Host {
            launcher,
            gate,
            base,
            origin,
            state,
            alone,
            state_dir,
            waived: options.waived.iter().copied().collect(),
            toolchain,
            python,
            python_named: options.python.clone(),
            core_limits: handed::core_limits(),
            linked: etc::linked(),
            cores: handed::cores(),
            serial: AtomicU64::new(0),
            mending: Arc::default(),
            left: OnceLock::new(),
            ledger: OnceLock::new(),
        })
    }

    /// Makes the groups of this state directory, after sweeping away what a crashed run left behind, if no other
    /// process works in it. What cannot be swept is [`Host::left`].
    pub fn claim(&self) -> anyhow::Result<()> {
        match Ledger::open() {
            Ok(ledger) => drop(self.ledger.set(ledger)),
            Err(_) if self.waived.contains(&Layer::Ledger) => {}
            Err(error) => anyhow::bail!(
                "the ledger of memory that no control group pays for cannot be kept: {error}; {}; to run without this layer say \
                 --allow-degraded ledger",
                error.remedy()
            ),
        }
        self.base.claim()?;
        if self.alone {
            let (groups, trees) = (self.base.sweep()?, self.state.sweep_work()?);
            if groups.groups + trees.trees > 0 {
                tracing::warn!(groups = groups.groups, trees = trees.trees, "removed what an earlier run left behind");
            }
            let left = groups.left.iter().map(ToString::to_string).chain(trees.left).collect();
            let _ = self.left.set(left);
        }
        self.state.share()?;
        // Whoever was the last one then may have taken the groups away meanwhile; from here on nobody is.
        Ok(self.base.claim()?)
    }

    /// What an earlier run left behind and could not be removed, a sentence each. It is in nobody's way: groups get other names, and
    /// [`slots::Slot::take`] passes over ids that a process still has.
    pub fn left(&self) -> &[String] {
        self.left.get().map_or(&[], Vec::as_slice)
    }

    /// Makes this process the state directory's one runner.
    pub fn become_runner(&mut self) -> anyhow::Result<()> {
        self.state.become_runner()
    }

    /// Takes the groups away, if no other process works with them.
    pub fn release(&self) {
        if self.state.is_last()
            && let Err(error) = self.base.release()
        {
            tracing::warn!("the runner's control groups cannot be removed, and the next start tries again: {error}");
        }
    }

    /// The interpreter for suites.
    pub fn python(&self) -> anyhow::Result<&python::Python> {
        self.python.as_ref().context("this command was started without an interpreter for suites")
    }

    /// Looks for that interpreter again: the host's packages may have been upgraded since.
    pub fn find_python(&self) -> anyhow::Result<python::Python> {
        python::find(self.python_named.as_deref())
    }

    /// The driver, its directories and how they were come by, for people.
    pub fn describe_cgroup(&self) -> String {
        format!("{}; {}", self.base.describe(), self.origin)
    }

    /// The driver's name.
    pub fn driver(&self) -> &'static str {
        self.base.driver()
    }

    /// What the groups of this host can limit and count. Only after [`Host::claim`].
    pub fn offers(&self) -> anyhow::Result<Offers> {
        Ok(self.base.offers(&format!("look-{}", std::process::id()))?)
    }

    /// Layers that the operator waived.
    pub fn waived(&self) -> &BTreeSet<Layer> {
        &self.waived
    }

    /// The cores that sandboxes may use, where this host can confine them to some.
    pub fn cores(&self) -> anyhow::Result<Vec<u32>> {
        Ok(self.base.cores()?)
    }

    /// What the harness starts programs through.
    pub fn gate(&self) -> anyhow::Result<&gate::Gate> {
        self.gate.as_ref().context("this command was started without an interpreter for suites")
    }

    /// The launcher's program.
    pub fn launcher(&self) -> &Path {
        &self.launcher
    }

    /// The plan of a stage. Pure but for the serial number in the name.
    pub fn plan(&self, slot: &slots::Slot, stage: &Stage) -> Plan {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let shm_size = stage.disk.min(stage.memory);
        let mut mounts = tree::system(&self.toolchain, stage.network == Network::Proxy, shm_size);
        mounts.extend(self.linked.iter().filter(|linked| !tree::covers(&mounts, linked)).cloned().collect::<Vec<_>>());
        mounts.extend(cpus::mounts(if slot.cores.is_empty() { &self.cores } else { &slot.cores }, stage.memory));
        mounts.push(tree::tmp(stage.disk));
        mounts.extend(stage.mounts.iter().cloned());
        let mut env: BTreeMap<String, String> =
            [("PATH", PATH), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("USER", "student"), ("LOGNAME", "student")]
                .into_iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect();
        env.extend(stage.env.clone());
        Plan {
            version: PLAN_VERSION,
            // With this process's number: the launcher of a runner that was killed may still be taking its group away.
            name: format!("slot{}-{}-{}-{serial}", slot.range(), stage.name, std::process::id()),
            ids: slot.ids,
            user: User { uid: STUDENT_ID, gid: STUDENT_ID },
            apart: stage.apart.then_some(APART),
            command: CommandLine { argv: stage.argv.clone(), env, cwd: stage.cwd.clone() },
            mounts,
            hostname: tree::HOSTNAME.into(),
            network: stage.network,
            limits: Limits {
                memory: stage.memory,
                pids: stage.pids,
                cpu_millis: stage.cpu_millis,
                wall_ms: stage.wall.as_millis().try_into().unwrap_or(u64::MAX).max(1),
            },
            cores: slot.cores.clone(),
            rlimits: Rlimits {
                nofile: open_files(stage.allow),
                core: self.core_limits[0],
                core_most: self.core_limits[1],
                // Behind the file systems' own size: a full one says ENOSPC, which programs can handle, where this limit
                // ends them with SIGXFSZ.
                fsize: stage.disk.saturating_mul(2),
                stack: 8 << 20,
                memlock: 8 << 20,
                msgqueue: 819_200,
                // Counted for each user, so the cgroup's own, which counts all, is reached first.
                nproc: stage.pids,
            },
            output: stage.output,
            policy: stage.policy,
            allow: stage.allow,
            channels: stage.channels,
            cgroup: self.base.clone(),
            ledger: None,
            waived: self.waived.clone(),
            off: BTreeSet::new(),
        }
    }

    /// Runs a plan. When `cancel` ends first, the sandbox is killed and the outcome says that it was interrupted.
    pub async fn run(
        &self,
        stage: &'static str,
        plan: &Plan,
        cancel: &CancellationToken,
        sink: Sink<'_>,
    ) -> Result<Finished, ContainError> {
        self.run_with(stage, plan, None, cancel, sink).await
    }

    /// The same for a plan with a proxy, which is served by these rules while it runs.
    pub async fn run_with(
        &self,
        stage: &'static str,
        plan: &Plan,
        rules: Option<Rules>,
        cancel: &CancellationToken,
        sink: Sink<'_>,
    ) -> Result<Finished, ContainError> {
        let host = |message: String| ContainError::Host { stage, message };
        if rules.is_some() != (plan.network == Network::Proxy) {
            return Err(host("its plan has a proxy without rules, or rules without a proxy".into()));
        }
        self.make_ready(&plan.name).await.map_err(host)?;
        // For as long as the launcher lives.
        let account = self.ledger.get().map(|ledger| ledger.claim(plan.limits.memory)).transpose();
        let account = account.map_err(|e| host(format!("the ledger of memory opens no account: {e}")))?;
        let plan = &Plan { ledger: account.as_ref().map(Claim::share), ..plan.clone() };
        let (order, input) =
            order_pair().map_err(|e| host(format!("a socket pair for the launcher cannot be made: {e}")))?;
        let mut child = tokio::process::Command::new(&self.launcher)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(input))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal is for the runner, which then decides.
            .process_group(0)
            .spawn()
            .map_err(|e| host(format!("{} cannot be started: {e}", self.launcher.display())))?;
        steps::at("stage: the launcher is started");
        let (Some(mut stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(host("the launcher's pipes are missing".into()));
        };
        let log = tokio::spawn(read_log(stderr));
        let bytes = sandbox::wire::encode_plan(plan).map_err(|e| host(e.to_string()))?;
        let mut order = Some(order);
        let mut untaken = None;
        if let Some(socket) = &mut order {
            // Why not is said by how it ended.
            untaken = socket.write_all(&bytes).await.err();
        }
        let mut outlet = Outlet::new(stage, rules);
        steps::at("stage: the launcher has its plan");
        let mut collected = Collected::default();
        // A task of its own reads, because a read that select gives up half way would lose bytes.
        let (send, mut frames) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let frame = read_frame(&mut stdout).await;
                let last = !matches!(frame, Ok(Some(_)));
                if send.send(frame).await.is_err() || last {
                    return;
                }
            }
        });
        let ended = loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(Ok(Some((kind, body)))) => collected.take(kind, body, sink),
                    Some(Ok(None)) | None => break Ok(()),
                    Some(Err(error)) => break Err(format!("the launcher's answer cannot be read: {error}")),
                },
                // The end of its standard input is the launcher's order to stop.
                () = cancel.cancelled(), if order.is_some() => order = None,
                socket = handed_out(order.as_ref()), if outlet.waits() => {
                    if let Err(error) = outlet.open(socket) {
                        break Err(format!("its proxy cannot be served: {error}"));
                    }
                }
            }
        };
        drop(order);
        steps::at("stage: the launcher has said everything");
        let status = child.wait().await.map_err(|e| host(format!("the launcher cannot be waited for: {e}")))?;
        steps::at("stage: the launcher is gone");
        let log = log.await.unwrap_or_default();
        if !log.trim().is_empty() {
            tracing::warn!(stage, "the launcher said: {}", log.trim());
        }
        if collected.end.is_none() {
            // Nobody else takes its group away, and what is in it has the slot's ids.
            let why = match (status.signal(), untaken) {
                (None, Some(error)) => format!("the launcher does not take the plan: {error} ({status})"),
                _ => ended.err().unwrap_or_else(|| early_end(status, log.trim())),
            };
            return Err(host(match self.remove_groups(plan.name.clone()).await {
                Ok(_) => why,
                Err(error) => format!("{why}; and what it left cannot be removed: {error}"),
            }));
        }
        ended.map_err(host)?;
        match collected.end {
            // The runner gave no order; whoever else did is no reason to call the task graded.
            Some(Note::Ended(outcome)) if outcome.verdict == Verdict::Interrupted && !cancel.is_cancelled() => Err(
                host("somebody else than the runner told the launcher to stop, by SIGTERM, SIGINT or SIGHUP".into()),
            ),
            Some(Note::Ended(outcome)) => {
                if !outcome.degraded.is_empty() {
                    tracing::debug!(stage, layers = ?outcome.degraded, "ran without layers that the operator waived");
                }
                if let Some(why) = &outcome.untold {
                    tracing::info!(stage, "refused system calls are not told: the kernel gives no listener: {why}");
                }
                let (refused, traffic) = outlet.close();
                Ok(Finished {
                    outcome: *outcome,
                    stdout: collected.stdout,
                    stderr: collected.stderr,
                    report: collected.report,
                    leaves: collected.leaves,
                    refused,
                    traffic,
                })
            }
            Some(Note::Failed { message, host: true }) => Err(ContainError::Host { stage, message }),
            Some(Note::Failed { message, host: false }) => Err(ContainError::Command { stage, message }),
            _ => Err(host(early_end(status, log.trim()))),
        }
    }

    /// Sees to what the next stage stands on: the base is there, and nothing is left of an earlier stage of the slot, whose
    /// processes would have the same ids.
    async fn make_ready(&self, name: &str) -> Result<(), String> {
        let (base, mending) = (self.base.clone(), self.mending.clone());
        let mended = on_the_side(move || {
            let _held = mending.lock().unwrap_or_else(PoisonError::into_inner);
            base.mend()
        });
        match mended.await {
            Ok(None) => {}
            Ok(Some(missing)) => tracing::warn!("{missing}; it was put back"),
            Err(error) => return Err(format!("the runner's control groups are gone and cannot be made anew: {error}")),
        }
        let slot = name.split_inclusive('-').next().unwrap_or(name);
        let left = self.remove_groups(slot.into()).await;
        let left = left.map_err(|e| format!("what an earlier stage left in this slot cannot be removed: {e}"))?;
        if left > 0 {
            tracing::warn!(groups = left, slot, "removed what an earlier stage left behind");
        }
        Ok(())
    }

    /// Removes the groups whose names begin like this.
    async fn remove_groups(&self, prefix: String) -> Result<usize, CgroupError> {
        let base = self.base.clone();
        on_the_side(move || base.remove_like(&prefix)).await
    }
}

/// Waits for what may take seconds where something is wrong, without holding others up.
async fn on_the_side<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CgroupError> + Send + 'static,
) -> Result<T, CgroupError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|fault| {
        Err(CgroupError::Host { missing: fault.to_string(), remedy: "this is a fault of the runner".into() })
    })
}

/// Files that a process inside may have open, where these groups of calls are allowed.
fn open_files(allow: Groups) -> u64 {
    let costly = allow.contains(Group::Containers) || allow.contains(Group::Perf);
    if costly { COSTLY_OPEN_FILES } else { OPEN_FILES }
}

/// A launcher that has not said how its sandbox ended.
fn early_end(status: ExitStatus, said: &str) -> String {
    match status.signal() {
        Some(number) => {
            let mut text = format!("the launcher was killed from outside, by signal {number}");
            if let Ok(signal) = nix::sys::signal::Signal::try_from(number) {
                text.push_str(&format!(" ({signal})"));
            }
            text + "; whether this host was out of memory stands in the kernel's log (`dmesg`, `journalctl -k`)"
        }
        None => format!("the launcher ended early ({status}): {said}"),
    }
}

/// The runner's and the launcher's end of what is the launcher's standard input: the plan goes in, and a proxy's socket may come out.
fn order_pair() -> std::io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = Pair::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

/// The groups that a runner of this state directory, which need not exist yet, gets; in one line. On a systemd host this moves the
/// process into a scope of its own where the runner would be moved, too: whether that works is a part of the question.
pub fn describe_groups(state_dir: &Path) -> anyhow::Result<String> {
    let (base, origin) = scope::base(&instance(&real(state_dir)))?;
    Ok(format!("{}; {origin}", base.describe()))
}

/// The path that [`Path::canonicalize`] will give when the directory has been made.
fn real(dir: &Path) -> PathBuf {
    let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
    let there =
        whole.ancestors().find_map(|around| Some((around.canonicalize().ok()?, whole.strip_prefix(around).ok()?)));
    there.map_or(whole.clone(), |(real, rest)| if rest.as_os_str().is_empty() { real } else { real.join(rest) })
}

/// Beside the runner's own program, or in the place where packages put helpers.
pub fn find_launcher() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("the runner's own program cannot be found")?;
    let dir = own.parent().unwrap_or(Path::new("/"));
    let candidates = [dir.join("ostest-launch"), dir.join("../libexec/ostest-sandbox/ostest-launch")];
    candidates.iter().find(|p| p.is_file()).cloned().with_context(|| {
        format!("the launcher is missing: there is no {}; install both binaries together", candidates[0].display())
    })
}

/// A name for this runner's groups, from its state directory: two runners have two.
fn instance(state_dir: &Path) -> String {
    use sha2::{Digest, Sha256};
    use std::os::unix::ffi::OsStrExt;
    let digest = Sha256::digest(state_dir.as_os_str().as_bytes());
    digest.iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// Whether this process is the host's root, as far as its uid tells.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}
