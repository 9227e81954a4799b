//! A suite's directory that somebody changes while it is copied: half of an old suite with half of a new one grades everybody wrongly.

use super::blame;
use crate::fault::Fault;
use anyhow::Context;
use sandbox::inventory::Inventory;
use std::io;
use std::path::Path;

/// What is in it now; none where something went while it was looked at. git's own directory is not copied, and changes when somebody
/// only looks.
pub fn look(suite: &Path) -> Result<Option<Inventory>, Fault> {
    match suite.canonicalize().and_then(|real| Inventory::take_without(&real, &[".git"])) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && suite.is_dir() => Ok(None),
        Err(error) => Err(blame::unreadable(suite, ".", &error)),
    }
}

/// The first thing that changed between two looks.
pub fn changed(before: Option<&Inventory>, after: Option<&Inventory>) -> Option<String> {
    let (Some(before), Some(after)) = (before, after) else { return Some("what is in it".into()) };
    let all = before.differences(after);
    all.changed.iter().chain(&all.gone).chain(&all.come).next().cloned()
}

/// The first thing in it that is no file, no directory and no link.
pub fn first_special(suite: &Path) -> Option<String> {
    let mut left = vec![suite.to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && (dir != suite || entry.file_name() != ".git") {
                left.push(entry.path());
            } else if !kind.is_dir() && !kind.is_file() && !kind.is_symlink() {
                return Some(entry.path().strip_prefix(suite).unwrap_or(&entry.path()).display().to_string());
            }
        }
    }
    None
}

/// It changed each time.
pub fn never_still(changed: &str, copied: Option<Fault>) -> Fault {
    let said = copied.map(|fault| fault.whole()).unwrap_or_default();
    Fault::suite("the test suite changes while it is copied")
        .with_detail(format!("{changed} did, the last time\n{said}"))
}

/// Empties the suite's copy, of which nothing is in use yet.
pub fn clear(copy: &Path) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be emptied", copy.display());
    for entry in std::fs::read_dir(copy).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let directory = entry.file_type().with_context(cannot)?.is_dir();
        let path = entry.path();
        let removed = if directory { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        removed.with_context(cannot)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_and_git_is_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("lab1/.git")).unwrap();
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        let before = look(dir.path()).unwrap();
        let since = || changed(before.as_ref(), look(dir.path()).unwrap().as_ref());
        std::fs::write(dir.path().join(".git/index"), "").unwrap();
        assert_eq!(since(), None);
        std::fs::write(dir.path().join("lab1/.git/index"), "").unwrap();
        assert_eq!(since().as_deref(), Some("lab1/.git/index"));
        assert!(changed(before.as_ref(), None).is_some());
        assert!(look(&dir.path().join("none")).unwrap_err().message.contains("not there"));
    }

    #[test]
    fn what_cannot_be_copied_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("lab1/.git")).unwrap();
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        let _hidden = std::os::unix::net::UnixListener::bind(dir.path().join(".git/fsmonitor")).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("link")).unwrap();
        assert_eq!(first_special(dir.path()), None);
        let _left = std::os::unix::net::UnixListener::bind(dir.path().join("lab1/.git/socket")).unwrap();
        assert_eq!(first_special(dir.path()).as_deref(), Some("lab1/.git/socket"));
    }

    #[test]
    fn a_copy_is_emptied_and_no_link_is_followed() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("kept"), "").unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("a/link")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("link")).unwrap();
        clear(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(elsewhere.path().join("kept").exists());
    }
}
