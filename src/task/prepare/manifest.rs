//! What an environment was when it was built, and how it differs from that now.

use anyhow::Context;
use sandbox::visit::{Found, What, visit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Its file in the environment, which it does not list.
pub const FILE: &str = "ostest-manifest.json";

/// Bytes that are read at once.
const PART: usize = 128 << 10;

/// Everything in an environment, by its path below the top, as [`visit`] writes it.
///
/// No times and no numbers of inodes: an environment that was carried to another host is the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manifest(BTreeMap<String, Entry>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Entry {
    File { mode: u32, size: u64, sha256: String },
    Directory { mode: u32 },
    Link { to: String },
}

impl Manifest {
    /// Reads everything in an environment.
    ///
    /// # Errors
    /// When something cannot be read, or is no file, directory or link.
    pub fn take(environment: &Path) -> anyhow::Result<Manifest> {
        let mut all = BTreeMap::new();
        walk(environment, &mut |path, found| {
            let Found { what, mode, .. } = found;
            let entry = match what {
                What::File(mut file) => {
                    let (size, sha256) = digest(&mut file)?;
                    Entry::File { mode, size, sha256 }
                }
                What::Directory => Entry::Directory { mode },
                What::Link(to) => Entry::Link { to },
                What::Special => return Err(io::Error::other("it is no file, no directory and no link")),
            };
            all.insert(path.to_string(), entry);
            Ok(())
        })?;
        Ok(Manifest(all))
    }

    /// The one that lies in an environment.
    pub fn read(environment: &Path) -> anyhow::Result<Manifest> {
        let bytes = std::fs::read(environment.join(FILE)).with_context(|| format!("{FILE} cannot be read"))?;
        Manifest::parse(&bytes).with_context(|| format!("{FILE} is not valid"))
    }

    fn parse(bytes: &[u8]) -> serde_json::Result<Manifest> {
        serde_json::from_slice(bytes)
    }

    /// Puts it into an environment.
    pub fn write(&self, environment: &Path) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec(self).context("the environment's manifest cannot be written")?;
        std::fs::write(environment.join(FILE), bytes).context("the environment's manifest cannot be written")
    }

    /// The first difference that an environment has from it, in a sentence; none if it is what it was. Every byte is read.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn difference(&self, environment: &Path) -> anyhow::Result<Option<String>> {
        let (mut damage, mut met) = (None, 0);
        let walked = walk(environment, &mut |path, found| {
            let said = match self.0.get(path) {
                Some(entry) => entry.difference(found)?,
                None => Some("was not a part of it".into()),
            };
            met += 1;
            match said {
                None => Ok(()),
                Some(said) => {
                    damage = Some(format!("{path} {said}"));
                    // The first one is enough: it ends the walk.
                    Err(io::Error::other("it differs"))
                }
            }
        });
        if damage.is_some() {
            return Ok(damage);
        }
        walked?;
        Ok((met != self.0.len()).then(|| self.missing(environment)))
    }

    fn missing(&self, environment: &Path) -> String {
        let mut left = self.0.clone();
        // What the walk before has met it meets again.
        let _ = walk(environment, &mut |path, _| {
            left.remove(path);
            Ok(())
        });
        let first = left.keys().next().map_or("a file", String::as_str);
        match left.len() {
            0 | 1 => format!("{first} is missing"),
            count => format!("{first} is missing, and {} more", count - 1),
        }
    }
}

impl Entry {
    /// How what was found differs from it.
    fn difference(&self, found: Found) -> io::Result<Option<String>> {
        let Found { what, mode, size } = found;
        let other = |was: u32| (mode != was).then(|| format!("has the mode {mode:o}, it had {was:o}"));
        Ok(match (self, what) {
            (Entry::File { size: was, .. }, What::File(_)) if *was != size => {
                Some(format!("is {size} bytes, it was {was}"))
            }
            (Entry::File { mode: was, sha256, .. }, What::File(mut file)) => match digest(&mut file)? {
                (_, now) if now != *sha256 => Some("holds other bytes than it did".into()),
                _ => other(*was),
            },
            (Entry::Directory { mode: was }, What::Directory) => other(*was),
            (Entry::Link { to: was }, What::Link(to)) if *was == to => None,
            (Entry::Link { to: was }, What::Link(to)) => Some(format!("leads to {to}, it led to {was}")),
            (Entry::File { .. }, _) => Some("is no file, and was one".into()),
            (Entry::Directory { .. }, _) => Some("is no directory, and was one".into()),
            (Entry::Link { .. }, _) => Some("is no link, and was one".into()),
        })
    }
}

