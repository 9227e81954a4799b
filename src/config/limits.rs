//! Limits of a task: as they are given, and complete.

use super::{Cores, Processes, Size, Span};
use sandbox::groups::Groups;
use serde::Deserialize;
use std::time::Duration;

/// Limits of a task, as the operator or a suite gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitOptions {
    /// Memory of one task, without swap: a number with K, M or G (powers of 1024) [default: 512M]
    #[arg(long, value_name = "SIZE", env = "OSTEST_MEM_LIMIT", help_heading = "Limits")]
    pub mem_limit: Option<Size>,
    /// Processes and threads of one task [default: 256]
    #[arg(long, value_name = "N", env = "OSTEST_PIDS_LIMIT", help_heading = "Limits")]
    pub pids_limit: Option<Processes>,
    /// Cores of one task, such as 2 or 0.5 [default: the host's cores divided by --concurrent, at least 1]
    #[arg(long, value_name = "CORES", env = "OSTEST_CPU_LIMIT", help_heading = "Limits")]
    pub cpu_limit: Option<Cores>,
    /// Files of one task, in its work tree and in /tmp, each; they are held in memory and count as such [default: 256M]
    #[arg(long, value_name = "SIZE", env = "OSTEST_DISK_LIMIT", help_heading = "Limits")]
    pub disk_limit: Option<Size>,
    /// Output of one stage; more than that ends a build and is cut off a test run [default: 16M]
    #[arg(long, value_name = "SIZE", env = "OSTEST_OUTPUT_LIMIT", help_heading = "Limits")]
    pub output_limit: Option<Size>,
    /// Wall clock of one task's test stage: seconds, or 10m; 0 means a day [default: 600]
    #[arg(long, value_name = "TIME", env = "OSTEST_TIMEOUT", help_heading = "Limits")]
    pub timeout: Option<Span>,
    /// What a test leaves running. In files only.
    #[arg(skip)]
    pub leftovers: Option<Leftovers>,
    /// Groups of system calls that its tests may make beside the others. In files only.
    #[arg(skip)]
    pub allow: Option<Groups>,
}

/// What becomes of programs that still run at the end of the test that started them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leftovers {
    /// They are ended.
    End,
    /// They go on, until the run's end.
    Keep,
}

impl LimitOptions {
    /// Takes from `other` what is not set here.
    pub fn or(self, other: LimitOptions) -> LimitOptions {
        LimitOptions {
            mem_limit: self.mem_limit.or(other.mem_limit),
            pids_limit: self.pids_limit.or(other.pids_limit),
            cpu_limit: self.cpu_limit.or(other.cpu_limit),
            disk_limit: self.disk_limit.or(other.disk_limit),
            output_limit: self.output_limit.or(other.output_limit),
            timeout: self.timeout.or(other.timeout),
            leftovers: self.leftovers.or(other.leftovers),
            allow: self.allow.or(other.allow),
        }
    }
}

/// To the old runner 0 meant no limit. A task that never ends would hold its slot for ever, so here it is a day.
fn wall_clock(span: Span) -> Duration {
    if span.0.is_zero() { Duration::from_secs(24 * 3600) } else { span.0 }
}

/// Limits of a task, complete.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes, of the work tree and of /tmp each.
    pub disk: u64,
    /// Bytes.
    pub output: u64,
    /// Wall clock of the test stage.
    pub timeout: Duration,
}

impl Limits {
    /// The defaults, with the options over them.
    pub fn from_options(options: LimitOptions, concurrent: usize) -> Limits {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = (cores as f64 / concurrent.max(1) as f64).max(1.0);
        Limits {
            memory: options.mem_limit.map_or(512 << 20, |s| s.0),
            pids: options.pids_limit.map_or(256, |n| n.0),
            cpu_millis: (options.cpu_limit.map_or(share, |c| c.0) * 1000.0).round() as u64,
            disk: options.disk_limit.map_or(256 << 20, |s| s.0),
            output: options.output_limit.map_or(16 << 20, |s| s.0),
            timeout: options.timeout.map_or(Duration::from_secs(600), wall_clock),
        }
    }

    /// With the operator's word for one laboratory, which counts whichever way it goes.
    pub fn with(self, lab: LimitOptions) -> Limits {
        Limits {
            memory: lab.mem_limit.map_or(self.memory, |s| s.0),
            pids: lab.pids_limit.map_or(self.pids, |n| n.0),
            cpu_millis: lab.cpu_limit.map_or(self.cpu_millis, |c| (c.0 * 1000.0).round() as u64),
            disk: lab.disk_limit.map_or(self.disk, |s| s.0),
            output: lab.output_limit.map_or(self.output, |s| s.0),
            timeout: lab.timeout.map_or(self.timeout, wall_clock),
        }
    }

    /// With a suite's wishes, which may lower a limit and not raise it.
    pub fn lowered_by(self, wish: LimitOptions) -> Limits {
        let asked = self.with(wish);
        Limits {
            memory: asked.memory.min(self.memory),
            pids: asked.pids.min(self.pids),
            cpu_millis: asked.cpu_millis.min(self.cpu_millis),
            disk: asked.disk.min(self.disk),
            output: asked.output.min(self.output),
            timeout: asked.timeout.min(self.timeout),
        }
    }
}
