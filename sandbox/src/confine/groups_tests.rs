//! Groups of calls on top of the test stage: what each opens, and that it opens nothing else.

use super::listing::Kind;
use super::policy::{Described, Policy};
use super::seccomp::compile_policy;
use super::told;
use super::verdict::Verdict;
use crate::groups::{Group, Groups};
use seccompiler::TargetArch;
use std::collections::BTreeSet;

const ARCHS: [TargetArch; 2] = [TargetArch::x86_64, TargetArch::aarch64];

fn with(groups: &[Group]) -> Policy {
    let groups: Groups = groups.iter().copied().collect();
    Policy::load(&groups.on("test"), TargetArch::x86_64).unwrap()
}

#[test]
fn every_group_can_be_had_alone_and_beside_every_other_on_each_processor() {
    for arch in ARCHS {
        for one in Group::ALL {
            for other in Group::ALL {
                let groups: Groups = [one, other].into_iter().collect();
                let policy = Policy::load(&groups.on("test"), arch).unwrap();
                compile_policy(&policy, arch).unwrap();
            }
            told::compile_for(&format!("test+{one}"), arch).unwrap();
        }
    }
}

#[test]
fn a_group_changes_its_own_calls_alone() {
    let plain = with(&[]);
    for group in Group::ALL {
        let policy = with(&[group]);
        let calls: BTreeSet<String> = Described::of(group).unwrap().calls.into_iter().collect();
        let listed = |policy: &Policy, call: &str| {
            let listing = policy.listing(call);
            format!("{:?}", (listing.allow, listing.refuse))
        };
        let changed: BTreeSet<String> = plain
            .calls()
            .union(&policy.calls())
            .filter(|call| listed(&plain, call) != listed(&policy, call))
            .map(|call| (*call).to_string())
            .collect();
        // Tables of packets are refused besides.
        let mut wanted = calls.clone();
        wanted.extend((group == Group::Containers).then(|| "setsockopt".to_owned()));
        assert_eq!(changed, wanted, "{group}");
        assert!(calls.iter().any(|call| policy.listing(call).kind() <= Kind::Conditional), "{group} opens nothing");
    }
}

#[test]
fn what_a_group_opens_is_as_narrow_as_its_arguments_can_be() {
    let allowed = |groups: &[Group], call: &str, args: [u64; 6]| with(groups).verdict(call, &args) == Verdict::Allowed;
    let own = u64::from(u32::MAX);
    assert!(allowed(&[Group::Userfaultfd], "userfaultfd", [1 | 0o2000000, 0, 0, 0, 0, 0]));
    assert!(!allowed(&[Group::Userfaultfd], "userfaultfd", [0o2000000, 0, 0, 0, 0, 0]));
    assert!(allowed(&[Group::Perf], "perf_event_open", [1, 0, own, own, 8, 0]));
    for (pid, flags) in [(1, 0), (own, 0), (0, 4)] {
        assert!(!allowed(&[Group::Perf], "perf_event_open", [1, pid, own, own, flags, 0]), "{pid} {flags}");
    }
    let listener = [1, 1 << 3, 0, 0, 0, 0];
    assert!(allowed(&[Group::SeccompNotify], "seccomp", listener));
    assert!(!allowed(&[Group::Containers], "seccomp", listener));
    let time = libc::CLONE_NEWUSER as u64 | 0x80;
    assert!(allowed(&[Group::Containers], "unshare", [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]));
    assert!(!allowed(&[Group::Containers], "unshare", [time, 0, 0, 0, 0, 0]));
    for table in [64, 65, 96, 128] {
        assert!(!allowed(&[Group::Containers], "setsockopt", [3, 0, table, 0, 0, 0]), "{table}");
    }
    assert!(allowed(&[Group::Containers], "setsockopt", [3, 0, 2, 0, 0, 0]));
    // What stays refused with all of them.
    for call in ["bpf", "keyctl", "add_key", "open_by_handle_at", "init_module", "clone3", "fsopen", "kexec_load"] {
        assert!(!allowed(&Group::ALL, call, [0; 6]), "{call}");
    }
    assert!(!allowed(&Group::ALL, "socket", [17, 3, 0, 0, 0, 0]), "AF_PACKET");
    assert!(!allowed(&Group::ALL, "socket", [16, 3, 12, 0, 0, 0]), "NETLINK_NETFILTER");
}

#[test]
fn a_name_of_no_group_is_no_policy() {
    for name in ["test+", "test+none", "+perf", "none+perf"] {
        assert!(Policy::load(name, TargetArch::x86_64).is_err(), "{name}");
    }
    // A second time there is nothing left to be replaced.
    assert!(Policy::load("test+perf+perf", TargetArch::x86_64).is_err());
    // A stage that makes no mention of a group's calls has no use for it.
    assert!(Policy::load("init+perf", TargetArch::x86_64).is_ok(), "it refuses the call, as all do");
}
