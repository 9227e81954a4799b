//! Init: pid 1 inside. Builds what the payload sees, starts it, reaps, and ends with it.
//!
//! It is a sealed copy of the launcher's binary, so that nothing inside can write the one on the
//! host (CVE-2019-5736). It runs as the sandbox's root, an unprivileged host id, and gives its
//! capabilities up as soon as the payload is on its way.

use crate::bounds;
use crate::confine::told::{self, Installed};
use crate::confine::{caps, landlock, rlimits, seccomp};
use crate::mounts::{self, Sources};
use crate::order::{Answer, Order};
use crate::plan::{Network, Plan};
use crate::proxy;
use crate::switch::Switch;
use crate::sys;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{ControlMessage, MsgFlags, recv, send, sendmsg};
use nix::unistd::{Gid, Pid, Uid};
use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use std::io::{IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// Descriptors below this number may become the payload's; init's own are moved above it.
const OWN_FDS: RawFd = 64;

/// How much more readily than others the kernel kills what runs inside, in thousandths of the memory that there is.
pub const OOM_SCORE: &str = "300";

/// Why init gave up, and whether the host is at fault.
#[derive(Debug)]
struct InitError {
    message: String,
    host: bool,
}

impl<E: std::error::Error> From<E> for InitError {
    fn from(error: E) -> Self {
        InitError { message: error.to_string(), host: true }
    }
}

fn failed<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> InitError {
    move |error| InitError { message: format!("{what}: {error}"), host: true }
}

/// The whole life of pid 1. `order_fd` is the number of the descriptor with the order.
pub fn main(order_fd: RawFd) -> i32 {
    // Not dumpable: /proc/1/* belongs to the host's root and nobody inside can trace this process.
    // (exec has just reset it.) If it fails there is nobody to tell yet; the uid protects as well.
    let _ = prctl::set_dumpable(false);
    let Ok(order) = read_order(order_fd) else {
        eprintln!("ostest-init: the order on descriptor {order_fd} cannot be read; only ostest-launch starts this");
        return 2;
    };
    let Ok(control) = sys::own_inherited(order.fds.control) else {
        return 2;
    };
    match live(&order, &control) {
        Ok(()) => 0,
        Err(error) => {
            answer(&control, &Answer::Failed { message: error.message, host: error.host });
            1
        }
    }
}

fn read_order(fd: RawFd) -> Result<Order, InitError> {
    let mut file = std::fs::File::from(sys::own_inherited(fd)?);
    std::io::Seek::rewind(&mut file)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn live(order: &Order, control: &OwnedFd) -> Result<(), InitError> {
    let plan = &order.plan;
    // The second way in which init ends with its launcher; the first is the end of the control
    // socket. (A change of credentials would clear it: there is none after this.)
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("asking for the parent's death signal"))?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).map_err(failed("unsharing the cgroup namespace"))?;
    if !plan.off(Switch::Names) {
        nix::unistd::sethostname(&plan.hostname).map_err(failed("setting the host name"))?;
    }
    if !plan.off(Switch::Network) {
        sys::loopback_up().map_err(failed("bringing the loopback interface up"))?;
        // Without a namespace of its own these would be the host's.
        bounds::set()?;
    }
    if plan.network == Network::Proxy {
        // Before the payload is forked: it finds the socket, and has no descriptor of it.
        hand_out_proxy(control)?;
    }
    rustix::process::umask(Mode::empty());
    if !plan.off(Switch::Mounts) {
        mounts::build(plan, &own_sources(order)?)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));

    // Blocked before the fork, so that no end of a child is missed.
    let mut child_signal = SigSet::empty();
    child_signal.add(Signal::SIGCHLD);
    child_signal.thread_block().map_err(failed("blocking SIGCHLD"))?;
    let children = SignalFd::with_flags(&child_signal, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(failed("opening a signalfd"))?;

    let Some(payload) = sys::fork_single().map_err(failed("forking the payload"))? else {
        // Only a failure comes back from here.
        return Err(become_payload(order, control));
    };
    confine_init(order)?;
    reap(control, &children, Pid::from_raw(payload))
}

/// Makes the socket of the proxy, which belongs to this network namespace for ever, and gives it away.
fn hand_out_proxy(control: &OwnedFd) -> Result<(), InitError> {
    let listener = proxy::listen().map_err(failed("making the proxy's socket"))?;
    let text = serde_json::to_vec(&Answer::Proxy).map_err(failed("announcing the proxy's socket"))?;
    proxy::send(control.as_fd(), &text, listener.as_fd()).map_err(failed("handing the proxy's socket out"))
}

