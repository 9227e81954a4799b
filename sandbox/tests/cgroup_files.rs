//! Every kernel file that a driver uses, on the kernel at hand: what is written counts, and what is read is true. Each
//! test states what this driver and this kernel can do, and holds the other case to its answer; none is skipped for want
//! of a feature. Needs root.

mod groups;

use groups::{Claimed, LIMITS, MIB, Waiting, root, value};
use sandbox::cgroup::{Base, CgroupError, PAYLOAD, StageGroup};
use sandbox::plan::Limits;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

/// The directory of a stage or, as `stage/leaf`, of a leaf, in the hierarchy of a controller.
fn dir(base: &Claimed, controller: &str, group: &str) -> PathBuf {
    match (&base.0, controller) {
        (Base::Unified { dir }, _) | (Base::Hybrid { dir, .. }, "v2") => dir.join(group),
        (Base::Hybrid { memory, .. }, "memory") => memory.join(group),
        (Base::Hybrid { pids, .. }, "pids") => pids.join(group),
        (Base::Hybrid { cpu, .. }, "cpu") => cpu.join(group),
        (Base::Hybrid { .. }, other) => panic!("no hierarchy {other}"),
    }
}

fn is_unified(base: &Claimed) -> bool {
    matches!(base.0, Base::Unified { .. })
}

fn text(dir: &Path, name: &str) -> String {
    let file = dir.join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).trim().to_string()
}

/// A number behind a key of a file.
fn keyed(dir: &Path, name: &str, key: &str) -> u64 {
    let text = text(dir, name);
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).parse().expect("a number")
}

fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    (numbers.next().expect("a version"), numbers.next().expect("a version"))
}

#[test]
fn every_limit_is_the_kernels_own_word() {
    let Some(base) = root("every_limit_is_the_kernels_own_word") else {
        return;
    };
    let limits = Limits { memory: 96 * MIB, pids: 17, cpu_millis: 250, wall_ms: 1 };
    let (group, settings, degraded) = StageGroup::create(&base.0, "stage", &limits, &BTreeSet::new()).unwrap();
    assert_eq!(degraded, []);
    let swap = std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    let expected: &[(&str, &str, &str)] = match is_unified(&base) {
        true => &[
            ("memory", "memory.max", "100663296"),
            ("memory", "memory.swap.max", "0"),
            ("memory", "memory.oom.group", "0"),
            ("pids", "pids.max", "17"),
            ("cpu", "cpu.max", "25000 100000"),
        ],
        false => &[
            ("memory", "memory.limit_in_bytes", "100663296"),
            ("memory", "memory.memsw.limit_in_bytes", "100663296"),
            ("memory", "memory.kmem.tcp.limit_in_bytes", "100663296"),
            ("pids", "pids.max", "17"),
            ("cpu", "cpu.cfs_period_us", "100000"),
            ("cpu", "cpu.cfs_quota_us", "25000"),
        ],
    };
    for (controller, file, value) in expected {
        let dir = dir(&base, controller, "stage");
        if file.contains("sw") && !dir.join(file).exists() {
            assert!(!swap, "swap is on and not limited");
            continue;
        }
        assert_eq!(text(&dir, file), *value, "{file} of the stage");
        let said = settings.iter().find(|setting| setting.file == *file);
        assert_eq!(said.map(|setting| setting.value.as_str()), Some(*value), "{file} as it was reported");
    }
    assert_eq!(settings.len(), expected.len(), "nothing is set that is not looked at here: {settings:?}");
    group.remove().unwrap();
}

