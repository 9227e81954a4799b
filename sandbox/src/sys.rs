//! The system calls that no safe crate offers. All `unsafe` of the project stands here.
//!
//! Each function is one system call (or one conversion) with safe arguments and an `io::Result`;
//! policy belongs to the callers.

pub mod bpf;
pub mod probe;

use crate::switch::Switch;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `CLONE_INTO_CGROUP` of linux/sched.h. The constant in the libc crate has the type of clone's
/// 32-bit flags and is 0 there.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Namespaces that init starts in. Its cgroup namespace is not among them: a namespace made by
/// clone3 would have the *launcher's* group as its root, not the one named by CLONE_INTO_CGROUP,
/// so init unshares it by itself when it stands in its group.
pub const INIT_NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET) as u64;

/// The namespace that a layer consists of, as a flag for [`clone_into`]; 0 where it is none.
pub fn namespace_of(switch: Switch) -> u64 {
    let flag = match switch {
        Switch::Ids => libc::CLONE_NEWUSER,
        Switch::Network => libc::CLONE_NEWNET,
        Switch::Pids => libc::CLONE_NEWPID,
        Switch::Ipc => libc::CLONE_NEWIPC,
        Switch::Names => libc::CLONE_NEWUTS,
        _ => 0,
    };
    flag as u64
}

/// Which side of a clone or fork this is.
#[derive(Debug)]
pub enum Cloned {
    /// The caller: the child's pid, and its pidfd.
    Parent(i32, OwnedFd),
    /// The child.
    Child,
}

