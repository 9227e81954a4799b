//! One attack: its sandbox, what came of it, and the verdict.

use super::bait::Bait;
use super::case::{Case, End};
use super::outside::{self, Account, Before, Traces};
use super::programs;
use crate::config::{LimitOptions, Limits};
use crate::contain::slots::Slot;
use crate::contain::{ContainError, Finished, Host, Stage, tree};
use anyhow::Context;
use sandbox::groups::Groups;
use sandbox::outcome;
use sandbox::plan::{Mount, Plan, Policy, User};
use sandbox::switch::Switch;
use sandbox::wire::Kind;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Its limits: small, so that whoever gets beyond them harms nobody.
const MEMORY: u64 = 64 << 20;
const PIDS: u64 = 32;
const DISK: u64 = 16 << 20;
const OUTPUT: u64 = 1 << 20;
const CPU_MILLIS: u64 = 1000;
/// A guard against hanging. An emulated processor takes a minute for what takes a second elsewhere.
const GUARD: Duration = Duration::from_secs(120);
/// For compilers, which need more to start at all.
const BUILD_MEMORY: u64 = 256 << 20;
const BUILD_PIDS: u64 = 128;
/// A limit that is never reached, of bytes.
const ENDLESS: u64 = 1 << 38;
/// How often somebody looks from outside what an attack draws on while it runs.
const LOOK: Duration = Duration::from_millis(50);
/// How long a process may take to be gone after it was killed.
const DYING: Duration = Duration::from_secs(10);

/// Which layers are off, for each attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// None.
    Nothing,
    /// The one that stops it first.
    First,
    /// The one that stops it where the first is off.
    Second,
    /// All that there are.
    Everything,
}

/// What came of an attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It did not get what it wanted, and changed nothing.
    Contained,
    /// It did.
    Reached {
        /// What it got: a sentence each.
        what: Vec<String>,
    },
    /// It could not be tried, so nothing is known.
    NotTried {
        /// Why.
        why: String,
    },
    /// It was not run, because the layer that is off is the only one, or because it cannot be shown to succeed.
    Passed {
        /// The reason, out of its head.
        why: String,
    },
}

/// What is told of an attack.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its name.
    pub attack: &'static str,
    /// What it attacks.
    pub on: &'static str,
    /// What it tries.
    pub tries: String,
    /// What the attacker would have.
    pub goal: String,
    /// The layers that stop it, in words.
    pub stopped_by: String,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// Where attacks are tried.
pub struct Range<'a> {
    host: &'a Host,
    slot: &'a Slot,
    /// The programs on the host, at a place that only root need reach.
    programs: &'a Path,
    bait: &'a Bait,
    off: Off,
    allow: Groups,
    landlock: i32,
}

impl<'a> Range<'a> {
    /// With the programs where an attack on the host's own tree could execute them, if layers are to be off.
    pub fn open(
        host: &'a Host,
        slot: &'a Slot,
        programs: &'a Path,
        bait: &'a Bait,
        off: Off,
        allow: Groups,
    ) -> anyhow::Result<Self> {
        if off != Off::Nothing {
            for entry in std::fs::read_dir(programs).context("the attacks cannot be listed")? {
                let entry = entry.context("the attacks cannot be listed")?;
                let copied = std::fs::copy(entry.path(), bait.programs().join(entry.file_name()));
                copied.with_context(|| format!("{} cannot be copied", entry.path().display()))?;
            }
        }
        Ok(Range { host, slot, programs, bait, off, allow, landlock: sandbox::sys::landlock_abi() })
    }

    /// Tries one.
    pub async fn attempt(&self, case: &Case, cancel: &CancellationToken) -> Report {
        let begun = Instant::now();
        let verdict = match self.pass_over(case) {
            Some(why) => Verdict::Passed { why },
            None => self.judge(case, cancel).await,
        };
        Report {
            attack: case.file.name,
            on: case.file.folder,
            tries: case.tries.clone(),
            goal: case.goal.clone(),
            stopped_by: case.stopped_by.clone(),
            verdict,
            seconds: begun.elapsed().as_secs_f64(),
        }
    }

    /// Why this one is not run with these layers off.
    fn pass_over(&self, case: &Case) -> Option<String> {
        let old = (case.second_needs_landlock > self.landlock)
            .then(|| format!("this kernel's Landlock is too old to hold it alone ({})", self.landlock));
        match self.off {
            Off::Nothing => None,
            // Without the first the second has to hold, without the second the first.
            Off::First => case.alone.clone().or(old),
            Off::Second => case.alone.clone(),
            Off::Everything => case.unproven.clone(),
        }
    }

