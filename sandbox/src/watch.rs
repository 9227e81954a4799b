//! The launcher's loop: from init's first breath to its last.
//!
//! It places the payload, passes on output within its limits, looks at the clock, and listens to the runner. It
//! kills by cgroup, and never waits for anything that only the sandbox could give it.

use crate::cgroup::{CgroupError, StageGroup};
use crate::denied::Denials;
use crate::ending::Stop;
use crate::launcher::Ends;
use crate::leaves::Leaves;
use crate::order::{Answer, MAX_ANSWER};
use crate::outcome::{Denied, Ended, Figure, Full, OutputCount, Setting};
use crate::places::Places;
use crate::plan::{Network, Plan};
use crate::sockets::Sockets;
use crate::streams::{STREAMS, Streams};
use crate::switch::Switch;
use crate::wire::{Kind, Note, write_frame};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, send};
use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Time that a sandbox may take until its command runs. Far above what any host needs.
const SETUP_TIME: Duration = Duration::from_secs(30);

/// Time that output may still come after everything inside has been killed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Longest pause between two looks at the number of processes, where the kernel keeps no peak.
const SAMPLE: Duration = Duration::from_millis(50);

/// Longest pause between two looks at the ledger. Whoever takes a page too many is killed by the kernel there and then; this is for
/// the others.
const LOOK: Duration = Duration::from_millis(25);

/// What the loop saw.
#[derive(Default)]
pub struct Watched {
    /// Why the launcher killed the sandbox, if it did.
    pub stop: Option<Stop>,
    /// The command's end, if init could tell it.
    pub ended: Option<Ended>,
    /// A step before the command that failed, and whether the host is at fault.
    pub failure: Option<(String, bool)>,
    /// Wall clock of the command in milliseconds.
    pub wall_ms: u64,
    /// Bytes that were written.
    pub output: OutputCount,
    /// Highest number of processes that was seen, for kernels without `pids.peak`.
    pub pids_sampled: Option<Figure>,
    /// The report, as it stands at the end.
    pub report: Option<std::fs::File>,
    /// Leaves, with what is still to be said of them.
    pub leaves: Option<Leaves>,
    /// System calls that were refused.
    pub denied: Vec<Denied>,
    /// Why they are not told, where they should be.
    pub untold: Option<String>,
    /// Places to write to that were full at the end.
    pub full: Vec<Full>,
}

/// Everything the loop holds.
pub struct Watch<'a, W: Write> {
    plan: &'a Plan,
    group: &'a mut StageGroup,
    pidfd: OwnedFd,
    control: OwnedFd,
    streams: Streams,
    out: &'a mut W,
    signals: SignalFd,
    limits: Vec<Setting>,
    started: Option<Instant>,
    killed: bool,
    init_gone: bool,
    /// Whether the runner has the proxy's socket.
    handed_out: bool,
    denials: Denials,
    places: Places,
    sockets: Option<Sockets>,
    seen: Watched,
}

/// What one look at the descriptors found.
struct Ready {
    runner: bool,
    signal: bool,
    init_dead: bool,
    answer: bool,
    streams: [bool; STREAMS],
    /// A request of the harness, and of a gate.
    leaves: [bool; 2],
    /// Somebody whose system call is refused.
    denied: bool,
}

impl Ready {
    fn anything(&self) -> bool {
        let single = self.runner || self.signal || self.init_dead || self.answer || self.denied;
        single || self.streams.contains(&true) || self.leaves.contains(&true)
    }
}

