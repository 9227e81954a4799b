//! What is looked at outside, before an attack and after it: what a sandbox may leave or change nowhere.

use crate::check::find_tool;
use sandbox::plan::IdRange;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Where files with the attack's mark are looked for, without going further down.
const PLACES: [&str; 16] = [
    "/",
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    "/run",
    "/run/lock",
    "/etc",
    "/usr/bin",
    "/usr/lib",
    "/usr/local/bin",
    "/root",
    "/boot",
    "/var",
    "/home",
    "/dev",
    "/dev/mqueue",
];

/// Settings of the host's that attacks write to.
const SETTINGS: [&str; 6] = [
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/vm/overcommit_memory",
];

/// How far the clock may be set by others meanwhile.
const CLOCK_SLACK: Duration = Duration::from_secs(5);

/// The host as it was.
#[derive(Debug)]
pub struct Before {
    settings: Vec<Option<String>>,
    objects: BTreeSet<String>,
    clock: (SystemTime, Instant),
}

/// What the kernel counts for each user, of the user that this program is, while nothing is attacked.
#[derive(Debug)]
pub struct Account {
    signals: Option<u64>,
    watches: bool,
}

/// Signals and timers that others of this user may begin to wait for meanwhile.
const SIGNALS: u64 = 2000;

impl Account {
    /// Looks now.
    pub fn look() -> Account {
        Account { signals: pending_signals(), watches: can_watch() }
    }

    /// What has been drawn from it: a sentence each.
    pub fn drawn(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.watches && !can_watch() {
            found.push("nobody of the host's root can watch a file any more (inotify)".to_string());
        }
        if let (Some(before), Some(now)) = (self.signals, pending_signals())
            && now > before + SIGNALS
        {
            found.push(format!(
                "the host's root has {SIGNALS} signals and timers more pending than the {before} that it had"
            ));
        }
        found
    }
}

/// Whether there is an inotify instance left.
fn can_watch() -> bool {
    nix::sys::inotify::Inotify::init(nix::sys::inotify::InitFlags::IN_CLOEXEC).is_ok()
}

/// Signals and timers of this user: `SigQ: 3/96365` (proc(5)).
fn pending_signals() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("SigQ:"))?;
    line.trim().split('/').next()?.parse().ok()
}

/// Whose an attack's traces are.
#[derive(Debug, Clone, Copy)]
pub struct Traces<'a> {
    /// The slot's ids.
    pub ids: IdRange,
    /// Whether it is the host's root, as only an attack without ids of its own is.
    pub root: bool,
    /// What it was told to call what it makes.
    pub mark: &'a str,
}

impl Before {
    /// Looks now.
    pub fn look() -> Before {
        Before { settings: settings(), objects: objects(|_| true), clock: (SystemTime::now(), Instant::now()) }
    }

    /// What is not as it was: a sentence each.
    pub fn changes(&self, traces: Traces<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for ((name, before), now) in SETTINGS.iter().zip(&self.settings).zip(settings()) {
            if *before != now {
                found.push(format!("{name} of the host was {before:?} and is {now:?}"));
            }
        }
        let (wall, steady) = self.clock;
        let passed = SystemTime::now().duration_since(wall).unwrap_or_default();
        if passed.abs_diff(steady.elapsed()) > CLOCK_SLACK {
            found.push("the host's clock was set".to_string());
        }
        let ours = |id| is_in(traces.ids, id) || (traces.root && id == 0);
        found.extend(objects(ours).difference(&self.objects).map(|object| format!("{object} is left")));
        found.extend(files(traces.mark));
        for file in ["/proc/self/mountinfo", "/proc/1/mountinfo", "/proc/keys", "/proc/net/unix"] {
            if std::fs::read_to_string(file).is_ok_and(|text| text.contains(traces.mark)) {
                found.push(format!("{file} names something of the attack's"));
            }
        }
        found
    }
}

fn settings() -> Vec<Option<String>> {
    SETTINGS.iter().map(|name| std::fs::read_to_string(name).ok().map(|text| text.trim().to_string())).collect()
}

/// System V objects of the host's IPC namespace whose makers are `ours`.
fn objects(ours: impl Fn(u32) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kind in ["shm", "msg", "sem"] {
        let text = std::fs::read_to_string(Path::new("/proc/sysvipc").join(kind)).unwrap_or_default();
        let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let head = lines.next().unwrap_or_default();
        let (id, owner) = (head.iter().position(|h| h.ends_with("id")), head.iter().position(|h| *h == "cuid"));
        let (Some(id), Some(owner)) = (id, owner) else { continue };
        for line in lines {
            if let (Some(id), Some(Ok(owner))) = (line.get(id), line.get(owner).map(|text| text.parse()))
                && ours(owner)
            {
                found.insert(format!("System V object {kind} {id} of user {owner}"));
            }
        }
    }
    found
}

fn is_in(range: IdRange, id: u32) -> bool {
    (range.base..range.base.saturating_add(range.count)).contains(&id)
}

fn files(mark: &str) -> Vec<String> {
    let entries = PLACES.iter().flat_map(|place| std::fs::read_dir(place).into_iter().flatten().flatten());
    let marked = entries.filter(|entry| entry.file_name().to_string_lossy().contains(mark));
    marked.map(|entry| format!("{} is left", entry.path().display())).collect()
}

/// Processes that are the slot's, or carry the mark in their environment: their numbers and names.
pub fn processes(traces: Traces<'_>) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let owned = entry.metadata().is_ok_and(|of| is_in(traces.ids, of.uid()));
        let marked = std::fs::read(entry.path().join("environ"))
            .is_ok_and(|bytes| bytes.windows(traces.mark.len()).any(|part| part == traces.mark.as_bytes()));
        // A directory below /proc is root's where its process is not dumpable: then its status tells.
        let by_status = || {
            let text = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Uid:"));
            line.into_iter().flat_map(str::split_whitespace).any(|id| id.parse().is_ok_and(|id| is_in(traces.ids, id)))
        };
        if owned || marked || by_status() {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push((pid, name.trim().to_string()));
        }
    }
    found
}

/// Whether what the suite needs on the host is there.
pub fn tools_missing() -> Option<&'static str> {
    ["cc", "ipcmk", "ipcrm"].into_iter().find(|name| find_tool(name).is_none())
}
