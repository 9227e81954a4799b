//! What the kernel's control groups do for a command: its processes are born in them, and its memory is measured
//! exactly. Needs root.

mod common;

use common::{Place, need_root, need_tool};

/// Touches as many MiB as its argument says, each page once, and ends. Static, so that nothing else is loaded.
const TOUCH: &str = r#"#include <stdlib.h>
#include <sys/mman.h>
int main(int argc, char **argv) {
    size_t size = strtoul(argv[argc - 1], 0, 10) << 20;
    if (!size) return 0;
    volatile char *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 3;
    for (size_t i = 0; i < size; i += 4096) memory[i] = 1;
    return 0;
}"#;

#[test]
fn what_is_touched_is_measured() {
    if !need_root("what_is_touched_is_measured") {
        return;
    }
    const MIB: f64 = 1048576.0;
    let place = Place::new();
    let program = place.compile_with(&["-static"], "touch", TOUCH);
    let measure = |mib: u32| {
        let run = place.run(&["--mem-limit", "512M", "--ro", &program], &[&program, &mib.to_string()]).good();
        let source = run.report["peakMemorySource"].as_str().expect("a source").to_string();
        (run.number("commandPeakMemoryBytes"), run.number("peakMemoryBytes"), source)
    };
    // The kernel charges each CPU in batches of 64 pages, and a figure is never below what is in use. Page tables are a
    // fifth of a percent.
    let cpus = std::thread::available_parallelism().expect("a number of CPUs").get();
    let batches = 256.0 * 1024.0 * cpus as f64;
    let starts = [measure(0), measure(0), measure(0)];
    let (start, _, source) = starts.iter().min_by(|a, b| a.0.total_cmp(&b.0)).expect("three of them");
    println!("{source}, {cpus} CPUs; a static program's start: {:.2} MiB, all MiB below include it", start / MIB);
    println!("asked  the command  error  allowed  the sandbox");
    assert!(*start < MIB, "starting costs {start} bytes");
    for mib in [1, 8, 64, 256] {
        let (peak, whole, _) = measure(mib);
        let asked = f64::from(mib) * MIB;
        let (error, allowed) = (peak - asked, start + batches + 0.01 * asked);
        println!("{mib:5}  {:11.2}  {:5.2}  {:7.2}  {:11.2}", peak / MIB, error / MIB, allowed / MIB, whole / MIB);
        assert!((0.0..=allowed).contains(&error), "{mib} MiB were touched, and the peak is {peak} bytes");
        assert!(whole >= peak, "the command is a part of the sandbox");
    }
}

#[test]
fn init_is_born_in_its_group_and_never_outside() {
    let name = "init_is_born_in_its_group_and_never_outside";
    if !need_root(name) || !need_tool(name, "strace") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let log = place.path().join("calls");
    let program = place.exec(&["--"]);
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=clone3,write", "-e", "signal=none", "-o"]).arg(&log);
    command.arg(program.get_program()).args(program.get_args()).arg("true");
    let out = command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").output().expect("strace starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));

    let calls = std::fs::read_to_string(&log).expect("strace's log");
    let births: Vec<&str> = calls.lines().filter(|line| line.contains("CLONE_INTO_CGROUP")).collect();
    let [birth] = births[..] else { panic!("one process is born into a group: {births:?}") };
    let pid = birth.rsplit("= ").next().expect("a pid").trim();
    // The launcher moves init into every hierarchy in which it is not yet: into the v2 one it was born.
    let moved = |into: &str| {
        let file = format!("{}/", groups[0].display());
        let line = |l: &&str| l.contains(&file) && l.contains(&format!("/{into}/cgroup.procs>"));
        calls.lines().filter(line).map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(moved("init"), Vec::<String>::new(), "nothing is ever moved into the init leaf");
    let payload = moved("payload");
    assert_eq!(payload.len(), 1, "the command is: {payload:?}");
    assert!(!payload[0].contains(&format!("\"{pid}\"")), "and it is not init");
}
