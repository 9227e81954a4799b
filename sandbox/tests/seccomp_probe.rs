//! What the kernel at hand answers to every call that a policy denies, compared with what the evaluator says of the same filters.
//!
//! Filters cannot be taken off again, so each policy is tried in a process of its own: this test binary starts itself with
//! `SECCOMP_PROBE` in the environment, and the test `enter` puts the filters on and makes the calls. Needs no privileges.
//!
//! Only calls that the evaluator says are denied are made, and none with arguments with which it could do harm if it were carried out
//! after all: pointers to nowhere, descriptors that are not open, numbers that nothing has. What blocks is ended by an alarm.

#[path = "../src/confine/bpf_eval.rs"]
mod bpf_eval;

use bpf_eval::{Answer, Call, run};
use sandbox::confine::seccomp::{self, Programs};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

const POLICY: &str = "SECCOMP_PROBE";
/// The policy that the evaluator is asked about, if it is to be another.
const EXPECTED: &str = "SECCOMP_PROBE_EXPECTED";
const FOREIGN: &str = "SECCOMP_PROBE_FOREIGN";
const ALL: [&str; 4] = ["fetch", "build", "test", "init"];

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

/// The kernel's own ways back from a probe on x86-64, uretprobe and uprobe. Newer kernels show them to no filter, since one that does
/// not know them would end whatever the host's administrator traces; made from elsewhere, the first ends the process (SIGILL) and the
/// second is ENXIO. There is nothing to compare.
#[cfg(target_arch = "x86_64")]
const UNFILTERED: &[u32] = &[335, 336];
#[cfg(target_arch = "aarch64")]
const UNFILTERED: &[u32] = &[];

/// The last number that is tried.
const LAST: u32 = 1023;
/// Seconds after which a call that should have been denied is taken to block.
const PATIENCE: u32 = 60;

fn compiled(policy: &str) -> Programs {
    match policy {
        "init" => seccomp::compile_init(),
        name => seccomp::compile(serde_json::from_value(serde_json::Value::String(name.into())).unwrap()),
    }
    .unwrap()
}

/// One call, raw. The error number, or 0.
fn call(nr: i64, args: [u64; 6]) -> i32 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the filters deny the call, which is what is tested; where they do not, its pointers lead nowhere, and its descriptors
    // and ids belong to nobody.
    let result = unsafe { libc::syscall(nr, a, b, c, d, e, f) };
    match result {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
        _ => 0,
    }
}

/// Arguments of calls that are denied with some only, each of them with one that is.
fn particular() -> Vec<(i64, [u64; 6])> {
    let none = u64::MAX;
    let garbage = 0x123 << 32;
    let mut all = Vec::new();
    // The descriptor is not open: a request that came through would be answered with EBADF.
    for request in [0x5412, 0x541c, 0x5423] {
        all.extend([request, request | garbage].map(|request| (libc::SYS_ioctl, [none, request, 0, 0, 0, 0])));
    }
    // A domain that there is not, types and protocols that are not for everybody.
    for (family, kind, protocol) in [
        (38, 5, 0),
        (40, 1, 0),
        (17, 3, 0),
        (2, 3, 1),
        (2, 1, 132),
        (2, 1, 262),
        (10, 3, 58),
        (16, 3, 12),
        (16, 3, 0),
        (255, 1, 0),
    ] {
        all.push((libc::SYS_socket, [family, kind, protocol, 0, 0, 0]));
        all.push((libc::SYS_socket, [family | garbage, kind | 0o2_000_000, protocol | garbage, 0, 0, 0]));
        // An address that leads nowhere, since pairs of local sockets are allowed.
        all.push((libc::SYS_socketpair, [family, kind, protocol, none, 0, 0]));
    }
    for option in [35, 62, 35 | garbage] {
        all.push((libc::SYS_prctl, [option, none, none, none, none, 0]));
    }
    for persona in [0x0040_0000, 0x0010_0000] {
        all.push((libc::SYS_personality, [persona, 0, 0, 0, 0, 0]));
    }
    for kind in [0o020_666, 0o060_666] {
        all.push((libc::SYS_mknodat, [none, none, kind, 0, 0, 0]));
    }
    // Namespaces, with a flag that no clone takes beside it (CLONE_SIGHAND without CLONE_VM): what came through would be EINVAL.
    for flag in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        all.push((libc::SYS_clone, [flag | 0x800, 0, 0, 0, 0, 0]));
    }
    all
}

