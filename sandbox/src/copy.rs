//! Copies a tree that somebody else wrote into a place that belongs to a sandbox.
//!
//! Every step goes through a descriptor of the directory it happens in and follows no link: a
//! submission that replaces a directory by a link while it is copied gains nothing. Regular files, directories and
//! links (as links) are copied; sockets, pipes and devices are left out and counted. Times of modification are kept, by
//! which make decides what is to be built again.

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::process::{Gid, Uid};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Deepest directory below the top. Path names end at 4096 bytes anyway.
pub(crate) const MAX_DEPTH: u32 = 200;

/// Bytes that are copied at once.
const PART: usize = 64 << 10;

/// Whose the copy is and what may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// Host uid of all that is made.
    pub uid: u32,
    /// Host gid of all that is made.
    pub gid: u32,
    /// Nobody but its owner changes what is copied: files lose the write bits of others, and directories become sticky and
    /// writable for all, so that a suite may build into its own tree while no one renames or removes what it shipped.
    pub shielded: bool,
}

/// How much is copied at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// Bytes in files.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes in files.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
    /// Sockets, pipes and devices that were left out.
    pub left_out: u64,
}

/// Which of two trees it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that is copied.
    Source,
    /// The one that is made, or changed.
    Target,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Side::Source => "reading",
            Side::Target => "writing",
        })
    }
}

/// Why a tree was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The kernel refused.
    #[error("{side} {path} failed: {error}")]
    Io {
        /// Where.
        side: Side,
        /// Path below the top, or the top itself.
        path: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// It is larger than allowed.
    #[error("the tree is too large to be copied: {0}")]
    TooLarge(String),
}

/// The error for what happened at this path.
fn fail<E: Into<io::Error>>(side: Side, path: &str) -> impl FnOnce(E) -> CopyError + use<E> {
    let path = if path.is_empty() { ".".to_string() } else { path.to_string() };
    move |error| CopyError::Io { side, path, error: error.into() }
}

struct Job {
    owner: Ownership,
    cap: Cap,
    skip: &'static [&'static str],
    done: Copied,
}

/// Copies what lies in the directory `from` into the existing directory `to`. Top-level entries named in `skip` are
/// left out (`.git`, which must not reach student code).
pub fn copy_tree(
    from: &Path,
    to: &Path,
    owner: Ownership,
    cap: Cap,
    skip: &'static [&'static str],
) -> Result<Copied, CopyError> {
    let open = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let source = fs::openat(CWD, from, open, Mode::empty()).map_err(fail(Side::Source, &from.to_string_lossy()))?;
    let to_shown = to.to_string_lossy();
    let target = fs::openat(CWD, to, open | OFlags::NOFOLLOW, Mode::empty()).map_err(fail(Side::Target, &to_shown))?;
    let mut job = Job { owner, cap, skip, done: Copied::default() };
    job.dir(source, target.as_fd(), "", 0)?;
    job.own_dir(target.as_fd(), 0o755).map_err(fail(Side::Target, &to_shown))?;
    Ok(job.done)
}

