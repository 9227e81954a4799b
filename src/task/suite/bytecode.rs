//! Byte code of the suite's own programs: nobody writes it where they would read it.
//!
//! A program of the suite's that is started with an environment of its own reads `__pycache__` beside its modules, and writes there if it
//! can. So could a student's program, and nothing tells the one's byte code from the other's.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// Where Python looks for byte code, beside a module.
const CACHE: &str = "__pycache__";

/// Puts an empty folder of that name, of the folder's own owner and to be written by nobody, beside all modules of a suite's copy.
/// Nobody inside runs yet. What was shipped there is what Python makes anew.
///
/// # Errors
/// When one cannot be made.
pub fn close(suite: &Path) -> io::Result<()> {
    let mut left = vec![suite.to_path_buf()];
    while let Some(dir) = left.pop() {
        let mut has_modules = false;
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                if name == CACHE {
                    std::fs::remove_dir_all(entry.path())?;
                } else {
                    left.push(entry.path());
                }
            } else {
                has_modules |= name.as_encoded_bytes().ends_with(b".py");
            }
        }
        let cache = dir.join(CACHE);
        if has_modules && std::fs::symlink_metadata(&cache).is_err() {
            let owner = std::fs::metadata(&dir)?;
            std::fs::create_dir(&cache)?;
            chown(&cache, Some(owner.uid()), Some(owner.gid()))?;
            std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o555))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_each_module_there_is_a_folder_that_nobody_writes_to() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        std::fs::create_dir_all(path("tools/__pycache__/deeper")).unwrap();
        std::fs::create_dir_all(path("data")).unwrap();
        for name in ["test_a.py", "tools/x.py", "tools/__pycache__/x.cpython-311.pyc", "data/a.txt"] {
            std::fs::write(path(name), "").unwrap();
        }
        close(top.path()).unwrap();
        for name in ["__pycache__", "tools/__pycache__"] {
            assert_eq!(std::fs::metadata(path(name)).unwrap().mode() & 0o7777, 0o555, "{name}");
            assert_eq!(std::fs::read_dir(path(name)).unwrap().count(), 0, "{name}");
        }
        assert!(!path("data/__pycache__").exists());
        close(top.path()).unwrap();
    }
}
