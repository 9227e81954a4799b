//! What a command can use of the host: as much as its limits say, and the report says how much it was. Needs root.

mod common;

use common::{Place, marked, need_root, need_tool};

/// Touches as much memory as its argument says, in MiB, and then says so.
const HUNGRY: &str = r#"#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    size_t size = strtoul(argv[argc - 1], 0, 10) << 20;
    volatile char *memory = malloc(size);
    if (!memory) return 3;
    for (size_t i = 0; i < size; i += 4096) memory[i] = 1;
    puts("had it all");
}"#;

#[test]
fn memory_beyond_the_limit_ends_the_command() {
    if !need_root("memory_beyond_the_limit_ends_the_command") {
        return;
    }
    let place = Place::new();
    let program = place.compile("hungry", HUNGRY);
    let groups = place.groups();
    let run = place.run(&["--mem-limit", "64M", "--ro", &program], &[&program, "300"]);
    assert_eq!((run.code, run.verdict()), (Some(137), "memory-limit"), "{:#}", run.report);
    assert_eq!(run.text(), "");
    assert!(run.number("oomKills") >= 1.0);
    let peak = run.number("peakMemoryBytes");
    // The kernel lets a charge of one batch of pages through.
    assert!((56e6..=f64::from((64 << 20) + (1 << 20))).contains(&peak), "the peak is {peak}");
    assert!(
        run.message().contains("memory limit of 64.0 MiB") && run.message().contains("peak 6"),
        "{}",
        run.message()
    );
    assert!(run.stderr.contains("memory limit of 64.0 MiB"), "{}", run.stderr);
    let within = place.run(&["--mem-limit", "64M", "--ro", &program], &[&program, "32"]).good();
    assert!(within.number("peakMemoryBytes") >= f64::from(32 << 20), "{:#}", within.report);
    assert_eq!(within.number("oomKills"), 0.0);
    place.nothing_left(&groups);
}

#[test]
fn files_in_memory_count_as_memory_and_swap_is_no_way_around() {
    if !need_root("files_in_memory_count_as_memory_and_swap_is_no_way_around") {
        return;
    }
    let place = Place::new();
    for dir in ["/task", "/tmp", "/dev/shm"] {
        let script = format!("for i in 1 2 3 4 5; do head -c 20M /dev/zero > {dir}/$i || exit 9; done; echo all");
        let run = place.sh(&["--mem-limit", "64M"], &script);
        // What is killed is the process that asked for the last page: head, or the shell.
        assert!(!run.text().contains("all"), "100 MiB of files in {dir} under a limit of 64 MiB");
        assert!(run.number("oomKills") >= 1.0, "{dir}: {:#}", run.report);
        assert!(run.number("peakMemoryBytes") <= f64::from(65 << 20), "{dir}: {:#}", run.report);
    }
    let limits = place.sh(&["--mem-limit", "64M"], "true").good().report["limits"].clone();
    let swap =
        |file: &str| limits.as_array().and_then(|l| l.iter().find(|s| s["file"] == file).map(|s| s["value"].clone()));
    let closed = swap("memory.memsw.limit_in_bytes")
        .map(|v| v == "67108864")
        .or_else(|| swap("memory.swap.max").map(|v| v == "0"));
    assert_eq!(closed, Some(true), "swap is limited and read back: {limits:#}");
}

#[test]
fn a_fork_bomb_stays_inside_and_ends_with_its_time() {
    if !need_root("a_fork_bomb_stays_inside_and_ends_with_its_time") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    // Ignores what can be ignored, and leaves sessions.
    let program = place.compile(
        "bomb",
        r#"#include <signal.h>
           #include <unistd.h>
           int main(void) {
               for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
               for (;;) if (fork() == 0) setsid();
           }"#,
    );
    // Forks that fail are memory until the kernel gets to freeing it: some hundred MiB on a busy machine.
    let flags = ["--pids-limit", "64", "--timeout", "3", "--mem-limit", "2G", "--ro", &program];
    let run = place.run(&flags, &[&program]);
    assert_eq!((run.code, run.verdict()), (Some(124), "time-limit"), "{:#}", run.report);
    assert!(run.number("pidsDenied") > 0.0 && run.number("peakPids") <= 64.0, "{:#}", run.report);
    assert_eq!(marked(&program), [0; 0], "processes of the bomb are left");
    place.nothing_left(&groups);
}

#[test]
fn processes_beyond_the_limit_are_refused_and_counted() {
    let name = "processes_beyond_the_limit_are_refused_and_counted";
    if !need_root(name) || !need_tool(name, "python3") {
        return;
    }
    let script = "
import os, threading, time
started = []
try:
    for _ in range(100):
        t = threading.Thread(target=time.sleep, args=(600,), daemon=True); t.start(); started.append(t)
except RuntimeError: pass
print(len(started), flush=True); os._exit(0)";
    let run = Place::new().run(&["--pids-limit", "20"], &["/usr/bin/python3", "-c", script]).good();
    let threads: u32 = run.text().trim().parse().expect("a number");
    assert!((10..20).contains(&threads), "{threads} threads under a limit of 20 processes");
    assert!(run.number("pidsDenied") >= 1.0);
    assert!(run.message().contains("the limit of 20 processes and threads was reached"), "{}", run.message());
}