/// Not a test of its own: the inside of the others.
#[test]
fn enter() {
    let Ok(policy) = std::env::var(POLICY) else {
        return;
    };
    let programs = compiled(&policy);
    let expected = std::env::var(EXPECTED).map_or_else(|_| programs.clone(), |other| compiled(&other));
    let denied = |nr: u32, args: [u64; 6]| match run(expected.as_slice(), &Call { nr, arch: AUDIT_ARCH, args }) {
        Answer::Allow => None,
        Answer::Errno(errno) => Some(errno),
        Answer::Kill => panic!("{nr} would be killed: it is of no foreign table"),
        Answer::Asked => panic!("{nr} would wait: the plain filters ask nobody"),
    };
    let every =
        (0..=LAST).filter(|nr| !UNFILTERED.contains(nr)).map(|nr| (i64::from(nr), [u64::MAX; 6])).chain(particular());
    let calls: Vec<(i64, [u64; 6], i32)> =
        every.filter_map(|(nr, args)| Some((nr, args, denied(nr as u32, args)?))).collect();
    // A terminal of ours, if there is one, is nothing that a call here may touch; and what blocks has to end.
    // SAFETY: both only change this process.
    unsafe {
        libc::setsid();
        libc::alarm(PATIENCE);
    }
    seccomp::install(&programs).unwrap();
    if let Ok(table) = std::env::var(FOREIGN) {
        foreign::call(&table);
        println!("{table} was answered");
        return;
    }
    let mut wrong = Vec::new();
    for (nr, args, wanted) in &calls {
        let got = call(*nr, *args);
        if got != *wanted {
            wrong.push(format!("number {nr} with {args:x?}: error {got}, the evaluator says {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("probed {}", calls.len());
}

#[cfg(target_arch = "x86_64")]
mod foreign {
    /// A harmless call by another table: getpid by its second number of x32, or by i386's way in.
    pub fn call(table: &str) {
        match table {
            "x32" => {
                super::call(0x4000_0000 | libc::SYS_getpid, [0; 6]);
            }
            "x32-read" => {
                super::call(0x4000_0000 | libc::SYS_read, [u64::MAX; 6]);
            }
            // 20 is getpid there.
            // SAFETY: the call changes nothing; its number and its answer are in eax, and no memory is looked at.
            "i386" => unsafe {
                core::arch::asm!("int 0x80", inout("eax") 20 => _, options(nostack));
            },
            other => panic!("{other}?"),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod foreign {
    pub fn call(_: &str) {}
}

fn probe(policy: &str, extra: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "enter", "--nocapture"])
        .env(POLICY, policy)
        .envs(extra.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn denied_calls_are_answered_as_the_evaluator_says() {
    let mut probed = BTreeMap::new();
    for policy in ALL {
        let output = probe(policy, &[]);
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success(), "under {policy}, {:?}:\n{text}", output.status);
        let count = text.lines().find_map(|line| line.split_once("probed ")?.1.parse::<usize>().ok());
        probed.insert(policy, count.unwrap_or_else(|| panic!("under {policy} nothing was probed:\n{text}")));
    }
    println!("{probed:?}");
    // Numbers that no kernel has are more than half of all; pid 1 is denied more than anybody.
    assert!(probed.values().all(|count| *count > 600), "{probed:?}");
    assert!(probed["init"] > probed["test"], "{probed:?}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn foreign_tables_end_the_process() {
    for policy in ALL {
        for table in ["x32", "x32-read", "i386"] {
            let output = probe(policy, &[(FOREIGN, table)]);
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                output.status.signal(),
                Some(libc::SIGSYS),
                "{table} under {policy}: {:?}, {text}",
                output.status
            );
        }
    }
}

/// The probe can fail: what `fetch` denies and `build` allows (System V shared memory, among others) is found where the filters are
/// those of `build`.
#[test]
fn a_call_that_comes_through_is_found() {
    let output = probe("build", &[(EXPECTED, "fetch")]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "nothing was found");
    let shmget = format!("number {} with", libc::SYS_shmget);
    assert!(text.contains(&shmget) && text.contains("the evaluator says 38"), "{text}");
}
