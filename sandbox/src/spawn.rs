//! Starts the gate as a student out of pytest's process, without copying it.
//!
//! CPython starts a program by vfork, which shares the parent's memory until the exec; but not where the child is to be another
//! user: then it forks, and a pytest of 60 MiB pays milliseconds for its page tables, and again for every page that it writes to
//! afterwards. So the harness does it by this: the same vfork, in which the child alone changes its ids, and then executes
//! the gate, which does all the rest in peace ([`crate::gate`]).
//!
//! Built a second time, alone, into a shared object that Python loads (`spawn/standalone.rs`): no other crate, not even std.

use core::ffi::{c_char, c_int, c_long, c_void};
use core::mem::MaybeUninit;

/// What is asked for. Pointers are borrowed for the time of the call; lists of strings end with a null.
#[repr(C)]
#[derive(Debug)]
pub struct Request {
    /// Path of the gate.
    pub program: *const c_char,
    /// Its arguments, from `argv[0]` on.
    pub argv: *const *const c_char,
    /// Its environment; null: the caller's.
    pub envp: *const *const c_char,
    /// Descriptors that outlive the exec, whatever is said of them in the caller.
    pub keep: *const c_int,
    /// How many.
    pub keep_count: usize,
    /// The child's user, or -1: the caller's.
    pub uid: i64,
    /// The child's group, and its only one.
    pub gid: i64,
    /// Written: why the program could not be executed; 0: it was.
    pub error: c_int,
}

/// Signals as the kernel and the C library count them.
type SignalSet = [u64; 16];

const SIG_BLOCK: c_int = 0;
const SIG_SETMASK: c_int = 2;
const SIGCHLD: c_int = 17;
const CLONE_VM: c_int = 0x100;
const CLONE_VFORK: c_int = 0x4000;
const F_SETFD: c_int = 2;

#[cfg(target_arch = "x86_64")]
const SYS: (c_long, c_long, c_long) = (116, 119, 117);
#[cfg(target_arch = "aarch64")]
const SYS: (c_long, c_long, c_long) = (159, 149, 147);

unsafe extern "C" {
    fn clone(
        run: extern "C" fn(*mut c_void) -> c_int,
        stack: *mut c_void,
        flags: c_int,
        with: *mut c_void,
        ...
    ) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn fcntl(fd: c_int, what: c_int, ...) -> c_int;
    fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
    fn _exit(code: c_int) -> !;
    fn __errno_location() -> *mut c_int;
    fn pthread_sigmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    static environ: *const *const c_char;
}

/// The child's stack, for a few calls of the C library.
#[repr(C, align(16))]
struct Stack([MaybeUninit<u8>; 32 << 10]);

/// Starts the program of the request. Gives the child's pid, also where `error` says that it could not be executed and the
/// child has ended with 255; or -errno where there is no child.
///
/// # Safety
/// Every pointer of the request is valid as its field says, until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ostest_spawn(request: *mut Request) -> c_int {
    let mut stack = Stack([MaybeUninit::uninit(); 32 << 10]);
    let (all, mut before) = ([u64::MAX; 16], [0u64; 16]);
    // A handler of the parent's must not run in the child, in the parent's memory. The gate gets all signals blocked, and
    // knows which of them are to be.
    // SAFETY: both sets are as large as the C library's.
    unsafe { pthread_sigmask(SIG_BLOCK, &all, &mut before) };
    let top = stack.0.as_mut_ptr_range().end.cast::<c_void>();
    // SAFETY: with CLONE_VFORK this thread waits until the child has executed or ended, so the stack and the request outlive
    // it; the child's stack grows down from the end of an aligned array.
    let pid = unsafe { clone(child, top, CLONE_VM | CLONE_VFORK | SIGCHLD, request.cast()) };
    // SAFETY: the C library's errno of this thread; the child has shared it, and is gone from here.
    let error = unsafe { *__errno_location() };
    // SAFETY: as above.
    unsafe { pthread_sigmask(SIG_SETMASK, &before, core::ptr::null_mut()) };
    if pid < 0 { -error } else { pid }
}

/// In the child, which has the parent's memory and must leave it as it is but for `error`.
extern "C" fn child(request: *mut c_void) -> c_int {
    // SAFETY: the request of the caller, who waits; nobody else touches it meanwhile. The system calls have no effect on the
    // parent: descriptors and ids are the child's own. Ids are changed by the kernel's calls, because the C library's would
    // change them for all threads of the process that it believes to be in.
    unsafe {
        let request = &mut *request.cast::<Request>();
        let (setgroups, setresgid, setresuid) = SYS;
        for index in 0..request.keep_count {
            if fcntl(*request.keep.add(index), F_SETFD, 0) != 0 {
                end(request);
            }
        }
        if request.uid >= 0 {
            let (uid, gid) = (request.uid, request.gid);
            let done = syscall(setgroups, 0usize, core::ptr::null::<u32>()) == 0
                && syscall(setresgid, gid, gid, gid) == 0
                && syscall(setresuid, uid, uid, uid) == 0;
            if !done {
                end(request);
            }
        }
        let envp = if request.envp.is_null() { environ } else { request.envp };
        execve(request.program, request.argv, envp);
        end(request)
    }
}

/// Says why, and ends. What CPython's child exits with then.
///
/// # Safety
/// Only in the child.
unsafe fn end(request: &mut Request) -> ! {
    // SAFETY: errno is there for every thread; the child ends without running anything of the parent's.
    unsafe {
        request.error = *__errno_location();
        _exit(255)
    }
}
