//! What the kernel says of itself only if it is asked by a call.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Whether the kernel gives a userfaultfd for faults of user mode.
///
/// # Errors
/// `ENOSYS` where it has none; `EINVAL` before Linux 5.11.
pub fn userfaultfd() -> io::Result<()> {
    const UFFD_USER_MODE_ONLY: libc::c_int = 1;
    // SAFETY: the call takes flags alone.
    close(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | UFFD_USER_MODE_ONLY) })
}

/// What the kernel answers to a ring of no entries with no parameters, which it never makes.
///
/// # Errors
/// Always: `ENOSYS` where it has no io_uring, `EPERM` where it is refused, else what it says of the arguments.
pub fn io_uring() -> io::Result<()> {
    // SAFETY: the kernel reads parameters from nowhere, which it answers with an error.
    close(unsafe { libc::syscall(libc::SYS_io_uring_setup, 0u32, std::ptr::null::<libc::c_void>()) })
}

/// Whether a counter of this process's own time in user mode can be opened.
///
/// # Errors
/// `ENOSYS` where the kernel has none; `EPERM` or `EACCES` where it is refused.
pub fn counter() -> io::Result<()> {
    /// `struct perf_event_attr` of linux/perf_event.h in its first version, whose size is 64.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        kind: u32,
        size: u32,
        config: u64,
        period: u64,
        sample: u64,
        read: u64,
        flags: u64,
        rest: [u64; 2],
    }
    const SOFTWARE: u32 = 1;
    const TASK_CLOCK: u64 = 1;
    // Bits of the flags: disabled, exclude_kernel, exclude_hv.
    const USER_MODE: u64 = 1 | 1 << 5 | 1 << 6;
    let wanted = Attributes { kind: SOFTWARE, size: 64, config: TASK_CLOCK, flags: USER_MODE, ..Attributes::default() };
    // SAFETY: the attributes are as long as they say and live until the call has ended; all else are numbers.
    close(unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const wanted, 0, -1, -1, 0) })
}

/// Closes a descriptor that the kernel has just given, if it has.
fn close(answer: libc::c_long) -> io::Result<()> {
    match RawFd::try_from(answer) {
        // SAFETY: the kernel has just made this descriptor for us and nobody else owns it.
        Ok(fd @ 0..) => drop(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => return Err(io::Error::last_os_error()),
    }
    Ok(())
}

/// Whether a file in memory takes an attribute of users'.
///
/// # Errors
/// `EOPNOTSUPP` before Linux 6.6.
pub fn user_attribute() -> io::Result<()> {
    let file = rustix::fs::memfd_create("attribute", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(rustix::fs::fsetxattr(&file, "user.ostest", b"1", rustix::fs::XattrFlags::empty())?)
}
