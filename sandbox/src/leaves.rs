//! Leaves while the command runs: the launcher's side of two sockets.
//!
//! On one, the harness's alone, it asks for a leaf and for its end; on the other the gates ask to be put into the leaf
//! that is current ([`crate::gate`]). Who asks there is known from the kernel, not from what is said. The launcher
//! knows leaves by name and nothing of what they are for.

use crate::cgroup::{CgroupError, PAYLOAD, Rise, StageGroup, check_name};
use crate::outcome::{Figure, LeafUsage, Meanwhile};
use crate::places::Places;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, send};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Longest request in bytes.
const MAX_REQUEST: usize = 512;

/// Most leaves in a stage, one after the other: more would be a defect, and each costs the kernel something.
const MAX_LEAVES: usize = 200_000;

/// Most leaves that have ended and are still there.
const MAX_OVER: usize = 32;

/// Time until the kernel is asked again to let go of a leaf.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a leaf that is asked for again may take to be gone. Nothing is in it any more.
const WAY: Duration = Duration::from_secs(1);

/// What the answer to a gate that was placed begins with.
pub const PLACED: u8 = b'k';

/// What it begins with where it was not.
const NOT_PLACED: u8 = b'n';

/// What the harness asks for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Make this leaf, and put whoever comes through the gate into it.
    Open {
        /// Its name.
        leaf: String,
    },
    /// The current leaf is no longer current.
    Close,
}

impl Request {
    /// Reads one message.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(message: &[u8]) -> Result<Request, String> {
        let request =
            serde_json::from_slice(message).map_err(|error| format!("the request cannot be read: {error}"))?;
        match &request {
            // The two that every stage has are not the harness's to use.
            Request::Open { leaf } if !leaf.starts_with('t') || check_name(leaf).is_err() => {
                Err(format!("{leaf:?} is no name for a leaf"))
            }
            _ => Ok(request),
        }
    }
}

