//! Every policy against every trick, for both architectures, in user space.

use super::bpf_eval::{Answer, Call, run};
use super::seccomp::{Programs, compile, compile_for};
use super::told::{self, Answers};
use seccompiler::BpfProgram;
use seccompiler::TargetArch;

const ALL: [&str; 4] = ["fetch", "build", "test", "init"];
const STAGES: [&str; 3] = ["fetch", "build", "test"];
const ARCHS: [TargetArch; 2] = [TargetArch::x86_64, TargetArch::aarch64];

const EPERM: Answer = Answer::Errno(libc::EPERM);
const ENOSYS: Answer = Answer::Errno(libc::ENOSYS);
const EAFNOSUPPORT: Answer = Answer::Errno(libc::EAFNOSUPPORT);

const SIGCHLD: u64 = 17;
const GARBAGE: u64 = 0x123 << 32;

/// The calls that are tried, by number, so that seccompiler's table is checked as well.
fn number(arch: TargetArch, name: &str) -> u32 {
    let (x86_64, aarch64) = match name {
        "read" => (0, 63),
        "ioctl" => (16, 29),
        "clone" => (56, 220),
        "socket" => (41, 198),
        "socketpair" => (53, 199),
        "ptrace" => (101, 117),
        "personality" => (135, 92),
        "prctl" => (157, 167),
        "mount" => (165, 40),
        "umount2" => (166, 39),
        "unshare" => (272, 97),
        "setns" => (308, 268),
        "mknodat" => (259, 33),
        "seccomp" => (317, 277),
        "bpf" => (321, 280),
        "keyctl" => (250, 219),
        "perf_event_open" => (298, 241),
        "userfaultfd" => (323, 282),
        "open_by_handle_at" => (304, 265),
        "process_vm_writev" => (311, 271),
        "io_uring_setup" => (425, 425),
        "open_tree" => (428, 428),
        "clone3" => (435, 435),
        "pidfd_getfd" => (438, 438),
        "shmget" => (29, 194),
        "execve" => (59, 221),
        "openat" => (257, 56),
        "mprotect" => (10, 226),
        "get_mempolicy" => (236, 236),
        "fcntl" => (72, 25),
        "flock" => (73, 32),
        "mincore" => (27, 232),
        "madvise" => (28, 233),
        "setsockopt" => (54, 208),
        "setxattr" => (188, 5),
        "lsetxattr" => (189, 6),
        "fsetxattr" => (190, 7),
        other => panic!("no number for {other}"),
    };
    match arch {
        TargetArch::x86_64 => x86_64,
        _ => aarch64,
    }
}

fn audit(arch: TargetArch) -> u32 {
    match arch {
        TargetArch::x86_64 => 0xc000_003e,
        _ => 0xc000_00b7,
    }
}

struct Filters {
    name: &'static str,
    arch: TargetArch,
    programs: Programs,
    /// The stack that stands in its place where refusals are told, and what the launcher answers.
    told: (Vec<BpfProgram>, Answers),
}

