//! Leaves while the command runs: the launcher's side of two sockets.
//!
//! On one, the harness's alone, it asks for leaves and for their ends; on the other the gates ask to be put into the leaf
//! that is current ([`crate::gate`]). Who asks there is known from the kernel, not from what is said. The launcher
//! knows leaves by name, and of what they are for only this: a `t` is a test's, one at a time, and an `f` is something's that
//! outlives tests and that they use.

mod account;
mod ends;
mod looks;
mod mapped;
mod orphans;
mod request;

use crate::cgroup::{CgroupError, Meter, PAYLOAD, Rise, StageGroup};
use crate::outcome::{Figure, Full, LeafMemory, LeafUsage, Left, Meanwhile};
use crate::places::Places;
use account::{Account, AllShared, Captured, Shared};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, send};
use nix::unistd::Pid;
pub use request::{MAX_REQUEST, Request};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Most leaves in a stage, one after the other: more would be a defect, and each costs the kernel something.
const MAX_LEAVES: usize = 200_000;

/// Most leaves that have ended and are still there.
const MAX_OVER: usize = 32;

/// Time until the kernel is asked again to let go of a leaf.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a leaf that is asked for again may take to be gone. Nothing is in it any more.
const WAY: Duration = Duration::from_secs(1);

/// Pauses between two looks at running programs: the first after a start, and the longest. They grow by a half each.
const LOOKS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(10)];

/// What the answer to a gate that was placed begins with.
pub const PLACED: u8 = b'k';

/// What it begins with where it was not.
const NOT_PLACED: u8 = b'n';

/// The leaf of what is started while there is no test: it runs as long as the command.
const SESSION: &str = "f0";

/// What stands behind the leaf's name where a process is a helper of the harness's language, and nobody's program: a server that forks
/// what the test starts, for example.
const HELPER: char = '~';

/// What the harness is answered.
#[derive(Debug, Serialize)]
struct Reply {
    ok: bool,
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The test that is running.
struct Current {
    name: String,
    since: Instant,
    /// Processes that came through the gate.
    entered: u64,
    /// Of the harness's own leaf, where the kernel can tell.
    rise: Option<Rise>,
    /// What the stage had met before.
    before: Meanwhile,
    account: Account,
    /// That it is beyond the limit with what it has mapped.
    suspicion: looks::Suspicion,
    /// Places that were seen full.
    filled: Vec<Full>,
    /// Whether its programs were at work when the stage was stopped.
    alive: bool,
    /// Kills and failed forks in leaves that outlive it, before it.
    met: BTreeMap<String, [u64; 2]>,
}

/// What is known of a leaf beside its figures.
#[derive(Debug, Clone, Default)]
struct Closed {
    entered: u64,
    wall_ms: u64,
    harness_rise: Option<Figure>,
    meanwhile: Meanwhile,
    own_peak: Option<u64>,
    memory: LeafMemory,
    uses: Vec<String>,
    left: Left,
    /// Kills and failed forks in leaves that it used.
    beside: [u64; 2],
    alive: bool,
    orphans: Left,
}

/// When programs are looked at next.
struct Looks {
    due: Instant,
    pause: Duration,
}

/// The launcher's ends, and what it knows of leaves.
pub struct Leaves {
    control: Option<OwnedFd>,
    gate: OwnedFd,
    keep: bool,
    limit: u64,
    harness: Option<i32>,
    /// Processes that are nobody's program and are not told of.
    helpers: std::collections::BTreeSet<i32>,
    current: Option<Current>,
    /// What is set up or taken down at the moment, and outlives the test, the innermost last.
    entered: Vec<String>,
    shared: AllShared,
    /// Of all leaves together, once there is one.
    programs: Option<Meter>,
    stage: Option<Meter>,
    /// Names of those that have ended.
    ended: std::collections::BTreeSet<String>,
    captured: Captured,
    looks: Looks,
    /// Leaves that have ended and are still to be taken leave of, when there is nothing else to do: the harness does not wait
    /// for that.
    over: VecDeque<(Closed, LeafUsage)>,
    /// Leaves whose processes outlived them.
    lingering: BTreeMap<String, Closed>,
    count: usize,
}

impl Leaves {
    /// With the launcher's ends of the two sockets; on the second the kernel is to name senders. `keep`: what is left at a leaf's
    /// end goes on running. `limit`: the stage's, in bytes.
    pub fn new(control: OwnedFd, gate: OwnedFd, keep: bool, limit: u64) -> Leaves {
        Leaves {
            control: Some(control),
            gate,
            keep,
            limit,
            harness: None,
            helpers: std::collections::BTreeSet::new(),
            current: None,
            entered: Vec::new(),
            shared: AllShared::new(),
            programs: None,
            stage: None,
            ended: std::collections::BTreeSet::new(),
            captured: Captured::default(),
            looks: Looks { due: Instant::now(), pause: LOOKS[0] },
            over: VecDeque::new(),
            lingering: BTreeMap::new(),
            count: 0,
        }
    }

