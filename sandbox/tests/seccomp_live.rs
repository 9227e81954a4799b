//! The policies in force around real programs.
//!
//! A filter cannot be taken off again, so every case runs in a process of its own: this test binary
//! starts itself with `SECCOMP_LIVE` in the environment, and the test `enter` then puts the filters
//! on and becomes a shell. Needs no privileges; run by root, it shows that the filters refuse and
//! not the kernel's permissions.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output};

const POLICY: &str = "SECCOMP_LIVE";
const SCRIPT: &str = "SECCOMP_LIVE_SCRIPT";

/// Not a test of its own: the inside of the others.
#[test]
fn enter() {
    let (Ok(policy), Ok(script)) = (std::env::var(POLICY), std::env::var(SCRIPT)) else {
        return;
    };
    let programs = match policy.as_str() {
        "init" => sandbox::confine::seccomp::compile_init(),
        name => {
            sandbox::confine::seccomp::compile(serde_json::from_value(serde_json::Value::String(name.into())).unwrap())
        }
    }
    .unwrap();
    if policy == "init" {
        // Installing reads /proc under the policy; nothing could be started afterwards.
        sandbox::confine::seccomp::install(&programs).unwrap();
        let error = std::fs::write("/dev/null", "x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(Command::new("/bin/true").status().is_err());
        return;
    }
    // A second installation is an outer container's: the count must still be right.
    sandbox::confine::seccomp::install(&programs).unwrap();
    sandbox::confine::seccomp::install(&programs).unwrap();
    // exec from a thread: the kernel ends the others, and this one's filters stay.
    panic!("{}", Command::new("/bin/sh").args(["-ec", &script]).exec());
}

/// Runs a shell script under a policy, in `dir`.
fn run(policy: &str, dir: &Path, script: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "enter", "--nocapture"])
        .env(POLICY, policy)
        .env(SCRIPT, script)
        .env("HOME", dir)
        .env("TMPDIR", dir)
        .env_remove("DEBUGINFOD_URLS")
        .current_dir(dir)
        .output()
        .unwrap()
}

/// Runs a script that must succeed and print `wanted`, unless one of its tools is missing.
#[track_caller]
fn works(policy: &str, tools: &[&str], script: &str, wanted: &str) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    for tool in tools {
        let found = Command::new("sh").args(["-c", &format!("{tool} --version")]).output();
        if !found.unwrap().status.success() {
            assert!(
                std::env::var_os("OSTEST_REQUIRE_ROOT").is_none(),
                "{tool} is missing, and nothing may be skipped here"
            );
            println!("SKIPPED: {wanted:?} under {policy}: needs {tool}");
            return;
        }
    }
    let output = run(policy, dir.path(), script);
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains(wanted),
        "under {policy}, {:?}, without {wanted:?}:\n{text}",
        output.status
    );
}

const FILES: &[(&str, &str)] = &[
    ("Makefile", "all: a b\n\t./a && ./b\n%: %.c\n\tgcc -g -o $@ $<\n"),
    ("a.c", "#include <stdio.h>\nint main(void) { puts(\"made a\"); return 0; }\n"),
    ("b.c", "#include <stdio.h>\nint main(void) { puts(\"made b\"); return 0; }\n"),
    ("crash.c", "int main(void) { int *volatile p = 0; return *p; }\n"),
    ("leak.c", "#include <stdlib.h>\nint main(void) { void *volatile p = malloc(7); p = 0; return 0; }\n"),
    ("overflow.c", "int main(int n, char **v) { (void)v; int a[4] = {0}; return a[n + 3]; }\n"),
    ("undefined.c", "int main(int n, char **v) { (void)v; int x = 0x7fffffff; x += n; return x == 5; }\n"),
    (
        "race.c",
        "#include <pthread.h>\nint x;\nvoid *f(void *p) { for (int i = 0; i < 100000; i++) x++; return p; }\n\
         int main(void) { pthread_t a, b; pthread_create(&a, 0, f, 0); pthread_create(&b, 0, f, 0);\n\
         pthread_join(a, 0); pthread_join(b, 0); return 0; }\n",
    ),
    ("lab.py", LAB),
    ("attack.c", ATTACK),
];

/// What labs are about, by way of Python's thin wrappers.
const LAB: &str = r#"
import ctypes, multiprocessing, os, pty, select, signal, socket, subprocess, threading, time
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
with multiprocessing.Pool(4) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
left, right = socket.socketpair()
assert [name for _, name in socket.if_nameindex()]
socket.getaddrinfo("localhost", 80)
pid, fd = pty.fork()
if pid == 0:
    os.execvp("tty", ["tty"])
assert b"/dev/pts" in os.read(fd, 100)
os.waitpid(pid, 0)
os.mkfifo("fifo")
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01)
time.sleep(0.02)
os.sched_setaffinity(0, os.sched_getaffinity(0))
os.memfd_create("m"); os.eventfd(0); select.epoll()
threading.Thread(target=time.sleep, args=(0,)).start()
libc = ctypes.CDLL(None, use_errno=True)
shm = libc.shmget(0, 4096, 0o1600); assert shm >= 0; libc.shmctl(shm, 0, None)
sem = libc.semget(0, 1, 0o1600); assert sem >= 0; libc.semctl(sem, 0, 0)
queue = libc.msgget(0, 0o1600); assert queue >= 0; libc.msgctl(queue, 0, None)
name = b"/seccomp-live-%d" % os.getpid()
mq = ctypes.CDLL("librt.so.1").mq_open(name, os.O_RDWR | os.O_CREAT, 0o600, None)
assert mq >= 0, ctypes.get_errno()
ctypes.CDLL("librt.so.1").mq_unlink(name)
print("the lab works")
"#;

