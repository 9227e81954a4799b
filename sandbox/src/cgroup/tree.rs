//! Killing and removing a group with everything below it, in every hierarchy.

use super::{Base, CgroupError, files};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long [`destroy`] waits for processes to be gone and for the kernel to let go of the group.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Kills whatever is in the group or below it. Does not wait for the processes to be gone.
pub(super) fn kill(group: &Base) -> Result<(), CgroupError> {
    let file = group.v2().join("cgroup.kill");
    // Since 5.14; reaches the children that are being forked meanwhile, too.
    let whole = match files::write(&file, "1") {
        Ok(()) => true,
        Err(CgroupError::Write { source, .. }) if is_gone(&source) => false,
        Err(error) => return Err(error),
    };
    // What is not in the v2 tree, or everything on an older kernel, is killed one by one.
    let rest = if whole { group.v1() } else { group.dirs() };
    if !whole {
        // A fork bomb outruns that, unless it cannot fork any more.
        for dir in &rest {
            match files::write(&dir.join("pids.max"), "0") {
                Err(CgroupError::Write { source, .. }) if is_gone(&source) => {}
                other => other?,
            }
        }
    }
    kill_listed(&rest)
}

/// One round of killing by process id. Each process is held by a pidfd and looked up again before
/// it is signalled, so that a number that was used anew meanwhile does not hit a stranger.
fn kill_listed(dirs: &[&Path]) -> Result<(), CgroupError> {
    let held: Vec<_> = processes(dirs)?
        .into_iter()
        .filter_map(|raw| {
            let pid = Pid::from_raw(raw)?;
            Some((raw, pidfd_open(pid, PidfdFlags::empty()).ok()?))
        })
        .collect();
    if held.is_empty() {
        return Ok(());
    }
    let still = processes(dirs)?;
    for (raw, pidfd) in held {
        if still.contains(&raw) {
            // An error says that it is dead already; whoever waits sees what is left.
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
    Ok(())
}

/// Whether any process is in the group or below it, in any hierarchy.
pub(super) fn is_populated(group: &Base) -> Result<bool, CgroupError> {
    let file = group.v2().join("cgroup.events");
    if let Some(text) = files::read_if_present(&file)? {
        match files::keyed(&file, &text, "populated")? {
            Some(0) => {}
            Some(_) => return Ok(true),
            None => {
                return Err(CgroupError::Parse { file, text, expected: "a line `populated`" });
            }
        }
    }
    Ok(!processes(&group.v1())?.is_empty())
}

/// Kills, and waits until no process is left.
pub(super) fn empty(group: &Base, patience: Duration) -> Result<(), CgroupError> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        kill(group)?;
        if !is_populated(group)? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(CgroupError::StillPopulated { dir: group.v2().into(), pids: processes(&group.dirs())? });
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Kills, waits until no process is left, and removes the directories, deepest first.
pub(super) fn destroy(group: &Base, patience: Duration) -> Result<(), CgroupError> {
    let deadline = Instant::now() + patience;
    empty(group, patience)?;
    let mut result = Ok(());
    for dir in group.dirs() {
        // One hierarchy that refuses must not keep the others.
        result = result.and(remove(dir, deadline));
    }
    result
}

/// Removes a directory with those below it. One that is gone already is as good.
pub(super) fn remove(dir: &Path, deadline: Instant) -> Result<(), CgroupError> {
    for below in subdirs(dir)? {
        remove(&below, deadline)?;
    }
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The last process is out of sight a moment before the kernel lets go of its group.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                sleep(Duration::from_millis(2));
            }
            Err(source) => {
                return Err(CgroupError::Remove { dir: dir.into(), source });
            }
        }
    }
}

/// Removes a directory that has none below it, if the kernel lets go of it now. One that is gone already is as good.
pub(super) fn try_remove(dir: &Path) -> Result<bool, CgroupError> {
    match fs::remove_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
        Err(source) => Err(CgroupError::Remove { dir: dir.into(), source }),
    }
}

/// The process ids in these groups and below them, each once: on v1 a process is in a group of every hierarchy. A group that
/// vanishes meanwhile holds none.
pub(super) fn processes(dirs: &[&Path]) -> Result<Vec<i32>, CgroupError> {
    let mut found = Vec::new();
    for dir in dirs {
        let file = dir.join("cgroup.procs");
        match files::read(&file) {
            Ok(text) => found.extend(files::pids(&file, &text)?),
            Err(CgroupError::Read { source, .. }) if is_gone(&source) => continue,
            Err(error) => return Err(error),
        }
        for below in subdirs(dir)? {
            found.extend(processes(&[&below])?);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The groups directly below one.
pub(super) fn subdirs(dir: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let unreadable = |source| CgroupError::Read { file: dir.into(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut dirs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            dirs.push(entry.path());
        }
    }
    Ok(dirs)
}

/// The file or its group does not exist (any more).
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(dir: &Path) -> Base {
        Base::Unified { dir: dir.into() }
    }

    #[test]
    fn processes_are_listed_with_those_below() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for (at, text) in [("", "1\n"), ("a", "2\n3\n"), ("a/b", "4\n")] {
            fs::write(dir.path().join(at).join("cgroup.procs"), text).unwrap();
        }
        assert_eq!(processes(&[dir.path()]).unwrap(), [1, 2, 3, 4]);
        assert_eq!(processes(&[&dir.path().join("gone")]).unwrap(), [0i32; 0], "a group that is gone");
    }

    #[test]
    fn cgroup_kill_is_written_where_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cgroup.kill");
        fs::write(&file, "").unwrap();
        kill(&group(dir.path())).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), "1");
    }

    #[test]
    fn without_cgroup_kill_processes_are_killed_one_by_one() {
        use std::os::unix::process::ExitStatusExt;
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        fs::create_dir(dir.path().join("leaf")).unwrap();
        fs::write(dir.path().join("pids.max"), "max").unwrap();
        fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        let text = format!("0\n{}\n", child.id());
        fs::write(dir.path().join("leaf/cgroup.procs"), text).unwrap();
        kill(&group(dir.path())).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        let limit = fs::read_to_string(dir.path().join("pids.max")).unwrap();
        assert_eq!(limit, "0", "nothing may fork while it is being killed");
    }

    #[test]
    fn population_is_read_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cgroup.events");
        for (text, expected) in [("populated 1\nfrozen 0\n", true), ("populated 0\nfrozen 0\n", false)] {
            fs::write(&file, text).unwrap();
            assert_eq!(is_populated(&group(dir.path())).unwrap(), expected);
        }
        fs::write(&file, "frozen 0\n").unwrap();
        assert!(is_populated(&group(dir.path())).is_err());
    }

    #[test]
    fn a_group_that_stays_populated_is_an_error_that_names_the_processes() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.kill"), "").unwrap();
        fs::write(dir.path().join("cgroup.events"), "populated 1\n").unwrap();
        fs::write(dir.path().join("cgroup.procs"), "0\n").unwrap();
        let error = destroy(&group(dir.path()), Duration::ZERO).unwrap_err();
        assert!(matches!(error, CgroupError::StillPopulated { ref pids, .. } if pids == &[0]));
    }

    #[test]
    fn directories_go_deepest_first() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        remove(&top, Instant::now()).unwrap();
        assert!(!top.exists());
        remove(&top, Instant::now()).unwrap();
    }
}
