//! What lies in a tree, before and after somebody hostile worked beside it.

use rustix::fs::{self, CWD, FileType, Mode, OFlags};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Deepest directory below the top that is looked into: what was copied lies no deeper.
const MAX_DEPTH: u32 = crate::copy::MAX_DEPTH;

/// What changes with a file's content, owner, permissions or names. Nobody but the host's root sets the time of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: i64,
    changed: (i64, u64),
}

/// Everything in a tree but its directories, by its path below the top; the invalid parts of names are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory(BTreeMap<String, Stamp>);

/// How one inventory differs from an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Files that are others now, or have another owner, other permissions, or one name more or less.
    pub changed: Vec<String>,
    /// Files that are gone.
    pub gone: Vec<String>,
    /// Files that have come.
    pub come: Vec<String>,
}

impl Inventory {
    /// Takes one of the tree below `top`. No link is followed, nothing is opened but directories.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn take(top: &Path) -> io::Result<Inventory> {
        Inventory::take_without(top, &[])
    }

    /// The same without what `skip` names directly in `top`.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn take_without(top: &Path, skip: &[&str]) -> io::Result<Inventory> {
        let mut inventory = Inventory::default();
        inventory.below(CWD, top, "", skip, 0)?;
        Ok(inventory)
    }

    /// The paths of all that lies in it.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn below(
        &mut self,
        at: BorrowedFd<'_>,
        dir: impl rustix::path::Arg,
        above: &str,
        skip: &[&str],
        depth: u32,
    ) -> io::Result<()> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let dir = fs::openat(at, dir, flags, Mode::empty())?;
        for (name, kind) in crate::copy::list(dir.as_fd())? {
            if skip.iter().any(|skip| skip.as_bytes() == name.to_bytes()) {
                continue;
            }
            let path = format!("{above}{}", name.to_string_lossy());
            if kind == FileType::Directory {
                if depth < MAX_DEPTH {
                    self.below(dir.as_fd(), &*name, &format!("{path}/"), &[], depth + 1)?;
                }
                continue;
            }
            let stat = fs::statat(&dir, &*name, fs::AtFlags::SYMLINK_NOFOLLOW)?;
            let stamp = Stamp { inode: stat.st_ino, size: stat.st_size, changed: (stat.st_ctime, stat.st_ctime_nsec) };
            self.0.insert(path, stamp);
        }
        Ok(())
    }

    /// What has happened since `self`.
    pub fn differences(&self, now: &Inventory) -> Differences {
        let mut all = Differences::default();
        for (path, stamp) in &self.0 {
            match now.0.get(path) {
                None => all.gone.push(path.clone()),
                Some(other) if other != stamp => all.changed.push(path.clone()),
                Some(_) => {}
            }
        }
        all.come.extend(now.0.keys().filter(|path| !self.0.contains_key(*path)).cloned());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Differences, Inventory};
    use std::os::unix::fs::symlink;

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        let top = tempfile::tempdir().unwrap();
        let file = |name: &str| top.path().join(name);
        std::fs::create_dir_all(file("a/b")).unwrap();
        for name in ["a/b/same", "a/written", "a/replaced", "linked", "gone", "mode"] {
            std::fs::write(file(name), "1").unwrap();
        }
        symlink("mode", file("link")).unwrap();
        let before = Inventory::take(top.path()).unwrap();
        assert_eq!(before.differences(&Inventory::take(top.path()).unwrap()), Differences::default());
        // The clock of a file system ticks a hundred times a second or so.
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::fs::write(file("a/written"), "2").unwrap();
        std::fs::write(file("a/new"), "1").unwrap();
        std::fs::rename(file("a/new"), file("a/replaced")).unwrap();
        std::fs::hard_link(file("linked"), file("come")).unwrap();
        std::fs::remove_file(file("gone")).unwrap();
        std::fs::remove_file(file("link")).unwrap();
        symlink("linked", file("link")).unwrap();
        std::os::unix::fs::chown(file("mode"), None, None).unwrap();
        std::fs::set_permissions(file("mode"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let texts = |all: &[&str]| all.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let expected = Differences {
            changed: texts(&["a/replaced", "a/written", "link", "linked", "mode"]),
            gone: texts(&["gone"]),
            come: texts(&["come"]),
        };
        assert_eq!(before.differences(&Inventory::take(top.path()).unwrap()), expected);
    }
}
