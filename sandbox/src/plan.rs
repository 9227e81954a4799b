//! The plan: pure data that describes one sandbox completely.
//!
//! A plan is made by the runner, printed by `exec --print-plan`, sent to the launcher as JSON and
//! carried out there. Nothing in it is looked up again: what is not in the plan does not exist
//! inside. Paths named `source` are paths on the host, paths named `target` are paths inside.

use crate::groups::Groups;
use crate::switch::Switch;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Version of the plan's JSON; the launcher refuses any other.
pub const PLAN_VERSION: u32 = 1;

/// Inside uid and gid of whatever comes from the submission, and of the tools of a stage.
pub const STUDENT_ID: u32 = 1000;

/// Inside ids of a harness that sets itself apart from what it starts.
pub const APART: Apart = Apart { uid: 1001, gid: 1002 };

/// Port, on the loopback inside, of the socket of [`Network::Proxy`]. Fixed, because it stands in the command's environment, which is a
/// part of the plan; and free, because nothing else has ever been in that network namespace.
pub const PROXY_PORT: u16 = 3128;

/// One sandbox, completely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Always [`PLAN_VERSION`].
    pub version: u32,
    /// Name of the stage's cgroup, unique on this runner: `[a-z0-9-]`, at most 64 bytes.
    pub name: String,
    /// Host ids that the inside ids 0..count are mapped to; unprivileged, of this slot alone.
    pub ids: IdRange,
    /// Who the command runs as, inside ids.
    pub user: User,
    /// Ids by which the command can set itself apart from what it starts; none: it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<Apart>,
    /// What is run.
    pub command: CommandLine,
    /// Everything that is visible inside, in the order in which it is mounted.
    pub mounts: Vec<Mount>,
    /// Host name inside.
    pub hostname: String,
    /// What the network namespace is.
    pub network: Network,
    /// Limits of the cgroup, and wall clock.
    pub limits: Limits,
    /// The cores that it may use, by their numbers, ascending; empty: all of the runner's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u32>,
    /// Limits of each process (setrlimit).
    pub rlimits: Rlimits,
    /// What happens to standard output and error.
    pub output: OutputPolicy,
    /// Which system calls are allowed: a file of `policies/`.
    pub policy: Policy,
    /// Groups of calls that the operator allows beyond it; of the test stage alone.
    #[serde(default, skip_serializing_if = "Groups::is_empty")]
    pub allow: Groups,
    /// Extra channels between the command and the runner.
    pub channels: Channels,
    /// Where the cgroup is made.
    pub cgroup: crate::cgroup::Base,
    /// Its account in the ledger; made when it is run ([`crate::ledger`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<crate::ledger::Share>,
    /// Layers that the operator has waived by name (`--allow-degraded`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waived: BTreeSet<Layer>,
    /// Layers that the attack suite has switched off; only in debug builds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub off: BTreeSet<Switch>,
}

/// A range of host ids. Both uids and gids are mapped by it, one to one from inside id 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// First host id.
    pub base: u32,
    /// Number of ids, at least 65536 so that `nobody` exists inside.
    pub count: u32,
}

/// Inside user and group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Inside uid.
    pub uid: u32,
    /// Inside gid.
    pub gid: u32,
}

/// Ids that the command has, or may take, beside its own, so that what it starts, under the plan's [`User`], can neither
/// signal it, nor trace it, nor look into it, nor change its limits, nor read its files.
///
/// The command starts as the plan's user, with `gid` as its one supplementary group and with CAP_SETUID and CAP_SETGID as
/// ambient capabilities over the sandbox's own ids. It is trusted to make `uid` its real and saved user before it starts
/// anything, and to give CAP_SETUID up. Whatever it starts must lose the group, for which it keeps CAP_SETGID.
///
/// Not started with a real user other than the effective one: the kernel takes that for a set-uid program, for which ld.so
/// drops a part of the environment, and before 6.16 or so resets the effective user, under no_new_privs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apart {
    /// Inside uid, to become the command's real and saved one.
    pub uid: u32,
    /// Inside gid, of files that the command can read and what it starts cannot.
    pub gid: u32,
}

/// A program with its arguments, environment and working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandLine {
    /// The program (searched in the environment's PATH, inside) and its arguments.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Working directory inside.
    pub cwd: PathBuf,
}

