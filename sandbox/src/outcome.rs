//! The outcome: what a sandbox gives back, how it ended and what it used.

use crate::groups::Groups;
use crate::plan::Layer;
use serde::{Deserialize, Serialize};

/// What one sandbox gave back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// How the command itself ended.
    pub ended: Ended,
    /// Why, in one word.
    pub verdict: Verdict,
    /// The same as a sentence for people; empty for [`Verdict::Ok`].
    pub message: String,
    /// Wall clock from the command's start to its end, in milliseconds.
    pub wall_ms: u64,
    /// What the kernel measured.
    pub usage: Usage,
    /// What was limited to what, as read back from the kernel.
    pub limits: Vec<Setting>,
    /// Output that was read.
    pub output: OutputCount,
    /// Layers that the operator waived and that were in fact not in force.
    pub degraded: Vec<Layer>,
    /// Groups of calls that were allowed beyond the stage's policy.
    #[serde(default, skip_serializing_if = "Groups::is_empty")]
    pub allowed: Groups,
    /// System calls that were refused, as far as that is told; each with how often.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<Denied>,
    /// Why refused system calls are not told, where they should be; the filters are in force all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
    /// Places to write to that were full at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<Full>,
    /// Bytes that its sockets held and that no control group counts, where these ended it; of very many, what they may
    /// have held. The verdict is
    /// [`Verdict::MemoryLimit`] then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<u64>,
    /// Bytes of the kernel's memory that it held and that no control group counts, where these ended it: what the ledger had when
    /// it was one page too many. The verdict is [`Verdict::MemoryLimit`] then, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncharged: Option<u64>,
}

/// A system call that the policy refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denied {
    /// The leaf in which the program was.
    pub leaf: String,
    /// The program's name; in quotes and escaped where it is no plain word, because a student chooses it.
    pub program: String,
    /// The call, with the arguments on which it depended: `socket(AF_PACKET, SOCK_RAW, 0)`.
    pub call: String,
    /// The error that it was answered with, in words.
    pub error: String,
    /// How often.
    pub times: u64,
    /// What can be done instead, in a student's words.
    pub instead: Option<String>,
}

/// A place that is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Full {
    /// Its path inside.
    pub place: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it has no room for another file, rather than for more bytes.
    pub files: bool,
}

/// How the command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ended {
    /// It called exit.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// It never ran, or its end could not be seen because the whole sandbox was killed.
    Killed,
}

/// Why the sandbox ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The command exited with 0.
    Ok,
    /// The command exited with another code.
    Failed,
    /// A signal ended the command.
    Signaled,
    /// The wall clock ran out.
    TimeLimit,
    /// The kernel killed a process of the sandbox because its memory limit was reached, and the command did not survive it; or its
    /// sockets, or all that the kernel holds for it and counts to no group, came to more than that.
    MemoryLimit,
    /// Output or a channel went beyond its limit, and the plan said to kill.
    OutputLimit,
    /// The runner took its order back, or died.
    Interrupted,
}

/// What the kernel measured of the stage's cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Peak of memory in bytes: of the whole sandbox, which is what its limit holds.
    pub memory_peak: Option<Figure>,
    /// Peak of memory in bytes of the command and what it started, without the sandbox's own init.
    pub command_memory_peak: Option<Figure>,
    /// CPU time in microseconds.
    pub cpu_us: Option<Figure>,
    /// Time in microseconds for which the limit on CPU time kept it from running, summed over cores.
    pub throttled_us: Option<Figure>,
    /// Time in microseconds for which some of its processes waited for a core (PSI, `some`): because of its own limit, or because the host had none free.
    pub cpu_stalled_us: Option<Figure>,
    /// Time in microseconds for which some of its processes waited for memory to be reclaimed (PSI, `some`).
    pub memory_stalled_us: Option<Figure>,
    /// Peak of processes and threads.
    pub pids_peak: Option<Figure>,
    /// Processes that the kernel killed because of this group's memory limit.
    pub oom_kills: Option<Figure>,
    /// Times that a fork failed because of this group's limit on processes.
    pub pids_denied: Option<Figure>,
}

