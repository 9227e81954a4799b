//! A stage to be run, and what it gives back: data.

use super::ContainError;
use crate::proxy::{Refused, Traffic};
use sandbox::groups::Groups;
use sandbox::outcome::{Ended, LeafUsage, Outcome, Verdict};
use sandbox::plan::{Beyond, Channels, Mount, Network, OutputPolicy, Policy};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A stage to be run: what differs from one to the next.
#[derive(Debug, Clone)]
pub struct Stage {
    /// For the cgroup's name and the log: `fetch`, `prepare`, `build`, `test`, `exec`.
    pub name: &'static str,
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Environment beside PATH, HOME, LANG and USER, or over them.
    pub env: BTreeMap<String, String>,
    /// Working directory inside.
    pub cwd: PathBuf,
    /// What is visible beside the system.
    pub mounts: Vec<Mount>,
    /// What can be reached.
    pub network: Network,
    /// Allowed system calls.
    pub policy: Policy,
    /// Groups of calls beyond these, by the operator's word.
    pub allow: Groups,
    /// Bytes of memory.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Wall clock.
    pub wall: Duration,
    /// Bytes of /tmp, and of the largest file.
    pub disk: u64,
    /// Output.
    pub output: OutputPolicy,
    /// Events and report.
    pub channels: Channels,
    /// Whether the command is a harness that sets itself apart from what it starts.
    pub apart: bool,
}

impl Stage {
    /// A stage under a task's limits, with nothing visible beside the system and nothing to reach.
    pub fn new(name: &'static str, policy: Policy, limits: &crate::config::Limits) -> Stage {
        Stage {
            name,
            argv: Vec::new(),
            env: BTreeMap::new(),
            cwd: "/".into(),
            mounts: Vec::new(),
            network: Network::Loopback,
            policy,
            allow: Groups::NONE,
            memory: limits.memory,
            pids: limits.pids,
            cpu_millis: limits.cpu_millis,
            wall: limits.timeout,
            disk: limits.disk,
            output: OutputPolicy { limit: limits.output, beyond: Beyond::Discard },
            channels: Channels::default(),
            apart: false,
        }
    }
}

/// What a stage gave back.
#[derive(Debug)]
pub struct Finished {
    /// How it ended and what it used.
    pub outcome: Outcome,
    /// The last part of its standard output.
    pub stdout: Tail,
    /// The last part of its standard error.
    pub stderr: Tail,
    /// The report, one byte longer than its limit at the most.
    pub report: Vec<u8>,
    /// What was used in each leaf that was asked for, by its name.
    pub leaves: BTreeMap<String, LeafUsage>,
    /// What it wanted of its proxy and did not get.
    pub refused: Vec<Refused>,
    /// What its proxy moved.
    pub traffic: Traffic,
}

impl Finished {
    /// What somebody outside has ended, with init, is no word on what ran inside: nobody in there can end init, and what the launcher
    /// ends it says itself.
    ///
    /// # Errors
    /// It was ended so.
    pub fn unless_killed(self, stage: &'static str) -> Result<Finished, ContainError> {
        if self.outcome.verdict == Verdict::Signaled && self.outcome.ended == Ended::Killed {
            let message =
                "it was killed from outside, by a person or by the host's own guard against a lack of memory".into();
            return Err(ContainError::Host { stage, message });
        }
        Ok(self)
    }
}

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub struct Tail(Vec<u8>);

impl Tail {
    /// Bytes that are kept at least.
    const KEEP: usize = 256 << 10;

    /// Adds bytes, and forgets the oldest beyond what is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * Self::KEEP {
            self.0.drain(..self.0.len() - Self::KEEP);
        }
    }

    /// The last `count` lines as text.
    pub fn lines(&self, count: usize) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// All that was kept, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}
