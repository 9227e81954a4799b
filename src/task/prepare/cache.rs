//! Where environments are kept: their names, who uses them, and what is moved out of the way.
//!
//! Every step that makes, moves or removes something of the name `venv-KEY` is done by who holds the lock `venv-KEY.lock`. Who uses an
//! environment has a shared lock on its directory instead, which goes with the directory when that is moved aside: what a sandbox
//! still has mounted is not removed under it, by whichever process. Both are the kernel's, and gone with who held them.

use super::{Progress, TaskError, unkept};
use crate::contain::python::Python;
use crate::fault::Fault;
use crate::task::Event;
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Changes when environments are built in another way, so that old ones are not used.
const RECIPE: &str = "4";

/// The file in an environment that says from what it was built.
pub const LIST: &str = "ostest-requirements.txt";

/// What an environment's name begins with.
const PREFIX: &str = "venv-";

/// What follows the name of one that is being built.
const BUILDING: &str = ".building";

/// What follows the name of one that is not to be used any more, before a number.
const ASIDE: &str = ".damaged-";

/// How often a lock that somebody else holds is tried, at first and later.
const LOOK: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(200)];

/// Where an environment is, or will be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    cache: PathBuf,
    name: String,
}

impl Place {
    /// Of the environment with these requirements for this interpreter.
    pub fn of(cache: &Path, python: &Python, requirements: &str) -> Place {
        let mut hash = Sha256::new();
        for part in [RECIPE, &python.version, &python.program.display().to_string(), requirements] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let key: String = hash.finalize().iter().take(10).map(|b| format!("{b:02x}")).collect();
        Place { cache: cache.into(), name: format!("{PREFIX}{key}") }
    }

    /// Its directory.
    pub fn dir(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    /// The directory of environments.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Where it is built.
    pub fn building(&self) -> PathBuf {
        self.cache.join(format!("{}{BUILDING}", self.name))
    }

    fn lock_file(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(self.cache.join(format!("{}.lock", self.name)))
    }

    /// Waits until nobody else makes, moves or looks through this environment. Whoever waits is told so if it is being built.
    pub async fn lock(&self, cancel: &CancellationToken, progress: Progress<'_>) -> Result<File, TaskError> {
        let cannot = |error: io::Error| {
            unkept(anyhow::Error::new(error).context(format!("the lock of {} cannot be taken", self.dir().display())))
        };
        make_dir(&self.cache)?;
        let file = self.lock_file().map_err(cannot)?;
        let (mut told, [mut pause, longest]) = (false, LOOK);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(cannot(error).into()),
            }
            // Who only looks whether it is as it was has the lock for a moment.
            if !told && (self.building().exists() || pause == longest) {
                told = true;
                let what = "waiting for another process to build the suite's Python environment";
                tracing::info!(environment = %self.dir().display(), "{what}");
                progress(Event::Waits(what.into()));
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(TaskError::Interrupted),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(longest),
            }
        }
    }

    /// The lock, if nobody has it.
    pub fn try_lock(&self) -> io::Result<Option<File>> {
        if_free(self.lock_file()?)
    }

    /// Takes it out of the way, so that nobody finds it any more. Only with the lock.
    pub fn set_aside(&self) -> Result<(), Fault> {
        let moved = self.free_name().and_then(|aside| {
            std::fs::rename(self.dir(), &aside)?;
            remove_unused(&aside);
            Ok(())
        });
        moved.with_context(|| format!("{} cannot be moved aside", self.dir().display())).map_err(unkept)
    }

    fn free_name(&self) -> io::Result<PathBuf> {
        let mut numbers = 0u64..;
        numbers
            .find_map(|number| {
                let path = self.cache.join(format!("{}{ASIDE}{number}", self.name));
                matches!(path.symlink_metadata(), Err(e) if e.kind() == io::ErrorKind::NotFound).then_some(path)
            })
            .ok_or_else(|| io::Error::other("every name for it is taken"))
    }
}

/// An environment's directory is in use as long as this is open. On a file system without such locks it cannot be said, and then
/// nothing is removed there either.
pub fn use_of(dir: &Path) -> io::Result<File> {
    let file = File::open(dir)?;
    if let Err(error) = file.lock_shared() {
        tracing::debug!(environment = %dir.display(), "that it is in use cannot be said: {error}");
    }
    Ok(file)
}

/// Makes the directory of environments, or one in it.
pub fn make_dir(path: &Path) -> Result<(), Fault> {
    let made = std::fs::create_dir_all(path);
    made.with_context(|| format!("the directory {} cannot be made", path.display())).map_err(unkept)
}

