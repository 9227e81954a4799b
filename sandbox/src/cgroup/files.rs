//! Reading and writing the small files of a control group.

use super::CgroupError;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// The text of a file.
pub(super) fn read(file: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(file).map_err(|source| CgroupError::Read { file: file.into(), source })
}

/// The text of a file, or `None` where this kernel has no such file, or its group is gone: ENODEV, where it went
/// between opening and reading. A file that is there but cannot be read is an error.
pub(super) fn read_if_present(file: &Path) -> Result<Option<String>, CgroupError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(source) if matches!(source.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(None),
        Err(source) => Err(CgroupError::Read { file: file.into(), source }),
    }
}

/// Writes a value in one system call: the kernel parses each write on its own. Never creates a
/// file: on a cgroup file system that fails anyway, but with an error that misleads.
pub(super) fn write(file: &Path, value: &str) -> Result<(), CgroupError> {
    fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(file)
        .and_then(|mut opened| opened.write_all(value.as_bytes()))
        .map_err(|source| CgroupError::Write { file: file.into(), value: value.into(), source })
}

/// Makes a group that must not exist yet.
pub(super) fn make_dir(dir: &Path) -> Result<(), CgroupError> {
    fs::create_dir(dir).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CgroupError::Exists { dir: dir.into() },
        _ => CgroupError::Make { dir: dir.into(), source },
    })
}

/// Makes a group unless it is there.
pub(super) fn ensure_dir(dir: &Path) -> Result<(), CgroupError> {
    match make_dir(dir) {
        Err(CgroupError::Exists { .. }) => Ok(()),
        other => other,
    }
}

/// The number that a file holds, alone in it.
pub(super) fn number(file: &Path, text: &str) -> Result<u64, CgroupError> {
    text.trim().parse().map_err(|_| CgroupError::Parse { file: file.into(), text: text.into(), expected: "a number" })
}

/// The number behind a key in a file of lines `KEY VALUE`; `None` where no line has the key.
pub(super) fn keyed(file: &Path, text: &str, key: &str) -> Result<Option<u64>, CgroupError> {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some(key) {
            return match (words.next().map(str::parse), words.next()) {
                (Some(Ok(value)), None) => Ok(Some(value)),
                _ => Err(CgroupError::Parse { file: file.into(), text: line.into(), expected: "a key and a number" }),
            };
        }
    }
    Ok(None)
}

/// The process ids in a `cgroup.procs`. Processes that the reader's pid namespace has no name for
/// are listed by the kernel as 0.
pub(super) fn pids(file: &Path, text: &str) -> Result<Vec<i32>, CgroupError> {
    text.lines()
        .map(|line| {
            let pid = line.trim().parse::<i32>().ok().filter(|pid| *pid >= 0);
            pid.ok_or_else(|| CgroupError::Parse { file: file.into(), text: line.into(), expected: "a process id" })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "/sys/fs/cgroup/x/file";

    #[test]
    fn keys_are_found_whole() {
        let text = "oom 3\noom_kill 7\noom_group_kill 1\n";
        let at = |key| keyed(Path::new(FILE), text, key).unwrap();
        assert_eq!(at("oom_kill"), Some(7));
        assert_eq!(at("oom"), Some(3));
        assert_eq!(at("kill"), None);
        assert!(keyed(Path::new(FILE), "oom_kill\n", "oom_kill").is_err());
        assert!(keyed(Path::new(FILE), "oom_kill -1\n", "oom_kill").is_err());
        assert!(keyed(Path::new(FILE), "oom_kill 1 2\n", "oom_kill").is_err());
    }

    #[test]
    fn a_missing_file_is_not_an_unreadable_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_if_present(&dir.path().join("memory.peak")).unwrap().is_none());
        assert!(read_if_present(dir.path()).is_err(), "a directory cannot be read");
    }

    #[test]
    fn writing_never_creates() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.max");
        assert!(matches!(
            write(&file, "1"),
            Err(CgroupError::Write { ref value, .. }) if value == "1"
        ));
        assert!(!file.exists());
    }

    #[test]
    fn process_ids_are_never_negative() {
        let at = |text| pids(Path::new(FILE), text);
        assert_eq!(at("1\n22\n0\n").unwrap(), [1, 22, 0]);
        assert_eq!(at("").unwrap(), [0i32; 0]);
        assert!(at("-1\n").is_err(), "kill(-1) would reach every process");
        assert!(at("1\nx\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*|([a-z_]{0,9} -?[0-9]{0,25}\n){0,6}", key in "[a-z_]{0,9}") {
            let file = Path::new(FILE);
            let _ = number(file, &text);
            let _ = keyed(file, &text, &key);
            let _ = pids(file, &text);
        }

        #[test]
        fn any_number_is_found_behind_its_key(value: u64, before in "([a-z]{1,5} [0-9]{1,5}\n){0,4}") {
            let text = format!("{before}oom_kill {value}\n");
            prop_assert_eq!(keyed(Path::new(FILE), &text, "oom_kill").unwrap(), Some(value));
        }
    }
}