/// Reads a small text file directly in `dir`: no link is followed, it must be a regular file and hold at most `max`
/// bytes of UTF-8. `None`: it is not there.
pub fn read_small(dir: &Path, name: &str, max: u64) -> io::Result<Option<String>> {
    let open = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dir = fs::openat(CWD, dir, open, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let resolve = fs::ResolveFlags::BENEATH | fs::ResolveFlags::NO_SYMLINKS | fs::ResolveFlags::NO_MAGICLINKS;
    let file = match fs::openat2(&dir, name, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    let mut limited = io::Read::take(std::fs::File::from(file), max + 1);
    io::Read::read_to_string(&mut limited, &mut text)?;
    if text.len() as u64 > max {
        return Err(io::Error::other(format!("it is longer than {max} bytes")));
    }
    Ok(Some(text))
}

/// Lets only the group `gid` (beside the owner) read the regular files of a tree whose path below `top` is `hidden`; what
/// could be executed can be executed by it. Follows no link. Gives their number.
///
/// # Errors
/// When a part of the tree cannot be read, or changed.
pub fn hide(top: &Path, gid: u32, hidden: &dyn Fn(&str) -> bool) -> Result<u64, CopyError> {
    let shown = top.to_string_lossy();
    let open = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dir = fs::openat(CWD, top, open, Mode::empty()).map_err(fail(Side::Target, &shown))?;
    hide_below(dir.as_fd(), "", gid, hidden).map_err(fail(Side::Target, &shown))
}

fn hide_below(dir: BorrowedFd<'_>, above: &str, gid: u32, hidden: &dyn Fn(&str) -> bool) -> rustix::io::Result<u64> {
    let mut count = 0;
    for (name, kind) in list(dir)? {
        let path = format!("{above}{}", name.to_string_lossy());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        if kind == FileType::Directory {
            let below = fs::openat(dir, &name, flags | OFlags::DIRECTORY, Mode::empty())?;
            count += hide_below(below.as_fd(), &format!("{path}/"), gid, hidden)?;
        } else if kind == FileType::RegularFile && hidden(&path) {
            let file = fs::openat(dir, &name, flags, Mode::empty())?;
            let mode = fs::fstat(&file)?.st_mode;
            // First the group: a moment in which everybody's read bit is gone and the group is not there harms nobody.
            fs::fchown(&file, None, Some(Gid::from_raw(gid)))?;
            fs::fchmod(&file, Mode::from_raw_mode(mode & 0o550))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Gives a whole tree to one owner, without following a link.
pub fn chown_tree(top: &Path, uid: u32, gid: u32) -> Result<(), CopyError> {
    let shown = top.to_string_lossy();
    let open = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dir = fs::openat(CWD, top, open, Mode::empty()).map_err(fail(Side::Target, &shown))?;
    chown_below(dir.as_fd(), uid, gid).map_err(fail(Side::Target, &shown))?;
    fs::fchown(&dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(fail(Side::Target, &shown))
}

fn chown_below(dir: BorrowedFd<'_>, uid: u32, gid: u32) -> rustix::io::Result<()> {
    for (name, kind) in list(dir)? {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if kind == FileType::Directory {
            let open = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            chown_below(fs::openat(dir, &name, open, Mode::empty())?.as_fd(), uid, gid)?;
        }
        fs::chownat(dir, &name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?;
    }
    Ok(())
}

/// Names and kinds in a directory, without `.` and `..`.
pub(crate) fn list(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<(std::ffi::CString, FileType)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            known => known,
        };
        entries.push((name.to_owned(), kind));
    }
    Ok(entries)
}

/// The times of a file, for its copy. That of reading is the one of modification, too: reading the original was our own doing.
fn times(stat: &fs::Stat) -> Timestamps {
    let modified = Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: modified, last_modification: modified }
}

impl Job {
    fn dir(&mut self, from: OwnedFd, to: BorrowedFd<'_>, shown: &str, depth: u32) -> Result<(), CopyError> {
        if depth > MAX_DEPTH {
            return Err(CopyError::TooLarge(format!("{shown} lies deeper than {MAX_DEPTH} directories")));
        }
        for (name, kind) in list(from.as_fd()).map_err(fail(Side::Source, shown))? {
            if depth == 0 && self.skip.iter().any(|s| s.as_bytes() == name.to_bytes()) {
                continue;
            }
            let path = format!("{shown}{}{}", if shown.is_empty() { "" } else { "/" }, name.to_string_lossy());
            self.count(&path)?;
            match kind {
                FileType::Directory => {
                    let open = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                    let source = fs::openat(&from, &name, open, Mode::empty()).map_err(fail(Side::Source, &path))?;
                    let stat = fs::fstat(&source).map_err(fail(Side::Source, &path))?;
                    fs::mkdirat(to, &name, Mode::from_raw_mode(0o700)).map_err(fail(Side::Target, &path))?;
                    let target = fs::openat(to, &name, open, Mode::empty()).map_err(fail(Side::Target, &path))?;
                    self.dir(source, target.as_fd(), &path, depth + 1)?;
                    let mode = (stat.st_mode & 0o777) | 0o700;
                    self.own_dir(target.as_fd(), mode).map_err(fail(Side::Target, &path))?;
                    // After all that was made in it.
                    fs::futimens(&target, &times(&stat)).map_err(fail(Side::Target, &path))?;
                }
                FileType::Symlink => self.link(from.as_fd(), to, &name, &path)?,
                FileType::RegularFile => self.file(from.as_fd(), to, &name, &path)?,
                _ => self.done.left_out += 1,
            }
        }
        Ok(())
    }

    fn count(&mut self, path: &str) -> Result<(), CopyError> {
        self.done.entries += 1;
        if self.done.entries > self.cap.entries {
            return Err(CopyError::TooLarge(format!("more than {} files, at {path}", self.cap.entries)));
        }
        Ok(())
    }

    fn own_dir(&self, dir: BorrowedFd<'_>, mode: u32) -> rustix::io::Result<()> {
        fs::fchown(dir, Some(Uid::from_raw(self.owner.uid)), Some(Gid::from_raw(self.owner.gid)))?;
        let mode = if self.owner.shielded { 0o1777 } else { mode };
        fs::fchmod(dir, Mode::from_raw_mode(mode))
    }

    fn link(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, path: &str) -> Result<(), CopyError> {
        let target = fs::readlinkat(from, name, Vec::new()).map_err(fail(Side::Source, path))?;
        fs::symlinkat(target, to, name).map_err(fail(Side::Target, path))?;
        let (uid, gid) = (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid));
        fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(fail(Side::Target, path))?;
        let stat = fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail(Side::Source, path))?;
        fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW).map_err(fail(Side::Target, path))
    }

    fn file(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, path: &str) -> Result<(), CopyError> {
        // NONBLOCK: a name that was a file when it was listed and is a pipe now must not hold us.
        let open = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let source = fs::openat(from, name, open, Mode::empty()).map_err(fail(Side::Source, path))?;
        let stat = fs::fstat(&source).map_err(fail(Side::Source, path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.done.left_out += 1;
            return Ok(());
        }
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let target = fs::openat(to, name, create, Mode::from_raw_mode(0o600)).map_err(fail(Side::Target, path))?;
        let (mut source, mut target) = (std::fs::File::from(source), std::fs::File::from(target));
        self.done.bytes += self.content(&mut source, &mut target, path)?;
        let (uid, gid) = (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid));
        fs::fchown(&target, Some(uid), Some(gid)).map_err(fail(Side::Target, path))?;
        let execute = stat.st_mode & 0o111;
        // A copy that `cp` or shutil makes has these bits, too, and whoever made it wants to write to it again. The owner is
        // the sandbox's root, which nothing runs as.
        let mode =
            if self.owner.shielded { 0o444 | (stat.st_mode & 0o200) | execute } else { (stat.st_mode & 0o777) | 0o600 };
        fs::fchmod(&target, Mode::from_raw_mode(mode)).map_err(fail(Side::Target, path))?;
        fs::futimens(&target, &times(&stat)).map_err(fail(Side::Target, path))
    }

    /// The bytes of a file. Not `io::copy`, whose errors do not say which side they are of.
    fn content(&self, from: &mut impl io::Read, to: &mut impl io::Write, path: &str) -> Result<u64, CopyError> {
        let left = self.cap.bytes - self.done.bytes;
        let (mut part, mut bytes) = (vec![0; PART], 0);
        loop {
            let count = match from.read(&mut part) {
                Ok(0) => return Ok(bytes),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(fail(Side::Source, path)(error)),
            };
            bytes += count as u64;
            if bytes > left {
                return Err(CopyError::TooLarge(format!("more than {} bytes, at {path}", self.cap.bytes)));
            }
            to.write_all(&part[..count]).map_err(fail(Side::Target, path))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn me(shielded: bool) -> Ownership {
        Ownership { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw(), shielded }
    }

    const CAP: Cap = Cap { bytes: 1 << 20, entries: 100 };

    #[test]
    fn links_are_copied_as_links_and_git_is_left_out() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(from.path().join("src/.git")).unwrap();
        std::fs::create_dir(from.path().join(".git")).unwrap();
        std::fs::write(from.path().join("src/a.c"), "int a;").unwrap();
        symlink("/etc/shadow", from.path().join("src/link")).unwrap();
        nix::unistd::mkfifo(&from.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let done = copy_tree(from.path(), to.path(), me(false), CAP, &[".git"]).unwrap();
        assert_eq!(done, Copied { bytes: 6, entries: 5, left_out: 1 });
        assert_eq!(std::fs::read_link(to.path().join("src/link")).unwrap(), Path::new("/etc/shadow"));
        assert!(!to.path().join(".git").exists() && to.path().join("src/.git").exists());
    }

    #[test]
    fn times_of_modification_are_kept() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(from.path().join("src")).unwrap();
        std::fs::write(from.path().join("src/a.c"), "int a;").unwrap();
        symlink("a.c", from.path().join("src/link")).unwrap();
        for (path, seconds) in [("src/a.c", 1_000_000_001), ("src/link", -5), ("src", 4_000_000_000)] {
            let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
            let times = Timestamps { last_access: time, last_modification: time };
            fs::utimensat(CWD, from.path().join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
        for shielded in [false, true] {
            let to = to.path().join(shielded.to_string());
            std::fs::create_dir(&to).unwrap();
            copy_tree(from.path(), &to, me(shielded), CAP, &[]).unwrap();
            for path in ["src/a.c", "src/link", "src"] {
                let of = |top: &Path| {
                    let found = std::fs::symlink_metadata(top.join(path)).unwrap();
                    (found.mtime(), found.mtime_nsec())
                };
                assert_eq!(of(&to), of(from.path()), "{path}");
            }
        }
    }

    #[test]
    fn a_shielded_copy_can_be_built_in_and_not_changed() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(from.path().join("tests")).unwrap();
        std::fs::write(from.path().join("tests/run.sh"), "x").unwrap();
        std::fs::set_permissions(from.path().join("tests/run.sh"), PermissionsExt::from_mode(0o775)).unwrap();
        copy_tree(from.path(), to.path(), me(true), CAP, &[]).unwrap();
        let mode = |p: &str| std::fs::metadata(to.path().join(p)).unwrap().mode() & 0o7777;
        assert_eq!((mode("tests"), mode("tests/run.sh"), mode("")), (0o1777, 0o755, 0o1777));
    }

    #[test]
    fn what_is_hidden_is_for_a_group_alone() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("lab1")).unwrap();
        for name in ["lab1/test_a.py", "lab1/help.py", "run.sh"] {
            std::fs::write(top.path().join(name), "x").unwrap();
            std::fs::set_permissions(top.path().join(name), PermissionsExt::from_mode(0o555)).unwrap();
        }
        symlink("run.sh", top.path().join("test_link.py")).unwrap();
        let group = rustix::process::getgid().as_raw();
        assert_eq!(hide(top.path(), group, &|path| path.contains("test_")).unwrap(), 1);
        let mode = |p: &str| std::fs::metadata(top.path().join(p)).unwrap().mode() & 0o7777;
        assert_eq!((mode("lab1/test_a.py"), mode("lab1/help.py"), mode("run.sh")), (0o550, 0o555, 0o555));
    }

    #[test]
    fn an_error_says_which_tree_it_is_of() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let copied = || copy_tree(from.path(), to.path(), me(false), CAP, &[]);
        std::fs::create_dir(from.path().join("a")).unwrap();
        std::fs::write(from.path().join("a/f"), "x").unwrap();
        std::fs::create_dir(to.path().join("a")).unwrap();
        let error = copied().unwrap_err();
        assert!(matches!(&error, CopyError::Io { side: Side::Target, path, .. } if path == "a"), "{error:?}");
        let gone = from.path().join("gone");
        let error = copy_tree(&gone, to.path(), me(false), CAP, &[]).unwrap_err();
        assert!(matches!(&error, CopyError::Io { side: Side::Source, .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("reading {} failed: No such file or directory (os error 2)", gone.display())
        );
        // A file that cannot be read although it can be opened: memory of a process at address 0.
        let job = Job { owner: me(false), cap: CAP, skip: &[], done: Copied::default() };
        let mut unreadable = std::fs::File::open("/proc/self/mem").unwrap();
        let error = job.content(&mut unreadable, &mut Vec::new(), "f").unwrap_err();
        assert!(matches!(&error, CopyError::Io { side: Side::Source, path, .. } if path == "f"), "{error:?}");
        let error = job.content(&mut &b"x"[..], &mut std::fs::File::create("/dev/full").unwrap(), "f").unwrap_err();
        assert!(matches!(&error, CopyError::Io { side: Side::Target, .. }), "{error:?}");
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(from.path().join("big"), vec![0; 11]).unwrap();
        let small = Cap { bytes: 10, entries: 100 };
        assert!(matches!(copy_tree(from.path(), to.path(), me(false), small, &[]), Err(CopyError::TooLarge(_))));
        let to = tempfile::tempdir().unwrap();
        let few = Cap { bytes: 100, entries: 0 };
        assert!(matches!(copy_tree(from.path(), to.path(), me(false), few, &[]), Err(CopyError::TooLarge(_))));
    }
}
