//! Layers that the attack suite switches off, one or several, to show that the others hold alone.
//!
//! Not the operator's `--allow-degraded`: that accepts what a host cannot do, this takes away what it can. So it exists in
//! debug builds only: the launcher of a release build refuses such a plan ([`crate::plan::Plan::validate`]).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A layer that can be switched off. Limits are not among them: a plan without one has a limit that is never reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// The file tree of its own: the command sees the host's, as it is.
    Mounts,
    /// The id range of its own, and with it the user namespace: the command is the host's root.
    Ids,
    /// Empty capability sets and no_new_privs: the command is the sandbox's root, with all of its capabilities.
    Capabilities,
    /// The filters of system calls.
    Seccomp,
    /// The Landlock domain.
    Landlock,
    /// The network namespace.
    Network,
    /// The pid namespace.
    Pids,
    /// The IPC namespace.
    Ipc,
    /// The UTS namespace.
    Names,
    /// Limits of each process.
    Rlimits,
    /// The end by `cgroup.kill`.
    CgroupKill,
    /// The limits of the cgroup: they are set so high that they are never reached.
    CgroupLimits,
    /// The ledger of memory that no group counts.
    Ledger,
    /// The sizes of file systems and of output: likewise.
    Sizes,
    /// The wall clock: it stands at a guard against hanging.
    WallClock,
}

impl Switch {
    /// All of them.
    pub const ALL: [Switch; 15] = [
        Switch::Mounts,
        Switch::Ids,
        Switch::Capabilities,
        Switch::Seccomp,
        Switch::Landlock,
        Switch::Network,
        Switch::Pids,
        Switch::Ipc,
        Switch::Names,
        Switch::Rlimits,
        Switch::CgroupKill,
        Switch::CgroupLimits,
        Switch::Ledger,
        Switch::Sizes,
        Switch::WallClock,
    ];

    /// The name by which it is written.
    pub fn name(self) -> &'static str {
        match self {
            Switch::Mounts => "mounts",
            Switch::Ids => "ids",
            Switch::Capabilities => "capabilities",
            Switch::Seccomp => "seccomp",
            Switch::Landlock => "landlock",
            Switch::Network => "network",
            Switch::Pids => "pids",
            Switch::Ipc => "ipc",
            Switch::Names => "names",
            Switch::Rlimits => "rlimits",
            Switch::CgroupKill => "cgroup-kill",
            Switch::CgroupLimits => "cgroup-limits",
            Switch::Ledger => "ledger",
            Switch::Sizes => "sizes",
            Switch::WallClock => "wall-clock",
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Switch {
    type Err = String;

    fn from_str(name: &str) -> Result<Switch, String> {
        let found = Switch::ALL.into_iter().find(|switch| switch.name() == name);
        found.ok_or_else(|| format!("{name:?} is no layer; they are {}", Switch::ALL.map(Switch::name).join(", ")))
    }
}
