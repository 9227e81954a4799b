//! The state directory: whose it is, and what a crashed run left in it.
//!
//! Several commands may share one (a `grade` beside the runner), so nothing is swept or taken away while another
//! process of the same directory lives. The kernel lets go of the locks of a process that died.

use anyhow::Context;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The lock that the directory's one runner holds.
const RUNNER_LOCK: &str = "runner.lock";

/// How long that lock is looked at, generously.
const LOOK: Duration = Duration::from_millis(20);

/// A claim on a state directory, held as long as the process works in it.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    users: File,
    runner: Option<File>,
}

/// What became of work trees that a crashed run left.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many are gone.
    pub trees: usize,
    /// Why others are still there, a sentence each.
    pub left: Vec<String>,
}

impl State {
    /// Makes the directory, closed to others, and takes a share in it. `alone` tells whether nobody else has one now.
    pub fn open(dir: &Path) -> anyhow::Result<(State, bool)> {
        let shown = dir.display();
        std::fs::create_dir_all(dir).with_context(|| format!("the state directory {shown} cannot be made"))?;
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700))
            .with_context(|| format!("the state directory {shown} cannot be closed to others"))?;
        let dir = dir.canonicalize().with_context(|| format!("the state directory {shown} cannot be found"))?;
        let users = lock_file(&dir.join("users.lock"))?;
        let alone = is_free(&users).with_context(|| format!("the lock on {shown} cannot be taken"))?;
        Ok((State { dir, users, runner: None }, alone))
    }

    /// After whatever had to be done alone: lets others in beside us.
    pub fn share(&self) -> anyhow::Result<()> {
        self.users.lock_shared().with_context(|| format!("the lock on {} cannot be shared", self.dir.display()))
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes this process the directory's one runner.
    pub fn become_runner(&mut self) -> anyhow::Result<()> {
        let lock = lock_file(&self.dir.join(RUNNER_LOCK))?;
        let mut free = is_free(&lock)?;
        // Who only looks whether there is a runner has the lock for a moment.
        for _ in 0..10 {
            if !free {
                std::thread::sleep(LOOK);
                free = is_free(&lock)?;
            }
        }
        anyhow::ensure!(
            free,
            "another runner uses the state directory {}; two runners use two: name another with --state-dir",
            self.dir.display()
        );
        self.runner = Some(lock);
        Ok(())
    }

    /// Whether this process is the last one of the directory; nobody can come in until it ends.
    pub fn is_last(&self) -> bool {
        is_free(&self.users).unwrap_or(false)
    }

    /// Removes the mount points of work trees of runs that did not end in good order. The trees themselves went with
    /// the mount namespace of the process that had made them.
    pub fn sweep_work(&self) -> anyhow::Result<Swept> {
        let work = self.dir.join("work");
        let mut swept = Swept::default();
        let entries = match std::fs::read_dir(&work) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(swept),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", work.display())),
        };
        for entry in entries {
            let path = entry?.path();
            match std::fs::remove_dir_all(&path) {
                Ok(()) => swept.trees += 1,
                // The next tree has another name: this one is in nobody's way.
                Err(error) => swept.left.push(format!("the work tree {} cannot be removed: {error}", path.display())),
            }
        }
        Ok(swept)
    }
}

/// Whether a runner works in this state directory now.
pub fn has_runner(dir: &Path) -> bool {
    let lock = File::options().read(true).open(dir.join(RUNNER_LOCK));
    // Shared, and let go of at once.
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn lock_file(path: &Path) -> anyhow::Result<File> {
    let file = File::options().create(true).append(true).open(path);
    file.with_context(|| format!("the lock {} cannot be opened", path.display()))
}

/// Takes the lock for this process alone, if nobody else holds it in any way.
fn is_free(file: &File) -> std::io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_alone_may_sweep_and_only_one_is_the_runner() {
        let dir = tempfile::tempdir().unwrap();
        let (mut first, alone) = State::open(dir.path()).unwrap();
        assert!(alone);
        first.share().unwrap();
        first.become_runner().unwrap();
        let (mut second, alone) = State::open(dir.path()).unwrap();
        second.share().unwrap();
        assert!(!alone && !first.is_last());
        assert!(second.become_runner().is_err_and(|e| e.to_string().contains("--state-dir")));
        drop(first);
        assert!(second.is_last());
        second.become_runner().unwrap();
    }
}
