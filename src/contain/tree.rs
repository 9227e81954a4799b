//! What of the host is visible inside: an explicit list, read-only.

use sandbox::plan::Mount;
use std::path::{Path, PathBuf};

/// Where things stand inside.
pub mod inside {
    /// The student's project.
    pub const PROJECT: &str = "/task/project";
    /// The suite's copy.
    pub const SUITE: &str = "/task/suite";
    /// The suite's Python environment.
    pub const VENV: &str = "/venv";
    /// The harness plugin and what it needs.
    pub const HARNESS: &str = "/run/ostest";
    /// HOME of the test stage, where tools look for their settings.
    pub const HOME: &str = "/run/home";
    /// A mirrored repository during fetch.
    pub const MIRROR: &str = "/run/ostest/mirror";
}

/// Directories at the top that are links into /usr on a merged system and directories on others.
const TOP: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// The part of /etc that programs need and that holds no secret, beside what [`super::etc`] finds. `/etc/ssl` has keys as well.
const ETC: [&str; 16] = [
    "/etc/alternatives",
    "/etc/debian_version",
    "/etc/gai.conf",
    "/etc/gdb",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/login.defs",
    "/etc/os-release",
    "/etc/protocols",
    "/etc/services",
    "/etc/shells",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
];

/// What the stages with a proxy need beside: certificates, and pip's settings. Not the resolver's: the proxy resolves names.
const ETC_PROXY: [&str; 3] = ["/etc/ca-certificates", "/etc/pip.conf", "/etc/ssl"];

/// Directories that are visible whole where there is a proxy.
pub const SHOWN_WITH_PROXY: [&str; 3] = ["/usr", "/etc/ca-certificates", "/etc/ssl"];

/// Host name inside.
pub const HOSTNAME: &str = "sandbox";

/// A read-only bind of a host path at its own place.
pub fn same_place(path: impl Into<PathBuf>, optional: bool) -> Mount {
    let path = path.into();
    Mount::Bind { source: path.clone(), target: path, writable: false, optional }
}

/// A bind of a host directory elsewhere.
pub fn bind(source: impl Into<PathBuf>, target: &str, writable: bool) -> Mount {
    Mount::Bind { source: source.into(), target: target.into(), writable, optional: false }
}

/// A small read-only file.
pub fn file(target: impl Into<PathBuf>, content: impl Into<String>) -> Mount {
    Mount::File { target: target.into(), content: content.into(), mode: 0o644 }
}

/// The system: /usr and what belongs to it, the needed part of /etc, /dev, /proc. `extra` are toolchains elsewhere.
pub fn system(extra: &[PathBuf], proxy: bool, shm_size: u64) -> Vec<Mount> {
    let mut mounts = vec![same_place("/usr", false)];
    for top in TOP {
        match std::fs::read_link(top) {
            Ok(to) => mounts.push(Mount::Symlink { target: top.into(), to }),
            Err(_) => mounts.push(same_place(top, true)),
        }
    }
    let proxy = if proxy { &ETC_PROXY[..] } else { &[] };
    let etc = ETC.iter().filter(|path| !proxy.iter().any(|whole| Path::new(path).starts_with(whole)));
    mounts.extend(etc.chain(proxy).map(|path| same_place(*path, true)));
    // Accounts of the host are none of the sandbox's business: these are made up.
    mounts.push(file(
        "/etc/passwd",
        "root:x:0:0:root:/root:/usr/sbin/nologin\nstudent:x:1000:1000:student:/run/home:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ));
    mounts.push(file("/etc/group", "root:x:0:\ntty:x:5:\nstudent:x:1000:\nnogroup:x:65534:\n"));
    // Nobody has a password, and that nobody may read it is what a program expects.
    mounts.push(Mount::File {
        target: "/etc/shadow".into(),
        content: "root:*:::::::\nstudent:*:::::::\nnobody:*:::::::\n".into(),
        mode: 0o600,
    });
    mounts.push(file("/etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"));
    mounts.push(file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n"));
    mounts.push(file("/etc/hostname", format!("{HOSTNAME}\n")));
    mounts.push(file("/etc/resolv.conf", "# There is no name server here: names are looked up in /etc/hosts.\n"));
    mounts.push(file("/etc/profile", "# A login shell has the environment of whoever started it.\n"));
    for (target, to) in [("/etc/mtab", "/proc/self/mounts"), ("/var/tmp", "/tmp")] {
        mounts.push(Mount::Symlink { target: target.into(), to: to.into() });
    }
    mounts.extend(extra.iter().filter(|p| !p.starts_with("/usr")).map(|path| same_place(path, false)));
    mounts.push(Mount::Dev { shm_size });
    mounts.push(Mount::Proc);
    mounts
}

/// Whether what a mount shows is there by an earlier one, of it or of a folder that it is in.
pub fn covers(mounts: &[Mount], new: &Mount) -> bool {
    let target = |mount: &'_ Mount| match mount {
        Mount::Bind { target, .. } | Mount::File { target, .. } | Mount::Symlink { target, .. } => Some(target.clone()),
        _ => None,
    };
    target(new).is_some_and(|new| mounts.iter().filter_map(target).any(|there| new.starts_with(there)))
}

/// Inodes for a file system of this size: one for each 4 KiB, within reason.
pub fn inodes_for(size: u64) -> u64 {
    (size / 4096).clamp(4096, 262_144)
}

/// /tmp: empty, limited, everybody's.
pub fn tmp(size: u64) -> Mount {
    Mount::Tmpfs { target: "/tmp".into(), size, inodes: inodes_for(size), mode: 0o1777 }
}

/// HOME of the test stage. One that is not `writable` is empty and stays so: it is root's, and nobody inside is root.
pub fn home(writable: bool, size: u64) -> Mount {
    let (size, mode) = if writable { (size, 0o1777) } else { (64 << 10, 0o555) };
    Mount::Tmpfs { target: inside::HOME.into(), size, inodes: inodes_for(size), mode }
}

/// An empty writable directory of the student's.
pub fn empty_work(size: u64) -> Mount {
    Mount::Tmpfs { target: "/task".into(), size, inodes: inodes_for(size), mode: 0o1777 }
}

/// Whether `path` is absolute and holds no `..`.
pub fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|c| !matches!(c, std::path::Component::ParentDir))
}