impl Filters {
    fn of(names: &[&'static str]) -> Vec<Filters> {
        let pairs = names.iter().flat_map(|n| ARCHS.map(|arch| (*n, arch)));
        let filters = |(name, arch)| {
            let (listening, answers) = told::compile_for(name, arch).unwrap();
            Filters { name, arch, programs: compile_for(name, arch).unwrap(), told: (listening.all(), answers) }
        };
        pairs.map(filters).collect()
    }

    fn call(&self, name: &str, args: &[u64]) -> Answer {
        self.raw(number(self.arch, name), audit(self.arch), args)
    }

    fn raw(&self, nr: u32, arch: u32, given: &[u64]) -> Answer {
        let mut args = [0; 6];
        args[..given.len()].copy_from_slice(given);
        let call = Call { nr, arch, args };
        let answer = run(self.programs.as_slice(), &call);
        // Whether a refusal is told makes no difference to whoever is refused.
        let (programs, answers) = &self.told;
        let told = match run(programs, &call) {
            Answer::Asked => Answer::Errno(answers.find(nr, &args).expect("a rule that it meets").errno as i32),
            other => other,
        };
        assert_eq!(told, answer, "{nr}{args:x?} under {} on {:?}", self.name, self.arch);
        answer
    }

    #[track_caller]
    fn expect(&self, name: &str, args: &[u64], answer: Answer) {
        let got = self.call(name, args);
        assert_eq!(got, answer, "{name}{args:x?} under {} on {:?}", self.name, self.arch);
    }
}

#[test]
fn processes_and_threads_start_but_namespaces_do_not() {
    let thread = 0x003d_0f00; // what pthread_create passes
    let namespaces = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    for filters in Filters::of(&STAGES) {
        filters.expect("clone", &[SIGCHLD], Answer::Allow);
        filters.expect("clone", &[thread], Answer::Allow);
        // 0x80 is CLONE_NEWTIME elsewhere, here a part of the exit signal.
        filters.expect("clone", &[0x80 | SIGCHLD], Answer::Allow);
        for flag in namespaces {
            filters.expect("clone", &[flag as u64 | SIGCHLD], EPERM);
            filters.expect("clone", &[flag as u64 | GARBAGE], EPERM);
        }
        filters.expect("clone", &[0x7e02_0000 | thread], EPERM);
    }
    for filters in Filters::of(&ALL) {
        filters.expect("clone3", &[0x7fff_0000, 88], ENOSYS);
        filters.expect("unshare", &[0x80], EPERM);
        filters.expect("setns", &[3, 0], EPERM);
        assert_ne!(filters.call("clone", &[0x1000_0000]), Answer::Allow);
    }
}

#[test]
fn foreign_tables_of_calls_are_killed() {
    const I386: u32 = 0x4000_0003;
    const ARM: u32 = 0x4000_0028;
    for filters in Filters::of(&ALL) {
        for nr in [0, 1, 2, 11, 120, 165] {
            assert_eq!(filters.raw(nr, I386, &[]), Answer::Kill);
            assert_eq!(filters.raw(nr, ARM, &[]), Answer::Kill);
        }
        if filters.arch == TargetArch::x86_64 {
            for nr in [0x4000_0000, 0x4000_0001, 0x4000_0208, 0xc000_0000] {
                assert_eq!(filters.raw(nr, audit(filters.arch), &[]), Answer::Kill);
            }
        }
        // What a tracer writes to skip a call is not a call.
        assert_eq!(filters.raw(u32::MAX, audit(filters.arch), &[]), ENOSYS);
    }
}

#[test]
fn what_nobody_knows_does_not_exist() {
    for filters in Filters::of(&ALL) {
        for nr in [467, 500, 9999, 0x3fff_ffff] {
            assert_eq!(filters.raw(nr, audit(filters.arch), &[]), ENOSYS);
        }
        filters.expect("get_mempolicy", &[], ENOSYS);
        filters.expect("read", &[], Answer::Allow);
    }
}

#[test]
fn dangerous_calls_say_operation_not_permitted() {
    for filters in Filters::of(&ALL) {
        for name in [
            "mount",
            "umount2",
            "open_tree",
            "bpf",
            "keyctl",
            "perf_event_open",
            "userfaultfd",
            "io_uring_setup",
            "open_by_handle_at",
            "process_vm_writev",
            "pidfd_getfd",
        ] {
            filters.expect(name, &[], EPERM);
        }
        let traced = match filters.name {
            "build" | "test" => Answer::Allow,
            _ => EPERM,
        };
        filters.expect("ptrace", &[0], traced);
    }
}

#[test]
fn terminals_work_but_nobody_types_into_them() {
    const TCGETS: u64 = 0x5401;
    const TIOCGPTN: u64 = 0x8004_5430;
    for filters in Filters::of(&STAGES) {
        filters.expect("ioctl", &[0, TCGETS], Answer::Allow);
        filters.expect("ioctl", &[0, TIOCGPTN], Answer::Allow);
        for request in [0x5412, 0x541c, 0x5423] {
            filters.expect("ioctl", &[0, request], EPERM);
            filters.expect("ioctl", &[0, request | GARBAGE], EPERM);
            filters.expect("ioctl", &[0, request | 0xffff_ffff_0000_0000], EPERM);
        }
    }
}

#[test]
fn sockets_are_local_tcp_or_udp() {
    const FLAGS: u64 = 0o2004000; // SOCK_CLOEXEC | SOCK_NONBLOCK
    let (unix, inet, inet6, netlink) = (1, 2, 10, 16);
    let (stream, dgram, raw, seqpacket, packet) = (1, 2, 3, 5, 10);
    for filters in Filters::of(&STAGES) {
        for kind in [stream, dgram, seqpacket] {
            filters.expect("socket", &[unix, kind | FLAGS, 0], Answer::Allow);
            filters.expect("socketpair", &[unix, kind], Answer::Allow);
        }
        for family in [inet, inet6] {
            for (kind, protocol) in [(stream, 0), (stream, 6), (dgram, 0), (dgram, 17)] {
                filters.expect("socket", &[family, kind | FLAGS, protocol], Answer::Allow);
                filters.expect("socket", &[family | GARBAGE, kind, protocol], Answer::Allow);
            }
            // Raw, and SOCK_PACKET in disguise.
            for (kind, protocol) in [(raw, 1), (raw | FLAGS, 255), (raw | GARBAGE, 6), (packet, 0x300)] {
                filters.expect("socket", &[family, kind, protocol], EPERM);
            }
            let (ping, other) = if family == inet { (1, 58) } else { (58, 1) };
            filters.expect("socket", &[family, dgram | FLAGS, ping], Answer::Errno(libc::EACCES));
            filters.expect("socket", &[family, dgram, other], Answer::Errno(libc::EPROTONOSUPPORT));
            for kind in [0, 4, seqpacket | FLAGS, 6, 9] {
                filters.expect("socket", &[family, kind, 0], Answer::Errno(libc::ESOCKTNOSUPPORT));
            }
            // As a kernel without them.
            for (kind, protocol) in [
                (stream, 99),
                (dgram, 99),
                (stream, 132),
                (seqpacket, 132),
                (6, 33),
                (dgram, 115),
                (dgram, 136),
                (stream, 262),
                (stream, 256),
            ] {
                let without = Answer::Errno(libc::EPROTONOSUPPORT);
                filters.expect("socket", &[family, kind | FLAGS, protocol], without);
            }
            for kind in 11..16 {
                filters.expect("socket", &[family, kind, 0], Answer::Errno(libc::EINVAL));
            }
            filters.expect("socketpair", &[family, stream], Answer::Errno(libc::EOPNOTSUPP));
        }
        // Who has no capability gets this anywhere.
        filters.expect("socket", &[17, raw, 0], EPERM);
        // AF_ALG, AF_VSOCK, AF_BLUETOOTH, AF_XDP, AF_TIPC, AF_KCM, and nonsense.
        for family in [38, 40, 31, 44, 30, 41, 0, 255, 38 | GARBAGE] {
            filters.expect("socket", &[family, stream, 0], EAFNOSUPPORT);
            filters.expect("socket", &[family, raw, 0], EAFNOSUPPORT);
            filters.expect("socketpair", &[family, stream], EAFNOSUPPORT);
        }
        let (route, other) = match filters.name {
            "build" => (EAFNOSUPPORT, EAFNOSUPPORT),
            _ => (Answer::Allow, EPERM),
        };
        filters.expect("socket", &[netlink, raw | FLAGS, 0], route);
        for protocol in [4, 6, 9, 12, 15] {
            filters.expect("socket", &[netlink, raw, protocol], other);
        }
    }
}

#[test]
fn settings_of_a_process_stay_harmless() {
    for filters in Filters::of(&STAGES) {
        // Nothing that fetches asks for it.
        let (some, others) = if filters.name == "fetch" { (ENOSYS, ENOSYS) } else { (Answer::Allow, EPERM) };
        for persona in [0, 0x0004_0000, 0xffff_ffff, u64::MAX] {
            filters.expect("personality", &[persona], some);
        }
        for persona in [0x0040_0000, 0x0010_0000, 0x0044_0000, 0x8, 0x0800_0000] {
            filters.expect("personality", &[persona], others);
        }
        filters.expect("prctl", &[38], Answer::Allow);
        filters.expect("prctl", &[libc::PR_SET_PTRACER as u64], Answer::Allow);
        filters.expect("prctl", &[35], EPERM);
        filters.expect("prctl", &[35 | GARBAGE], EPERM);
        filters.expect("prctl", &[62], Answer::Errno(libc::EINVAL));
        for kind in [0, 0o100_644, 0o010_600, 0o140_777] {
            filters.expect("mknodat", &[0, 0, kind], Answer::Allow);
        }
        for kind in [0o020_666, 0o060_666, 0o020_000 | GARBAGE, 0o120_000] {
            filters.expect("mknodat", &[0, 0, kind], EPERM);
        }
        filters.expect("seccomp", &[1], Answer::Allow);
        if filters.name != "fetch" {
            let einval = Answer::Errno(libc::EINVAL);
            filters.expect("seccomp", &[0], einval);
            filters.expect("prctl", &[22, 1], einval);
            filters.expect("prctl", &[22, 2], Answer::Allow);
        }
    }
}

/// A filter with a listener goes before an older one, and its listener may let a call go on.
#[test]
fn nobody_inside_makes_a_listener() {
    const EBUSY: Answer = Answer::Errno(libc::EBUSY);
    let flag = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    for filters in Filters::of(&STAGES) {
        for others in 0..128 {
            let listens = others & flag != 0;
            let answer = if listens { EBUSY } else { Answer::Allow };
            for flags in [others, others | GARBAGE] {
                filters.expect("seccomp", &[1, flags], answer);
                // Where it is told it is a question, which our listener answers: a filter of the caller's would need one.
                let args = [1, flags, 0, 0, 0, 0];
                let call = Call { nr: number(filters.arch, "seccomp"), arch: audit(filters.arch), args };
                assert_eq!(run(&filters.told.0, &call), if listens { Answer::Asked } else { Answer::Allow });
            }
        }
    }
}

#[test]
fn every_call_is_answered_alike_whether_it_is_told_or_not() {
    for filters in Filters::of(&STAGES) {
        let mut asked = 0;
        for nr in 0..1024 {
            for args in [[0; 6], [1; 6], [u64::MAX; 6], [17, 3, 3, 0, 0, 0], [0x7e02_0011, 0x5412, 0o020_666, 0, 0, 0]]
            {
                filters.raw(nr, audit(filters.arch), &args);
                let call = Call { nr, arch: audit(filters.arch), args };
                asked += u32::from(run(&filters.told.0, &call) == Answer::Asked);
            }
        }
        assert!(asked > 150, "{asked} are told under {}", filters.name);
    }
}

/// A limit of ours is nothing that an honest program may feel: who locks, sets an attribute or an option waits for nobody.
#[test]
fn nobody_is_asked_about_locks_attributes_and_options_of_sockets() {
    for filters in Filters::of(&STAGES) {
        let answer = |name: &str, args: [u64; 6]| {
            let nr = number(filters.arch, name);
            run(&filters.told.0, &Call { nr, arch: audit(filters.arch), args })
        };
        for command in 0..2000 {
            for args in [[0, command, 0, 0, 0, 0], [u64::MAX, command | GARBAGE, 7, 0, 0, 0]] {
                assert_eq!(answer("fcntl", args), Answer::Allow, "{command}");
            }
        }
        assert_eq!(answer("flock", [1; 6]), Answer::Allow);
        for name in ["setxattr", "lsetxattr", "fsetxattr"] {
            assert_eq!(answer(name, [1; 6]), Answer::Errno(libc::EOPNOTSUPP), "{name}");
        }
        let programs = filters.name != "fetch";
        for level in 0..60 {
            for option in 0..80 {
                let refused = programs && matches!((level, option), (1, 26 | 50..=52) | (41, 6));
                let wanted = if refused { Answer::Asked } else { Answer::Allow };
                assert_eq!(answer("setsockopt", [3, level, option | GARBAGE, 0, 0, 0]), wanted, "{level} {option}");
            }
        }
    }
}

#[test]
fn calls_that_nothing_can_end_are_bounded_by_their_arguments() {
    const ENOMEM: Answer = Answer::Errno(libc::ENOMEM);
    for filters in Filters::of(&["build", "test"]) {
        for length in [0, 4096, 0xffff_ffff] {
            filters.expect("mincore", &[0, length], Answer::Allow);
        }
        for length in [1 << 32, 1 << 47, u64::MAX, 0x1_0000_0001] {
            filters.expect("mincore", &[0, length], ENOMEM);
        }
        for advice in 0..120 {
            let wanted = if advice == 9 { Answer::Errno(libc::EINVAL) } else { Answer::Allow };
            filters.expect("madvise", &[0, 1 << 40, advice], wanted);
            filters.expect("madvise", &[0, 1 << 40, advice | GARBAGE], wanted);
        }
        filters.expect("setsockopt", &[3, 1, 26], EPERM);
        filters.expect("setsockopt", &[3, 41, 6], Answer::Errno(libc::ENOPROTOOPT));
    }
}

#[test]
fn what_libraries_try_is_not_told() {
    for filters in Filters::of(&STAGES) {
        let ask = |name: &str, args: [u64; 6]| {
            let call = Call { nr: number(filters.arch, name), arch: audit(filters.arch), args };
            run(&filters.told.0, &call)
        };
        for name in ["clone3", "get_mempolicy"] {
            assert_eq!(ask(name, [0; 6]), ENOSYS);
        }
        assert_eq!(ask("mount", [0; 6]), Answer::Asked);
        assert_eq!(ask("socket", [17, 3, 0, 0, 0, 0]), Answer::Asked);
        let netlink = ask("socket", [16, 3, 0, 0, 0, 0]);
        assert_eq!(netlink, if filters.name == "build" { EAFNOSUPPORT } else { Answer::Allow });
    }
}

#[test]
fn each_stage_has_what_it_alone_needs() {
    for filters in Filters::of(&ALL) {
        let ipc = match filters.name {
            "build" | "test" => Answer::Allow,
            _ => ENOSYS,
        };
        filters.expect("shmget", &[], ipc);
        let exec = match filters.name {
            "init" => ENOSYS,
            _ => Answer::Allow,
        };
        filters.expect("execve", &[], exec);
    }
    for filters in Filters::of(&["init"]) {
        filters.expect("openat", &[0, 0, libc::O_CLOEXEC as u64], Answer::Allow);
        filters.expect("openat", &[0, 0, libc::O_WRONLY as u64], EPERM);
        filters.expect("openat", &[0, 0, libc::O_CREAT as u64], EPERM);
        filters.expect("mprotect", &[0, 0, 3], Answer::Allow);
        filters.expect("mprotect", &[0, 0, 5], EPERM);
        filters.expect("prctl", &[38], Answer::Allow);
        filters.expect("prctl", &[15], EPERM);
    }
}

#[test]
fn programs_survive_the_pipe_and_fit_the_kernel() {
    for filters in Filters::of(&ALL) {
        let text = serde_json::to_string(&filters.programs).unwrap();
        let back: Programs = serde_json::from_str(&text).unwrap();
        assert_eq!(back, filters.programs);
        let lengths = filters.programs.as_slice().iter().map(Vec::len);
        // BPF_MAXINSNS for one; MAX_INSNS_PER_PATH, with 4 more for each filter, for all.
        assert!(lengths.clone().all(|length| length < 4096));
        assert!(lengths.map(|length| length + 4).sum::<usize>() < 32768);
    }
    use crate::plan::Policy::{Build, Fetch, Test};
    for policy in [Fetch, Build, Test] {
        compile(policy).unwrap();
    }
}
