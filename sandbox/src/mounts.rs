//! What is visible inside: sources are opened by the launcher, the tree is built by init.
//!
//! The launcher (host root) opens every source as a detached, already read-only mount: it can reach
//! directories that the sandbox's root cannot, and init never looks up a path of the host. Init
//! changes its root to an empty file system first and attaches the mounts there, so that no path is
//! ever resolved in a tree that holds both the host and the submission.

use crate::groups::Group;
use crate::plan::{Mount, Plan};
use crate::switch::Switch;
use crate::sys::{self, mount_attr};
use rustix::fs::{self, CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Device nodes that are taken from the host. Each is harmless to everybody: no state, no memory, no hardware.
pub const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Files of /proc that tell of the host or act on it; /dev/null is put over them. (The kernel guards
/// them by uid or capability as well.)
const MASKED: [&str; 12] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sysrq-trigger",
    "/proc/kallsyms",
    "/proc/sched_debug",
    "/proc/kmsg",
    "/proc/mtrr",
    "/proc/latency_stats",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/kpagecgroup",
];

/// Directories of /proc with settings of the host's; they become read-only. (Those of processes stay as they are: a program
/// names its threads there.)
///
/// /proc/pressure is among them though it has none: whoever may write there makes the kernel watch for him, and each watch takes
/// the kernel a grace period when it ends. 4096 of a process made its end last more than a minute, and nothing could hurry it.
const SETTINGS: [&str; 7] =
    ["/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/scsi", "/proc/acpi", "/proc/pressure"];

/// Where POSIX message queues are seen (mq_overview(7)).
pub const QUEUES: &str = "/dev/mqueue";

/// Terminals (devpts) of one sandbox. The kernel has 4096 for all of the host (`kernel.pty.max`), and charges nobody for what is
/// written to one and not read; one sandbox alone could have had three quarters of them.
const TERMINALS: u32 = 64;
/// As many as devpts takes.
const ALL_TERMINALS: u32 = 1 << 20;

/// User namespaces that programs of one sandbox may have at a time, where they may have any. The kernel lets go of one a while after
/// its last process, so that a suite that makes one after the other has several.
const NESTED: u32 = 64;

/// A directory that nobody inside can enter.
const SIGHT: &str = "/run/ostest-sight";

/// Size of the root file system, which holds directories, links and small files only.
const ROOT_SIZE: u64 = 16 << 20;

/// Why the tree could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox's file tree could not be built: {what}: {error}")]
pub struct MountError {
    /// What was being done, on what.
    what: String,
    /// What the kernel said.
    error: io::Error,
}

fn at<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> MountError {
    let what = what.into();
    move |error| MountError { what, error: error.into() }
}

/// Sources of a plan as detached mounts, in the order of `plan.mounts` (`None`: nothing to open, or
/// optional and missing), and the device nodes.
#[derive(Debug)]
pub struct Sources {
    /// One for each of the plan's mounts.
    pub binds: Vec<Option<OwnedFd>>,
    /// One for each of [`DEVICES`].
    pub devices: Vec<OwnedFd>,
}

/// Mounts an empty file system of limited size and inodes on `path`, for a work tree that carries a
/// project from stage to stage. The caller stands in a mount namespace of its own, so the host does
/// not see it and it ends with the caller.
pub fn mount_work_tree(path: &Path, size: u64, inodes: u64) -> Result<(), MountError> {
    let shown = path.display().to_string();
    let tree = new_tmpfs(size, inodes, 0o755).map_err(at(format!("making the work tree for {shown}")))?;
    move_mount(tree.as_fd(), "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(at(format!("mounting the work tree on {shown}")))
}

/// Takes a work tree away again, also while something still holds a file in it.
pub fn unmount_work_tree(path: &Path) -> Result<(), MountError> {
    unmount(path, UnmountFlags::DETACH).map_err(at(format!("unmounting the work tree {}", path.display())))
}

/// Puts the calling process into a mount namespace of its own, in which mounts of the host arrive
/// and none go out. Only at a program's start, while it has one thread.
pub fn private_namespace() -> Result<(), MountError> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(at("unsharing the mount namespace"))?;
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::DOWNSTREAM | rustix::mount::MountPropagationFlags::REC,
    )
    .map_err(at("making / a slave of the host's mounts"))
}