/// `struct clone_args` of linux/sched.h, version 2 (5.7), which has `cgroup`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Clones the calling process into new namespaces and into a cgroup, without a moment outside it.
///
/// Only for a process with one thread: with more, another thread could hold malloc's lock for
/// ever in the child. The caller's thread count is checked.
pub fn clone_into(namespaces: u64, cgroup: BorrowedFd<'_>) -> io::Result<Cloned> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("clone3 was asked of a process with several threads"));
    }
    let mut pidfd: RawFd = -1;
    let args = CloneArgs {
        flags: namespaces | CLONE_INTO_CGROUP | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneArgs::default()
    };
    // SAFETY: `args` is a valid clone_args of the size given, `pidfd` outlives the call; no stack is
    // given and CLONE_VM is not set, so the child goes on with a copy of this single-threaded process.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        // SAFETY: the kernel has just made this descriptor for us and nobody else owns it.
        pid => Ok(Cloned::Parent(pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

/// `fork`, for a process with one thread (init). Returns the child's pid, or `None` in the child.
pub fn fork_single() -> io::Result<Option<i32>> {
    // SAFETY: the caller has one thread (checked by init at its start), so the child's copy of the
    // heap and of all locks is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// This process's environment to the byte, as it was started with it: an entry need not have a `=`, which Rust leaves out.
///
/// For a program with one thread that changes nothing of it.
pub fn environment() -> Vec<std::ffi::CString> {
    let mut entries = Vec::new();
    // SAFETY: environ is null or points to an array of pointers to strings, ended by a null. Nothing of it changes meanwhile,
    // because this program has one thread and calls neither setenv nor putenv.
    unsafe {
        let mut entry: *const *mut libc::c_char = libc::environ;
        while !entry.is_null() && !(*entry).is_null() {
            entries.push(std::ffi::CStr::from_ptr(*entry).to_owned());
            entry = entry.add(1);
        }
    }
    entries
}

/// Takes ownership of a descriptor that an exec handed to this process.
///
/// # Errors
/// `EBADF` where the number is not open.
pub fn own_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only reads the descriptor's flags.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open; it came in over exec, so nothing in this program image owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `target` a copy of `fd`, open across exec. What `target` was before is closed.
pub fn place_fd(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: dup2 has no memory arguments; the callers own the low numbers they overwrite (they
    // are about to exec, and have moved what they still need above).
    match unsafe { libc::dup2(fd.as_raw_fd(), target) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Marks every descriptor from `first` on close-on-exec (CVE-2024-21626 is a directory that was
/// left open here).
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    close_on_exec_range(first.cast_unsigned(), u32::MAX)
}

/// The same for those from `first` to `last`; none where `last` is the smaller.
pub fn close_on_exec_between(first: RawFd, last: RawFd) -> io::Result<()> {
    if last < first { Ok(()) } else { close_on_exec_range(first.cast_unsigned(), last.cast_unsigned()) }
}

fn close_on_exec_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: close_range has no memory arguments, and CLOEXEC closes nothing now.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Attributes of a mount for [`mount_setattr`]: linux/mount.h.
pub mod mount_attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-id bits mean nothing.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes mean nothing.
    pub const NODEV: u64 = 0x4;
    /// Programs cannot be executed.
    pub const NOEXEC: u64 = 0x8;
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets attributes on the mount that `fd` is, and on all below it if `recursive`. A plain remount
/// would leave submounts writable.
pub fn mount_setattr(fd: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: set,
        attr_clr: 0,
        // Events of the host's mounts must not reach the sandbox, nor the other way round.
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` is a valid mount_attr of the size given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings the loopback interface of this network namespace up.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: socket has no memory arguments.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if raw == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: ifreq is plain old data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(*b"lo\0") {
        *slot = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which `request` is, with a terminated name.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Writing to a pipe that nobody reads becomes an error instead of a death.
pub fn ignore_sigpipe() -> io::Result<()> {
    // SAFETY: SIG_IGN is a valid disposition, and no handler is installed.
    match unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Has a signal do again what the kernel does with it where nobody says otherwise.
pub fn default_signal(number: i32) {
    // SAFETY: SIG_DFL is a valid disposition, and no handler is installed. A number that is no signal is an error, and nothing else.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}

/// Has the C library's allocator give large blocks (128 KiB and more) back to the kernel when they are freed, for a program that
/// runs for weeks.
///
/// By itself it keeps them in its heap after the first such block was freed, and then a small one behind a large one keeps all of it
/// (mallopt(3), M_MMAP_THRESHOLD: setting it switches that off). Other C libraries have no such habit.
pub fn give_large_blocks_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes numbers of the allocator's under its own lock. That it may refuse changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}

/// Gives SIGPIPE and SIGXFSZ, which Python ignores, their default action.
pub fn default_signals() -> io::Result<()> {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: SIG_DFL is a valid disposition, and no handler is installed.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Blocks the signals of this mask, bit 0 for signal 1, and no others.
pub fn block_signals(mask: u64) -> io::Result<()> {
    let (none, size) = (std::ptr::null_mut::<libc::c_void>(), size_of::<u64>());
    // SAFETY: the kernel's set is one word of 8 bytes, and outlives the call; the old one is not asked for.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, none, size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives every signal its default action and unblocks all. Ignored signals survive exec: Rust
/// ignores SIGPIPE and nohup ignores SIGHUP, which an honest program would notice.
pub fn reset_signals() -> io::Result<()> {
    // SAFETY: sigaction is plain old data; all zeroes is SIG_DFL with an empty mask and no flags.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    for signal in 1..=libc::SIGRTMAX() {
        // SIGKILL and SIGSTOP cannot be changed: EINVAL is expected there.
        // SAFETY: `default` is a valid sigaction, and no old action is asked for.
        unsafe { libc::sigaction(signal, &raw const default, std::ptr::null_mut()) };
    }
    // 32 and 33 are glibc's own, which its sigaction refuses to touch and its posix_spawn leaves ignored in every
    // child. The kernel's struct is all zeroes for SIG_DFL, too, and no longer than 4 words.
    let default = [0u64; 4];
    for signal in 32..34 {
        let (none, mask_size) = (std::ptr::null_mut::<libc::c_void>(), 8usize);
        // SAFETY: `default` outlives the call and is a valid kernel sigaction; no old action is asked for.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, mask_size) };
    }
    // SAFETY: a zeroed sigset_t is initialised by sigemptyset before it is used, and outlives both calls.
    let done = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The newest Landlock ABI of this kernel.
///
/// # Errors
/// `ENOSYS` where it was built without, or where an outer filter hides the call; `EOPNOTSUPP` where it was built with it and
/// `lsm=` leaves it out.
pub fn landlock_version() -> io::Result<i32> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with the version flag the call takes no ruleset and only returns a number.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    match i32::try_from(abi) {
        Ok(abi @ 1..) => Ok(abi),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a Landlock ABI is there, and which: 0 when it is compiled out or not in `lsm=`.
pub fn landlock_abi() -> i32 {
    landlock_version().unwrap_or(0)
}

/// Ends the process without running any destructor or handler: for a child that shares its image with a parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// Installs a filter on the calling thread, with a listener, which is given back: calls that the filter does not decide
/// wait for an answer on it. Sets no_new_privs.
///
/// # Errors
/// `EBUSY` where a filter around this one has a listener; `EINVAL` before Linux 5.0, or where its messages have another size
/// than is known here.
pub fn install_listener(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let mut sizes = libc::seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
    // SAFETY: the operation writes a seccomp_notif_sizes, which `sizes` is.
    let asked = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes) };
    if asked == -1 {
        return Err(io::Error::last_os_error());
    }
    let known = [size_of::<libc::seccomp_notif>(), size_of::<libc::seccomp_notif_resp>()];
    if [sizes.seccomp_notif, sizes.seccomp_notif_resp].map(usize::from) != known {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let Ok(len) = libc::c_ushort::try_from(program.len()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    // SAFETY: prctl with this option takes no pointers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: `program` names as many instructions as there are; the kernel copies them and writes nothing.
        let fd = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
        match RawFd::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor for us and nobody else owns it.
            Ok(fd @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let listens = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // A call that has been taken from the listener is answered before any signal is: its caller would get EINTR otherwise.
    // (Linux 5.19.)
    match install(listens | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(listens),
        done => done,
    }
}

/// A call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// What it is answered by.
    pub id: u64,
    /// The calling thread.
    pub tid: i32,
    /// The call's number.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// Takes one waiting call from a listener. `None`: whoever called was ended meanwhile, or nobody had.
pub fn waiting_call(listener: BorrowedFd<'_>) -> io::Result<Option<Waiting>> {
    // SAFETY: seccomp_notif is plain old data for which all zeroes is a valid value, and the one that the kernel asks for.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes a seccomp_notif, which `call` is; that the kernel's has this size was looked at when the
    // listener was made.
    match unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) } {
        -1 => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR | libc::EAGAIN)) => Ok(None),
            error => Err(error),
        },
        _ => Ok(Some(Waiting {
            id: call.id,
            tid: call.pid.cast_signed(),
            number: call.data.nr.cast_unsigned(),
            args: call.data.args,
        })),
    }
}

/// Answers a waiting call with an error. Whoever has ended meanwhile is beyond answers, and that is no error here.
pub fn refuse_call(listener: BorrowedFd<'_>, id: u64, errno: u32) -> io::Result<()> {
    // No flags: the one that there is would let the call go on.
    answer_call(listener, libc::seccomp_notif_resp { id, val: 0, error: -errno.cast_signed(), flags: 0 })
}

fn answer_call(listener: BorrowedFd<'_>, answer: libc::seccomp_notif_resp) -> io::Result<()> {
    // SAFETY: the request reads a seccomp_notif_resp, which `answer` is.
    match unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) } {
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            error => Err(error),
        },
        _ => Ok(()),
    }
}

/// Whether a call still waits: if so, its thread's number has been nobody else's since the call was taken.
pub fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the request reads the number, which outlives the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
}

/// Gives the calling thread another priority: from -20, whose turn comes first, to 19.
///
/// # Errors
/// EACCES or EPERM without CAP_SYS_NICE.
pub fn set_nice(nice: i32) -> io::Result<()> {
    // Linux has a priority for each thread, and takes a thread's number here (setpriority(2), "C library/kernel differences").
    Ok(rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice)?)
}
