//! What a suite is, in a word: two that have the same are the same to whoever runs them.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Bits of a mode by which one who runs it is told from one who reads it.
const EXECUTABLE: u32 = 0o111;

/// Names, kinds and content of all that is below `dir`; nothing of when and by whom it was written.
///
/// # Errors
/// What cannot be read.
pub fn of(dir: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    add(&mut hash, dir)?;
    Ok(format!("{:x}", hash.finalize()))
}

fn add(hash: &mut Sha256, dir: &Path) -> io::Result<()> {
    let mut entries = std::fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    // Each part has its length before it, so that no name can be read as the end of one and the beginning of another.
    let part = |hash: &mut Sha256, kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        part(hash, b'n', entry.file_name().as_bytes());
        if kind.is_dir() {
            part(hash, b'd', b"");
            add(hash, &path)?;
            part(hash, b'e', b"");
        } else if kind.is_symlink() {
            part(hash, b'l', std::fs::read_link(&path)?.as_os_str().as_bytes());
        } else if kind.is_file() {
            let runs = entry.metadata()?.permissions().mode() & EXECUTABLE != 0;
            // In pieces: a suite may have files that are larger than what a runner is to take of memory.
            let mut content = Sha256::new();
            io::copy(&mut File::open(&path)?, &mut content)?;
            part(hash, if runs { b'x' } else { b'f' }, &content.finalize());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, remove_file, set_permissions, write};
    use std::os::unix::fs::symlink;

    #[test]
    fn it_follows_content_and_names_and_nothing_else() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&one, &other] {
            create_dir(dir.path().join("lab")).unwrap();
            write(dir.path().join("lab/test_a.py"), "def test_a(): pass\n").unwrap();
            write(dir.path().join("run.sh"), "true\n").unwrap();
            symlink("run.sh", dir.path().join("link")).unwrap();
        }
        let (here, there) = (one.path(), other.path());
        assert_eq!(of(here).unwrap(), of(there).unwrap());
        let mut seen = std::collections::BTreeSet::from([of(here).unwrap()]);
        let changes: [&dyn Fn(); 5] = [
            &|| write(there.join("lab/test_a.py"), "def test_a(): fail\n").unwrap(),
            &|| set_permissions(there.join("run.sh"), Permissions::from_mode(0o755)).unwrap(),
            &|| std::fs::rename(there.join("run.sh"), there.join("lab/run.sh")).unwrap(),
            &|| create_dir(there.join("empty")).unwrap(),
            &|| {
                remove_file(there.join("link")).unwrap();
                symlink("lab/run.sh", there.join("link")).unwrap();
            },
        ];
        for change in changes {
            change();
            assert!(seen.insert(of(there).unwrap()), "each is another suite");
        }
        assert!(of(&here.join("nothing")).is_err());
    }
}
