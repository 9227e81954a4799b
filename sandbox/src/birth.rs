//! How init comes into being: cloned into its namespaces and its cgroup, given its ids, and executed from a sealed copy.

use crate::cgroup::StageGroup;
use crate::launcher::{Channels, LaunchError, failed};
use crate::order::{Answer, INIT_NAME, Order};
use crate::plan::IdRange;
use crate::switch::Switch;
use crate::sys::{self, Cloned};
use caps::CapSet;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::{Gid, Pid, Uid};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::FdFlags;
use rustix::process::{WaitId, WaitIdOptions};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A sealed copy of this program in memory.
pub fn sealed_self() -> Result<OwnedFd, LaunchError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC is 6.3; where the sysctl vm.memfd_noexec is on, a file without it cannot be executed.
    let memory = rustix::fs::memfd_create(INIT_NAME, flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(INIT_NAME, flags))
        .map_err(failed("making a memory file for init"))?;
    let mut memory = std::fs::File::from(memory);
    let mut program = std::fs::File::open("/proc/self/exe").map_err(failed("opening the launcher's own program"))?;
    std::io::copy(&mut program, &mut memory).map_err(failed("copying the launcher for init"))?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)
        .map_err(failed("sealing init's program"))?;
    Ok(memory.into())
}

/// On whose account the kernel puts what is used inside.
///
/// It counts inotify instances and watches, pending signals and timers, message queues, locked memory and namespaces for each
/// user of a user namespace, and all of it once more for whoever made the namespace, in the one above. Made by root, every
/// sandbox would draw on root's: 128 inotify instances of one submission, and neither the host's services nor any other
/// sandbox gets another one. So the namespace is made by the slot's own first id.
///
/// Capabilities stay in force meanwhile: to enter the cgroup takes them, and some hosts give user namespaces to nobody else.
struct Account;

impl Account {
    fn open(ids: IdRange) -> Result<Account, LaunchError> {
        nix::unistd::setegid(Gid::from_raw(ids.base)).map_err(failed("taking the slot's first group id"))?;
        nix::unistd::seteuid(Uid::from_raw(ids.base)).map_err(failed("taking the slot's first id"))?;
        // The change has left them permitted, and taken them out of force.
        caps::read(None, CapSet::Permitted)
            .and_then(|permitted| caps::set(None, CapSet::Effective, &permitted))
            .map_err(failed("keeping capabilities under the slot's first id"))?;
        Ok(Account)
    }

    /// Root again.
    fn close(self) -> Result<(), LaunchError> {
        nix::unistd::seteuid(Uid::from_raw(0)).map_err(failed("becoming root again"))?;
        nix::unistd::setegid(Gid::from_raw(0)).map_err(failed("becoming root's group again"))
    }
}

