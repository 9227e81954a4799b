//! The interpreter as it is now: the host's packages may be upgraded under a runner.

use super::unkept;
use crate::contain::Host;
use crate::contain::python::Python;
use crate::fault::{Cause, Fault};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What its file was when it was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

/// The interpreter that was asked last, and its file then.
static ASKED: Mutex<Option<(Stamp, Python)>> = Mutex::new(None);

/// Asks it, unless it has not changed since.
///
/// # Errors
/// The host's fault, where there is none any more, or one that sandboxes cannot see.
pub fn current(host: &Host) -> Result<Python, Fault> {
    if let Some((stamp, python)) = asked().as_ref()
        && stamp_of(&python.program) == Some(*stamp)
    {
        return Ok(python.clone());
    }
    let at_start = host.python().map_err(unkept)?;
    let found = host.find_python().map_err(|error| {
        Fault::host(Cause::Environment, "the grading machine has no Python for the suite's environment")
            .with_detail(format!("{error:#}"))
    })?;
    if found != *at_start {
        tracing::warn!(
            was = %shown(at_start), now = %shown(&found),
            "the Python interpreter is another one than at the start; environments are built for it"
        );
    }
    // What is visible inside was settled at the start.
    if found.toolchain().iter().any(|dir| !at_start.toolchain().contains(dir)) {
        return Err(Fault::host(Cause::Environment, "the grading machine's Python has moved").with_detail(format!(
            "it was {}, and is {}: restart the runner, so that sandboxes can see it",
            shown(at_start),
            shown(&found)
        )));
    }
    *asked() = stamp_of(&found.program).map(|stamp| (stamp, found.clone()));
    Ok(found)
}

fn asked() -> std::sync::MutexGuard<'static, Option<(Stamp, Python)>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamp_of(program: &Path) -> Option<Stamp> {
    let found = program.metadata().ok()?;
    let changed = (found.ctime(), found.ctime_nsec());
    Some(Stamp { inode: (found.dev(), found.ino()), size: found.size(), changed })
}

fn shown(python: &Python) -> String {
    format!("{} ({})", python.program.display(), python.version)
}
