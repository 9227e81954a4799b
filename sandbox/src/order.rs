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

impl Answer {
    /// As it is sent: one datagram of at most [`MAX_ANSWER`] bytes. A sentence that is too long (it may name a program, which a
    /// suite named) loses its middle: an answer that is cut off is none, and would be taken for the host's fault.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        match self {
            Answer::Failed { message, host } if bytes.len() > MAX_ANSWER => {
                // JSON makes six bytes out of one at the most.
                let half = (MAX_ANSWER / 6 - 100) / 2;
                let boundary = |at: &usize| message.is_char_boundary(*at);
                let head = (0..=half).rev().find(boundary).unwrap_or(0);
                let tail = (message.len() - half..message.len()).find(boundary).unwrap_or(message.len());
                let cut = format!("{} [... {} bytes left out ...] {}", &message[..head], tail - head, &message[tail..]);
                serde_json::to_vec(&Answer::Failed { message: cut, host: *host }).unwrap_or_default()
            }
            _ => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_answer_arrives_whole_and_both_ends_of_a_long_sentence(part in "\\PC{1,40}|[\0-\x1f\"\\\\]{1,40}", times in 1usize..400, host: bool) {
            let message = part.repeat(times);
            let sent = Answer::Failed { message: message.clone(), host }.to_bytes();
            prop_assert!(sent.len() <= MAX_ANSWER);
            let Ok(Answer::Failed { message: told, host: whose }) = serde_json::from_slice(&sent) else {
                return Err(TestCaseError::fail("it is no answer"));
            };
            prop_assert_eq!(whose, host);
            if told != message {
                let (head, rest) = told.split_once(" [... ").unwrap();
                let tail = rest.split_once(" bytes left out ...] ").unwrap().1;
                prop_assert!(head.len() > 500 && message.starts_with(head) && tail.len() > 500 && message.ends_with(tail));
            }
        }
    }
}