#[test]
fn cpu_time_is_held_to_its_share() {
    if !need_root("cpu_time_is_held_to_its_share") {
        return;
    }
    let place = Place::new();
    let program = place.compile(
        "busy",
        r#"#include <pthread.h>
           void *spin(void *x) { for (volatile unsigned long i = 0;; i++); return x; }
           int main(void) { pthread_t t; pthread_create(&t, 0, spin, 0); spin(0); }"#,
    );
    let run = place.run(&["--cpu-limit", "0.5", "--timeout", "3", "--ro", &program], &[&program]);
    assert_eq!((run.code, run.verdict()), (Some(124), "time-limit"));
    // The kernel's quota, not a clock of this test: two busy threads could use 6 s in these 3, and may use 1.5. Setting
    // up the sandbox counts as cpu time and not as wall clock: on an emulated processor up to 0.8 s.
    let (cpu, wall) = (run.number("cpuSeconds"), run.number("wallSeconds"));
    assert!(cpu < 0.9 * wall.max(1.0), "{cpu} s of cpu time in {wall} s under a limit of half a core");
    assert!(cpu > 0.1, "cpu time is counted: {cpu}");
    // A program that was held back is not a slow program, and whoever reads the report is told.
    // (On a busy machine it may have got so little that its limit was not in its way.)
    let (throttled, told) = (run.number("throttledSeconds"), run.message().contains("held it back"));
    assert_eq!(told, throttled >= 0.1 * 3.0, "{throttled} s: {}", run.message());
    assert!(run.message().contains("time limit"), "{}", run.message());
}

#[test]
fn no_process_outlives_the_time_limit() {
    if !need_root("no_process_outlives_the_time_limit") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    // A shell script's process shows it in its command line, by which it is found from outside.
    let word = format!("marked-{}-time", std::process::id());
    let stubborn = format!("trap '' TERM INT HUP QUIT; : {word}; while :; do sleep 600; done");
    let stopped = format!("(: {word}; kill -STOP $$; sleep 600) & wait");
    let daemon = format!("(setsid sh -c ': {word}; sleep 600' &) & sleep 600");
    for script in ["sleep 60", &stubborn, &stopped, &format!(": {word}; kill -STOP $$"), &daemon] {
        let run = place.sh(&["--timeout", "1"], script);
        assert_eq!((run.code, run.verdict()), (Some(124), "time-limit"), "{script}: {:#}", run.report);
        assert!(run.message().contains("time limit of 1 s"), "{}", run.message());
        assert_eq!(run.report["ended"], "killed");
        assert_eq!(marked(&word), [0; 0], "left by {script}");
        place.nothing_left(&groups);
    }
}

#[test]
fn output_beyond_the_limit_is_counted_and_thrown_away() {
    if !need_root("output_beyond_the_limit_is_counted_and_thrown_away") {
        return;
    }
    let place = Place::new();
    let run = place.sh(&["--output-limit", "64K"], "yes | head -c 100M; echo end >&2").good();
    assert_eq!(run.stdout.len(), 64 << 10, "as much as the limit is passed on");
    assert!(run.stdout.chunks(2).all(|line| line == b"y\n"), "and it is the beginning");
    assert_eq!(run.number("stdoutBytes"), f64::from(100 << 20));
    assert_eq!(run.report["outputTruncated"], true);
    assert_eq!(run.stderr, "end\n", "each stream has its own limit");

    let endless = place.run(&["--output-limit", "64K", "--timeout", "2"], &["yes"]);
    assert_eq!((endless.code, endless.verdict()), (Some(124), "time-limit"));
    assert_eq!(endless.stdout.len(), 64 << 10);
    assert_eq!(endless.report["outputTruncated"], true);

    let exact = place.sh(&["--output-limit", "64K"], "head -c 65536 /dev/zero").good();
    assert_eq!((exact.stdout.len(), &exact.report["outputTruncated"]), (65536, &false.into()));
}

#[test]
fn output_is_passed_on_as_it_is() {
    let name = "output_is_passed_on_as_it_is";
    if !need_root(name) || !need_tool(name, "python3") {
        return;
    }
    let script =
        "import sys; b = bytes(range(256)) * 4096; sys.stdout.buffer.write(b); sys.stderr.buffer.write(b'\\n' * 7)";
    let run = Place::new().run(&[], &["/usr/bin/python3", "-c", script]).good();
    let expected: Vec<u8> = (0..=255u8).cycle().take(256 * 4096).collect();
    assert!(run.stdout == expected, "{} bytes came", run.stdout.len());
    assert_eq!(run.stderr, "\n".repeat(7));
    assert_eq!((run.number("stdoutBytes"), run.number("stderrBytes")), (f64::from(256 * 4096), 7.0));
}