    /// The descriptors to be polled: requests of the harness, while it lives, and gates.
    pub fn fds(&self) -> (Option<BorrowedFd<'_>>, BorrowedFd<'_>) {
        (self.control.as_ref().map(|fd| fd.as_fd()), self.gate.as_fd())
    }

    /// Answers one request of the harness. Gives the figures of a leaf that it ended.
    ///
    /// # Errors
    /// When the kernel refuses what it cannot refuse on a sane host.
    pub fn hear(&mut self, group: &mut StageGroup, places: &Places) -> Result<Option<LeafUsage>, CgroupError> {
        let Some(control) = &self.control else { return Ok(None) };
        let mut text = vec![0u8; MAX_REQUEST];
        let mut space = nix::cmsg_space!([RawFd; 8]);
        let mut parts = [IoSliceMut::new(&mut text)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(control.as_raw_fd(), &mut parts, Some(&mut space), flags);
        let (length, fds) = match message {
            Ok(message) => {
                let mut fds = Vec::new();
                for part in message.cmsgs().into_iter().flatten() {
                    if let ControlMessageOwned::ScmRights(sent) = part {
                        // Each was made for this process by the kernel, and nobody else owns it.
                        fds.extend(sent.into_iter().filter_map(|fd| own(fd).ok()));
                    }
                }
                (message.bytes, fds)
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            Err(_) => (0, Vec::new()),
        };
        if length == 0 {
            // The harness has ended, or closed its end.
            self.control = None;
            return Ok(None);
        }
        // The harness asks when pytest is about to read what was captured, and makes room by that.
        self.look_at_places(places);
        let request = Request::parse(&text[..length]);
        let number = request.as_ref().map_or(0, Request::number);
        let (done, usage) = match request.map(|request| self.answer(group, places, request, fds)) {
            Ok(Ok(usage)) => (Ok(()), usage),
            Ok(Err(error)) | Err(error) => (Err(error), None),
        };
        let reply = Reply { ok: done.is_ok(), number, error: done.err() };
        let body = serde_json::to_vec(&reply).unwrap_or_default();
        if let Some(control) = &self.control {
            // Who does not listen any more has ended, and is seen to at the next look.
            let _ = send(control.as_raw_fd(), &body, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        }
        Ok(usage)
    }

    fn answer(
        &mut self,
        group: &mut StageGroup,
        places: &Places,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<Option<LeafUsage>, String> {
        let told = |error: CgroupError| error.to_string();
        match request {
            Request::Open { leaf, .. } => self.open(group, leaf).map(|()| None),
            Request::Close { .. } => self.close(group, places).map_err(told),
            Request::Enter { leaf, .. } => self.enter(group, leaf).map(|()| None).map_err(told),
            Request::Leave { leaf, settled, .. } => {
                if settled {
                    self.settle(group, &leaf).map_err(told)?;
                }
                self.leave(group, &leaf).map(|()| None).map_err(told)
            }
            Request::End { leaf, .. } => self.end(group, &leaf).map_err(told),
            Request::Mark { uses, captured, .. } => {
                self.mark(group, &uses, captured.then_some(fds)).map(|()| None).map_err(told)
            }
        }
    }

    fn open(&mut self, group: &mut StageGroup, name: String) -> Result<(), String> {
        if let Some(current) = &self.current {
            return Err(format!("the leaf {} has not been ended", current.name));
        }
        let told = |error: CgroupError| error.to_string();
        self.make(group, &name)?;
        let account = self.account(group, &name).map_err(told)?;
        // Where the kernel cannot tell there is no figure.
        let rise = group.watch_rise(PAYLOAD).map_err(told)?;
        let before = group.met().map_err(told)?;
        let mut met = BTreeMap::new();
        for leaf in self.shared.keys() {
            met.insert(leaf.clone(), met_in(group, leaf).map_err(told)?);
        }
        let suspicion = looks::Suspicion::default();
        let (since, filled, alive) = (Instant::now(), Vec::new(), false);
        self.current = Some(Current { name, since, entered: 0, rise, before, account, suspicion, filled, alive, met });
        self.helpers.clear();
        self.entered.clear();
        Ok(())
    }

    /// Makes a leaf.
    fn make(&mut self, group: &mut StageGroup, name: &str) -> Result<(), String> {
        if self.count >= MAX_LEAVES {
            return Err(format!("there have been {MAX_LEAVES} leaves already"));
        }
        self.make_way(group, name).map_err(|error| error.to_string())?;
        group.make_leaf(name).map_err(|error| error.to_string())?;
        self.count += 1;
        Ok(())
    }

    fn account(&mut self, group: &StageGroup, name: &str) -> Result<Account, CgroupError> {
        if self.stage.is_none() {
            self.stage = Some(group.meter_of_stage()?);
        }
        self.look_who_runs(group)?;
        let mut account = Account::new(group.meter(name)?);
        if let Some(programs) = programs(&mut self.programs, group)? {
            account.stretch(programs, &mut self.shared, &self.captured, false)?;
        }
        // A server that was started with no test around it is everybody's.
        account.use_also(SESSION);
        Ok(account)
    }

    /// Which leaves that outlive tests have somebody in them.
    fn look_who_runs(&mut self, group: &StageGroup) -> Result<(), CgroupError> {
        for (name, leaf) in &mut self.shared {
            leaf.runs = group.is_in_use(name)?;
        }
        Ok(())
    }

    /// Ends a stretch of the test's account. `counted`: it was the test's.
    fn stretch(&mut self, group: &StageGroup, counted: bool) -> Result<(), CgroupError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let Some(programs) = programs(&mut self.programs, group)? else { return Ok(()) };
        current.account.stretch(programs, &mut self.shared, &self.captured, counted)
    }

    /// Who comes from now on belongs to what is set up or taken down, and not to the test.
    fn enter(&mut self, group: &StageGroup, leaf: String) -> Result<(), CgroupError> {
        if self.entered.is_empty() {
            self.stretch(group, true)?;
        }
        if let Some(current) = &mut self.current {
            current.account.use_also(&leaf);
        }
        self.entered.push(leaf);
        Ok(())
    }

    fn leave(&mut self, group: &StageGroup, leaf: &str) -> Result<(), CgroupError> {
        // With it goes what was entered later: whoever did was interrupted.
        if let Some(at) = self.entered.iter().rposition(|entered| entered == leaf) {
            self.entered.truncate(at);
        }
        if self.entered.is_empty() {
            self.look_who_runs(group)?;
            self.stretch(group, false)?;
        }
        Ok(())
    }

    /// What the test uses from here on, and where its output goes.
    fn mark(&mut self, group: &StageGroup, uses: &[String], files: Option<Vec<OwnedFd>>) -> Result<(), CgroupError> {
        if let Some(current) = &mut self.current {
            uses.iter().for_each(|leaf| current.account.use_also(leaf));
        }
        if self.entered.is_empty() {
            self.look_who_runs(group)?;
            self.stretch(group, true)?;
        }
        if let Some(files) = files {
            self.captured = Captured::new(files);
            self.stretch(group, false)?;
        }
        Ok(())
    }

    /// A leaf that is asked for a second time, by a test that is run again: the first one has to be gone, which otherwise has time.
    fn make_way(&mut self, group: &mut StageGroup, name: &str) -> Result<(), CgroupError> {
        while self.over.iter().any(|(_, told)| told.leaf == name) {
            self.tidy(group)?;
        }
        let until = Instant::now() + WAY;
        while group.is_dying(name) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
            group.bury()?;
        }
        Ok(())
    }

    /// How soon there is something to be tidied up; `None`: there is nothing.
    pub fn untidy(&self, group: &StageGroup) -> Option<Duration> {
        match (self.over.is_empty(), group.dying()) {
            (false, _) => Some(Duration::ZERO),
            (true, 0) => None,
            (true, _) => Some(PAUSE),
        }
    }

    /// Whether so much is to be tidied up that other things have to wait.
    pub fn is_cluttered(&self, group: &StageGroup) -> bool {
        self.over.len() + group.dying() > MAX_OVER
    }

    /// Takes leave of one leaf that has ended, or removes what the kernel had not let go of.
    ///
    /// # Errors
    /// When the kernel refuses what it cannot refuse on a sane host.
    pub fn tidy(&mut self, group: &mut StageGroup) -> Result<(), CgroupError> {
        if let Some((closed, told)) = self.over.pop_front()
            && !group.retire_leaf_if_empty(&told.leaf)?
        {
            self.lingering.insert(told.leaf, closed);
        }
        group.bury().map(drop)
    }

    /// Places one process that came to the gate and lets it go.
    ///
    /// # Errors
    /// When the descriptor is broken. A process that cannot be placed is told, by the end of its pipe.
    pub fn admit(&mut self, group: &mut StageGroup) -> io::Result<()> {
        let mut name = [0u8; 16];
        let mut space = nix::cmsg_space!(UnixCredentials, [RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut name)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(self.gate.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let length = message.bytes;
        let (mut sender, mut replies) = (None, Vec::new());
        for part in message.cmsgs()? {
            match part {
                ControlMessageOwned::ScmCredentials(who) => sender = Some(who.pid()),
                ControlMessageOwned::ScmRights(fds) => {
                    // Each was made for this process by the kernel, and nobody else owns it.
                    replies.extend(fds.into_iter().map(own));
                }
                _ => {}
            }
        }
        let (Some(pid), Some(Ok(reply))) = (sender.filter(|pid| *pid > 0), replies.into_iter().next()) else {
            return Ok(());
        };
        let asked = std::str::from_utf8(&name[..length]).unwrap_or_default();
        let (asked, helper) = asked.strip_suffix(HELPER).map_or((asked, false), |asked| (asked, true));
        let leaf = self.leaf_for(asked);
        // One that is dead by now, or that the kernel refuses to move, is not let go.
        let placed = leaf.as_ref().is_some_and(|leaf| {
            let there = self.current.as_ref().is_some_and(|current| current.name == *leaf);
            (there || self.share(group, leaf).is_ok()) && group.place(leaf, Pid::from_raw(pid)).is_ok()
        });
        let leaf = leaf.unwrap_or_default();
        if placed {
            prefer(pid);
            if helper {
                self.helpers.insert(pid);
            }
            self.looks = Looks { due: Instant::now() + LOOKS[0], pause: LOOKS[0] };
            if let Some(current) = self.current.as_mut().filter(|current| current.name == leaf) {
                current.entered += 1;
            }
            if let Some(shared) = self.shared.get_mut(&leaf) {
                shared.runs = true;
            }
        }
        // Eight bytes: who had room for one descriptor alone waits for them at an eventfd, which has no end. A pipe that
        // nobody reads is one whose reader died.
        let _ = rustix::io::write(&reply, &[if placed { PLACED } else { NOT_PLACED }, 0, 0, 0, 0, 0, 0, 0]);
        Ok(())
    }

    /// The leaf for a process that names one: that in which it was started, which need not be current any more when it comes to
    /// the gate. `None`: of a test that has ended, with all that it had started.
    fn leaf_for(&self, name: &str) -> Option<String> {
        let current = self.current.as_ref().map(|current| current.name.as_str());
        let now = self.entered.last().map(String::as_str).or(current).unwrap_or(SESSION);
        let known = Some(name) == current || name == SESSION || self.shared.contains_key(name);
        match name.as_bytes() {
            // One that no test uses is nobody's memory.
            _ if known || self.entered.iter().any(|entered| entered == name) => Some(name.into()),
            // A leaf of something that outlives tests and had started nothing yet.
            [b'f', digits @ ..] if !digits.is_empty() && !self.ended.contains(name) => Some(name.into()),
            [b't' | b'f', ..] if !self.keep => None,
            _ => Some(now.into()),
        }
    }

    /// Sees to it that a leaf is there that outlives tests.
    fn share(&mut self, group: &mut StageGroup, leaf: &str) -> Result<(), String> {
        if self.shared.contains_key(leaf) {
            return Ok(());
        }
        self.make(group, leaf)?;
        let mut meter = group.meter(leaf).map_err(|error| error.to_string())?;
        meter.begin().map_err(|error| error.to_string())?;
        self.shared.insert(leaf.into(), Shared { meter, runs: true, orphans: Left::default() });
        Ok(())
    }
}

/// Kills for want of memory and failed forks in a leaf.
fn met_in(group: &StageGroup, leaf: &str) -> Result<[u64; 2], CgroupError> {
    let usage = group.leaf_usage(leaf)?;
    Ok([usage.oom_kills, usage.pids_denied].map(|figure| figure.map_or(0, |figure| figure.value)))
}

/// The group of all leaves together, opened once.
fn programs<'a>(opened: &'a mut Option<Meter>, group: &StageGroup) -> Result<Option<&'a mut Meter>, CgroupError> {
    if opened.is_none() {
        *opened = group.meter_of_programs()?;
    }
    Ok(opened.as_mut())
}

/// Has the kernel kill this process before the harness where memory runs out. Written from outside it is also a floor: no
/// program gets below it. A wish: one that has ended by now needs it no more.
fn prefer(pid: i32) {
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), crate::init::OOM_SCORE);
}

fn own(fd: RawFd) -> io::Result<OwnedFd> {
    crate::sys::own_inherited(fd)
}
