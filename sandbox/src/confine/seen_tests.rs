//! The policies against what was seen (`policies/seen/`): nothing that is needed is missing, nothing that nobody needs is there.

use super::policy::{Allowed, Policy, Says};
use super::seen::in_stage;
use super::verdict::Verdict;
use seccompiler::TargetArch;
use std::collections::{BTreeMap, BTreeSet};

const ALL: [&str; 4] = ["fetch", "build", "test", "init"];

/// What was seen and is refused on purpose, because the programs that ask for it get by without. A call by its name, or with those
/// of its arguments that were seen.
const REFUSED: &[(&str, &str)] = &[
    ("clone3", "the C libraries, Python and compilers use clone where it is not there; its flags no filter can see"),
    ("process_vm_readv", "strace reads by ptrace instead; memory of another process without ptrace's bookkeeping"),
    ("get_mempolicy", "ps links libnuma, which takes the answer as a machine without NUMA"),
    ("io_setup", "the lab asks for it to be told that it is not there; POSIX aio is threads of the C library"),
    ("fsetxattr", "cp, install and libraries take the answer for a file system without attributes, and go on"),
    ("lsetxattr", "the same"),
    ("setxattr", "the lab asks for it; a course that is about attributes is allowed them"),
    ("socket(0x2,0x3,0x1)", "the lab asks for a raw socket to be refused it"),
];

/// Arguments that were not noted when calls were recorded, and by which a policy refuses a little of them, for what that does to the
/// host or to say why the kernel refuses it: the next recording has them.
const UNNOTED: [(&str, usize); 6] =
    [("madvise", 2), ("mincore", 1), ("prctl", 1), ("seccomp", 0), ("setsockopt", 1), ("setsockopt", 2)];

/// Where the calls of a file have to have been seen. The common part is what all stages need, and so what fetching does; it builds
/// as well, since pip does. What programs need the build stage has only because a Makefile may run what the suite will.
fn evidence(file: &str) -> &'static [&'static str] {
    match file {
        "common" => &["fetch", "build"],
        "programs" => &["build", "test"],
        "fetch" => &["fetch"],
        "build" => &["build"],
        "test" => &["test"],
        "init" => &["init"],
        other => panic!("policies/{other}.json allows something: say where its calls have to have been seen"),
    }
}

fn native(name: &str) -> Policy {
    // What was seen was seen there; the names of aarch64 are some of these.
    Policy::load(name, TargetArch::x86_64).unwrap()
}

#[test]
fn what_was_seen_is_allowed_or_refused_on_purpose() {
    let mut used = BTreeSet::new();
    for stage in ALL {
        let policy = native(stage);
        for seen in in_stage(stage) {
            let shown = match &seen.args {
                None => seen.syscall.to_string(),
                Some(args) => {
                    let show = |arg: &Option<u64>| arg.map_or("_".into(), |value| format!("{value:#x}"));
                    format!("{}({})", seen.syscall, args.iter().map(show).collect::<Vec<_>>().join(","))
                }
            };
            assert!(!seen.programs.is_empty(), "{shown} in policies/seen/{stage}.txt has no program");
            let mut args = [0; 6];
            for (argument, value) in args.iter_mut().zip(seen.args.iter().flatten()) {
                *argument = value.unwrap_or(0);
            }
            if policy.verdict(seen.syscall, &args) == Verdict::Allowed {
                continue;
            }
            let known = REFUSED.iter().find(|(call, _)| *call == seen.syscall || *call == shown);
            let (call, _) = known.unwrap_or_else(|| {
                panic!("the {stage} policy refuses {shown}, which {:?} need: allow it, or say why not", seen.programs)
            });
            used.insert(*call);
        }
    }
    let listed = REFUSED.iter().map(|(call, _)| *call).collect::<BTreeSet<_>>();
    assert_eq!(used, listed, "REFUSED has what is not refused any more, or was not seen");
}

#[test]
fn what_is_allowed_was_seen_or_says_who_needs_it() {
    let seen: BTreeMap<&str, BTreeSet<&str>> =
        ALL.map(|stage| (stage, in_stage(stage).into_iter().map(|seen| seen.syscall).collect())).into();
    for stage in ALL {
        for entry in native(stage).entries.iter().filter(|entry| entry.says == Says::Allowed) {
            let (call, file) = (&entry.syscall, &entry.file);
            let places = evidence(file);
            let was_seen = places.iter().any(|place| seen[place].contains(call.as_str()));
            match &entry.needed_by {
                None => assert!(
                    was_seen,
                    "policies/{file}.json allows {call}, which nobody was seen to make in {places:?}: take it out, or say \
                     who needs it in the rule's \"for\""
                ),
                Some(who) => assert!(
                    !was_seen,
                    "policies/{file}.json says that {call} is there for {who:?}, but it was seen in {places:?}: take it out of \"for\""
                ),
            }
        }
    }
}

/// A rule on arguments can be held against what was seen only where the recorder noted them.
#[test]
fn the_recorder_notes_the_arguments_that_policies_look_at() {
    for stage in ALL {
        let policy = native(stage);
        for seen in in_stage(stage) {
            let mut looked_at = BTreeSet::new();
            if let Some(Allowed::When { rule, .. }) = policy.allow.get(seen.syscall) {
                looked_at.extend(rule.iter().flatten().map(|condition| usize::from(condition.index)));
            }
            let refused = policy.refuse.iter().filter(|refused| refused.syscall == seen.syscall);
            looked_at.extend(refused.flat_map(|r| r.rule.iter().flatten().flatten()).map(|c| usize::from(c.index)));
            for index in looked_at.into_iter().filter(|index| !UNNOTED.contains(&(seen.syscall, *index))) {
                let noted = seen.args.as_ref().and_then(|args| args.get(index).copied().flatten());
                assert!(
                    noted.is_some(),
                    "policies/seen/{stage}.txt has {} without argument {index}, which the policy looks at: add it to ARGUMENTS in \
                     scripts/record/recorder.py and record anew",
                    seen.syscall
                );
            }
        }
    }
}

#[test]
fn no_architecture_allows_what_was_never_recorded() {
    for name in ALL {
        let here = native(name);
        let there = Policy::load(name, TargetArch::aarch64).unwrap();
        let more: Vec<&String> = there.allow.keys().filter(|call| !here.allow.contains_key(*call)).collect();
        assert!(more.is_empty(), "{name} allows {more:?} on aarch64 only, where nothing was recorded");
    }
}