/// What it is answered.
#[derive(Debug, Serialize)]
struct Reply {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The leaf that is current.
struct Current {
    name: String,
    since: Instant,
    /// Processes that came through the gate.
    entered: u64,
    /// Of the harness's own leaf, where the kernel can tell.
    rise: Option<Rise>,
    /// What the stage had met before.
    before: Meanwhile,
}

/// What is known of a leaf beside its figures.
#[derive(Debug, Clone)]
struct Closed {
    entered: u64,
    wall_ms: u64,
    harness_rise: Option<Figure>,
    meanwhile: Meanwhile,
}

/// The launcher's ends, and what it knows of leaves.
pub struct Leaves {
    control: Option<OwnedFd>,
    gate: OwnedFd,
    current: Option<Current>,
    /// Leaves that have ended and are still to be taken leave of, when there is nothing else to do: the harness does not wait
    /// for that.
    over: VecDeque<(Closed, LeafUsage)>,
    /// Leaves whose processes outlived them.
    lingering: BTreeMap<String, Closed>,
    count: usize,
}

impl Leaves {
    /// With the launcher's ends of the two sockets; on the second the kernel is to name senders.
    pub fn new(control: OwnedFd, gate: OwnedFd) -> Leaves {
        Leaves {
            control: Some(control),
            gate,
            current: None,
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
        let mut text = [0u8; MAX_REQUEST];
        let length = match nix::sys::socket::recv(control.as_raw_fd(), &mut text, MsgFlags::MSG_DONTWAIT) {
            Ok(length @ 1..) => length,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            // The harness has ended, or closed its end.
            Ok(0) | Err(_) => {
                self.control = None;
                return Ok(None);
            }
        };
        let (done, usage) = match Request::parse(&text[..length]) {
            Ok(Request::Open { leaf }) => (self.open(group, leaf), None),
            Ok(Request::Close) => match self.close(group, places) {
                Ok(usage) => (Ok(()), usage),
                Err(error) => (Err(error.to_string()), None),
            },
            Err(error) => (Err(error), None),
        };
        let reply = Reply { ok: done.is_ok(), error: done.err() };
        let body = serde_json::to_vec(&reply).unwrap_or_default();
        if let Some(control) = &self.control {
            // Who does not listen any more has ended, and is seen to at the next look.
            let _ = send(control.as_raw_fd(), &body, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        }
        Ok(usage)
    }

    fn open(&mut self, group: &mut StageGroup, name: String) -> Result<(), String> {
        if let Some(current) = &self.current {
            return Err(format!("the leaf {} has not been ended", current.name));
        }
        if self.count >= MAX_LEAVES {
            return Err(format!("there have been {MAX_LEAVES} leaves already"));
        }
        self.make_way(group, &name).map_err(|error| error.to_string())?;
        group.make_leaf(&name).map_err(|error| error.to_string())?;
        self.count += 1;
        // Where the kernel cannot tell there is no figure.
        let rise = group.watch_rise(PAYLOAD).map_err(|error| error.to_string())?;
        let before = group.met().map_err(|error| error.to_string())?;
        self.current = Some(Current { name, since: Instant::now(), entered: 0, rise, before });
        Ok(())
    }

    /// A test that is run a second time asks for its leaf again: the first one has to be gone, which otherwise has time.
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

    fn close(&mut self, group: &mut StageGroup, places: &Places) -> Result<Option<LeafUsage>, CgroupError> {
        let Some(mut current) = self.current.take() else { return Ok(None) };
        let harness_rise = match &mut current.rise {
            None => None,
            Some(rise) => Some(Figure { value: rise.bytes()?, source: rise.source().into() }),
        };
        let wall_ms = current.since.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let mut meanwhile = group.met()?.since(&current.before);
        meanwhile.full = places.full();
        let closed = Closed { entered: current.entered, wall_ms, harness_rise, meanwhile };
        let usage = describe(group, &current.name, &closed)?;
        self.over.push_back((closed, usage.clone()));
        Ok(Some(usage))
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
    pub fn admit(&mut self, group: &StageGroup) -> io::Result<()> {
        let mut byte = [0u8; 1];
        let mut space = nix::cmsg_space!(UnixCredentials, [RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(self.gate.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
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
        let leaf = self.current.as_ref().map_or(PAYLOAD, |current| &current.name);
        // One that is dead by now, or that the kernel refuses to move, is not let go.
        let placed = group.place(leaf, Pid::from_raw(pid)).is_ok();
        if placed {
            prefer(pid);
            if let Some(current) = &mut self.current {
                current.entered += 1;
            }
        }
        // Eight bytes: who had room for one descriptor alone waits for them at an eventfd, which has no end. A pipe that
        // nobody reads is one whose reader died.
        let _ = rustix::io::write(&reply, &[if placed { PLACED } else { NOT_PLACED }, 0, 0, 0, 0, 0, 0, 0]);
        Ok(())
    }

    /// The figures of every leaf that is still there, when all is over: of those whose processes outlived them the final
    /// ones, and of the one that was current.
    ///
    /// # Errors
    /// When a figure cannot be read.
    pub fn finish(mut self, group: &mut StageGroup) -> Result<Vec<LeafUsage>, CgroupError> {
        let mut all = Vec::new();
        // The places are gone; the outcome says what was full.
        all.extend(self.close(group, &Places::default())?);
        for (name, closed) in &self.lingering {
            all.push(describe(group, name, closed)?);
        }
        // Of these nobody knows yet whether there was somebody left.
        for (closed, told) in &self.over {
            let now = describe(group, &told.leaf, closed)?;
            if now != *told && all.iter().all(|usage: &LeafUsage| usage.leaf != now.leaf) {
                all.push(now);
            }
        }
        Ok(all)
    }
}

fn describe(group: &StageGroup, name: &str, closed: &Closed) -> Result<LeafUsage, CgroupError> {
    Ok(LeafUsage {
        leaf: name.into(),
        entered: closed.entered,
        wall_ms: closed.wall_ms,
        harness_rise: closed.harness_rise.clone(),
        usage: group.leaf_usage(name)?,
        meanwhile: closed.meanwhile.clone(),
    })
}

/// Has the kernel kill this process before the harness where memory runs out. Written from outside it is also a floor: no
/// program gets below it. A wish: one that has ended by now needs it no more.
fn prefer(pid: i32) {
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), crate::init::OOM_SCORE);
}

fn own(fd: RawFd) -> io::Result<OwnedFd> {
    crate::sys::own_inherited(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_for_a_leaf_of_a_test_or_for_its_end() {
        let open = |leaf: &str| Request::parse(format!(r#"{{"ask":"open","leaf":"{leaf}"}}"#).as_bytes());
        assert_eq!(open("t17"), Ok(Request::Open { leaf: "t17".into() }));
        assert_eq!(Request::parse(br#"{"ask":"close"}"#), Ok(Request::Close));
        for leaf in ["", "payload", "init", "t/../payload", "../t0", "t 1", "t\\n", &"t".repeat(65)] {
            assert!(open(leaf).is_err_and(|e| e.contains("no name for a leaf")), "{leaf:?}");
        }
        for wrong in
            ["", "{}", "[]", r#"{"ask":"kill"}"#, r#"{"ask":"open"}"#, r#"{"ask":"open","leaf":"t1","limit":0}"#]
        {
            assert!(Request::parse(wrong.as_bytes()).is_err_and(|e| e.contains("cannot be read")), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_reading_panic_or_leaves_the_stages_folder(
            message in prop::collection::vec(any::<u8>(), 0..60), leaf in "t?[a-z0-9./_-]{0,70}",
        ) {
            let named = serde_json::json!({"ask": "open", "leaf": leaf}).to_string();
            for message in [&message[..], named.as_bytes()] {
                if let Ok(Request::Open { leaf }) = Request::parse(message) {
                    prop_assert!(leaf.starts_with('t') && leaf.len() <= 64 && !leaf.contains('/'));
                }
            }
        }
    }
}
