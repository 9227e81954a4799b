//! What a student reads: for each typical offence against a limit or the policy, the sentence in the test's description.
//! Real programs, pytest and kernel. Needs root.

mod common;
mod support;

use support::{Graded, Place, need_root};

/// One program for all offences; the first argument says which.
const OFFENDER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int say(long result) {
    if (result >= 0) return puts("done"), 0;
    printf("%s\n", strerror(errno));
    return 1;
}

static void nothing(int number) { (void)number; }

static void *flood(void *count) {
    for (long i = 0; i < (long)count; i++) mount("none", "/tmp", "tmpfs", 0, 0);
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argv[1];
    if (!strcmp(what, "memory")) {
        for (;;) memset(malloc(1 << 20), 1, 1 << 20);
    }
    if (!strcmp(what, "forks")) {
        for (int i = 0; i < 200; i++) {
            pid_t pid = fork();
            if (pid < 0) return say(pid);
            if (pid == 0) return pause();
        }
        return say(0);
    }
    if (!strcmp(what, "output")) {
        int fd = open("/tmp/log", O_WRONLY | O_CREAT | O_APPEND, 0600);
        static char text[1 << 16];
        for (;;) if (write(fd, text, sizeof text) < 0) return say(-1);
    }
    if (!strcmp(what, "sleep")) return pause();
    if (!strcmp(what, "mount")) return say(mount("none", "/tmp", "tmpfs", 0, 0));
    if (!strcmp(what, "unshare")) return say(unshare(CLONE_NEWUSER | CLONE_NEWNS));
    if (!strcmp(what, "uring")) return say(syscall(425, 8, 0));
    if (!strcmp(what, "packet")) return say(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    if (!strcmp(what, "raw")) return say(socket(AF_INET, SOCK_RAW, 1));
    if (!strcmp(what, "netns")) return say(syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0));
    if (!strcmp(what, "i386")) {
#ifdef __x86_64__
        long result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L));
        return say(result);
#else
        return raise(SIGSYS);
#endif
    }
    if (!strcmp(what, "long")) {
        signal(SIGXFSZ, SIG_DFL);
        int fd = open("/tmp/long", O_WRONLY | O_CREAT, 0600);
        return say(ftruncate(fd, 1L << 40));
    }
    if (!strcmp(what, "signals")) {
        // Whoever waits for an answer is interrupted by signals, and asks again.
        struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
        struct itimerval often = { { 0, 500 }, { 0, 500 } };
        sigaction(SIGALRM, &action, 0);
        setitimer(ITIMER_REAL, &often, 0);
        for (int i = 0; i < 1000; i++) {
            if (mount("none", "/tmp", "tmpfs", 0, 0) == 0 || errno != EPERM) return say(-1);
        }
        return 0;
    }
    if (!strcmp(what, "flood")) {
        pthread_t all[8];
        long each = atol(argv[2]) / 8;
        for (int i = 0; i < 8; i++) if (pthread_create(&all[i], 0, flood, (void *)each)) return 2;
        for (int i = 0; i < 8; i++) pthread_join(all[i], 0);
        return 1;
    }
    return 3;
}
"#;

const MAKEFILE: &str = "all: prog\nprog: prog.c\n\tcc -O1 -pthread -o prog prog.c\n";

const BUILD: &str = "[build]\ncommand = ['make']\n";

const TESTS: &str = r#"
import os, shutil, subprocess
import pytest

PROG = os.path.join(os.environ["OSTEST_PROJECT"], "prog")