#[test]
fn memory_runs_out_for_one_process_and_at_this_limit() {
    let Some(base) = root("memory_runs_out_for_one_process_and_at_this_limit") else {
        return;
    };
    let group = base.stage("stage", &Limits { memory: 48 * MIB, ..LIMITS });
    let mut bystander = Waiting::new(&["sleep", "600"]);
    group.place_payload(bystander.pid()).unwrap();
    bystander.go();
    let greedy = Waiting::new(&["python3", "-c", "b = bytearray(200 << 20)"]);
    group.place_payload(greedy.pid()).unwrap();
    assert_eq!(greedy.finish().0.signal(), Some(9));
    assert!(bystander.0.try_wait().unwrap().is_none(), "memory.oom.group is 0: the kernel chooses one process");

    let (stage, payload) = (dir(&base, "memory", "stage"), dir(&base, "memory", "stage/payload"));
    if is_unified(&base) {
        // The kill is the victim's and counts upwards; running out happened where the limit is, and only there.
        assert_eq!(keyed(&payload, "memory.events.local", "oom_kill"), 1);
        assert_eq!(keyed(&payload, "memory.events.local", "oom"), 0);
        assert_eq!(keyed(&stage, "memory.events.local", "oom_kill"), 0);
        assert!(keyed(&stage, "memory.events.local", "oom") >= 1);
        assert_eq!(keyed(&stage, "memory.events", "oom_kill"), 1);
        assert_eq!(keyed(&stage, "memory.events", "oom_group_kill"), 0);
    } else {
        assert_eq!(keyed(&payload, "memory.oom_control", "oom_kill"), 1);
        assert_eq!(keyed(&stage, "memory.oom_control", "oom_kill"), 0);
    }
    assert_eq!(value(group.leaf_usage(PAYLOAD).unwrap().oom_kills), 1);
    assert_eq!(value(group.usage().unwrap().oom_kills), 1);
    group.remove().unwrap();
    assert_eq!(bystander.end().0.signal(), Some(9));
}

#[test]
fn the_limit_on_cpu_time_bites_and_is_told() {
    let Some(base) = root("the_limit_on_cpu_time_bites_and_is_told") else {
        return;
    };
    let group = base.stage("stage", &Limits { cpu_millis: 50, ..LIMITS });
    // Thirty periods' worth: it cannot be had without being held back, unless others leave it even less than that.
    let spin = "import time\nwhile time.process_time() < 0.15: pass";
    let program = Waiting::new(&["python3", "-c", spin]);
    group.place_payload(program.pid()).unwrap();
    assert!(program.finish().0.success());
    let usage = group.usage().unwrap();
    assert!(value(usage.cpu_us) >= 150_000);
    assert!(value(usage.throttled_us) > 0);
    assert!(keyed(&dir(&base, "cpu", "stage"), "cpu.stat", "nr_throttled") > 0);
    let free = base.stage("free", &LIMITS);
    let program = Waiting::new(&["true"]);
    free.place_payload(program.pid()).unwrap();
    assert!(program.finish().0.success());
    assert_eq!(value(free.usage().unwrap().throttled_us), 0, "one thread cannot use up one core and a half");
    free.remove().unwrap();
    group.remove().unwrap();
}

#[test]
fn pressure_is_counted_where_the_kernel_counts_it() {
    let Some(base) = root("pressure_is_counted_where_the_kernel_counts_it") else {
        return;
    };
    let group = base.stage("stage", &LIMITS);
    let cores = std::thread::available_parallelism().unwrap().get();
    let spin = "import time\nwhile time.process_time() < 0.3: pass";
    let mut programs: Vec<Waiting> = (0..cores * 2).map(|_| Waiting::new(&["python3", "-c", spin])).collect();
    for program in &mut programs {
        group.place_payload(program.pid()).unwrap();
        program.go();
    }
    for program in programs {
        assert!(program.end().0.success());
    }
    let usage = group.usage().unwrap();
    // With the boot parameter psi=0 there is no such file, or it cannot be opened.
    if std::fs::read_to_string("/proc/pressure/cpu").is_ok() {
        assert!(value(usage.cpu_stalled_us) > 0, "two threads for each core, and none ever waited");
        assert!(usage.memory_stalled_us.is_some());
    } else {
        assert_eq!((usage.cpu_stalled_us, usage.memory_stalled_us), (None, None));
    }
    group.remove().unwrap();
}

