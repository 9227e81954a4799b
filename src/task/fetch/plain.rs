//! Reads files of a repository, which may be anything: a link to a secret or to /dev/zero, or a pipe that nobody writes to.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// At most `max` bytes of a regular file below `dir`, with no link on the way to it. `dir` is a real path. `None`: there is none.
pub fn read(dir: &Path, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let dir = openat2(nix::fcntl::AT_FDCWD, dir, how)?;
    // Without O_NONBLOCK the opening of a pipe waits for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let file = match openat2(&dir, name, OpenHow::new().flags(flags).resolve(resolve)) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        Err(Errno::ELOOP) => return Err(io::Error::other("it is a link, or lies behind one")),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The text of a file that has at most `max` bytes. No error holds a part of it.
pub fn text(dir: &Path, name: &str, max: u64) -> io::Result<Option<String>> {
    let Some(bytes) = read(dir, name, max + 1)? else { return Ok(None) };
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it has more than {max} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| io::Error::other("it is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_are_read_and_only_so_much() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("info")).unwrap();
        std::fs::write(top.join("info/file"), "12345").unwrap();
        assert_eq!(read(&top, "info/file", 3).unwrap().unwrap(), b"123");
        assert_eq!(text(&top, "info/file", 5).unwrap().unwrap(), "12345");
        assert!(text(&top, "info/file", 4).unwrap_err().to_string().contains("more than 4 bytes"));
        assert!(matches!((read(&top, "none", 9), read(&top, "info/file/x", 9)), (Ok(None), Ok(None))));
        symlink("/dev/zero", top.join("zero")).unwrap();
        symlink("info", top.join("link")).unwrap();
        nix::unistd::mkfifo(&top.join("pipe"), Mode::S_IRWXU).unwrap();
        for name in ["zero", "link/file", "pipe", "info", "../x"] {
            assert!(read(&top, name, 9).is_err(), "{name}");
        }
        assert!(read(&top.join("link"), "file", 9).is_err());
    }
}
