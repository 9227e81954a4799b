//! What the launcher hands to init, and what init and the payload answer.
//!
//! The order stands in a sealed memory file whose number is init's only argument; the descriptors it names are
//! inherited. Answers are datagrams on a socket pair of which init and the payload (until its exec)
//! hold one end, so that the launcher gets the sender's pid from the kernel with each.

use crate::confine::landlock::Writable;
use crate::confine::seccomp::Programs;
use crate::confine::told::Listening;
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;

/// `argv[0]` that makes the launcher's binary be init.
pub const INIT_NAME: &str = "ostest-init";

/// Longest answer in bytes.
pub const MAX_ANSWER: usize = 8192;

/// Everything that init needs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The plan.
    pub plan: Plan,
    /// The payload's system call filters. Without these and the next: the operator waived them.
    pub seccomp: Option<Programs>,
    /// Those that stand in their place where refusals are to be told. Without the others beside them they must be in force.
    pub listening: Option<Listening>,
    /// Init's own filters.
    pub init_seccomp: Option<Programs>,
    /// What the payload may write; `None` where the operator waived Landlock.
    pub landlock: Option<Writable>,
    /// Descriptors.
    pub fds: Fds,
}

/// Numbers of inherited descriptors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Fds {
    /// The socket to the launcher.
    pub control: RawFd,
    /// The payload's standard output and error.
    pub output: [RawFd; 2],
    /// Sources of the plan's mounts.
    pub binds: Vec<Option<RawFd>>,
    /// Device nodes.
    pub devices: Vec<RawFd>,
    /// The events socket and the number the payload sees it under.
    pub events: Option<(RawFd, RawFd)>,
    /// The report and the number the payload sees it under.
    pub report: Option<(RawFd, RawFd)>,
    /// The sockets for leaves, for asking and for gates, and the numbers the payload sees them under.
    pub leaves: Option<[(RawFd, RawFd); 2]>,
}

impl Fds {
    /// All channels: each descriptor, and the number the payload sees it under.
    pub fn channels(&self) -> impl Iterator<Item = (RawFd, RawFd)> {
        [self.events, self.report].into_iter().flatten().chain(self.leaves.into_iter().flatten())
    }
}

/// What init or the payload says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// Init: the message carries the socket of the proxy, for the runner.
    Proxy,
    /// The payload, before its exec: place me. It waits for one byte.
    Place,
    /// The payload, before its exec: the listener of its filters comes with this message.
    Listener,
    /// The payload, before its exec: refusals are not told, because the kernel gives no listener.
    Untold {
        /// What it said.
        why: String,
    },
    /// A step failed; nothing of the command has run.
    Failed {
        /// A sentence.
        message: String,
        /// Whether the host is at fault, and not the command line.
        host: bool,
    },
    /// The payload exited.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended the payload.
    Signaled {
        /// Its number.
        signal: i32,
    },
}
