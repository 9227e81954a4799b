//! The names that `policies/*.json` may use for numbers.
//!
//! Only names are readable in a review, and a name that is not here is an error: a misspelt
//! constant must not become a rule that never matches.

/// Every number that a policy may name. The values are those of the kernel's ABI; the few that
/// the libc crate lacks carry their value here.
const NUMBERS: &[(&str, u64)] = &[
    // clone. CLONE_NEWTIME is left out on purpose: clone reads its bit as part of the exit signal.
    ("CLONE_NEWNS", libc::CLONE_NEWNS as u64),
    ("CLONE_NEWCGROUP", libc::CLONE_NEWCGROUP as u64),
    ("CLONE_NEWUTS", libc::CLONE_NEWUTS as u64),
    ("CLONE_NEWIPC", libc::CLONE_NEWIPC as u64),
    ("CLONE_NEWUSER", libc::CLONE_NEWUSER as u64),
    ("CLONE_NEWPID", libc::CLONE_NEWPID as u64),
    ("CLONE_NEWNET", libc::CLONE_NEWNET as u64),
    // unshare, whose bit for it this is.
    ("UNSHARE_NEWTIME", 0x80),
    // socket, socketpair
    ("AF_UNIX", libc::AF_UNIX as u64),
    ("AF_INET", libc::AF_INET as u64),
    ("AF_INET6", libc::AF_INET6 as u64),
    ("AF_NETLINK", libc::AF_NETLINK as u64),
    ("AF_PACKET", libc::AF_PACKET as u64),
    ("NETLINK_ROUTE", libc::NETLINK_ROUTE as u64),
    ("SOCK_STREAM", libc::SOCK_STREAM as u64),
    ("SOCK_DGRAM", libc::SOCK_DGRAM as u64),
    ("SOCK_SEQPACKET", libc::SOCK_SEQPACKET as u64),
    ("SOCK_DCCP", 6),
    // include/linux/net.h: what lies above are SOCK_NONBLOCK and SOCK_CLOEXEC.
    ("SOCK_TYPE_MASK", 0xf),
    ("IPPROTO_TCP", libc::IPPROTO_TCP as u64),
    ("IPPROTO_UDP", libc::IPPROTO_UDP as u64),
    // ioctl, include/uapi/asm-generic/ioctls.h. Not from libc: their type differs between C
    // libraries, and one is missing.
    ("TIOCSTI", 0x5412),
    ("TIOCLINUX", 0x541c),
    ("TIOCSETD", 0x5423),
    // personality, include/uapi/linux/personality.h; PER_QUERY is this table's name for the
    // 0xffffffff that only asks.
    ("PER_LINUX", 0),
    ("ADDR_NO_RANDOMIZE", libc::ADDR_NO_RANDOMIZE as u64),
    ("PER_QUERY", 0xffff_ffff),
    // prctl
    ("PR_SET_MM", libc::PR_SET_MM as u64),
    ("PR_SCHED_CORE", libc::PR_SCHED_CORE as u64),
    ("PR_SET_SECCOMP", libc::PR_SET_SECCOMP as u64),
    ("SECCOMP_MODE_STRICT", libc::SECCOMP_MODE_STRICT as u64),
    ("SECCOMP_SET_MODE_STRICT", libc::SECCOMP_SET_MODE_STRICT as u64),
    ("PR_SET_NO_NEW_PRIVS", libc::PR_SET_NO_NEW_PRIVS as u64),
    // setsockopt: levels, and options for which the kernel takes memory (asm-generic/socket.h, linux/in6.h).
    ("SOL_SOCKET", libc::SOL_SOCKET as u64),
    ("IPPROTO_IP", libc::IPPROTO_IP as u64),
    ("IPPROTO_IPV6", libc::IPPROTO_IPV6 as u64),
    ("SO_ATTACH_FILTER", 26),
    ("SO_ATTACH_BPF", 50),
    ("SO_ATTACH_REUSEPORT_CBPF", 51),
    ("SO_ATTACH_REUSEPORT_EBPF", 52),
    ("IPV6_2292PKTOPTIONS", 6),
    // madvise
    ("MADV_REMOVE", libc::MADV_REMOVE as u64),
    // mincore: this table's name for the upper half of a length.
    ("ABOVE_4_GIB", 0xffff_ffff_0000_0000),
    // userfaultfd
    ("UFFD_USER_MODE_ONLY", 1),
    // perf_event_open
    ("PERF_FLAG_PID_CGROUP", 4),
    // seccomp
    ("SECCOMP_FILTER_FLAG_NEW_LISTENER", libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
    // mknod
    ("S_IFMT", libc::S_IFMT as u64),
    ("S_IFREG", libc::S_IFREG as u64),
    ("S_IFIFO", libc::S_IFIFO as u64),
    ("S_IFSOCK", libc::S_IFSOCK as u64),
    // open, mmap
    ("O_RDONLY", libc::O_RDONLY as u64),
    ("O_ACCMODE", libc::O_ACCMODE as u64),
    ("O_CREAT", libc::O_CREAT as u64),
    ("O_TRUNC", libc::O_TRUNC as u64),
    ("PROT_EXEC", libc::PROT_EXEC as u64),
];

/// Every error number that a policy may answer with.
const ERRNOS: &[(&str, i32)] = &[
    ("EPERM", libc::EPERM),
    ("EACCES", libc::EACCES),
    ("EBUSY", libc::EBUSY),
    ("EAFNOSUPPORT", libc::EAFNOSUPPORT),
    ("ESOCKTNOSUPPORT", libc::ESOCKTNOSUPPORT),
    ("EINVAL", libc::EINVAL),
    ("ENOMEM", libc::ENOMEM),
    ("ENOPROTOOPT", libc::ENOPROTOOPT),
    ("EPROTONOSUPPORT", libc::EPROTONOSUPPORT),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("ENOSYS", libc::ENOSYS),
];

/// The number that `text` stands for: names joined by `|`. `Err` is the name that is not known.
pub(super) fn number(text: &str) -> Result<u64, &str> {
    let mut value = 0;
    for name in text.split('|') {
        let known = NUMBERS.iter().find(|(known, _)| *known == name);
        value |= known.ok_or(name)?.1;
    }
    Ok(value)
}

/// The error number of this name.
pub(super) fn errno(name: &str) -> Option<u32> {
    let (_, value) = ERRNOS.iter().find(|(known, _)| *known == name)?;
    u32::try_from(*value).ok()
}