/// Asks for everything forbidden and says what came of it, one line each.
const ATTACK: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static void ask(const char *name, long nr, long a, long b, long c) {
    errno = 0;
    long r = syscall(nr, a, b, c, 0L, 0L);
    printf("%s: %s\n", name, r < 0 ? strerror(errno) : "done");
    fflush(stdout);
}
int main(int n, char **v) {
    if (n > 1 && !strcmp(v[1], "i386")) {
        long r;
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(20L)); /* getpid there */
        return printf("i386 answered\n");
    }
    if (n > 1 && !strcmp(v[1], "x32")) return printf("x32 answered %ld\n", syscall(0x40000000 + SYS_getpid));
    ask("newuser", SYS_clone, 0x10000000 | 17, 0, 0);
    ask("unshare", SYS_unshare, 0x10000000, 0, 0);
    ask("clone3", SYS_clone3, 0, 0, 0);
    ask("mount", SYS_mount, 0, 0, 0);
    ask("bpf", SYS_bpf, 0, 0, 0);
    ask("uring", 425, 1, 0, 0);
    ask("keyctl", SYS_keyctl, 0, 0, 0);
    ask("vm_readv", SYS_process_vm_readv, getppid(), 0, 0);
    ask("tiocsti", SYS_ioctl, 0, 0x5412, (long)"x");
    ask("tiocsti high", SYS_ioctl, 0, 0x12300005412L, (long)"x");
    ask("alg", SYS_socket, 38, 5, 0);
    ask("vsock", SYS_socket, 40, 1, 0);
    ask("packet", SYS_socket, 17, 3, 0);
    ask("raw", SYS_socket, 2, 3, 1);
    ask("netfilter", SYS_socket, 16, 3, 12);
    ask("device", SYS_mknodat, -100, (long)"null", 020666);
    ask("personality", SYS_personality, 0x0400000, 0, 0);
    ask("set_mm", SYS_prctl, 35, 1, 0);
    ask("9999", 9999, 0, 0, 0);
    ask("ptrace", SYS_ptrace, 0, 0, 0);
    return 0;
}
"#;

#[test]
fn compilers_and_make_build() {
    for policy in ["build", "test"] {
        works(policy, &["gcc", "make"], "make -j2", "made b");
    }
}

#[test]
fn labs_run_as_they_do_outside() {
    works("test", &["python3"], "python3 lab.py", "the lab works");
}

#[test]
fn environments_are_made_and_pip_starts() {
    let script = "python3 -m venv v && v/bin/pip --version && v/bin/pip list && echo venv";
    works("fetch", &["python3 -m venv -h && python3"], script, "venv");
}

#[test]
fn git_clones() {
    let script = "git init -q r && cd r && git -c user.name=n -c user.email=e commit -q \
                  --allow-empty -m m && cd .. && git clone --depth 1 file://$PWD/r c && echo ok";
    works("fetch", &["git"], script, "ok");
}

#[test]
fn sanitizers_report() {
    for (flag, program, says) in [
        ("address", "overflow", "stack-buffer-overflow"),
        ("undefined", "undefined", "signed integer overflow"),
        ("address", "leak", "detected memory leaks"),
        ("leak", "leak", "detected memory leaks"),
        ("thread", "race", "data race"),
    ] {
        let script = format!("gcc -g -fsanitize={flag} -o p {program}.c && {{ ./p || true; }}");
        works("test", &["gcc"], &script, says);
    }
}

#[test]
fn debuggers_and_valgrind_look_inside() {
    let script = "gcc -g -o p crash.c && gdb -nx --batch -ex run -ex bt ./p";
    works("test", &["gcc", "gdb"], script, "in main () at crash.c:1");
    let script = "gcc -g -o p leak.c && valgrind --leak-check=full ./p";
    works("test", &["gcc", "valgrind"], script, "definitely lost: 7 bytes");
    let script = "gcc -g -o p a.c && strace -f sh -c ./p";
    works("test", &["gcc", "strace"], script, "write(1, \"made a\\n\"");
}

#[test]
fn attacks_are_answered_as_the_policies_say() {
    const EPERM: &str = "Operation not permitted";
    const FAMILY: &str = "Address family not supported by protocol";
    for policy in ["fetch", "build", "test"] {
        let netfilter = if policy == "build" { FAMILY } else { EPERM };
        let ptrace = if policy == "fetch" { EPERM } else { "done" };
        // Nothing that fetches asks for it.
        let personality = if policy == "fetch" { "Function not implemented" } else { EPERM };
        let wanted = format!(
            "newuser: {EPERM}\nunshare: {EPERM}\nclone3: Function not implemented\n\
             mount: {EPERM}\nbpf: {EPERM}\nuring: {EPERM}\nkeyctl: {EPERM}\n\
             vm_readv: Function not implemented\ntiocsti: {EPERM}\ntiocsti high: {EPERM}\nalg: {FAMILY}\n\
             vsock: {FAMILY}\npacket: {EPERM}\nraw: {EPERM}\nnetfilter: {netfilter}\n\
             device: {EPERM}\npersonality: {personality}\nset_mm: {EPERM}\n\
             9999: Function not implemented\nptrace: {ptrace}\n"
        );
        works(policy, &["gcc"], "gcc -o p attack.c && ./p", &wanted);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn foreign_calls_kill() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("attack.c"), ATTACK).unwrap();
    for table in ["i386", "x32"] {
        let script = format!("ulimit -c 0; gcc -o p attack.c && exec ./p {table}");
        let output = run("test", dir.path(), &script);
        assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{table}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn init_cannot_start_anything() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("init", dir.path(), "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}