/// One thing that is visible inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mount {
    /// A host file or directory (recursively), always `nosuid,nodev`.
    Bind {
        /// Path on the host.
        source: PathBuf,
        /// Path inside.
        target: PathBuf,
        /// Read-only, or not.
        #[serde(default)]
        writable: bool,
        /// A missing source is passed over instead of being an error.
        #[serde(default)]
        optional: bool,
    },
    /// An empty file system in memory, `nosuid,nodev`.
    Tmpfs {
        /// Path inside.
        target: PathBuf,
        /// Size in bytes.
        size: u64,
        /// Number of inodes.
        inodes: u64,
        /// Permission bits of its root directory.
        mode: u32,
    },
    /// A small read-only file with this text.
    File {
        /// Path inside.
        target: PathBuf,
        /// Its text.
        content: String,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// Path inside.
        target: PathBuf,
        /// What it points to.
        to: PathBuf,
    },
    /// A /proc of the new pid namespace; comes after `Dev`.
    Proc,
    /// /dev with null, zero, full, random, urandom, tty, pts, fd, stdin, stdout, stderr and shm.
    Dev {
        /// Size of /dev/shm in bytes.
        shm_size: u64,
    },
}

/// What the command can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// An empty network namespace whose loopback is up.
    Loopback,
    /// The same, and on that loopback, at [`PROXY_PORT`], a socket that the runner serves ([`crate::proxy`]). Only for the fetch
    /// and prepare stages, where no student code runs.
    Proxy,
}

/// Limits on the stage's cgroup, and on its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory (and no swap beside it).
    pub memory: u64,
    /// Number of processes and threads.
    pub pids: u64,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Wall clock in milliseconds, from the command's start.
    pub wall_ms: u64,
}

/// Limits of each process. `None` leaves the runner's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimits {
    /// Open files.
    pub nofile: u64,
    /// Core file in bytes; 1 is what the kernel takes as "do not start a `|handler` either".
    pub core: u64,
    /// How far a program may raise that, in bytes.
    #[serde(default)]
    pub core_most: u64,
    /// Largest file in bytes.
    pub fsize: u64,
    /// Stack in bytes.
    pub stack: u64,
    /// Locked memory in bytes.
    pub memlock: u64,
    /// Bytes in POSIX message queues.
    pub msgqueue: u64,
    /// Processes and threads of one user of the sandbox: what is left of a fork bomb where the cgroup's limit is not.
    pub nproc: u64,
}

/// What happens to standard output and error, each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputPolicy {
    /// Bytes of each stream that are passed on.
    pub limit: u64,
    /// What happens beyond that.
    pub beyond: Beyond,
}

/// What happens to output beyond its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beyond {
    /// It is read and thrown away; the outcome says so.
    Discard,
    /// The sandbox is killed; the verdict is [`crate::outcome::Verdict::OutputLimit`].
    Kill,
}

/// Which allow-list of system calls is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// git, pip: the network's system calls, no ptrace.
    Fetch,
    /// Compilers.
    Build,
    /// Suites, student programs, sanitizers, gdb, valgrind.
    Test,
}

impl Policy {
    /// Its file in `policies/`, without `.json`.
    pub fn file(self) -> &'static str {
        match self {
            Policy::Fetch => "fetch",
            Policy::Build => "build",
            Policy::Test => "test",
        }
    }
}

/// Extra file descriptors that the command starts with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// A socket on which the harness reports one JSON line per message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Channel>,
    /// A memory file into which the suite writes its report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Channel>,
    /// Leaves that the command asks for while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<LeafChannels>,
}

impl Channels {
    /// The numbers inside of all that are there.
    pub fn numbers(&self) -> Vec<i32> {
        let leaves = self.leaves.iter().flat_map(|leaves| [leaves.control, leaves.gate]);
        [self.events, self.report].into_iter().flatten().map(|channel| channel.fd).chain(leaves).collect()
    }
}

/// The two descriptors for leaves ([`crate::leaves`], [`crate::gate`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafChannels {
    /// Number inside of the socket on which leaves are asked for.
    pub control: i32,
    /// Number inside of the socket that gates use.
    pub gate: i32,
    /// Whether what is left in a leaf at its end goes on running.
    #[serde(default)]
    pub keep_leftovers: bool,
}

/// One extra file descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its number inside, at least 3.
    pub fd: i32,
    /// Bytes that are passed on to the runner at the most.
    pub limit: u64,
}

/// A layer of containment that can be missing on a host. Its name is what `--allow-degraded` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The Landlock domain.
    Landlock,
    /// The seccomp filters.
    Seccomp,
    /// The limit on swap.
    SwapLimit,
    /// The limit on cpu time.
    CpuLimit,
    /// The ledger of memory that no control group pays for.
    Ledger,
}

impl Layer {
    /// Every layer that can be waived.
    pub const ALL: [Layer; 5] = [Layer::Landlock, Layer::Seccomp, Layer::SwapLimit, Layer::CpuLimit, Layer::Ledger];

    /// The name that the operator uses.
    pub fn name(self) -> &'static str {
        match self {
            Layer::Landlock => "landlock",
            Layer::Seccomp => "seccomp",
            Layer::SwapLimit => "swap-limit",
            Layer::CpuLimit => "cpu-limit",
            Layer::Ledger => "ledger",
        }
    }
}

/// Why a plan is refused before anything is done.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the plan is not valid: {0}")]
pub struct InvalidPlan(pub String);