/// In the launcher: opens every source of the plan.
pub fn open_sources(plan: &Plan) -> Result<Sources, MountError> {
    let mut binds = Vec::new();
    for mount in &plan.mounts {
        binds.push(match mount {
            Mount::Bind { source, writable, optional, .. } => open_source(source, *writable, *optional)?,
            _ => None,
        });
    }
    let mut devices = Vec::new();
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        let fd = detach(&path).map_err(at(format!("opening {}", path.display())))?;
        sys::mount_setattr(fd.as_fd(), mount_attr::NOSUID | mount_attr::NOEXEC, false)
            .map_err(at(format!("restricting {}", path.display())))?;
        devices.push(fd);
    }
    Ok(Sources { binds, devices })
}

fn open_source(source: &Path, writable: bool, optional: bool) -> Result<Option<OwnedFd>, MountError> {
    let shown = source.display();
    let fd = match detach(source) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) if optional => return Ok(None),
        Err(error) => return Err(at(format!("opening {shown}"))(error)),
    };
    let read_only = if writable { 0 } else { mount_attr::RDONLY };
    sys::mount_setattr(fd.as_fd(), mount_attr::NOSUID | mount_attr::NODEV | read_only, true)
        .map_err(at(format!("making {shown} nosuid, nodev{}", if writable { "" } else { " and read-only" })))?;
    Ok(Some(fd))
}

fn detach(path: &Path) -> rustix::io::Result<OwnedFd> {
    open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE,
    )
}