#[test]
fn files_are_limited_in_size_and_number() {
    let name = "files_are_limited_in_size_and_number";
    if !need_root(name) || !need_tool(name, "python3") {
        return;
    }
    let script = r#"
import errno, os, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def fill(path, size):
    done = 0
    try:
        with open(path, "wb", buffering=0) as f:
            while done < size: done += f.write(bytes(min(1 << 20, size - done)))
        return done, "all"
    except OSError as e: return done, errno.errorcode[e.errno]
for dir in ("/task", "/tmp", "/dev/shm"):
    one = fill(dir + "/big", 100 << 20); two = fill(dir + "/more", 100 << 20)
    print(f"big-{dir}={one[1]}"); print(f"more-{dir}={two[1]}"); print(f"bytes-{dir}={one[0] + two[0]}")
    os.remove(dir + "/big"); os.remove(dir + "/more")
for dir in ("/task", "/tmp"):
    count = 0
    try:
        while count < 300000: os.close(os.open(f"{dir}/{count}", os.O_CREAT | os.O_WRONLY)); count += 1
    except OSError as e: print(f"inodes-{dir}=" + errno.errorcode[e.errno])
    print(f"count-{dir}={count}")
"#;
    let place = Place::new();
    let run = place.run(&["--disk-limit", "8M", "--mem-limit", "256M"], &["/usr/bin/python3", "-c", script]).good();
    let seen = run.values();
    for dir in ["/task", "/tmp", "/dev/shm"] {
        // One file meets RLIMIT_FSIZE or the file system's end, whichever comes first.
        assert!(["EFBIG", "ENOSPC"].contains(&seen[&format!("big-{dir}")].as_str()), "{seen:?}");
        assert_eq!(seen[&format!("more-{dir}")], "ENOSPC", "{dir}");
        let bytes: u64 = seen[&format!("bytes-{dir}")].parse().expect("a number");
        assert!((7 << 20..=8 << 20).contains(&bytes), "{dir} took {bytes} bytes under a limit of 8 MiB");
    }
    for dir in ["/task", "/tmp"] {
        assert_eq!(seen[&format!("inodes-{dir}")], "ENOSPC", "{seen:?}");
        assert!(seen[&format!("count-{dir}")].parse::<u32>().expect("a number") <= 4096, "{seen:?}");
    }
    // A program that just writes too much is told so, and can say it.
    let full = place.run(&["--disk-limit", "8M"], &["dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=9"]);
    assert!(full.code == Some(1) && full.stderr.contains("No space left on device"), "{full:?}");
    // The second layer is the process's own limit, twice as high; the default of its signal ends the program.
    let sparse = ["dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "seek=16", "count=1"];
    let signal = place.run(&["--disk-limit", "8M"], &sparse);
    assert_eq!((signal.code, signal.verdict()), (Some(128 + 25), "signaled"), "SIGXFSZ: {:#}", signal.report);
}

#[test]
fn a_memory_limit_too_small_to_start_is_said_and_leaves_nothing() {
    if !need_root("a_memory_limit_too_small_to_start_is_said_and_leaves_nothing") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    for limit in ["1K", "64K", "256K"] {
        let run = place.run(&["--mem-limit", limit], &["true"]);
        assert_eq!(run.code, Some(125), "{limit}: {}", run.stderr);
        assert!(run.stderr.contains("memory limit") && run.stderr.contains("too small"), "{limit}: {}", run.stderr);
        assert!(run.report.is_null(), "nothing ran, so nothing is reported");
        place.nothing_left(&groups);
    }
}

#[test]
fn every_limit_is_read_back() {
    if !need_root("every_limit_is_read_back") {
        return;
    }
    let flags = ["--mem-limit", "96M", "--pids-limit", "77", "--cpu-limit", "0.75"];
    let run = Place::new().sh(&flags, "true").good();
    let limits = run.report["limits"].as_array().expect("a list");
    let of = |file: &str| limits.iter().find(|s| s["file"] == file).and_then(|s| s["value"].as_str());
    let either = |files: [&str; 2]| of(files[0]).or(of(files[1]));
    assert_eq!(either(["memory.max", "memory.limit_in_bytes"]), Some("100663296"));
    assert_eq!(of("pids.max"), Some("77"));
    assert_eq!(either(["cpu.max", "cpu.cfs_quota_us"]).map(|v| v.split(' ').next()), Some(Some("75000")));
    assert_eq!(run.report["degraded"].as_array().map(Vec::len), Some(0));
    for source in ["peakMemorySource", "peakPidsSource"] {
        assert!(run.report[source].as_str().is_some_and(|s| !s.is_empty()), "{source}: {:#}", run.report);
    }
}