/// What was used in one leaf, and while it was current.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafUsage {
    /// The leaf's name.
    pub leaf: String,
    /// Processes that came into it through the gate; what they started themselves is not among them.
    pub entered: u64,
    /// Wall clock in milliseconds for which it was current.
    pub wall_ms: u64,
    /// Bytes by which the command's own leaf rose above its level at the start, where the kernel can tell.
    pub harness_rise: Option<Figure>,
    /// The leaf's figures.
    pub usage: Usage,
    /// What its stage met while it was current.
    #[serde(default)]
    pub meanwhile: Meanwhile,
    /// What its memory comes to, with what ran for it elsewhere and without what is no memory of a program's.
    #[serde(default)]
    pub memory: LeafMemory,
    /// Leaves that were used beside it, which outlive it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// Programs that were still running at its end.
    #[serde(default)]
    pub left: Left,
    /// Whether programs of it, or of leaves that it uses, were running when the launcher stopped the stage.
    #[serde(default)]
    pub alive: bool,
    /// Programs that nobody had started any more when what has this leaf had been set up.
    #[serde(default)]
    pub orphans: Left,
}

/// Memory that ran for a leaf, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafMemory {
    /// The peak of the leaf and of those that it uses, together, without `cache` and `captured`. `None` where the kernel keeps
    /// no peaks, and of a leaf that is not measured so.
    pub peak: Option<Figure>,
    /// Pages of files on a disk that it touched first, at the most: not in the peak, because they are nobody's.
    pub cache: u64,
    /// Its output in the file in which the harness keeps it, at the most: not in the peak.
    pub captured: u64,
    /// Files in memory that its programs had mapped and that somebody else was charged for, at the most: not in the peak.
    pub mapped: u64,
    /// What it held at one time together with such files, at the most; 0 where there were none for sure.
    #[serde(default)]
    pub with_mapped: u64,
    /// What TCP held for it, at the most, where that is counted apart: not in the peak.
    pub tcp: u64,
    /// What the leaves that it uses held at its end, where the kernel cannot tell what they took meanwhile: not in the peak.
    pub missing: u64,
    /// Processes that were ended because the limit was passed with what they had mapped.
    pub ended_beyond: u64,
}

impl LeafMemory {
    /// Memory that it held and that is not in its peak.
    pub fn also(&self) -> u64 {
        self.mapped + self.tcp + self.missing
    }
}

/// Programs that were still running when a leaf ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// How many processes.
    pub count: u64,
    /// Names of some of them, each once; in quotes and escaped where one is no plain word, because a student chooses it.
    pub names: Vec<String>,
    /// Whether they were ended.
    pub ended: bool,
}

/// What is counted of a whole stage only, and of that what came while a leaf was current.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meanwhile {
    /// Times that a fork failed because of the limit on processes.
    pub pids_denied: Option<Figure>,
    /// Time in microseconds for which the limit on CPU time kept the stage from running, summed over cores.
    pub throttled_us: Option<Figure>,
    /// Places to write to that were full when it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<Full>,
    /// Places that were full for a while, and not at its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filled: Vec<Full>,
}

/// A measured number and the kernel file that it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The number, in the unit that the field says.
    pub value: u64,
    /// The kernel's file, for example `memory.peak`.
    pub source: String,
}

/// A limit as it was read back after it had been set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The kernel's file, for example `memory.max`.
    pub file: String,
    /// Its content after the write.
    pub value: String,
}

/// Bytes that the command wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputCount {
    /// Bytes of standard output, discarded ones included.
    pub stdout: u64,
    /// Bytes of standard error, discarded ones included.
    pub stderr: u64,
    /// Whether anything was discarded.
    pub truncated: bool,
}

impl Meanwhile {
    /// What has come since `before`.
    pub fn since(&self, before: &Meanwhile) -> Meanwhile {
        let value = |figure: &Option<Figure>| figure.as_ref().map_or(0, |figure| figure.value);
        let rise = |now: &Option<Figure>, before: &Option<Figure>| {
            let now = now.as_ref()?;
            Some(Figure { value: now.value.saturating_sub(value(before)), source: now.source.clone() })
        };
        Meanwhile {
            pids_denied: rise(&self.pids_denied, &before.pids_denied),
            throttled_us: rise(&self.throttled_us, &before.throttled_us),
            full: self.full.clone(),
            filled: self.filled.clone(),
        }
    }
}

impl Outcome {
    /// The memory peak in bytes, where the kernel told it.
    pub fn memory_peak(&self) -> Option<u64> {
        self.usage.memory_peak.as_ref().map(|f| f.value)
    }
}