/// The descriptors of the mounts, taken over from the launcher.
fn own_sources(order: &Order) -> Result<Sources, InitError> {
    let own = |fd: &RawFd| sys::own_inherited(*fd);
    let binds = order.fds.binds.iter().map(|fd| fd.as_ref().map(own).transpose()).collect::<Result<_, _>>()?;
    let devices = order.fds.devices.iter().map(own).collect::<Result<_, _>>()?;
    Ok(Sources { binds, devices })
}

/// Init needs nothing more than to wait, to read and to write: all else is taken from it, so that a
/// hole in it would open nothing.
fn confine_init(order: &Order) -> Result<(), InitError> {
    // The payload's output must end when the payload ends, not when init does.
    for fd in order.fds.output {
        drop(sys::own_inherited(fd)?);
    }
    for (fd, _) in order.fds.channels() {
        drop(sys::own_inherited(fd)?);
    }
    caps::drop_bounding()?;
    caps::drop_all()?;
    prctl::set_no_new_privs().map_err(failed("setting no_new_privs"))?;
    if let Some(programs) = &order.init_seccomp {
        seccomp::install(programs)?;
    }
    Ok(())
}

/// Waits for the payload and for every orphan, until the payload's end or the launcher's.
fn reap(control: &OwnedFd, children: &SignalFd, payload: Pid) -> Result<(), InitError> {
    loop {
        let mut fds =
            [PollFd::new(children.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(failed("waiting for the payload")(error)),
        }
        let hung_up = fds[1].revents().is_some_and(|r| r.intersects(PollFlags::POLLHUP | PollFlags::POLLERR));
        if hung_up {
            // The launcher is gone. When pid 1 ends the kernel kills the rest of the namespace.
            return Ok(());
        }
        while let Ok(Some(_)) = children.read_signal() {}
        loop {
            // rustix gives the signal as a number: nix knows no real-time signals and makes an error of such a death,
            // and of the child's choosing it is.
            let (pid, status) = match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(rustix::io::Errno::CHILD) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(failed("waiting for the payload")(error)),
            };
            if pid.as_raw_nonzero().get() != payload.as_raw() {
                continue;
            }
            let ended = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Answer::Exited { code },
                (None, Some(signal)) => Answer::Signaled { signal },
                (None, None) => continue,
            };
            answer(control, &ended);
            return Ok(());
        }
    }
}

fn answer(control: &OwnedFd, answer: &Answer) {
    // Where the launcher is gone there is nobody to tell, and this process ends anyway.
    let _ = send(control.as_raw_fd(), &answer.to_bytes(), MsgFlags::MSG_NOSIGNAL);
}

/// In the child: everything between init's fork and the command. Returns only where it failed.
fn become_payload(order: &Order, control: &OwnedFd) -> InitError {
    match try_become_payload(order, control) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_become_payload(order: &Order, control: &OwnedFd) -> Result<std::convert::Infallible, InitError> {
    let plan = &order.plan;
    nix::unistd::setsid().map_err(failed("starting a session"))?;
    // The launcher puts this process into the payload's leaf; from then on its memory is the payload's.
    answer(control, &Answer::Place);
    let mut reply = [0u8; 1];
    match recv(control.as_raw_fd(), &mut reply, MsgFlags::empty()) {
        Ok(1) => {}
        Ok(_) => return Err(failed("being placed into the payload's cgroup")("the launcher is gone")),
        Err(error) => return Err(failed("being placed into the payload's cgroup")(error)),
    }
    // A namespace of its own whose root is the leaf it has just come to: /proc/self/cgroup shows "/".
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).map_err(failed("unsharing the cgroup namespace"))?;
    // If the host itself runs out of memory, the kernel shall choose a payload first. A wish, not a limit.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    arrange_fds(order)?;
    if !plan.off(Switch::Rlimits) {
        rlimits::apply(&plan.rlimits)?;
    }
    if !plan.off(Switch::Capabilities) {
        match plan.apart {
            None => caps::drop_bounding()?,
            Some(_) => caps::drop_bounding_before_apart()?,
        }
    }
    let groups: Vec<Gid> = plan.apart.iter().map(|apart| Gid::from_raw(apart.gid)).collect();
    nix::unistd::setgroups(&groups).map_err(failed("setting supplementary groups"))?;
    let (uid, gid) = (Uid::from_raw(plan.user.uid), Gid::from_raw(plan.user.gid));
    nix::unistd::setresgid(gid, gid, gid).map_err(failed("changing the group"))?;
    nix::unistd::setresuid(uid, uid, uid).map_err(failed("changing the user"))?;
    if !plan.off(Switch::Capabilities) {
        match plan.apart {
            None => caps::drop_all()?,
            Some(_) => caps::keep_for_apart()?,
        }
        prctl::set_no_new_privs().map_err(failed("setting no_new_privs"))?;
    }

    let cwd = &plan.command.cwd;
    std::env::set_current_dir(cwd).map_err(|error| InitError {
        message: format!("the command's directory {} cannot be entered: {error}", cwd.display()),
        host: false,
    })?;
    if let Some(writable) = &order.landlock {
        landlock::apply(writable)?;
    }
    sys::reset_signals().map_err(failed("resetting signals"))?;
    install_filters(order, control)?;
    Err(exec(plan))
}