/// Everything but the manifest itself.
fn walk(environment: &Path, each: &mut dyn FnMut(&str, Found) -> io::Result<()>) -> anyhow::Result<()> {
    Ok(visit(environment, &mut |path, found| if path == FILE { Ok(()) } else { each(path, found) })?)
}

fn digest(file: &mut File) -> io::Result<(u64, String)> {
    let (mut hash, mut size, mut part) = (Sha256::new(), 0, vec![0; PART]);
    loop {
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(count) => {
                size += count as u64;
                hash.update(&part[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((size, format!("{:x}", hash.finalize())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A small environment with its manifest.
    fn environment() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("lib/pytest")).unwrap();
        std::fs::create_dir(at("bin")).unwrap();
        std::fs::write(at("lib/pytest/__init__.py"), "import a\n").unwrap();
        std::fs::write(at("lib/pytest/empty.py"), "").unwrap();
        symlink("/usr/bin/python3.11", at("bin/python")).unwrap();
        Manifest::take(dir.path()).unwrap().write(dir.path()).unwrap();
        dir
    }

    fn damage(done: impl FnOnce(&Path)) -> Option<String> {
        let dir = environment();
        done(dir.path());
        Manifest::read(dir.path()).unwrap().difference(dir.path()).unwrap()
    }

    #[test]
    fn what_was_built_and_left_alone_is_the_same() {
        assert_eq!(damage(|_| {}), None);
        // Carried elsewhere, with other times and inodes.
        let (from, to) = (environment(), tempfile::tempdir().unwrap());
        let copied = std::process::Command::new("cp").arg("-r").arg(from.path().join(".")).arg(to.path()).status();
        assert!(copied.unwrap().success());
        assert_eq!(Manifest::read(to.path()).unwrap().difference(to.path()).unwrap(), None);
    }

    #[test]
    fn every_damage_is_named() {
        let init = "lib/pytest/__init__.py";
        let write = |name: &'static str, text: &'static str| {
            damage(move |dir| std::fs::write(dir.join(name), text).unwrap()).unwrap()
        };
        assert_eq!(write(init, ""), "lib/pytest/__init__.py is 0 bytes, it was 9");
        assert_eq!(write(init, "import b\n"), "lib/pytest/__init__.py holds other bytes than it did");
        assert_eq!(write("lib/json.py", ""), "lib/json.py was not a part of it");
        let gone = damage(|dir| std::fs::remove_file(dir.join("lib/pytest/empty.py")).unwrap());
        assert_eq!(gone.unwrap(), "lib/pytest/empty.py is missing");
        let gone = damage(|dir| std::fs::remove_dir_all(dir.join("lib/pytest")).unwrap());
        assert_eq!(gone.unwrap(), "lib/pytest is missing, and 2 more");
        let link = damage(|dir| {
            std::fs::remove_file(dir.join("bin/python")).unwrap();
            symlink("/usr/bin/python3.13", dir.join("bin/python")).unwrap();
        });
        assert_eq!(link.unwrap(), "bin/python leads to /usr/bin/python3.13, it led to /usr/bin/python3.11");
        let mode = damage(|dir| std::fs::set_permissions(dir.join(init), PermissionsExt::from_mode(0o600)).unwrap());
        assert!(mode.unwrap().starts_with("lib/pytest/__init__.py has the mode 600, it had "));
        let kind = damage(|dir| {
            std::fs::remove_file(dir.join(init)).unwrap();
            symlink("/etc/passwd", dir.join(init)).unwrap();
        });
        assert_eq!(kind.unwrap(), "lib/pytest/__init__.py is no file, and was one");
        let top = damage(|dir| {
            let away = dir.join("bin/python");
            std::fs::remove_file(&away).unwrap();
            std::os::unix::net::UnixListener::bind(&away).unwrap();
        });
        assert_eq!(top.unwrap(), "bin/python is no link, and was one");
    }

    #[test]
    fn a_manifest_that_is_not_whole_is_none() {
        let dir = environment();
        let bytes = std::fs::read(dir.path().join(FILE)).unwrap();
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(Manifest::parse(&bytes[..cut]).is_err(), "{cut}");
        }
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        assert!(Manifest::read(dir.path()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_as_what_they_say(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(manifest) = Manifest::parse(&bytes) {
                let again = serde_json::to_vec(&manifest).unwrap();
                prop_assert_eq!(Manifest::parse(&again).unwrap(), manifest);
            }
        }
    }
}