#[test]
fn a_stage_can_be_confined_to_cores() {
    let Some(base) = root("a_stage_can_be_confined_to_cores") else {
        return;
    };
    let group = base.stage("stage", &LIMITS);
    let dir = dir(&base, "v2", "stage");
    if !dir.join("cpuset.cpus").exists() {
        let error = group.pin(&[0]).unwrap_err();
        assert!(matches!(error, CgroupError::NoCpuset { .. }), "{error}");
        assert!(base.0.cores().is_err());
        group.remove().unwrap();
        return;
    }
    let cores = base.0.cores().unwrap();
    let last = *cores.last().expect("a core");
    let setting = group.pin(&[last]).unwrap();
    assert_eq!((setting.file.as_str(), setting.value), ("cpuset.cpus", last.to_string()));
    assert_eq!(text(&dir, "cpuset.cpus.effective"), last.to_string());
    let program = Waiting::new(&["python3", "-c", "import os; print(*os.sched_getaffinity(0))"]);
    group.place_payload(program.pid()).unwrap();
    assert_eq!(program.finish().1.trim(), last.to_string());
    // A core that the host does not have is kept to the letter in cpuset.cpus and does not count.
    let error = group.pin(&[1023]).unwrap_err();
    assert!(matches!(error, CgroupError::Mismatch { .. } | CgroupError::Write { .. }), "{error}");
    group.remove().unwrap();
}

#[test]
fn a_fork_bomb_is_counted_and_dies_at_once() {
    let Some(base) = root("a_fork_bomb_is_counted_and_dies_at_once") else {
        return;
    };
    let group = base.stage("stage", &Limits { pids: 12, ..LIMITS });
    let bomb = "import os\nwhile True:\n  try:\n    os.fork()\n  except OSError:\n    pass";
    let mut program = Waiting::new(&["python3", "-c", bomb]);
    group.place_payload(program.pid()).unwrap();
    program.go();
    let pids = dir(&base, "pids", "stage");
    let started = std::time::Instant::now();
    while value(group.usage().unwrap().pids_denied) == 0 {
        assert!(started.elapsed().as_secs() < 120, "no fork was refused");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(text(&pids, "pids.current"), "12");
    if kernel() >= (6, 1) {
        assert_eq!(value(group.usage().unwrap().pids_peak), 12, "pids.peak is there since 6.1");
    }
    let v2 = dir(&base, "v2", "stage");
    assert_eq!(keyed(&v2, "cgroup.events", "populated"), 1);
    // One write, and no second round: cgroup.kill reaches what is being forked meanwhile.
    group.kill().unwrap();
    while keyed(&v2, "cgroup.events", "populated") != 0 {
        assert!(started.elapsed().as_secs() < 180, "something survived");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(program.end().0.signal(), Some(9));
    group.remove().unwrap();
}

#[test]
fn a_peak_can_begin_anew_where_the_kernel_lets_it() {
    let Some(base) = root("a_peak_can_begin_anew_where_the_kernel_lets_it") else {
        return;
    };
    let group = base.stage("stage", &LIMITS);
    // Maps memory and gives it back, as much as it is told, for as long as it is told.
    let steps = "import mmap, sys
for line in sys.stdin:
  size = int(line) << 20
  with mmap.mmap(-1, size) as m:
    for i in range(0, size, 4096): m[i] = 1
  print('done', flush=True)";
    let mut program = Waiting::new(&["python3", "-c", steps]);
    group.place_payload(program.pid()).unwrap();
    let mut stdin = program.0.stdin.take().unwrap();
    let mut stdout = BufReader::new(program.0.stdout.take().unwrap());
    stdin.write_all(b"go\n").unwrap();
    let mut step = |size: u32| {
        stdin.write_all(format!("{size}\n").as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    };
    step(96);
    let rise = group.watch_rise(PAYLOAD).unwrap();
    let expected = !is_unified(&base) || kernel() >= (6, 12);
    assert_eq!(rise.is_some(), expected, "a peak can be reset on v1, and on v2 since 6.12");
    if let Some(mut rise) = rise {
        let before = rise.bytes().unwrap();
        assert!(before < 8 * MIB, "nothing has happened since, and it rose by {before}");
        step(32);
        let risen = rise.bytes().unwrap();
        assert!((32 * MIB - MIB..48 * MIB).contains(&risen), "32 MiB came and went, and it rose by {risen}");
    }
    let peak = value(group.leaf_usage(PAYLOAD).unwrap().memory_peak);
    // On v1 the file is one for all who read it.
    let whole = is_unified(&base);
    assert_eq!(peak >= 96 * MIB, whole, "the peak of the whole life is {peak}");
    group.kill().unwrap();
    program.0.wait().unwrap();
    group.remove().unwrap();
}