impl<'a, W: Write> Watch<'a, W> {
    /// Takes over the launcher's ends of all channels.
    pub fn new(
        plan: &'a Plan,
        group: &'a mut StageGroup,
        pidfd: OwnedFd,
        control: OwnedFd,
        ends: Ends,
        denials: Denials,
        out: &'a mut W,
    ) -> io::Result<Self> {
        // An operator who ends the launcher by hand ends the sandbox in good order.
        let mut orders = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            orders.add(signal);
        }
        orders.thread_block()?;
        let signals = SignalFd::with_flags(&orders, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Watch {
            plan,
            group,
            pidfd,
            control,
            streams: Streams::new(plan, ends.stdout, ends.stderr, ends.events),
            out,
            signals,
            limits: Vec::new(),
            started: None,
            killed: false,
            init_gone: false,
            handed_out: false,
            denials,
            places: Places::default(),
            sockets: None,
            seen: Watched { report: ends.report, leaves: ends.leaves, ..Watched::default() },
        })
    }

    /// The limits that the runner is told of when the command starts.
    pub fn started_limits(&mut self, limits: &[Setting]) {
        self.limits = limits.to_vec();
    }

    /// Runs until init is dead and its output is read.
    ///
    /// # Errors
    /// Where the kernel refuses something that cannot be refused on a sane host; the caller kills the group then.
    pub fn run(mut self) -> Result<Watched, WatchError> {
        let born = Instant::now();
        let deadline = |started: Option<Instant>, plan: &Plan| match started {
            Some(start) => start + Duration::from_millis(plan.limits.wall_ms),
            None => born + SETUP_TIME,
        };
        loop {
            let until = deadline(self.started, self.plan);
            let left = until.saturating_duration_since(Instant::now());
            let untidy = self.seen.leaves.as_ref().and_then(|leaves| leaves.untidy(self.group));
            let ready = self.wait(left, untidy)?;
            self.tidy_up(untidy.is_some() && !ready.anything())?;
            self.sample()?;
            if ready.answer {
                self.hear()?;
            }
            // Before a leaf ends: who asked before that belongs to it.
            if ready.denied {
                self.denials.hear(Instant::now());
            }
            self.see_to_leaves(ready.leaves)?;
            for (index, ready) in ready.streams.into_iter().enumerate() {
                if ready {
                    self.pass_on(index)?;
                }
            }
            if ready.init_dead {
                break;
            }
            if ready.runner || ready.signal {
                self.stop(Stop::Runner)?;
            }
            if Instant::now() >= until && !self.killed {
                if self.started.is_none() {
                    self.seen.failure.get_or_insert_with(|| {
                        (format!("the sandbox was not ready within {} s", SETUP_TIME.as_secs()), true)
                    });
                }
                self.stop(Stop::Clock)?;
            }
        }
        self.seen.wall_ms = self.started.map_or(0, |s| s.elapsed().as_millis().try_into().unwrap_or(u64::MAX));
        // Reaped here: left to the host's init, which may be slow or none at all, it would stay as a zombie.
        let reaped = rustix::process::waitid(
            rustix::process::WaitId::PidFd(self.pidfd.as_fd()),
            rustix::process::WaitIdOptions::EXITED,
        );
        reaped.map_err(|e| WatchError::Kernel { what: "reaping init", error: e.into() })?;
        self.init_gone = true;
        // An answer may still lie in the socket, sent just before the end.
        while self.hear()? {}
        // The kernel may have killed the command itself, before anybody looked.
        if let Some(bytes) = self.uncharged()?.filter(|_| self.seen.stop.is_none()) {
            self.seen.stop = Some(Stop::Uncharged(bytes));
        }
        self.seen.denied = self.denials.finish();
        self.seen.full = self.places.full();
        self.group.kill()?;
        self.last_words()?;
        if self.started.is_none() && self.seen.failure.is_none() && self.seen.stop.is_none() {
            self.seen.failure = Some(self.early_death());
        }
        let (stdout, stderr, truncated) = self.streams.counts();
        self.seen.output = OutputCount { stdout, stderr, truncated };
        Ok(self.seen)
    }

    /// Init died before the command ran and did not say why: nearly always the memory limit.
    fn early_death(&self) -> (String, bool) {
        let oom = self.group.usage().ok().and_then(|u| u.oom_kills).is_some_and(|f| f.value > 0);
        if oom {
            let text = format!(
                "the memory limit of {} KiB is too small to start anything; give --mem-limit at least 16M",
                self.plan.limits.memory / 1024
            );
            (text, false)
        } else {
            ("the sandbox's init ended before the command began; the launcher's log says more".into(), true)
        }
    }

    /// Waits until something is to be done, `timeout` at the most, or until it is time to tidy up.
    fn wait(&self, timeout: Duration, untidy: Option<Duration>) -> Result<Ready, WatchError> {
        let mut timeout = timeout.min(untidy.unwrap_or(timeout)).min(Duration::from_secs(3600));
        if self.seen.pids_sampled.is_some() {
            timeout = timeout.min(SAMPLE);
        }
        if self.group.account().is_some() && self.started.is_some() && !self.killed {
            timeout = timeout.min(LOOK);
        }
        if let Some(sockets) = self.sockets.as_ref().filter(|_| !self.killed) {
            timeout = timeout.min(sockets.due().saturating_duration_since(Instant::now()));
        }
        if let Some(due) = self.seen.leaves.as_ref().and_then(Leaves::look_due).filter(|_| !self.killed) {
            timeout = timeout.min(due.saturating_duration_since(Instant::now()));
        }
        let pause = self.denials.pause();
        timeout = timeout.min(pause.unwrap_or(timeout));
        // Rounded up: a deadline that is polled for one millisecond too early would spin.
        let up = if untidy == Some(Duration::ZERO) { 0 } else { timeout.as_millis() + 1 };
        let millis = u16::try_from(up).unwrap_or(u16::MAX);
        // After the order to stop only init's end is of interest: the order stays readable, and polling it would spin.
        let stdin = io::stdin();
        let mut fds = vec![
            PollFd::new(if self.killed { self.pidfd.as_fd() } else { stdin.as_fd() }, PollFlags::POLLIN),
            PollFd::new(if self.killed { self.pidfd.as_fd() } else { self.signals.as_fd() }, PollFlags::POLLIN),
            PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
        ];
        let mut places = [None; STREAMS];
        for (place, fd) in places.iter_mut().zip(self.streams.fds()) {
            if let Some(fd) = fd {
                *place = Some(fds.len());
                fds.push(PollFd::new(fd, PollFlags::POLLIN));
            }
        }
        let mut leaves = [None; 2];
        if let Some((control, gate)) = self.seen.leaves.as_ref().map(Leaves::fds) {
            for (place, fd) in leaves.iter_mut().zip([control, Some(gate)]) {
                if let Some(fd) = fd {
                    *place = Some(fds.len());
                    fds.push(PollFd::new(fd, PollFlags::POLLIN));
                }
            }
        }
        let denied = self.denials.fd().filter(|_| !self.killed).map(|fd| {
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
            fds.len() - 1
        });
        match poll(&mut fds, PollTimeout::from(millis)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(WatchError::Kernel { what: "polling", error: error.into() }),
        }
        let hit = |index: usize| fds[index].revents().is_some_and(|r| !r.is_empty());
        Ok(Ready {
            // The runner sends nothing after the plan: whatever comes is its end.
            runner: !self.killed && hit(0),
            signal: !self.killed && hit(1),
            init_dead: hit(2),
            answer: hit(3),
            streams: places.map(|place| place.is_some_and(hit)),
            leaves: leaves.map(|place| place.is_some_and(hit)),
            // After a pause it is worth a look.
            denied: !self.killed && (pause.is_some() || denied.is_some_and(hit)),
        })
    }

    /// Takes leave of a leaf that has ended, where there is nothing else to do, or too many of them.
    fn tidy_up(&mut self, idle: bool) -> Result<(), WatchError> {
        let Some(leaves) = &mut self.seen.leaves else { return Ok(()) };
        if idle || leaves.is_cluttered(self.group) {
            leaves.tidy(self.group)?;
        }
        Ok(())
    }

    /// What the harness asks for, and who comes through the gate. Gates first: who came before a leaf's end belongs to it.
    fn see_to_leaves(&mut self, ready: [bool; 2]) -> Result<(), WatchError> {
        let Some(leaves) = &mut self.seen.leaves else { return Ok(()) };
        if ready[1] {
            leaves.admit(self.group).map_err(|error| WatchError::Kernel { what: "listening to gates", error })?;
        }
        if ready[0]
            && let Some(usage) = leaves.hear(self.group, &self.places)?
        {
            let body = serde_json::to_vec(&Note::Leaf(Box::new(usage))).unwrap_or_default();
            self.tell(Kind::Note, &body)?;
        }
        Ok(())
    }

    /// One answer of init or the payload, if there is one.
    fn hear(&mut self) -> Result<bool, WatchError> {
        let mut text = [0u8; MAX_ANSWER];
        let mut space = nix::cmsg_space!(UnixCredentials, [RawFd; 1]);
        let mut parts = [IoSliceMut::new(&mut text)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.control.as_raw_fd(), &mut parts, Some(&mut space), flags);
        let (mut sender, mut sent) = (None, None);
        let length = match message {
            Ok(message) => {
                for part in message.cmsgs().into_iter().flatten() {
                    match part {
                        ControlMessageOwned::ScmCredentials(who) => sender = Some(who.pid()),
                        // Each was made for this process by the kernel, and nobody else owns it.
                        ControlMessageOwned::ScmRights(fds) => {
                            sent = fds.into_iter().filter_map(|fd| crate::sys::own_inherited(fd).ok()).next_back();
                        }
                        _ => {}
                    }
                }
                message.bytes
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::ECONNRESET) => return Ok(false),
            Err(error) => return Err(WatchError::Kernel { what: "listening to init", error: error.into() }),
        };
        if length == 0 {
            return Ok(false);
        }
        match serde_json::from_slice(&text[..length]) {
            Ok(Answer::Proxy) => self.hand_out(sent)?,
            Ok(Answer::Place) => self.place(sender)?,
            Ok(Answer::Listener) => sent.into_iter().for_each(|listener| self.denials.listen(listener)),
            Ok(Answer::Untold { why }) => self.seen.untold = Some(why),
            Ok(Answer::Failed { message, host }) => self.seen.failure = Some((message, host)),
            Ok(Answer::Exited { code }) => self.seen.ended = Some(Ended::Exited { code }),
            Ok(Answer::Signaled { signal }) => self.seen.ended = Some(Ended::Signaled { signal }),
            Err(error) => return Err(WatchError::Answer(error)),
        }
        Ok(true)
    }

    /// Passes the proxy's socket on to the runner, once, and before the payload is let go.
    fn hand_out(&mut self, socket: Option<OwnedFd>) -> Result<(), WatchError> {
        let expected = self.plan.network == Network::Proxy && !self.handed_out && self.started.is_none();
        let socket = socket.filter(|_| expected).ok_or(WatchError::NoProxy)?;
        self.handed_out = true;
        crate::proxy::hand_out(socket.as_fd())
            .map_err(|error| WatchError::Kernel { what: "handing the proxy's socket to the runner", error })
    }

    /// Puts the payload into its leaf and starts the clock.
    fn place(&mut self, sender: Option<i32>) -> Result<(), WatchError> {
        let pid = sender.filter(|pid| *pid > 0).ok_or(WatchError::NoSender)?;
        if self.started.is_some() {
            return Err(WatchError::NoSender);
        }
        // It asked just before its end, and there is nobody to be placed any more.
        if self.killed || self.init_gone {
            return Ok(());
        }
        if self.plan.network == Network::Proxy && !self.handed_out {
            return Err(WatchError::NoProxy);
        }
        self.group.place_payload(nix::unistd::Pid::from_raw(pid))?;
        if let Some(leaves) = &mut self.seen.leaves {
            leaves.serve(pid);
        }
        // It waits, and its tree is built and still nobody's but the sandbox's root's.
        self.places = Places::open(pid, self.plan);
        // Without a namespace of its own these are the host's sockets.
        if !self.plan.off(Switch::Network) && !self.plan.off(Switch::CgroupLimits) {
            let sockets = Sockets::open(pid).map_err(|error| WatchError::Kernel {
                what: "opening the lists of the sandbox's sockets in /proc",
                error,
            })?;
            self.sockets = Some(sockets);
        }
        self.seen.pids_sampled = match self.group.usage()?.pids_peak {
            Some(_) => None,
            None => Some(Figure { value: 1, source: "pids.current, sampled".into() }),
        };
        let note = Note::Started { limits: std::mem::take(&mut self.limits) };
        let body = serde_json::to_vec(&note).unwrap_or_default();
        self.tell(Kind::Note, &body)?;
        if self.killed {
            return Ok(());
        }
        self.started = Some(Instant::now());
        send(self.control.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL)
            .map_err(|e| WatchError::Kernel { what: "letting the payload go", error: e.into() })?;
        Ok(())
    }

    /// Looks at what the kernel does not watch by itself.
    fn sample(&mut self) -> Result<(), WatchError> {
        if let (Some(figure), Some(now)) = (&mut self.seen.pids_sampled, self.group.sample_pids()) {
            figure.value = figure.value.max(now);
        }
        if self.killed {
            return Ok(());
        }
        if let Some(leaves) = self.seen.leaves.as_mut() {
            leaves.look(self.group, &self.places)?;
        }
        if let Some(bytes) = self.uncharged()? {
            return self.stop(Stop::Uncharged(bytes));
        }
        let Some(sockets) = self.sockets.as_mut() else { return Ok(()) };
        let beyond = sockets
            .look(self.plan.limits.memory)
            .map_err(|error| WatchError::Kernel { what: "looking at the sandbox's sockets in /proc", error })?;
        beyond.map_or(Ok(()), |bytes| self.stop(Stop::Sockets(bytes)))
    }

    /// Bytes beyond the memory limit that no group counts, as the ledger has them.
    fn uncharged(&self) -> Result<Option<u64>, WatchError> {
        let Some(account) = self.group.account() else { return Ok(None) };
        account.beyond().map_err(|error| WatchError::Kernel { what: "looking at the ledger", error })
    }

    /// Reads once from a stream and passes on what its limit allows.
    fn pass_on(&mut self, index: usize) -> Result<(), WatchError> {
        let Some(part) = self.streams.read(index) else { return Ok(()) };
        if let Some((kind, bytes)) = part.pass_on {
            self.tell(kind, &bytes)?;
        }
        part.beyond.map_or(Ok(()), |(what, limit)| self.stop(Stop::Output(what, limit)))
    }

    /// What still lies in the pipes of the dead.
    fn last_words(&mut self) -> Result<(), WatchError> {
        let until = Instant::now() + self.plan.patience(LAST_WORDS);
        while Instant::now() < until {
            let more = self.streams.await_more().map_err(|error| WatchError::Kernel { what: "polling", error })?;
            let Some(more) = more else { break };
            for index in more {
                self.pass_on(index)?;
            }
        }
        Ok(())
    }

    fn stop(&mut self, why: Stop) -> Result<(), WatchError> {
        if !self.killed {
            self.killed = true;
            self.seen.stop = Some(why);
            if let Some(leaves) = &mut self.seen.leaves {
                leaves.look_who_is_alive(self.group);
            }
            // First by what holds alone, should the group not: with pid 1 the kernel ends its namespace.
            match rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(WatchError::Kernel { what: "killing init", error: error.into() }),
            }
            self.group.kill()?;
        }
        Ok(())
    }

    /// Passes something on. A runner that does not listen any more is gone: the sandbox ends with it.
    fn tell(&mut self, kind: Kind, body: &[u8]) -> Result<(), WatchError> {
        match write_frame(self.out, kind, body) {
            Ok(()) => Ok(()),
            Err(_) => self.stop(Stop::Runner),
        }
    }
}

/// Why the loop gave up.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A system call that does not fail on a sane host.
    #[error("watching the sandbox failed while {what}: {error}")]
    Kernel {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Init said something that is no answer.
    #[error("init's answer cannot be read: {0}; runner and launcher must come from one build")]
    Answer(serde_json::Error),
    /// The socket of a proxy came when there was none to come, or did not come.
    #[error("the proxy's socket did not come once and before the command")]
    NoProxy,
    /// A request to be placed whose sender the kernel did not name, or a second one.
    #[error("a process asked to be placed that may not be")]
    NoSender,
}