/// Clones init into its namespaces and its cgroup, gives it its ids, and lets it go.
pub fn clone_init(
    order: &Order,
    program: &OwnedFd,
    group: &StageGroup,
    channels: &Channels,
) -> Result<OwnedFd, LaunchError> {
    let text = serde_json::to_vec(order)?;
    let paper =
        rustix::fs::memfd_create("order", MemfdFlags::CLOEXEC).map_err(failed("making the order's memory file"))?;
    let mut paper = std::fs::File::from(paper);
    paper.write_all(&text).map_err(failed("writing the order"))?;

    let mut namespaces = sys::INIT_NAMESPACES;
    for switch in &order.plan.off {
        namespaces &= !sys::namespace_of(*switch);
    }
    let place = group.open_dir()?;
    let account = (!order.plan.off(Switch::Ids)).then(|| Account::open(order.plan.ids)).transpose()?;
    let cloned = sys::clone_into(namespaces, place.as_fd());
    let born = match cloned {
        Ok(Cloned::Child) => become_init(order, program, paper.as_fd(), &channels.control.1),
        Ok(Cloned::Parent(pid, pidfd)) => Ok((pid, pidfd)),
        Err(error) => Err(failed(
            "cloning init into new namespaces (are user namespaces allowed? `sysctl user.max_user_namespaces` must not be 0)",
        )(error)),
    };
    account.map(Account::close).transpose()?;
    drop(place);
    let (pid, pidfd) = born?;
    let prepare = || -> Result<(), LaunchError> {
        group.place_init(Pid::from_raw(pid))?;
        let map = format!("0 {} {}", order.plan.ids.base, order.plan.ids.count);
        let files: &[&str] = if order.plan.off(Switch::Ids) { &[] } else { &["uid_map", "gid_map"] };
        for file in files {
            let path = Path::new("/proc").join(pid.to_string()).join(file);
            std::fs::write(&path, &map).map_err(failed(&format!("mapping the sandbox's ids ({map} into {file})")))?;
        }
        // As one who may lower it, the launcher sets the floor below which nobody inside gets: whoever could, would have
        // the kernel kill pytest, or a program of the host, for the memory that he took.
        std::fs::write(Path::new("/proc").join(pid.to_string()).join("oom_score_adj"), "0")
            .map_err(failed("setting the sandbox's lowest oom_score_adj"))?;
        send(channels.control.0.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL).map_err(failed("letting init go"))?;
        Ok(())
    };
    match prepare() {
        Ok(()) => Ok(pidfd),
        Err(error) => {
            group.kill()?;
            let reaped = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            reaped.map_err(failed("reaping init"))?;
            Err(error)
        }
    }
}

/// In the child of the clone: waits for its ids, becomes the sandbox's root, and executes init. An exec while the
/// uid is unmapped would drop all capabilities, hence the order.
fn become_init(order: &Order, program: &OwnedFd, paper: BorrowedFd<'_>, control: &OwnedFd) -> ! {
    let attempt = || -> Result<(), LaunchError> {
        let mut go = [0u8; 1];
        if recv(control.as_raw_fd(), &mut go, MsgFlags::empty()) != Ok(1) {
            return Err(failed("waiting for the id map")("the launcher is gone"));
        }
        let (root_gid, root_uid) = (Gid::from_raw(0), Uid::from_raw(0));
        nix::unistd::setgroups(&[]).map_err(failed("dropping supplementary groups"))?;
        nix::unistd::setresgid(root_gid, root_gid, root_gid).map_err(failed("becoming the sandbox's root group"))?;
        nix::unistd::setresuid(root_uid, root_uid, root_uid).map_err(failed("becoming the sandbox's root"))?;
        // The launcher's own input and output are the runner's; init must not hold them open.
        let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).map_err(failed("opening /dev/null"))?;
        sys::place_fd(null.as_fd(), 0).map_err(failed("closing standard input"))?;
        sys::place_fd(null.as_fd(), 1).map_err(failed("closing standard output"))?;
        let fds = &order.fds;
        let channels = fds.channels().map(|(fd, _)| fd);
        let kept = [fds.control, paper.as_raw_fd()]
            .into_iter()
            .chain(fds.output)
            .chain(fds.binds.iter().flatten().copied())
            .chain(fds.devices.iter().copied())
            .chain(channels);
        for fd in kept {
            // Borrowed by number: these are open in this process, a copy of the launcher.
            let fd = sys::own_inherited(fd)?;
            rustix::io::fcntl_setfd(&fd, FdFlags::empty()).map_err(failed("keeping a descriptor for init"))?;
            std::mem::forget(fd);
        }
        let words = [INIT_NAME.to_string(), paper.as_raw_fd().to_string()];
        let argv: Vec<CString> = words.iter().filter_map(|w| CString::new(w.as_str()).ok()).collect();
        let env: [CString; 0] = [];
        let Err(error) = nix::unistd::execveat(program, c"", &argv, &env, nix::fcntl::AtFlags::AT_EMPTY_PATH);
        Err(failed("executing init")(error))
    };
    if let Err(error) = attempt() {
        let answer = Answer::Failed { message: error.message, host: true };
        let _ = send(control.as_raw_fd(), &answer.to_bytes(), MsgFlags::MSG_NOSIGNAL);
    }
    // Not a return: the launcher's own destructors (which would remove the group) are not this process's to run.
    sys::exit_now(1)
}