/// Removes what was being built when somebody was killed, and what was moved aside and is not in use any more. Environments that
/// nobody has asked for in a long time stay: what they are for only the operator knows.
pub fn sweep(cache: &Path) {
    for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some(key) = name.strip_suffix(BUILDING).filter(|key| key.starts_with(PREFIX)) {
            let place = Place { cache: cache.into(), name: key.into() };
            // Who builds it has the lock.
            if let Ok(Some(_lock)) = place.try_lock() {
                removed(&entry.path(), remove(&entry.path()));
            }
        } else if name.starts_with(PREFIX) && name.contains(ASIDE) {
            remove_unused(&entry.path());
        }
    }
}

/// Removes what was moved aside, unless somebody uses it; then a later sweep does.
fn remove_unused(aside: &Path) {
    let unused = match aside.symlink_metadata() {
        // A link of the operator's: what it leads to is not ours.
        Ok(found) if !found.is_dir() => Ok(true),
        Ok(_) => File::open(aside).and_then(|dir| Ok(if_free(dir)?.is_some())),
        Err(error) => Err(error),
    };
    match unused {
        Ok(true) => removed(aside, remove(aside)),
        Ok(false) => tracing::debug!(environment = %aside.display(), "it is still in use, and removed later"),
        Err(error) => removed(aside, Err(error)),
    }
}

/// Removes a directory, or a link to one.
pub fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Nothing hangs on it: the next sweep tries again.
fn removed(path: &Path, done: io::Result<()>) {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(environment = %path.display(), "what is left of an environment cannot be removed: {error}");
        }
        _ => {}
    }
}

fn if_free(file: File) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The environments of this interpreter by what they were built from, those that were built last first.
pub fn newest(cache: &Path, python: &Python) -> anyhow::Result<Vec<(Place, String)>> {
    let entries = match std::fs::read_dir(cache) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", cache.display())),
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path().join(LIST)).ok()?;
            // The key holds the interpreter, too; and what lies under another name is still being built, or was put there.
            let place = Place::of(cache, python, &text);
            let named = entry.file_name().to_str()? == place.name;
            Some((entry.metadata().ok()?.modified().ok()?, place, text)).filter(|_| named)
        })
        .collect();
    found.sort();
    Ok(found.into_iter().rev().map(|(_, place, text)| (place, text)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(version: &str) -> Python {
        Python { program: "/p".into(), prefix: "/usr".into(), version: version.into() }
    }

    #[test]
    fn only_environments_of_this_interpreter_are_known_by_their_requirements() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path();
        let (ours, theirs) = (python("3.11.2"), python("3.12.0"));
        let texts =
            |cache: &Path| -> Vec<String> { newest(cache, &ours).unwrap().into_iter().map(|(_, text)| text).collect() };
        assert!(texts(&cache.join("none")).is_empty());
        let put = |dir: PathBuf, text: &str| {
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join(LIST), text).unwrap();
        };
        put(Place::of(cache, &theirs, "pytest\n").dir(), "pytest\n");
        put(Place::of(cache, &ours, "pytest\n").building(), "pytest\n");
        put(cache.join("venv-0123"), "pytest\n");
        assert!(texts(cache).is_empty());
        put(Place::of(cache, &ours, "pytest==8\n").dir(), "pytest==8\n");
        assert_eq!(texts(cache), ["pytest==8\n"]);
    }

    #[test]
    fn what_is_moved_aside_goes_when_nobody_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(dir.path(), &python("3.11.2"), "pytest\n");
        let made = || std::fs::create_dir_all(place.dir().join("lib")).unwrap();
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| !name.ends_with(".lock"))
                .collect();
            names.sort();
            names
        };
        made();
        place.set_aside().unwrap();
        assert!(names().is_empty());
        // One that is in use stays as it is, and does not keep another from going.
        made();
        let used = use_of(&place.dir()).unwrap();
        place.set_aside().unwrap();
        let kept = format!("{}{ASIDE}0", place.name);
        assert_eq!(names(), std::slice::from_ref(&kept));
        assert!(dir.path().join(&kept).join("lib").exists());
        made();
        place.set_aside().unwrap();
        sweep(dir.path());
        assert_eq!(names(), [kept]);
        drop(used);
        sweep(dir.path());
        assert!(names().is_empty());
    }

    #[test]
    fn a_sweep_takes_what_is_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(dir.path(), &python("3.11.2"), "pytest\n");
        let elsewhere = tempfile::tempdir().unwrap();
        for made in [place.dir(), place.building(), dir.path().join("other.building"), dir.path().join("canary-1")] {
            std::fs::create_dir(made).unwrap();
        }
        let link = dir.path().join(format!("{}{ASIDE}7", place.name));
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        let lock = place.try_lock().unwrap().unwrap();
        sweep(dir.path());
        assert!(place.building().exists(), "it is being built");
        assert!(link.symlink_metadata().is_err() && elsewhere.path().exists());
        drop(lock);
        sweep(dir.path());
        assert!(!place.building().exists());
        assert!(
            place.dir().exists() && dir.path().join("other.building").exists() && dir.path().join("canary-1").exists()
        );
    }
}
