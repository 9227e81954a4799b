//! Every number of a call through the compiled filters of every policy, compared with what the rules say.

use super::bpf_eval::{Answer, Call, run};
use super::policy::{Allowed, Policy};
use super::rules::Condition;
use super::seccomp::compile_policy;
use super::verdict::Verdict;
use seccompiler::TargetArch;
use std::collections::{BTreeMap, BTreeSet};

/// With every group of calls on top of the tests', too.
const ALL: [&str; 5] =
    ["fetch", "build", "test", "init", "test+landlock+xattrs+userfaultfd+perf+io_uring+seccomp-notify+containers"];
const X86_64: u32 = 0xc000_003e;
const AARCH64: u32 = 0xc000_00b7;
const I386: u32 = 0x4000_0003;
const ARM: u32 = 0x4000_0028;
const X32_BIT: u32 = 0x4000_0000;

/// The last number that is tried. The kernel has less than 500.
const LAST: u32 = 1023;

/// Names by number: a table of another crate than the one that compiles, so that a mistake in either is found.
fn names(arch: TargetArch) -> BTreeMap<u32, &'static str> {
    match arch {
        TargetArch::x86_64 => syscalls::x86_64::Sysno::iter().map(|call| (call.id() as u32, call.name())).collect(),
        _ => syscalls::aarch64::Sysno::iter().map(|call| (call.id() as u32, call.name())).collect(),
    }
}

/// The name that policies use: the table of aarch64 calls one of its calls as that architecture's headers do.
fn policy_name(name: &str) -> &str {
    match name {
        "fstatat" => "newfstatat",
        other => other,
    }
}

fn expected(policy: &Policy, name: Option<&str>, args: &[u64; 6]) -> Answer {
    match name.map(|name| policy.verdict(name, args)) {
        Some(Verdict::Allowed) => Answer::Allow,
        Some(Verdict::Refused(errno)) => Answer::Errno(errno as i32),
        Some(Verdict::Unknown) | None => Answer::Errno(libc::ENOSYS),
    }
}

/// Arguments on both sides of everything that a policy looks at, with and without bits in the half that the kernel throws away.
fn arguments(policy: &Policy, name: &str) -> Vec<[u64; 6]> {
    let mut conditions: Vec<&Condition> = Vec::new();
    if let Some(Allowed::When { rule, .. }) = policy.allow.get(name) {
        conditions.extend(rule.iter().flatten());
    }
    conditions
        .extend(policy.refuse.iter().filter(|r| r.syscall == name).flat_map(|r| r.rule.iter().flatten().flatten()));
    let mut all = vec![[0; 6], [u64::MAX; 6], [1; 6]];
    let indexes: BTreeSet<u8> = conditions.iter().map(|condition| condition.index).collect();
    for index in indexes {
        let mut values = BTreeSet::from([0, 1, 2, 3, 5, 15, 16, 17, 255, 0x8000_0000, 0xffff_ffff, u64::MAX]);
        for condition in conditions.iter().filter(|condition| condition.index == index) {
            let mask = condition.mask.unwrap_or(0);
            for value in condition.values.iter().flat_map(|value| [*value, value ^ 1, value | mask, value | !mask]) {
                values.extend([value, value & 0xffff_ffff, value | 0x123 << 32]);
            }
            values.extend((0..64).map(|bit| 1 << bit).filter(|bit| mask & bit != 0));
        }
        let before = std::mem::take(&mut all);
        for args in before {
            all.extend(values.iter().map(|value| {
                let mut args = args;
                args[usize::from(index)] = *value;
                args
            }));
        }
        all.dedup();
    }
    all
}

#[test]
fn every_number_is_answered_as_the_rules_say() {
    let mut compared = 0;
    for name in ALL {
        for (arch, audit) in [(TargetArch::x86_64, X86_64), (TargetArch::aarch64, AARCH64)] {
            let policy = Policy::load(name, arch).unwrap();
            let programs = compile_policy(&policy, arch).unwrap();
            let names = names(arch);
            let mut walked = BTreeSet::new();
            for nr in 0..=LAST {
                let call = names.get(&nr).map(|call| policy_name(call));
                walked.extend(call);
                for args in arguments(&policy, call.unwrap_or("")) {
                    let answer = run(programs.as_slice(), &Call { nr, arch: audit, args });
                    let wanted = expected(&policy, call, &args);
                    assert_eq!(answer, wanted, "{call:?}, number {nr}, {args:x?} under {name} on {arch:?}");
                    compared += 1;
                }
            }
            // Nothing that the policy speaks of was left out because the tables call it differently.
            let refused = policy.refuse.iter().map(|refused| &refused.syscall);
            let named = policy.allow.keys().chain(refused);
            let missed: Vec<&String> = named.filter(|call| !walked.contains(call.as_str())).collect();
            assert!(missed.is_empty(), "{missed:?} of {name} on {arch:?} have no number in the table that is walked");
        }
    }
    assert!(compared > 5 * 2 * 1024, "{compared}");
}

#[test]
fn no_number_of_a_foreign_table_is_answered() {
    for name in ALL {
        for (arch, audit) in [(TargetArch::x86_64, X86_64), (TargetArch::aarch64, AARCH64)] {
            let programs = compile_policy(&Policy::load(name, arch).unwrap(), arch).unwrap();
            let answer = |nr, arch| run(programs.as_slice(), &Call { nr, arch, args: [0; 6] });
            for nr in 0..=LAST {
                for foreign in [I386, ARM, X86_64, AARCH64, 0, u32::MAX].into_iter().filter(|foreign| *foreign != audit)
                {
                    assert_eq!(answer(nr, foreign), Answer::Kill, "{nr} of {foreign:#x} under {name} on {arch:?}");
                }
                let x32 = if arch == TargetArch::x86_64 { Answer::Kill } else { Answer::Errno(libc::ENOSYS) };
                for bits in [X32_BIT, 0x8000_0000 | X32_BIT] {
                    assert_eq!(answer(bits | nr, audit), x32, "{:#x} under {name} on {arch:?}", bits | nr);
                }
            }
        }
    }
}