impl Plan {
    /// Checks what the types cannot say. The launcher refuses a plan that fails here.
    pub fn validate(&self) -> Result<(), InvalidPlan> {
        let bad = |text: String| Err(InvalidPlan(text));
        if self.version != PLAN_VERSION {
            return bad(format!(
                "its version is {}, this launcher speaks {PLAN_VERSION}; runner and launcher must come from one build",
                self.version
            ));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return bad(format!("{:?} is no name for a cgroup", self.name));
        }
        if !self.allow.is_empty() && self.policy != Policy::Test {
            return bad(format!("it allows {} in a stage that is not the tests'", self.allow));
        }
        if self.ids.base < 65536 || self.ids.count < 65536 {
            return bad("the id range must begin at 65536 or above and hold 65536 ids".into());
        }
        if self.ids.base.checked_add(self.ids.count).is_none() {
            return bad("the id range does not fit into 32 bits".into());
        }
        if !self.off.is_empty() && !cfg!(debug_assertions) {
            return bad("it switches layers off, which only a debug build does, for the attack suite".into());
        }
        if self.off(Switch::Pids) && !self.off(Switch::Ids) && self.mounts.contains(&Mount::Proc) {
            return bad("a user namespace gets no /proc of a pid namespace that is not its own".into());
        }
        let root = self.off(Switch::Ids) || self.off(Switch::Capabilities);
        if (self.user.uid == 0 || self.user.gid == 0) && !root {
            return bad("the command may not run as the sandbox's root".into());
        }
        if self.user.uid >= self.ids.count || self.user.gid >= self.ids.count {
            return bad("the user is outside the id range".into());
        }
        if let Some(Apart { uid, gid }) = self.apart
            && (uid == 0
                || gid == 0
                || uid >= self.ids.count
                || gid >= self.ids.count
                || uid == self.user.uid
                || gid == self.user.gid)
        {
            return bad(
                "the ids that set the command apart must be others than its own and the root's, and lie in the range"
                    .into(),
            );
        }
        if self.command.argv.is_empty() {
            return bad("there is no command".into());
        }
        let words = self.command.argv.iter().chain(self.command.env.keys());
        if words.chain(self.command.env.values()).any(|s| s.contains('\0')) {
            return bad("a NUL byte stands in the command or its environment".into());
        }
        if self.command.env.keys().any(|k| k.is_empty() || k.contains('=')) {
            return bad("a variable's name is empty or holds '='".into());
        }
        for (what, value) in [
            ("memory", self.limits.memory),
            ("pids", self.limits.pids),
            ("cpu", self.limits.cpu_millis),
            ("wall clock", self.limits.wall_ms),
        ] {
            if value == 0 {
                return bad(format!("the {what} limit is zero"));
            }
        }
        for mount in &self.mounts {
            if let Some(target) = mount.target() {
                let inside =
                    target.is_absolute() && !target.components().any(|c| matches!(c, std::path::Component::ParentDir));
                if !inside {
                    return bad(format!("{} is no absolute path inside", target.display()));
                }
            }
        }
        let place = |wanted: fn(&Mount) -> bool| self.mounts.iter().position(wanted);
        let dev = place(|m| matches!(m, Mount::Dev { .. }));
        let proc = place(|m| matches!(m, Mount::Proc));
        if !self.off(Switch::Pids) && (dev.is_none() || proc.is_none() || dev > proc) {
            return bad("it needs a /dev and, after it, a /proc".into());
        }
        let fds = self.channels.numbers();
        if fds.iter().any(|fd| !(3..64).contains(fd)) || BTreeSet::from_iter(&fds).len() < fds.len() {
            return bad("the channels' descriptors must differ and lie between 3 and 63".into());
        }
        Ok(())
    }

    /// Its policy, with the groups that are on top of it.
    pub fn policy_name(&self) -> String {
        self.allow.on(self.policy.file())
    }

    /// Whether the attack suite has switched this layer off.
    pub fn off(&self, switch: Switch) -> bool {
        self.off.contains(&switch)
    }

    /// How long to wait for those that were told to die. Where the attack suite has nobody told, nobody goes.
    pub fn patience(&self, usual: Duration) -> Duration {
        if self.off(Switch::CgroupKill) { usual.min(Duration::from_secs(1)) } else { usual }
    }

    /// Whether the operator waived this layer.
    pub fn waives(&self, layer: Layer) -> bool {
        self.waived.contains(&layer)
    }
}

impl Mount {
    /// The path inside at which it appears, where it is not fixed by its kind.
    pub fn target(&self) -> Option<&std::path::Path> {
        match self {
            Mount::Bind { target, .. }
            | Mount::Tmpfs { target, .. }
            | Mount::File { target, .. }
            | Mount::Symlink { target, .. } => Some(target),
            Mount::Proc | Mount::Dev { .. } => None,
        }
    }
}
