//! Each test's own memory: what its programs took, in whatever order tests come, and to whom it goes when that is not
//! obvious. Real pytest, real programs, the kernel's figures. Needs root.

mod common;
mod support;

use serde_json::Value;
use support::{Place, need_root};

const MIB: u64 = 1 << 20;

/// [`common::TOUCH`], with what builds it.
const PROJECT: &[(&str, &str)] =
    &[("Makefile", "touch: touch.c\n\tcc -O1 -static -o touch touch.c\n"), ("touch.c", common::TOUCH)];

const SUITE: &[(&str, &str)] = &[
    ("ostest.toml", "[build]\ncommand = [\"make\"]\n"),
    (
        "test_memory.py",
        r#"import os, pty, signal, subprocess, sys, threading
import pytest

TOUCH = os.path.join(os.environ["OSTEST_PROJECT"], "touch")

def touch(*args):
    assert subprocess.run([TOUCH, *map(str, args)]).returncode == 0

@pytest.mark.parametrize("mib, time", [(0, 1), (256, 1), (1, 1), (64, 1), (8, 1), (0, 2), (1, 2)])
def test_one(mib, time):
    touch(mib)

@pytest.mark.parametrize("mib", [64, 0, 1, 8])
def test_tree_of_five(mib):
    touch(mib, 5)

def test_nothing():
    pass

def test_pytest_itself():
    assert len(bytearray(40 << 20))

def up(*args, **how):
    process = subprocess.Popen([TOUCH, *map(str, args)], stdout=subprocess.PIPE, **how)
    assert process.stdout.readline() == b"up\n"
    return process

def test_subprocesses_side_by_side():
    all = []
    threads = [threading.Thread(target=lambda: all.append(up(16, 1, 6000))) for _ in range(4)]
    [t.start() for t in threads]; [t.join() for t in threads]
    for process in all:
        process.kill(); process.wait()

def test_shell_and_system():
    assert subprocess.run("%s 24; exit 5" % TOUCH, shell=True).returncode == 5
    assert os.waitstatus_to_exitcode(os.system("%s 8; exit 6" % TOUCH)) == 6

def test_on_a_terminal():
    assert os.waitstatus_to_exitcode(pty.spawn([TOUCH, "32"])) == 0

def test_pytests_own_output():
    os.write(1, b"x" * (40 << 20))

def test_fork_of_pytest():
    pid = os.fork()
    if pid == 0:
        b = bytearray(48 << 20); os._exit(len(b) & 1)
    assert os.waitpid(pid, 0)[1] == 0

@pytest.fixture(scope="session")
def server():
    process = up(80, 1, 6000)
    yield process
    process.kill()
    process.wait()

def test_first_to_ask_for_the_server(server):
    touch(1)

def test_second_to_ask_for_the_server(server):
    touch(2)

def test_daemon():
    up(96, 1, 6000, start_new_session=True)

def test_after_the_daemon():
    touch(4)
"#,
    ),
];

/// `(MiB, source)` of each test.
fn figures(result: &Value) -> Vec<(String, u64, String)> {
    let cases = result["testResults"]["testCases"].as_array().expect("cases").iter();
    cases
        .map(|case| {
            assert_eq!(case["isPassed"], true, "{case:#}");
            let name = case["name"].as_str().expect("a name").trim_start_matches("test_memory::").to_string();
            let source = case["memorySource"].as_str().expect("a source").to_string();
            (name, case["memoryBytes"].as_u64().expect("bytes"), source)
        })
        .collect()
}

