//! The launcher: carries one plan out, as host root, and ends.
//!
//! Single-threaded and synchronous: it clones, and nothing may hold a lock when it does. It starts with the plan on
//! its standard input, speaks frames ([`crate::wire`]) on its standard output, and lives no longer than
//! the runner: when its standard input ends, the sandbox is killed.

use crate::birth;
use crate::cgroup::{PAYLOAD, StageGroup};
use crate::confine::seccomp::{self, Programs};
use crate::confine::told::{self, Answers, Availability, Listening};
use crate::confine::{ConfineError, landlock};
use crate::denied::Denials;
use crate::ending::{self, Facts, Stop};
use crate::gate::GATE_NAME;
use crate::groups::host::Obstacle;
use crate::groups::{self, Group};
use crate::leaves::Leaves;
use crate::ledger::Account;
use crate::mounts;
use crate::order::{Fds, INIT_NAME, Order};
use crate::outcome::{Ended, Outcome};
use crate::plan::{Channel, Layer, LeafChannels, Plan, Policy};
use crate::switch::Switch;
use crate::sys;
use crate::watch::{Watch, Watched};
use crate::wire::{self, Kind, Note};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::unistd::{Gid, Uid};
use rustix::fs::{MemfdFlags, Mode};
use std::io::{IsTerminal, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Why a sandbox could not be made or broke.
#[derive(Debug)]
pub struct LaunchError {
    /// A sentence.
    pub(crate) message: String,
    /// Whether the host is at fault, and not the plan.
    host: bool,
}

impl<E: std::error::Error> From<E> for LaunchError {
    fn from(error: E) -> Self {
        LaunchError { message: error.to_string(), host: true }
    }
}

pub(crate) fn failed<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> LaunchError {
    move |error| LaunchError { message: format!("{what}: {error}"), host: true }
}

/// The whole life of the launcher, or of what it is under other names: init and the gate. 0: an outcome was given; 1: a
/// sentence says why not; 2: it was started wrongly.
pub fn main() -> i32 {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if Path::new(&name).file_name().is_some_and(|name| name == GATE_NAME) {
        return crate::gate::main(arguments);
    }
    // What Rust's own start would have done, which the gate must not: whoever does not read any more is an error, not a death.
    if let Err(error) = sys::ignore_sigpipe() {
        eprintln!("ostest-launch: SIGPIPE cannot be ignored: {error}");
        return 1;
    }
    if name == INIT_NAME {
        let number = arguments.next().and_then(|n| n.to_str().and_then(|n| n.parse().ok()));
        return number.map_or(2, crate::init::main);
    }
    if arguments.next().is_some() || std::io::stdin().is_terminal() {
        eprintln!(
            "ostest-launch is started by ostest-sandbox, which sends it a plan; see `ostest-sandbox exec --help`"
        );
        return 2;
    }
    let mut out = std::io::stdout().lock();
    let (note, code) = match launch(&mut out) {
        Ok(outcome) => (Note::Ended(Box::new(outcome)), 0),
        Err(error) => (Note::Failed { message: error.message, host: error.host }, 1),
    };
    let body = serde_json::to_vec(&note).unwrap_or_default();
    match wire::write_frame(&mut out, Kind::Note, &body) {
        Ok(()) => code,
        // The runner is gone; the sandbox is gone too by now.
        Err(_) => 1,
    }
}

fn launch(out: &mut impl Write) -> Result<Outcome, LaunchError> {
    let plan: Plan = serde_json::from_slice(&wire::read_plan(&mut std::io::stdin().lock())?)
        .map_err(|e| LaunchError { message: format!("the plan cannot be read: {e}"), host: true })?;
    plan.validate()?;
    if !Uid::effective().is_root() {
        return Err(failed("making a sandbox")("the launcher is not root; start ostest-sandbox with sudo"));
    }
    crate::confine::rlimits::allow_core(plan.rlimits.core);
    // Everything that can be refused is tried before a process exists.
    let mut degraded = Vec::new();
    if let Some(Obstacle { group, found, remedy }) = groups::host::obstacle(plan.allow) {
        return Err(failed("allowing a group of system calls")(format!("{group}: {found}; {remedy}")));
    }
    let filters = choose_seccomp(&plan, &mut degraded)?;
    let landlock = choose_landlock(&plan, &mut degraded)?;
    let sources = mounts::open_sources(&plan)?;
    let program = birth::sealed_self()?;

    let account = choose_ledger(&plan, &mut degraded)?;

    let (mut group, mut limits, waived) = StageGroup::create(&plan.cgroup, &plan.name, &plan.limits, &plan.waived)?;
    if plan.off(Switch::CgroupKill) {
        group.spare();
    }
    degraded.extend(waived);
    if let Some(account) = account {
        group.book(account)?;
    }
    if !plan.cores.is_empty() {
        limits.push(group.pin(&plan.cores)?);
    }
    let channels = Channels::open(&plan)?;
    let Filters { seccomp, listening, init_seccomp, answers } = filters;
    let order = Order { seccomp, listening, init_seccomp, landlock, fds: channels.fds(&sources), plan };
    let init = birth::clone_init(&order, &program, &group, &channels)?;
    let plan = &order.plan;
    let (control, watched_ends) = channels.keep(plan);

    let denials = Denials::new(answers);
    let mut watch = Watch::new(plan, &mut group, init, control, watched_ends, denials, out)?;
    watch.started_limits(&limits);
    let watched = watch.run();
    // Whatever happened: nothing of the sandbox is left when the launcher speaks of it.
    group.kill()?;
    let watched = watched?;
    finish(plan, group, limits, degraded, watched, out)
}

/// The outcome, from what was watched and what the kernel counted.
fn finish(
    plan: &Plan,
    mut group: StageGroup,
    limits: Vec<crate::outcome::Setting>,
    degraded: Vec<Layer>,
    watched: Watched,
    out: &mut impl Write,
) -> Result<Outcome, LaunchError> {
    // What is dying is still charged; the figures are read when the last process is gone.
    let patience = Instant::now() + plan.patience(Duration::from_secs(10));
    while group.is_populated()? && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    if let Some(leaves) = watched.leaves {
        for leaf in leaves.finish(&mut group)? {
            let body = serde_json::to_vec(&Note::Leaf(Box::new(leaf)))?;
            wire::write_frame(out, Kind::Note, &body)?;
        }
    }
    let mut usage = group.usage()?;
    usage.command_memory_peak = group.leaf_usage(PAYLOAD)?.memory_peak;
    if usage.pids_peak.is_none() {
        usage.pids_peak = watched.pids_sampled;
    }
    if let Err(error) = group.remove() {
        return Err(failed("removing the stage's cgroup")(error));
    }
    if let Some((failure, host)) = watched.failure {
        return Err(LaunchError { message: failure, host });
    }
    if let Some(mut report) = watched.report {
        copy_report(&mut report, plan.channels.report, out)?;
    }
    let ended = watched.ended.unwrap_or(Ended::Killed);
    let Watched { stop, wall_ms, output, denied, untold, full, .. } = watched;
    let facts = Facts { stop, ended: &ended, usage: &usage, limits: &plan.limits, denied: &denied, full: &full };
    let (verdict, message) = ending::judge(&facts);
    let (mut sockets, mut uncharged) = (None, None);
    match stop {
        Some(Stop::Sockets(bytes)) => sockets = Some(bytes),
        Some(Stop::Uncharged(bytes)) => uncharged = Some(bytes),
        _ => {}
    }
    Ok(Outcome {
        ended,
        verdict,
        message,
        wall_ms,
        usage,
        limits,
        output,
        degraded,
        allowed: plan.allow,
        denied,
        untold,
        full,
        sockets,
        uncharged,
    })
}

/// Passes the report on, one byte more than its limit at the most, so that the runner can tell a report that is too long.
fn copy_report(report: &mut std::fs::File, channel: Option<Channel>, out: &mut impl Write) -> Result<(), LaunchError> {
    let limit = channel.map_or(0, |c| c.limit);
    report.rewind()?;
    let mut part = vec![0; 64 << 10];
    let mut rest = report.take(limit.saturating_add(1));
    loop {
        match rest.read(&mut part)? {
            0 => return Ok(()),
            n => wire::write_frame(out, Kind::Report, &part[..n])?,
        }
    }
}

/// The domain. The operator's word that there may be none counts only where the kernel has none.
fn choose_landlock(plan: &Plan, degraded: &mut Vec<Layer>) -> Result<Option<landlock::Writable>, LaunchError> {
    // It refuses every mount, in whatever namespace.
    if plan.off(Switch::Landlock) || plan.allow.contains(Group::Containers) {
        return Ok(None);
    }
    match (sys::landlock_abi(), plan.waives(Layer::Landlock)) {
        (0, false) => Err(ConfineError::NoLandlock.into()),
        (0, true) => {
            degraded.push(Layer::Landlock);
            Ok(None)
        }
        _ => Ok(Some(landlock::writable(plan))),
    }
}

/// The stage's account in the ledger, which the runner has opened. The operator's word that there may be none counts only where
/// the runner could open none.
fn choose_ledger(plan: &Plan, degraded: &mut Vec<Layer>) -> Result<Option<Account>, LaunchError> {
    if plan.off(Switch::Ledger) {
        return Ok(None);
    }
    match plan.ledger {
        Some(share) => Account::open(share).map(Some).map_err(failed("opening the stage's account in the ledger")),
        None if plan.waives(Layer::Ledger) => {
            if let Some(group) = plan.allow.iter().find(|group| group.needs_ledger()) {
                let why = format!("{group}: only the ledger of memory would hold what it opens, and it is waived");
                return Err(failed("allowing a group of system calls")(why));
            }
            degraded.push(Layer::Ledger);
            Ok(None)
        }
        None => Err(failed("making a sandbox")(
            "the plan has no account in the ledger of memory; to run without this layer say --allow-degraded ledger",
        )),
    }
}

/// Filters of the payload, plain and those that tell, of which it takes one; those of init; and what the launcher answers.
#[derive(Default)]
struct Filters {
    seccomp: Option<Programs>,
    listening: Option<Listening>,
    init_seccomp: Option<Programs>,
    answers: Option<Answers>,
}

/// The filters of the payload and of init, on the same terms.
fn choose_seccomp(plan: &Plan, degraded: &mut Vec<Layer>) -> Result<Filters, LaunchError> {
    if plan.off(Switch::Seccomp) {
        return Ok(Filters::default());
    }
    let there = Path::new("/proc/sys/kernel/seccomp/actions_avail").exists();
    if !there && plan.waives(Layer::Seccomp) {
        degraded.push(Layer::Seccomp);
        return Ok(Filters::default());
    }
    let init_seccomp = Some(seccomp::compile_init()?);
    // What fetches runs tools of the host's, of whose refusals no student is told. And a process has one listener at the most: where
    // programs may have theirs we have none. (Our filters answer with errors then, which are stricter than their questions.)
    let tells = match plan.policy {
        Policy::Fetch => Availability::Never,
        _ if plan.allow.contains(Group::SeccompNotify) => Availability::Never,
        _ => told::availability()?,
    };
    let name = plan.policy_name();
    let mut filters = Filters { init_seccomp, ..Filters::default() };
    if tells != Availability::Never {
        let (listening, answers) = told::compile_named(&name)?;
        (filters.listening, filters.answers) = (Some(listening), Some(answers));
    }
    if tells != Availability::Sure {
        filters.seccomp = Some(seccomp::compile_named(&name)?);
    }
    Ok(filters)
}

/// Pipes and sockets between the launcher and the sandbox, both ends.
pub(crate) struct Channels {
    pub control: (OwnedFd, OwnedFd),
    stdout: (OwnedFd, OwnedFd),
    stderr: (OwnedFd, OwnedFd),
    events: Option<(OwnedFd, OwnedFd, RawFd)>,
    report: Option<(std::fs::File, RawFd)>,
    leaves: Option<LeafSockets>,
}

/// The sockets for leaves: for asking, and for gates; ours, theirs, and the numbers inside.
type LeafSockets = [(OwnedFd, OwnedFd, RawFd); 2];

/// The launcher's ends.
pub struct Ends {
    /// The command's standard output.
    pub stdout: OwnedFd,
    /// The command's standard error.
    pub stderr: OwnedFd,
    /// The events socket.
    pub events: Option<OwnedFd>,
    /// The report.
    pub report: Option<std::fs::File>,
    /// Leaves that the command asks for.
    pub leaves: Option<Leaves>,
}

impl Channels {
    fn open(plan: &Plan) -> Result<Channels, LaunchError> {
        let pair = || {
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(failed("making a socket pair"))
        };
        let pipe = || {
            let (read, write) =
                rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed("making a pipe"))?;
            // A program that opens /dev/stderr opens this pipe by its inode, whose owner must be the sandbox's user.
            let owner = |id: u32| Some(plan.ids.base + id);
            nix::unistd::fchown(
                &write,
                owner(plan.user.uid).map(Uid::from_raw),
                owner(plan.user.gid).map(Gid::from_raw),
            )
            .map_err(failed("giving a pipe to the sandbox's user"))?;
            Ok::<_, LaunchError>((read, write))
        };
        let control = pair()?;
        setsockopt(&control.0, sockopt::PassCred, &true).map_err(failed("asking for senders' pids"))?;
        let events = plan.channels.events.map(|c| pair().map(|(ours, theirs)| (ours, theirs, c.fd))).transpose()?;
        let report = match plan.channels.report {
            None => None,
            Some(channel) => {
                let memory = rustix::fs::memfd_create("report", MemfdFlags::CLOEXEC)
                    .map_err(failed("making the report's memory file"))?;
                // The suite opens it again as /proc/self/fd/N, as the sandbox's user.
                rustix::fs::fchmod(&memory, Mode::from_raw_mode(0o666))
                    .map_err(failed("opening the report to the suite"))?;
                Some((memory.into(), channel.fd))
            }
        };
        let leaves = plan.channels.leaves.map(|numbers| leaf_sockets(numbers, pair)).transpose()?;
        Ok(Channels { control, stdout: pipe()?, stderr: pipe()?, events, report, leaves })
    }

    fn fds(&self, sources: &mounts::Sources) -> Fds {
        Fds {
            control: self.control.1.as_raw_fd(),
            output: [self.stdout.1.as_raw_fd(), self.stderr.1.as_raw_fd()],
            binds: sources.binds.iter().map(|s| s.as_ref().map(AsRawFd::as_raw_fd)).collect(),
            devices: sources.devices.iter().map(AsRawFd::as_raw_fd).collect(),
            events: self.events.as_ref().map(|(_, theirs, number)| (theirs.as_raw_fd(), *number)),
            report: self.report.as_ref().map(|(file, number)| (file.as_raw_fd(), *number)),
            leaves: self.leaves.as_ref().map(|both| both.each_ref().map(|(_, theirs, n)| (theirs.as_raw_fd(), *n))),
        }
    }

    /// Closes the sandbox's ends and keeps the launcher's: a pipe ends only when every writer is gone.
    fn keep(self, plan: &Plan) -> (OwnedFd, Ends) {
        let left = plan.channels.leaves.is_some_and(|leaves| leaves.keep_leftovers);
        let limit = plan.limits.memory;
        let ends = Ends {
            stdout: self.stdout.0,
            stderr: self.stderr.0,
            events: self.events.map(|(ours, _, _)| ours),
            report: self.report.map(|(file, _)| file),
            leaves: self.leaves.map(|[(control, ..), (gate, ..)]| Leaves::new(control, gate, left, limit)),
        };
        (self.control.0, ends)
    }
}

/// The sockets for leaves. Many processes speak on the second, one message each: datagrams, of which the kernel names the
/// sender.
fn leaf_sockets(
    numbers: LeafChannels,
    pair: impl Fn() -> Result<(OwnedFd, OwnedFd), LaunchError>,
) -> Result<LeafSockets, LaunchError> {
    let (control, theirs) = pair()?;
    let (gate, gates) = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC)
        .map_err(failed("making a socket pair for gates"))?;
    setsockopt(&gate, sockopt::PassCred, &true).map_err(failed("asking for gates' pids"))?;
    Ok([(control, theirs, numbers.control), (gate, gates, numbers.gate)])
}
