//! What sockets may hold beside their buffers: settings of the sandbox's own network namespace, which init makes stricter before
//! anybody is inside. Afterwards /proc/sys is read-only.
//!
//! The kernel charges this memory to nobody. So a socket may have little of it, and honest programs need less than that.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Each with its value, and with what it stops.
const SETTINGS: [(&str, &str); 2] = [
    // Options, control messages and filters of one socket, in bytes: 128 KiB since Linux 6.8, a setting of the namespace since then
    // as well; 20 KiB before. 253 descriptors in one message, 20 groups and a filter of 100 instructions fit.
    ("/proc/sys/net/core/optmem_max", "8192"),
    // Copies of what was sent, for whoever asks for the time of sending: they wait in the socket's queue of errors, as many as there
    // were packets. The time alone is still to be had. A setting of the namespace since Linux 6.18.
    ("/proc/sys/net/core/tstamp_allow_data", "0"),
];

/// A setting that the kernel did not take.
#[derive(Debug, thiserror::Error)]
#[error("what sockets may hold could not be bounded: {file}: {why}")]
pub struct BoundError {
    file: &'static str,
    why: String,
}

/// Sets them, and reads them back. What is the host's own, and so not to be seen in this namespace, stays as it is there.
///
/// # Errors
/// When a setting is there and does not become what it should.
pub fn set() -> Result<(), BoundError> {
    SETTINGS
        .into_iter()
        .try_for_each(|(file, value)| set_one(Path::new(file), value).map_err(|why| BoundError { file, why }))
}

fn set_one(file: &Path, value: &str) -> Result<(), String> {
    // Not std::fs::write, which would make it: of that the kernel says something else than that it is not there.
    let opened = OpenOptions::new().write(true).truncate(true).open(file);
    match opened.and_then(|mut file| file.write_all(value.as_bytes())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        done => done.map_err(|error| format!("it cannot be set to {value}: {error}"))?,
    }
    let kept = std::fs::read_to_string(file).map_err(|error| format!("it cannot be read: {error}"))?;
    if kept.trim() == value {
        Ok(())
    } else {
        Err(format!("the kernel kept {} where {value} was written", kept.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_not_taken_is_an_error_and_one_that_is_not_there_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("optmem_max");
        assert_eq!(set_one(&file, "1"), Ok(()));
        assert!(!file.exists());
        std::fs::write(&file, "131072").unwrap();
        assert_eq!(set_one(&file, "8192"), Ok(()));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "8192");
        let refused = set_one(Path::new("/dev/full"), "1").unwrap_err();
        assert!(refused.contains("cannot be set to 1"), "{refused}");
        assert_eq!(set_one(Path::new("/dev/null"), "1"), Err("the kernel kept  where 1 was written".into()));
    }
}
