//! A system call as a person reads it: its name, and those arguments by which policies tell calls apart.
//!
//! Only registers are read. What an argument points to is the caller's memory, which it can change at any time.

/// Families of sockets (linux/socket.h): those that programs of a course, or of an attacker, ask for.
const FAMILIES: &[(u64, &str)] = &[
    (1, "AF_UNIX"),
    (2, "AF_INET"),
    (10, "AF_INET6"),
    (15, "AF_KEY"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (29, "AF_CAN"),
    (30, "AF_TIPC"),
    (31, "AF_BLUETOOTH"),
    (38, "AF_ALG"),
    (40, "AF_VSOCK"),
    (44, "AF_XDP"),
];

/// Types of sockets (linux/net.h); flags stand above them.
const TYPES: &[(u64, &str)] = &[
    (1, "SOCK_STREAM"),
    (2, "SOCK_DGRAM"),
    (3, "SOCK_RAW"),
    (4, "SOCK_RDM"),
    (5, "SOCK_SEQPACKET"),
    (6, "SOCK_DCCP"),
    (10, "SOCK_PACKET"),
];

/// Bits of clone, unshare and setns (linux/sched.h). CLONE_NEWTIME means this to unshare and setns alone.
const NAMESPACES: &[(u64, &str)] = &[
    (0x0000_0200, "CLONE_FS"),
    (0x0000_0400, "CLONE_FILES"),
    (0x0004_0000, "CLONE_SYSVSEM"),
    (0x0002_0000, "CLONE_NEWNS"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];
const NEWTIME: u64 = 0x80;

/// Requests of ioctl that are refused.
const REQUESTS: &[(u64, &str)] = &[(0x5412, "TIOCSTI"), (0x541c, "TIOCLINUX"), (0x5423, "TIOCSETD")];

/// Options of prctl that are refused.
const OPTIONS: &[(u64, &str)] = &[(22, "PR_SET_SECCOMP"), (35, "PR_SET_MM"), (62, "PR_SCHED_CORE")];

/// Options of setsockopt that are refused, with their levels.
const SOCKET_OPTIONS: &[((u64, u64), &str)] = &[
    ((1, 26), "SO_ATTACH_FILTER"),
    ((1, 50), "SO_ATTACH_BPF"),
    ((1, 51), "SO_ATTACH_REUSEPORT_CBPF"),
    ((1, 52), "SO_ATTACH_REUSEPORT_EBPF"),
    ((41, 6), "IPV6_2292PKTOPTIONS"),
];

/// Advice that is refused.
const ADVICE: &[(u64, &str)] = &[(9, "MADV_REMOVE")];

/// Kinds of files (linux/stat.h).
const KINDS: &[(u64, &str)] =
    &[(0o020_000, "S_IFCHR"), (0o060_000, "S_IFBLK"), (0o040_000, "S_IFDIR"), (0o120_000, "S_IFLNK")];

/// `socket(AF_PACKET, SOCK_RAW, 3)`, `unshare(CLONE_NEWUSER)`, `mount`.
pub fn describe(name: &str, args: &[u64; 6]) -> String {
    // The kernel reads these as int: what stands above is garbage.
    let int = |index: usize| args[index] & 0xffff_ffff;
    let shown = match name {
        "socket" | "socketpair" => {
            format!("{}, {}, {}", named(FAMILIES, int(0)), named(TYPES, int(1) & 0xf), int(2))
        }
        "clone" => bits(args[0], false),
        "unshare" => bits(int(0), true),
        "seccomp" if int(0) == 0 => "SECCOMP_SET_MODE_STRICT".into(),
        // Its first argument is a number of the caller's; of the second nothing may be said.
        "setns" => bits(int(1), true),
        "ioctl" => named(REQUESTS, int(1)),
        "madvise" => named(ADVICE, int(2)),
        "mincore" => format!("{} bytes", args[1]),
        "setsockopt" => {
            let known = SOCKET_OPTIONS.iter().find(|(option, _)| *option == (int(1), int(2)));
            known.map_or_else(|| format!("{}, {}", int(1), int(2)), |(_, name)| name.to_string())
        }
        "prctl" => named(OPTIONS, int(0)),
        "personality" => format!("{:#x}", int(0)),
        "mknod" => named(KINDS, int(1) & 0o170_000),
        "mknodat" => named(KINDS, int(2) & 0o170_000),
        _ => String::new(),
    };
    if shown.is_empty() { name.into() } else { format!("{name}({shown})") }
}

fn named(table: &[(u64, &str)], value: u64) -> String {
    table.iter().find(|(known, _)| *known == value).map_or_else(|| format!("{value:#x}"), |(_, name)| (*name).into())
}

/// The namespaces that a word of flags asks for.
fn bits(flags: u64, time: bool) -> String {
    let time = (time && flags & NEWTIME != 0).then_some("CLONE_NEWTIME");
    let names = NAMESPACES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
    names.chain(time).collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_named_where_they_make_the_difference() {
        const GARBAGE: u64 = 0xdead_beef << 32;
        let call = |name: &str, args: &[u64]| {
            let mut all = [0; 6];
            all[..args.len()].copy_from_slice(args);
            describe(name, &all)
        };
        assert_eq!(call("mount", &[1, 2, 3]), "mount");
        assert_eq!(call("socket", &[17 | GARBAGE, 0o2_004_003, 0x300]), "socket(AF_PACKET, SOCK_RAW, 768)");
        assert_eq!(call("socket", &[99, 1]), "socket(0x63, SOCK_STREAM, 0)");
        assert_eq!(call("unshare", &[0x1000_0000 | GARBAGE]), "unshare(CLONE_NEWUSER)");
        assert_eq!(call("unshare", &[0x80]), "unshare(CLONE_NEWTIME)");
        assert_eq!(call("unshare", &[0]), "unshare");
        assert_eq!(call("clone", &[0x3000_0091]), "clone(CLONE_NEWUSER|CLONE_NEWPID)");
        assert_eq!(call("setns", &[3, 0]), "setns");
        assert_eq!(call("ioctl", &[0, 0x5412]), "ioctl(TIOCSTI)");
        assert_eq!(call("prctl", &[35]), "prctl(PR_SET_MM)");
        assert_eq!(call("personality", &[0x0040_0000]), "personality(0x400000)");
        assert_eq!(call("mknodat", &[0, 0, 0o020_666]), "mknodat(S_IFCHR)");
        assert_eq!(call("mknod", &[0, 0o060_600]), "mknod(S_IFBLK)");
    }
}
