//! Walks a tree that must hold still: everything in it, in an order that depends on names alone, without following a link.

use crate::copy::{MAX_DEPTH, list};
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// One thing in a tree.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub what: What,
    /// Its permissions.
    pub mode: u32,
    /// Bytes in it, as its directory says.
    pub size: u64,
}

/// What something in a tree is.
#[derive(Debug)]
pub enum What {
    /// A directory. What is in it comes after it.
    Directory,
    /// A regular file, opened for reading.
    File(File),
    /// A link, with what it leads to; every byte that is not plain ASCII is escaped.
    Link(String),
    /// A pipe, a socket or a device. It is not opened.
    Special,
}

/// Where a walk ended early.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct VisitError {
    /// Path below the top, or `.`.
    pub path: String,
    /// What the kernel said.
    pub error: io::Error,
}

/// Shows `each` everything below `top`, with its path. In paths every byte that is not plain ASCII is escaped, so that two different
/// names never look the same. `top` itself may be a link.
///
/// # Errors
/// When something cannot be read, or `each` says so.
pub fn visit(top: &Path, each: &mut dyn FnMut(&str, Found) -> io::Result<()>) -> Result<(), VisitError> {
    let open = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = fs::openat(CWD, top, open, Mode::empty());
    let dir = dir.map_err(|error| VisitError { path: ".".into(), error: error.into() })?;
    below(dir.as_fd(), "", 0, each)
}

fn below(
    dir: BorrowedFd<'_>,
    above: &str,
    depth: u32,
    each: &mut dyn FnMut(&str, Found) -> io::Result<()>,
) -> Result<(), VisitError> {
    let here = || if above.is_empty() { ".".to_string() } else { above.trim_end_matches('/').to_string() };
    let mut entries = list(dir).map_err(|error| VisitError { path: here(), error: error.into() })?;
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, kind) in entries {
        let path = format!("{above}{}", name.to_bytes().escape_ascii());
        let fail = |error: io::Error| VisitError { path: path.clone(), error };
        let (found, inner) = look(dir, &name, kind).map_err(|error| fail(error.into()))?;
        each(&path, found).map_err(fail)?;
        if let Some(inner) = inner {
            if depth == MAX_DEPTH {
                return Err(fail(io::Error::other(format!("it lies deeper than {MAX_DEPTH} directories"))));
            }
            below(inner.as_fd(), &format!("{path}/"), depth + 1, each)?;
        }
    }
    Ok(())
}

/// What a name stands for; and its descriptor, if it is a directory.
fn look(dir: BorrowedFd<'_>, name: &CStr, kind: FileType) -> rustix::io::Result<(Found, Option<OwnedFd>)> {
    // NONBLOCK: a name that was a file when it was listed and is a pipe now must not hold us.
    let open = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let found = |what, stat: &fs::Stat| Found {
        what,
        mode: stat.st_mode & 0o7777,
        size: stat.st_size.try_into().unwrap_or_default(),
    };
    match kind {
        FileType::Directory => {
            let inner = fs::openat(dir, name, open | OFlags::DIRECTORY, Mode::empty())?;
            let stat = fs::fstat(&inner)?;
            Ok((found(What::Directory, &stat), Some(inner)))
        }
        FileType::RegularFile => {
            let file = fs::openat(dir, name, open, Mode::empty())?;
            let stat = fs::fstat(&file)?;
            let what = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => What::File(File::from(file)),
                _ => What::Special,
            };
            Ok((found(what, &stat), None))
        }
        kind => {
            let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let what = match kind {
                FileType::Symlink => {
                    What::Link(fs::readlinkat(dir, name, Vec::new())?.to_bytes().escape_ascii().to_string())
                }
                _ => What::Special,
            };
            Ok((found(what, &stat), None))
        }
    }
}

/// Writes everything to the disk that the file system of this directory has in memory alone.
///
/// # Errors
/// When some of it could not be written, since the directory was opened at the latest.
pub fn sync_file_system(dir: &File) -> io::Result<()> {
    Ok(fs::syncfs(dir)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn seen(top: &Path) -> Vec<String> {
        let mut all = Vec::new();
        visit(top, &mut |path, found| {
            let what = match found.what {
                What::Directory => "directory".into(),
                What::File(mut file) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text)?;
                    format!("{} {text}", found.size)
                }
                What::Link(to) => format!("-> {to}"),
                What::Special => "special".into(),
            };
            all.push(format!("{path} {:o} {what}", if what.starts_with("->") { 0 } else { found.mode }));
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn everything_is_shown_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir_all(top.join("b/inner")).unwrap();
        std::fs::write(top.join("b/inner/f"), "text").unwrap();
        std::fs::write(top.join("a"), "").unwrap();
        symlink("/etc", top.join("c")).unwrap();
        symlink(std::ffi::OsStr::from_bytes(b"x\xff"), top.join("e")).unwrap();
        nix::unistd::mkfifo(&top.join("d"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (name, mode) in [("a", 0o640), ("b", 0o755), ("b/inner", 0o700), ("b/inner/f", 0o755), ("d", 0o600)] {
            std::fs::set_permissions(top.join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        let expected = [
            "a 640 0 ",
            "b 755 directory",
            "b/inner 700 directory",
            "b/inner/f 755 4 text",
            "c 0 -> /etc",
            "d 600 special",
            "e 0 -> x\\xff",
        ];
        assert_eq!(seen(&top), expected);
        // The top is the caller's word.
        symlink("top", dir.path().join("link")).unwrap();
        assert_eq!(seen(&dir.path().join("link")), expected);
    }

    #[test]
    fn names_that_are_no_text_stay_apart() {
        let dir = tempfile::tempdir().unwrap();
        for name in [&b"\xfe"[..], b"\xff", b"\\xff"] {
            std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
        }
        let names: Vec<String> = seen(dir.path()).iter().map(|line| line.split(' ').next().unwrap().into()).collect();
        assert_eq!(names, ["\\\\xff", "\\xfe", "\\xff"]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = visit(&dir.path().join("none"), &mut |_, _| Ok(())).unwrap_err();
        assert_eq!((error.path.as_str(), error.error.kind()), (".", io::ErrorKind::NotFound));
        std::fs::write(dir.path().join("f"), "").unwrap();
        let error = visit(dir.path(), &mut |_, _| Err(io::Error::other("no"))).unwrap_err();
        assert_eq!(error.to_string(), "f: no");
    }
}