    async fn judge(&self, case: &Case, cancel: &CancellationToken) -> Verdict {
        let not_tried = |why: String| Verdict::NotTried { why };
        let mark = format!("attack-{:08x}-{}", fastrand::u32(..), case.file.name);
        let (plan, limit) = match self.plan(case, &mark) {
            Ok(plan) => plan,
            Err(error) => return not_tried(format!("{error:#}")),
        };
        let traces = Traces { ids: self.slot.ids, root: plan.off(Switch::Ids), mark: &mark };
        let (before, account) = (Before::look(), Account::look());
        let mut passed_on = 0;
        let mut count = |kind: Kind, bytes: &[u8]| {
            if matches!(kind, Kind::Stdout | Kind::Stderr) {
                passed_on += bytes.len() as u64;
            }
        };
        let mut drawn = BTreeSet::new();
        let done = {
            let mut running = std::pin::pin!(self.host.run("attack", &plan, cancel, &mut count));
            loop {
                tokio::select! {
                    done = &mut running => break done,
                    () = tokio::time::sleep(LOOK) => drawn.extend(account.drawn()),
                }
            }
        };
        let mut reached: Vec<String> = drawn.into_iter().collect();
        reached.extend(lingering(traces));
        reached.extend(before.changes(traces));
        let finished = match done {
            Ok(finished) => finished,
            // What is left of it is why the launcher could not end well.
            Err(_) if !reached.is_empty() => return Verdict::Reached { what: reached },
            Err(error) => {
                let (ContainError::Host { message, .. } | ContainError::Command { message, .. }) = error;
                // Where nothing kills the group, that it cannot be taken away is what the attacker wanted.
                return match plan.off(Switch::CgroupKill) {
                    true => Verdict::Reached { what: vec![message] },
                    false => not_tried(message),
                };
            }
        };
        let said = format!("{}\n{}", finished.stdout.text(), finished.stderr.text());
        reached.extend(said.lines().filter_map(|line| line.strip_prefix("REACHED: ")).map(str::to_string));
        reached.extend(self.bait.touched(&said));
        if passed_on > 2 * limit.output {
            reached.push(format!("{passed_on} bytes of output were passed on, of {} that may be", limit.output));
        }
        if case.cpu.is_some() {
            reached.extend(too_much_time(&finished, limit.cpu_millis));
        }
        if !reached.is_empty() {
            reached.truncate(20);
            return Verdict::Reached { what: reached };
        }
        match ended_as_told(case, &finished, &said) {
            Ok(()) => Verdict::Contained,
            Err(why) => not_tried(why),
        }
    }

    /// The plan, with the layers that are off; and the limits that it would have otherwise.
    fn plan(&self, case: &Case, mark: &str) -> anyhow::Result<(Plan, Limits)> {
        let mut limits = Limits::from_options(LimitOptions::default(), 1);
        (limits.memory, limits.pids, limits.disk, limits.output) = (MEMORY, PIDS, DISK, OUTPUT);
        limits.cpu_millis = case.cpu.unwrap_or(CPU_MILLIS);
        limits.timeout = case.wall.map_or(GUARD, Duration::from_secs);
        if case.policy == Policy::Build {
            (limits.memory, limits.pids) = (BUILD_MEMORY, BUILD_PIDS);
        }
        limits.memory = case.memory.unwrap_or(limits.memory);
        let mut stage = Stage::new("attack", case.policy, &limits);
        stage.env = self.bait.env()?;
        // A compiler's attack has none in any case.
        stage.allow = if case.policy == Policy::Test { self.allow } else { Groups::NONE };
        for (name, value) in [
            ("ATTACK_MARK", mark.to_string()),
            ("ATTACK_MEMORY", limits.memory.to_string()),
            ("ATTACK_DISK", limits.disk.to_string()),
            ("ATTACK_PIDS", limits.pids.to_string()),
            ("ATTACK_ALLOWED", self.allow.to_string()),
        ] {
            stage.env.insert(name.into(), value);
        }
        stage.mounts.push(tree::empty_work(limits.disk));
        stage.mounts.push(tree::bind(self.programs, programs::INSIDE, false));
        stage.cwd = "/task".into();
        stage.argv = command(case, Path::new(programs::INSIDE));
        let mut plan = self.host.plan(self.slot, &stage);
        let off = match self.off {
            Off::Nothing => BTreeSet::new(),
            Off::First => case.first.clone(),
            Off::Second => case.second.clone(),
            Off::Everything => Switch::ALL.into_iter().filter(|switch| !is_kept(*switch, case)).collect(),
        };
        if off.contains(&Switch::Mounts) {
            plan.command.argv = command(case, &self.bait.programs());
        }
        switch_off(&mut plan, off);
        Ok((plan, limits))
    }
}