fn new_tmpfs(size: u64, inodes: u64, mode: u32) -> rustix::io::Result<OwnedFd> {
    new_fs(
        "tmpfs",
        &[("size", size.to_string()), ("nr_inodes", inodes.to_string()), ("mode", format!("{mode:o}"))],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

fn new_fs(kind: &str, options: &[(&str, String)], flags: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, value.as_str())?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

/// The IPC namespace's own POSIX message queues. They have to be mounted where Landlock can be told of them: a queue that no rule
/// covers cannot be opened, with or without a path. `None` where the kernel has none (CONFIG_POSIX_MQUEUE).
fn message_queues() -> Result<Option<OwnedFd>, MountError> {
    let flags =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    match new_fs("mqueue", &[], flags) {
        Ok(queues) => Ok(Some(queues)),
        Err(rustix::io::Errno::NODEV) => Ok(None),
        Err(error) => Err(at(format!("making {QUEUES}"))(error)),
    }
}

/// In init: changes the root to a new tree that holds what the plan says and nothing else.
pub fn build(plan: &Plan, sources: &Sources) -> Result<(), MountError> {
    let nothing =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    // While the host's /proc is still in sight: the kernel gives a user namespace a new proc only
    // if it could see one that hides nothing.
    let proc = match plan.mounts.contains(&Mount::Proc) {
        true => Some(new_fs("proc", &[], nothing).map_err(at("making /proc; where the host's /proc has \
             parts mounted over (as in a container), the kernel refuses it: run the grader with an unmasked /proc"))?),
        false => None,
    };
    let terminals = if plan.off(Switch::Sizes) { ALL_TERMINALS } else { TERMINALS };
    let pts = new_fs(
        "devpts",
        &[("ptmxmode", "666".into()), ("mode", "620".into()), ("max", terminals.to_string())],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )
    .map_err(at("making /dev/pts"))?;
    let queues = if plan.off(Switch::Ipc) { None } else { message_queues()? };
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )
    .map_err(at("cutting the mounts off from the host's"))?;
    enter_new_root()?;
    let containers = plan.allow.contains(Group::Containers);
    let attach = Attach { sources, proc, pts, queues, own_user_namespace: !plan.off(Switch::Ids), containers };
    for (index, mount) in plan.mounts.iter().enumerate() {
        attach.one(index, mount)?;
    }
    let root = fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(at("opening the new root"))?;
    sys::mount_setattr(root.as_fd(), mount_attr::RDONLY | mount_attr::NOSUID | mount_attr::NODEV, false)
        .map_err(at("making the new root read-only"))
}

/// pivot_root into an empty file system; chroot alone can be left.
fn enter_new_root() -> Result<(), MountError> {
    let root = new_tmpfs(ROOT_SIZE, 65_536, 0o755).map_err(at("making the new root"))?;
    // Any directory will do as the place: it is covered in this namespace only.
    let place = ["/tmp", "/run", "/mnt", "/usr"]
        .into_iter()
        .find(|p| Path::new(p).is_dir())
        .ok_or_else(|| at("finding a directory to mount the new root on")(io::Error::from(io::ErrorKind::NotFound)))?;
    move_mount(root.as_fd(), "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(at(format!("mounting the new root on {place}")))?;
    rustix::process::chdir(place).map_err(at("entering the new root"))?;
    // New and old root on one place: the old one lies on top and is taken away next.
    nix::unistd::pivot_root(".", ".").map_err(at("pivot_root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(at("taking the old root away"))?;
    rustix::process::chdir("/").map_err(at("entering the new root"))
}

struct Attach<'a> {
    sources: &'a Sources,
    /// None where the plan has no /proc of its own.
    proc: Option<OwnedFd>,
    pts: OwnedFd,
    queues: Option<OwnedFd>,
    own_user_namespace: bool,
    /// Whether programs may make namespaces of their own.
    containers: bool,
}

impl Attach<'_> {
    fn one(&self, index: usize, mount: &Mount) -> Result<(), MountError> {
        match mount {
            Mount::Bind { target, .. } => match self.sources.binds.get(index).and_then(Option::as_ref) {
                Some(fd) if is_dir(fd).map_err(at(format!("looking at the source of {}", target.display())))? => {
                    attach_on_dir(fd.as_fd(), target)
                }
                Some(fd) => attach_on_file(fd.as_fd(), target),
                None => Ok(()),
            },
            Mount::Tmpfs { target, size, inodes, mode } => {
                let fd = new_tmpfs(*size, *inodes, *mode)
                    .map_err(at(format!("making the file system for {}", target.display())))?;
                attach_on_dir(fd.as_fd(), target)
            }
            Mount::File { target, content, mode } => {
                make_parents(target)?;
                std::fs::write(target, content).map_err(at(format!("writing {}", target.display())))?;
                fs::chmod(target, Mode::from_raw_mode(*mode)).map_err(at(format!("chmod {}", target.display())))
            }
            Mount::Symlink { target, to } => {
                make_parents(target)?;
                fs::symlink(to, target).map_err(at(format!("linking {}", target.display())))
            }
            Mount::Proc => self.proc.as_ref().map_or(Ok(()), |proc| self.proc(proc)),
            Mount::Dev { shm_size } => self.dev(*shm_size),
        }
    }

    /// Needs /dev to be there already: /dev/null is what masks.
    fn proc(&self, proc: &OwnedFd) -> Result<(), MountError> {
        attach_on_dir(proc.as_fd(), Path::new("/proc"))?;
        if self.own_user_namespace {
            bound_user_namespaces(if self.containers { NESTED } else { 0 })?;
        }
        if self.containers {
            self.proc_in_sight()?;
        }
        for settings in SETTINGS.map(Path::new).into_iter().filter(|path| path.is_dir()) {
            let shown = settings.display();
            let copy = detach(settings).map_err(at(format!("copying {shown}")))?;
            sys::mount_setattr(copy.as_fd(), mount_attr::RDONLY, true)
                .map_err(at(format!("making {shown} read-only")))?;
            move_onto(copy.as_fd(), settings)?;
        }
        for masked in MASKED {
            if Path::new(masked).exists() {
                let null = detach(Path::new("/dev/null")).map_err(at("copying /dev/null"))?;
                move_onto(null.as_fd(), Path::new(masked))?;
            }
        }
        Ok(())
    }

    /// The kernel gives a user namespace a new /proc only while its mount namespace has one that hides nothing, anywhere. Ours hides
    /// parts; so there is another one, at a place that nobody inside can enter: it is the sandbox's root's, who is in no user
    /// namespace that a program makes.
    fn proc_in_sight(&self) -> Result<(), MountError> {
        let whole = detach(Path::new("/proc")).map_err(at("copying /proc"))?;
        make_dirs(Path::new(SIGHT))?;
        fs::chmod(SIGHT, Mode::from_raw_mode(0o700)).map_err(at(format!("chmod {SIGHT}")))?;
        attach_on_dir(whole.as_fd(), &Path::new(SIGHT).join("proc"))
    }

    fn dev(&self, shm_size: u64) -> Result<(), MountError> {
        for (name, fd) in DEVICES.iter().zip(&self.sources.devices) {
            attach_on_file(fd.as_fd(), &Path::new("/dev").join(name))?;
        }
        attach_on_dir(self.pts.as_fd(), Path::new("/dev/pts"))?;
        let place = Path::new(QUEUES);
        match &self.queues {
            Some(queues) => attach_on_dir(queues.as_fd(), place)?,
            None => std::fs::create_dir_all(place).map_err(at(format!("making {QUEUES}")))?,
        }
        let shm = new_tmpfs(shm_size, 16_384, 0o1777).map_err(at("making /dev/shm"))?;
        attach_on_dir(shm.as_fd(), Path::new("/dev/shm"))?;
        for (name, to) in [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            fs::symlink(to, Path::new("/dev").join(name)).map_err(at(format!("linking /dev/{name}")))?;
        }
        Ok(())
    }
}

/// In a user namespace that one makes one has every capability again, and with them most of what kernels are attacked
/// through. The filters refuse it; this is the kernel's own count, of this namespace and those below it, at whatever depth, and
/// only a capability that nobody inside has (CAP_SYS_RESOURCE) raises it again. Read back, as every limit.
fn bound_user_namespaces(most: u32) -> Result<(), MountError> {
    const COUNT: &str = "/proc/sys/user/max_user_namespaces";
    std::fs::write(COUNT, most.to_string()).map_err(at(format!("writing {COUNT}")))?;
    let kept = std::fs::read_to_string(COUNT).map_err(at(format!("reading {COUNT}")))?;
    if kept.trim() == most.to_string() {
        return Ok(());
    }
    let error = io::Error::other(format!("the kernel kept {}", kept.trim()));
    Err(at(format!("bounding user namespaces by {COUNT}"))(error))
}

fn is_dir(fd: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(fs::FileType::from_raw_mode(fs::fstat(fd)?.st_mode) == fs::FileType::Directory)
}

fn make_parents(target: &Path) -> Result<(), MountError> {
    let parent = target.parent().unwrap_or(Path::new("/"));
    make_dirs(parent)
}

fn make_dirs(dir: &Path) -> Result<(), MountError> {
    let mut path = PathBuf::from("/");
    for part in dir.components().skip(1) {
        path.push(part);
        match fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => {
                return Err(at(format!("making the directory {}", path.display()))(error));
            }
        }
    }
    Ok(())
}

fn attach_on_dir(fd: BorrowedFd<'_>, target: &Path) -> Result<(), MountError> {
    make_dirs(target)?;
    move_onto(fd, target)
}

fn attach_on_file(fd: BorrowedFd<'_>, target: &Path) -> Result<(), MountError> {
    make_parents(target)?;
    let made = fs::open(target, OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, Mode::from_raw_mode(0o444));
    match made {
        Ok(_) | Err(rustix::io::Errno::EXIST) => move_onto(fd, target),
        Err(error) => Err(at(format!("making a place for {}", target.display()))(error)),
    }
}

/// Attaches without following a link: a target below a tree of the submission must not lead elsewhere.
fn move_onto(fd: BorrowedFd<'_>, target: &Path) -> Result<(), MountError> {
    let shown = target.display().to_string();
    let place = fs::openat2(
        CWD,
        target,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(at(format!("opening the place {shown}")))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(fd, "", place.as_fd(), "", flags).map_err(at(format!("mounting {shown}")))
}