#[test]
fn each_tests_figure_is_its_own() {
    if !need_root("each_tests_figure_is_its_own") {
        return;
    }
    let place = Place::new();
    let (project, suite) = (place.tree("project", PROJECT), place.tree("suite", SUITE));
    let grade = || figures(&place.grade(&project, &suite, &["--mem-limit", "768M"]).result);
    let (first, second) = (grade(), grade());
    let batches = 256 * 1024 * std::thread::available_parallelism().expect("CPUs").get() as u64;
    let find = |all: &[(String, u64, String)], name: &str| {
        let found = all.iter().find(|(n, ..)| n == name).unwrap_or_else(|| panic!("no {name} in {all:?}"));
        (found.1, found.2.clone())
    };
    // What a program of this kind takes to start: the least that was seen.
    let start = first.iter().filter(|(n, ..)| n.starts_with("test_one[0")).map(|f| f.1).min().expect("two of them");
    assert!(start < MIB, "{start}");
    println!("starting: {:.2} MiB", start as f64 / MIB as f64);
    for all in [&first, &second] {
        for (name, bytes, source) in all {
            let processes = match name.split('[').next() {
                Some("test_one") => 1,
                Some("test_tree_of_five") => 5,
                _ => continue,
            };
            let number: String =
                name.chars().skip_while(|c| *c != '[').skip(1).take_while(char::is_ascii_digit).collect();
            let mib: u64 = number.parse().unwrap_or_else(|_| panic!("{name}"));
            let asked = mib * MIB * processes;
            let allowed = asked + processes * start + batches + asked / 100;
            println!(
                "{name:28} asked {:6.1} MiB, measured {:8.2} MiB",
                asked as f64 / MIB as f64,
                *bytes as f64 / MIB as f64
            );
            assert_eq!(source, "programs");
            assert!((asked..=allowed).contains(bytes), "{name}: {bytes} bytes, where {asked} were asked for");
        }
        let (nothing, source) = find(all, "test_nothing");
        assert_ne!(source, "programs");
        assert!(nothing < 4 * MIB, "{nothing}");
        let (itself, source) = find(all, "test_pytest_itself");
        if source == "harness-rise" {
            assert!((39 * MIB..48 * MIB).contains(&itself), "{itself}");
        }
        // Where pytest keeps what its own test prints is nobody's memory, either.
        let (output, source) = find(all, "test_pytests_own_output");
        if source == "harness-rise" {
            assert!((39 * MIB..48 * MIB).contains(&output), "{output}");
        }
        // A fork that executes nothing is pytest.
        let (fork, source) = find(all, "test_fork_of_pytest");
        if source == "harness-rise" {
            assert!((47 * MIB..60 * MIB).contains(&fork), "{fork}");
        }
        for (name, mib, slack) in [
            ("test_subprocesses_side_by_side", 64, 4),
            ("test_shell_and_system", 24, 2),
            ("test_on_a_terminal", 32, 2),
            // A daemon belongs to its test.
            ("test_daemon", 96, 4),
            ("test_after_the_daemon", 4, 1),
        ] {
            let (bytes, source) = find(all, name);
            assert_eq!(source, "programs", "{name}");
            let most = (mib + slack) * MIB;
            assert!((mib * MIB - MIB..=most).contains(&bytes), "{name}: {bytes} bytes, {mib} MiB expected");
        }
        // A session's server runs for each test that uses it; where the kernel cannot begin a peak anew it is said apart.
        for (name, mib) in [("test_first_to_ask_for_the_server", 1), ("test_second_to_ask_for_the_server", 2)] {
            let (bytes, source) = find(all, name);
            let expected = if source == "own-programs" { mib } else { mib + 80 } * MIB;
            assert!((expected - MIB..=expected + 2 * MIB).contains(&bytes), "{name}: {bytes} bytes, from {source}");
        }
    }
}

/// Groups with a memory controller that the kernel has not let go of, dead ones included.
fn groups() -> u64 {
    let text = std::fs::read_to_string("/proc/cgroups").expect("the kernel's list of controllers");
    let line = text.lines().find(|line| line.starts_with("memory\t")).expect("a memory controller");
    line.split('\t').nth(2).and_then(|number| number.parse().ok()).expect("a number of groups")
}

#[test]
fn leaves_do_not_pile_up() {
    if !need_root("leaves_do_not_pile_up") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", &[("README", "")]);
    // Files in memory keep the group that wrote them, dead, until they are gone: these are, with every third test.
    let tests = "import subprocess\nimport pytest\n@pytest.mark.parametrize('n', range(400))\n\
                 def test_n(n):\n    assert subprocess.call(['cp', '/bin/true', '/tmp/%d' % (n % 3)]) == 0\n";
    let suite = place.tree("suite", &[("test_many.py", tests)]);
    let before = groups();
    let (mut most, over) = (0, std::sync::atomic::AtomicBool::new(false));
    let graded = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let graded = place.grade(&project, &suite, &["--timeout", "900"]);
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            graded
        });
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            most = most.max(groups());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        run.join().expect("it is graded")
    });
    assert_eq!((graded.code(), graded.cases().len()), (0, 400));
    println!("{before} groups before, at most {most} while 400 tests ran");
    // A stage has a handful; tests beside this one have theirs.
    assert!(most < before + 100, "{before} groups before, at most {most} while 400 tests ran");
}
