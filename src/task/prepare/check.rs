//! Whether an environment is what was built.

use super::cache::Place;
use super::manifest::Manifest;
use anyhow::Context;
use sandbox::inventory::Inventory;
use sandbox::visit::VisitError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What was found sound by this process, as it was then: size, inode and time of change of everything in it. Nobody but the kernel
/// sets that time, so what has not changed since has the bytes that it had.
static SOUND: Mutex<BTreeMap<Place, Arc<Inventory>>> = Mutex::new(BTreeMap::new());

/// How closely it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every byte is read, unless it was before and nothing has changed since.
    Quick,
    /// Every byte is read.
    Full,
}

/// What an environment turned out to be.
#[derive(Debug)]
pub enum State {
    /// What was built, down to the last byte; with what it will be compared with.
    Sound(Arc<Inventory>),
    /// There is none.
    Missing,
    /// It is not what was built: how it differs, in a sentence.
    Damaged(String),
}

/// Looks at it. Only with its lock.
///
/// # Errors
/// When it cannot be told, because this process or this host is short of something.
pub fn look(place: &Place, depth: Depth) -> anyhow::Result<State> {
    let shown = place.dir().display().to_string();
    // The place itself may be a link of the operator's; in it none is followed.
    let dir = match place.dir().canonicalize() {
        Ok(dir) => dir,
        Err(error) if place.dir().symlink_metadata().is_err() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(State::Missing);
        }
        Err(error) => return judge(anyhow::Error::new(error), &shown),
    };
    // Taken before the bytes are read: what changes meanwhile differs the next time.
    let now = match Inventory::take(&dir) {
        Ok(now) => Arc::new(now),
        Err(error) => return judge(anyhow::Error::new(error), &shown),
    };
    if depth == Depth::Quick && seen().get(place) == Some(&now) {
        return Ok(State::Sound(now));
    }
    let differs = Manifest::read(&dir).and_then(|manifest| manifest.difference(&dir));
    match differs {
        Ok(None) => {
            remember(place, &now);
            Ok(State::Sound(now))
        }
        Ok(Some(damage)) => Ok(State::Damaged(damage)),
        Err(error) => judge(error, &shown),
    }
}

/// An error on the way is damage, but for those that would meet any other directory, too.
fn judge(error: anyhow::Error, shown: &str) -> anyhow::Result<State> {
    use nix::errno::Errno;
    let short = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EINTR].map(|errno| errno as i32);
    let said = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<VisitError>() {
        Some(visit) => visit.error.raw_os_error(),
        None => cause.downcast_ref::<std::io::Error>()?.raw_os_error(),
    };
    let number = error.chain().find_map(said);
    match number.is_some_and(|number| short.contains(&number)) {
        true => Err(error).with_context(|| format!("{shown} cannot be looked through")),
        false => Ok(State::Damaged(format!("{error:#}"))),
    }
}

/// What was just built, or read to the last byte, is sound as it is now.
pub fn remember(place: &Place, now: &Arc<Inventory>) {
    seen().insert(place.clone(), now.clone());
}

fn seen() -> std::sync::MutexGuard<'static, BTreeMap<Place, Arc<Inventory>>> {
    SOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contain::python::Python;

    #[test]
    fn what_was_sound_is_read_again_only_where_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let python = Python { program: "/p".into(), prefix: "/usr".into(), version: "3.11.2".into() };
        let place = Place::of(dir.path(), &python, "pytest\n");
        assert!(matches!(look(&place, Depth::Quick).unwrap(), State::Missing));
        std::fs::create_dir(place.dir()).unwrap();
        let State::Damaged(said) = look(&place, Depth::Quick).unwrap() else { panic!("it is empty") };
        assert!(said.starts_with("ostest-manifest.json cannot be read"), "{said}");
        std::fs::write(place.dir().join("a.py"), "1").unwrap();
        Manifest::take(&place.dir()).unwrap().write(&place.dir()).unwrap();
        assert!(matches!(look(&place, Depth::Quick).unwrap(), State::Sound(_)));
        // Without a manifest only what was seen before can be sound.
        let manifest = place.dir().join(super::super::manifest::FILE);
        let kept = dir.path().join("kept");
        std::fs::rename(&manifest, &kept).unwrap();
        assert!(matches!(look(&place, Depth::Quick).unwrap(), State::Damaged(_)));
        std::fs::rename(&kept, &manifest).unwrap();
        assert!(matches!(look(&place, Depth::Quick).unwrap(), State::Sound(_)));
        // The clock of a file system ticks a hundred times a second or so.
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::fs::write(place.dir().join("a.py"), "2").unwrap();
        let State::Damaged(said) = look(&place, Depth::Quick).unwrap() else { panic!("it was changed") };
        assert_eq!(said, "a.py holds other bytes than it did");
        std::fs::write(place.dir().join("a.py"), "1").unwrap();
        assert!(matches!(look(&place, Depth::Full).unwrap(), State::Sound(_)));
    }
}