/// What stays on where all layers are off: the end by the clock; and that everything is killed then, but for attacks on that. A
/// process that is left says nothing of a secret that was to be read.
fn is_kept(switch: Switch, case: &Case) -> bool {
    let killed = case.first.union(&case.second).any(|switch| *switch == Switch::CgroupKill);
    switch == Switch::WallClock || switch == Switch::CgroupKill && !killed
}

fn command(case: &Case, dir: &Path) -> Vec<String> {
    let path = |name: String| -> PathBuf { dir.join(name) };
    match case.file.ending {
        ".sh" => vec!["/bin/sh".into(), path(format!("{}.sh", case.file.name)).display().to_string()],
        _ => vec![path(case.file.name.into()).display().to_string()],
    }
}

/// Takes layers out of a plan. What is no data of the plan is left to the launcher and init.
fn switch_off(plan: &mut Plan, off: BTreeSet<Switch>) {
    if off.contains(&Switch::CgroupLimits) {
        (plan.limits.memory, plan.limits.pids, plan.limits.cpu_millis) = (ENDLESS, 1 << 21, 1_000_000);
    }
    if off.contains(&Switch::WallClock) {
        plan.limits.wall_ms = plan.limits.wall_ms.max(GUARD.as_millis().try_into().unwrap_or(u64::MAX));
    }
    if off.contains(&Switch::Sizes) {
        plan.output.limit = ENDLESS;
        plan.rlimits.fsize = ENDLESS;
        for mount in &mut plan.mounts {
            match mount {
                // No inodes at all stands for as many as one likes (tmpfs(5)).
                Mount::Tmpfs { size, inodes, .. } => (*size, *inodes) = (ENDLESS, 0),
                Mount::Dev { shm_size } => *shm_size = ENDLESS,
                _ => {}
            }
        }
    }
    if off.contains(&Switch::Ids) || off.contains(&Switch::Capabilities) {
        plan.user = User { uid: 0, gid: 0 };
    }
    if off.contains(&Switch::Mounts) {
        plan.mounts.retain(|mount| matches!(mount, Mount::Dev { .. } | Mount::Proc));
        plan.command.cwd = "/tmp".into();
    }
    if off.contains(&Switch::Pids) {
        // The kernel gives a user namespace no new /proc of somebody else's pid namespace.
        for mount in &mut plan.mounts {
            if *mount == Mount::Proc {
                *mount =
                    Mount::Bind { source: "/proc".into(), target: "/proc".into(), writable: true, optional: false };
            }
        }
    }
    plan.off = off;
}

/// Processes that are still there a while after everything was killed; they are ended now.
fn lingering(traces: Traces<'_>) -> Vec<String> {
    let until = Instant::now() + DYING;
    loop {
        let left = outside::processes(traces);
        // One that has just been killed may still be on its way out.
        if left.is_empty() {
            return Vec::new();
        }
        if Instant::now() > until || left.iter().all(|(pid, _)| !is_dying(*pid)) {
            for (pid, _) in &left {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
            }
            return left.into_iter().map(|(pid, name)| format!("process {pid} ({name}) lives on")).collect();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process has been told to die: SIGKILL is pending, or it is a zombie.
fn is_dying(pid: i32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let pending = |name: &str| field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    let kill = 1 << (nix::libc::SIGKILL - 1);
    field("State:").is_some_and(|state| state.starts_with(['Z', 'X']))
        || (pending("SigPnd:") | pending("ShdPnd:")) & kill != 0
}

/// More processor time than its share of the wall clock, and what starting costs.
fn too_much_time(finished: &Finished, cpu_millis: u64) -> Option<String> {
    let used = finished.outcome.usage.cpu_us.as_ref()?.value / 1000;
    let share = finished.outcome.wall_ms * cpu_millis / 1000;
    (used > share * 3 / 2 + 500).then(|| format!("{used} ms of processor time, where {share} ms were its share"))
}

/// Whether it ended in a way that its head allows, which is also how a program that did not even start is told.
fn ended_as_told(case: &Case, finished: &Finished, said: &str) -> Result<(), String> {
    let outcome = &finished.outcome;
    let end = match (outcome.verdict, &outcome.ended) {
        (outcome::Verdict::MemoryLimit, _) => End::Memory,
        (outcome::Verdict::TimeLimit, _) => End::Time,
        (outcome::Verdict::OutputLimit, _) => End::Output,
        (_, outcome::Ended::Killed) => End::Killed,
        (_, outcome::Ended::Signaled { .. }) => End::Signal,
        (_, outcome::Ended::Exited { .. }) => End::Exit,
    };
    if !case.ends.contains(&end) {
        return Err(format!("it ended otherwise than it should, {end:?}: {} {}", outcome.message, said.trim()));
    }
    if end == End::Exit && !said.lines().any(|line| line == "tried") {
        return Err(format!("it ended before it had tried everything: {} {}", outcome.message, said.trim()));
    }
    Ok(())
}