/// The filters that tell, where they are wanted and the kernel gives a listener; else the plain ones, which refuse the same.
/// Without any only where the operator waived them: then there are neither.
fn install_filters(order: &Order, control: &OwnedFd) -> Result<(), InitError> {
    if let Some(listening) = &order.listening {
        match told::install(listening)? {
            // Closed with this scope: whoever has it could let calls go on.
            Installed::Told(listener) => {
                let fds = [listener.as_raw_fd()];
                let text = serde_json::to_vec(&Answer::Listener)?;
                let (part, rights) = ([IoSlice::new(&text)], [ControlMessage::ScmRights(&fds)]);
                sendmsg::<()>(control.as_raw_fd(), &part, &rights, MsgFlags::MSG_NOSIGNAL, None)
                    .map_err(failed("handing the filters' listener to the launcher"))?;
                return Ok(());
            }
            // Where it was sure to be given there are no others, and the command must not run.
            Installed::Untold(error) if order.seccomp.is_none() => {
                return Err(failed("installing the filter with a listener")(error));
            }
            Installed::Untold(error) => answer(control, &Answer::Untold { why: error.to_string() }),
        }
    }
    if let Some(programs) = &order.seccomp {
        seccomp::install(programs)?;
    }
    Ok(())
}

/// Standard streams at 0 to 2, channels at the numbers of the plan, everything else close-on-exec.
fn arrange_fds(order: &Order) -> Result<(), InitError> {
    let lift = |fd: RawFd| -> Result<OwnedFd, InitError> {
        let fd = sys::own_inherited(fd)?;
        let high = rustix::io::fcntl_dupfd_cloexec(&fd, OWN_FDS).map_err(failed("moving a descriptor"))?;
        // The low number stays as it is until it is overwritten or close-on-exec.
        std::mem::forget(fd);
        Ok(high)
    };
    let mut places: Vec<(OwnedFd, RawFd)> = Vec::new();
    // The sandbox's own: a program may open /dev/stdin again, and Landlock refuses a file of the host's tree.
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let null = null.map_err(failed("opening /dev/null for standard input"))?;
    places.push((rustix::io::fcntl_dupfd_cloexec(&null, OWN_FDS).map_err(failed("moving a descriptor"))?, 0));
    // Now, and not at the end: by then its number may be a channel's.
    drop(null);
    for (target, fd) in (1..).zip(order.fds.output) {
        places.push((lift(fd)?, target));
    }
    for (fd, target) in order.fds.channels() {
        places.push((lift(fd)?, target));
    }
    sys::close_on_exec_from(3).map_err(failed("closing inherited descriptors"))?;
    for (fd, target) in &places {
        sys::place_fd(fd.as_fd(), *target).map_err(failed("placing a descriptor"))?;
    }
    Ok(())
}

/// Searches PATH of the plan's environment and executes. Returns the failure as a sentence.
fn exec(plan: &Plan) -> InitError {
    let program = &plan.command.argv[0];
    let c = |text: &str| CString::new(text).unwrap_or_default();
    let args: Vec<CString> = plan.command.argv.iter().map(|a| c(a)).collect();
    let env: Vec<CString> = plan.command.env.iter().map(|(k, v)| c(&format!("{k}={v}"))).collect();
    let candidates: Vec<String> = if program.contains('/') {
        vec![program.clone()]
    } else {
        let path = plan.command.env.get("PATH").map_or("/usr/bin:/bin", String::as_str);
        path.split(':').filter(|d| d.starts_with('/')).map(|d| format!("{d}/{program}")).collect()
    };
    let mut last = nix::errno::Errno::ENOENT;
    for candidate in candidates {
        let Err(error) = nix::unistd::execve(&c(&candidate), &args, &env);
        // As a shell does: what cannot be executed is more telling than what is not there.
        if error != nix::errno::Errno::ENOENT && error != nix::errno::Errno::ENOTDIR {
            last = error;
        }
    }
    let hint = match last {
        nix::errno::Errno::ENOENT => "there is no such program inside the sandbox, or its interpreter is missing",
        nix::errno::Errno::EACCES => "it is not executable by the sandbox's user",
        nix::errno::Errno::ENOEXEC => "it is no program for this machine and has no #! line",
        nix::errno::Errno::ENOMEM | nix::errno::Errno::E2BIG => {
            "the memory limit is too small to start it, or its arguments are too long"
        }
        _ => "the kernel refused",
    };
    InitError { message: format!("{program} could not be started: {hint} ({})", last.desc()), host: false }
}