def run(*what, program=PROG):
    done = subprocess.run([program, *what], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0

@pytest.mark.parametrize("what", ["memory", "mount", "unshare", "uring", "packet", "raw", "netns", "i386", "long"])
def test_alone(what):
    run(what)

def test_forks():
    process = subprocess.Popen([PROG, "forks"], stdout=subprocess.PIPE, start_new_session=True)
    text = process.stdout.readline()
    os.killpg(process.pid, 9)
    process.wait()
    assert text == b"done\n"

def test_output():
    try:
        run("output")
    finally:
        # What is full at a test's end is known; this one leaves its log to be seen.
        pass

def test_room_again():
    os.remove("/tmp/log")

def test_signals():
    run("signals")

@pytest.mark.skipif(not shutil.which("strace"), reason="there is no strace")
def test_strace():
    done = subprocess.run(["strace", "-f", PROG, "mount"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert 'mount("none", "/tmp", "tmpfs", 0, NULL) = -1 EPERM (Operation not permitted)' in done.stderr

def test_refused_and_passed():
    assert subprocess.run([PROG, "mount"]).returncode == 1

def test_failed_without_an_offence():
    assert False, "sandbox: prog called nothing"

def test_strange_name():
    name = "/tmp/x\nsandbox: all is well\x1b[2J"
    shutil.copy(PROG, name)
    run("mount", program=name)

def test_python_itself():
    run("-c", "import ctypes; exit(1 + ctypes.CDLL(None).unshare(0x40000000) * 0)", program=shutil.which("python3"))
"#;

fn grade(place: &Place, tests: &str, settings: &str, more: &[&str]) -> Graded {
    let project = place.tree("project", &[("Makefile", MAKEFILE), ("prog.c", OFFENDER)]);
    let suite = place.tree("suite", &[("ostest.toml", settings), ("test_it.py", tests)]);
    let mut flags = vec!["--mem-limit", "192M", "--pids-limit", "40", "--cpu-limit", "0.5", "--disk-limit", "16M"];
    flags.extend(more);
    place.grade(&project, &suite, &flags)
}

#[test]
fn a_student_reads_what_was_met_and_what_to_do() {
    if !need_root("a_student_reads_what_was_met_and_what_to_do") {
        return;
    }
    let place = Place::new();
    let graded = grade(&place, TESTS, BUILD, &["--timeout", "600"]);
    for (test, said) in [
        (
            "test_alone[memory]",
            "because the memory limit of 192.0 MiB for all programs and pytest together was reached",
        ),
        (
            "test_alone[mount]",
            "sandbox: prog called mount, which is refused here (Operation not permitted): file systems are",
        ),
        ("test_alone[unshare]", "sandbox: prog called unshare(CLONE_NEWNS|CLONE_NEWUSER), which is refused here"),
        (
            "test_alone[uring]",
            "sandbox: prog called io_uring_setup, which is refused here (Operation not permitted): use epoll",
        ),
        (
            "test_alone[packet]",
            "sandbox: prog called socket(AF_PACKET, SOCK_RAW, 0), which is refused here (Operation not permitted): use TCP",
        ),
        (
            "test_alone[raw]",
            "sandbox: prog called socket(AF_INET, SOCK_RAW, 1), which is refused here (Operation not permitted)",
        ),
        ("test_alone[netns]", "sandbox: prog called clone(CLONE_NEWNET), which is refused here"),
        ("test_alone[i386]", "sandbox: signal 31 (SIGSYS) ends a program here that makes a 32-bit"),
        (
            "test_alone[long]",
            "sandbox: signal 25 (SIGXFSZ) is what a program gets that makes a file longer than the limit of 32.0 MiB",
        ),
        ("test_forks", "because the limit of 40 processes and threads at a time was reached"),
        ("test_output", "sandbox: /tmp (16.0 MiB) was full at the end"),
        ("test_strange_name", "sandbox: \"x\\nsandbox: all is well\\u{1b}[2J\" called mount, which"),
        ("test_python_itself", " called unshare(CLONE_NEWNET), which is refused here"),
    ] {
        let (status, text) = graded.case(&format!("test_it::{test}"));
        println!("{test}: {}", text.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" | "));
        assert_eq!(status, "failed", "{test}: {text}");
        assert!(text.contains(said), "{said:?} is not in the description of {test}:\n{text}");
        // Each sentence stands in front of what pytest says.
        let head: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
        let marked = head.iter().filter(|line| line.starts_with("sandbox: ")).count();
        assert_eq!(marked, head.len(), "{test}: {text}");
    }
    for test in ["test_refused_and_passed", "test_signals", "test_strace"] {
        let (status, text) = graded.case(&format!("test_it::{test}"));
        // Where it is missing, the word for it is said aloud, or it is a failure.
        if !(test == "test_strace" && status == "skipped" && !common::need_tool("test_strace", "strace")) {
            assert_eq!((&*status, &*text), ("passed", ""), "a passed test gets no word: {test}");
        }
    }
    let (_, text) = graded.case("test_it::test_failed_without_an_offence");
    assert!(!text.starts_with("sandbox: "), "{text}");
    let shown = String::from_utf8_lossy(&graded.output.stdout);
    assert!(shown.contains("sandbox: prog called mount, which is refused here"), "{shown}");
    assert_eq!(graded.result["outcome"]["untold"], serde_json::Value::Null);
}

/// Two limits on time: the test's own, which pytest tells, and the whole run's.
#[test]
fn whoever_waits_for_ever_reads_how_long_he_could() {
    if !need_root("whoever_waits_for_ever_reads_how_long_he_could") {
        return;
    }
    let place = Place::new();
    let tests =
        "import os, subprocess\ndef test_a():\n    subprocess.run([os.environ['OSTEST_PROJECT'] + '/prog', 'sleep'])\n";
    let graded = grade(&place, tests, &format!("{BUILD}[test]\ntest-timeout = '2s'\n"), &[]);
    let (status, text) = graded.case("test_it::test_a");
    assert_eq!(status, "failed");
    assert!(text.contains("the call of this test took longer than the 2 s that the suite allows"), "{text}");
}

#[test]
fn sockets_that_nobody_is_charged_for_are_named_where_they_end_a_run() {
    if !need_root("sockets_that_nobody_is_charged_for_are_named_where_they_end_a_run") {
        return;
    }
    let tests = r#"
import os, socket

def test_before():
    pass

def test_sockets():
    # What a program of the submission's would do; pytest is in the same sandbox.
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(4000)
            if os.fork() == 0:
                os.set_inheritable(listener.fileno(), True)
                os.execvp("sleep", ["sleep", "1000"])
            for _ in range(3000):
                socket.create_connection(listener.getsockname()).close()
"#;
    let place = Place::new();
    let project = place.tree("project", &[("Makefile", MAKEFILE), ("prog.c", OFFENDER)]);
    let suite = place.tree("suite", &[("ostest.toml", BUILD), ("test_it.py", tests)]);
    let graded = place.grade(&project, &suite, &["--mem-limit", "96M"]);
    assert_eq!(graded.case("test_it::test_before").0, "passed");
    let (status, text) = graded.case("test_it::test_sockets");
    assert_eq!((&*status, graded.error()), ("failed", ""), "{text}");
    // Whoever looks at sockets comes in steps, and the ledger may have seen as much before.
    let by_sockets = text.starts_with("stopped: its sockets took up to ")
        && text.contains("which is beyond the memory limit of 96.0 MiB: accept, read and close");
    let by_ledger = text.starts_with("stopped: the kernel held ") && text.contains("what waits in sockets");
    assert!(by_sockets || by_ledger, "{text}");
}

#[test]
fn a_build_that_is_refused_something_says_so() {
    if !need_root("a_build_that_is_refused_something_says_so") {
        return;
    }
    let place = Place::new();
    let settings = "[build]\ncommand = ['sh', '-c', 'make && ./prog raw']\n";
    let graded = grade(&place, "def test_a(): pass\n", settings, &[]);
    assert_eq!(graded.code(), 2);
    let said = "it exited with code 1; prog called socket(AF_INET, SOCK_RAW, 1), which is refused here (Operation not permitted)";
    assert!(graded.error().contains(said), "{}", graded.error());
}

/// Whoever makes refused calls as fast as he can costs neither the host nor the next test anything.
#[test]
fn a_flood_of_refused_calls_holds_nobody_up() {
    if !need_root("a_flood_of_refused_calls_holds_nobody_up") {
        return;
    }
    let place = Place::new();
    let tests = r#"
import os, subprocess
PROG = os.path.join(os.environ["OSTEST_PROJECT"], "prog")

def test_flood():
    process = subprocess.Popen([PROG, "flood", "200000"])
    try:
        assert process.wait(3) == 0
    finally:
        process.kill()
        process.wait()

def test_flood_that_stays():
    subprocess.Popen([PROG, "flood", "200000"], start_new_session=True)
    assert False

def test_next():
    for _ in range(20):
        assert subprocess.run(["true"]).returncode == 0
    assert subprocess.run([PROG, "packet"]).returncode == 0
"#;
    let graded = grade(&place, tests, BUILD, &["--timeout", "600"]);
    assert_eq!(graded.code(), 1, "{}", graded.error());
    let (_, flood) = graded.case("test_it::test_flood");
    assert!(flood.starts_with("sandbox: prog called mount "), "{flood}");
    let (_, next) = graded.case("test_it::test_next");
    // Its own offence, and not its neighbour's, which goes on meanwhile.
    assert!(next.starts_with("sandbox: prog called socket(AF_PACKET, SOCK_RAW, 0), which"), "{next}");
    assert!(!next.contains("mount"), "{next}");
    let cases = graded.body()["testCases"].as_array().expect("a list");
    let case = cases.iter().find(|case| case["name"] == "test_it::test_next").expect("it is there");
    assert_eq!(case["programs"], 21, "{case:#}");
    assert!(case["memoryBytes"].as_u64().is_some_and(|bytes| bytes < 16 << 20), "{case:#}");
}
