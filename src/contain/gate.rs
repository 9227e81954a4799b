//! The gate's program: the launcher's, in a file that can be executed inside and not be read.
//!
//! The kernel makes a process not dumpable whose program it may not read, from the first instruction on. So nobody inside looks
//! into a gate or speaks in its place while it waits to be placed ([`sandbox::gate`]).

use crate::harness::SPAWN;
use anyhow::Context;
use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Executable for all, readable for the host's root.
const MODE: u32 = 0o711;

/// What the harness starts programs through, on the host.
#[derive(Debug)]
pub struct Gate {
    /// The gate's program.
    pub program: PathBuf,
    /// The shared object by which it is started.
    pub library: PathBuf,
}

/// Puts both into the state directory, or finds them there.
pub fn install(launcher: &Path, state: &Path) -> anyhow::Result<Gate> {
    Ok(Gate { program: program(launcher, state)?, library: library(state)? })
}

fn library(state: &Path) -> anyhow::Result<PathBuf> {
    let path = state.join("ostest-spawn.so");
    if std::fs::read(&path).is_ok_and(|there| there == SPAWN) {
        return Ok(path);
    }
    let write = || -> anyhow::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(state)?;
        std::io::Write::write_all(&mut file, SPAWN)?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.persist(&path)?;
        Ok(())
    };
    write().with_context(|| format!("the harness's {} cannot be written", path.display()))?;
    Ok(path)
}

fn program(launcher: &Path, state: &Path) -> anyhow::Result<PathBuf> {
    let path = state.join(sandbox::gate::GATE_NAME);
    let shown = launcher.display();
    let mut source = File::open(launcher).with_context(|| format!("the launcher {shown} cannot be read"))?;
    let wanted = source.metadata().with_context(|| format!("the launcher {shown} cannot be looked at"))?;
    let is_it = |there: std::fs::Metadata| {
        (there.len(), there.mtime(), there.mtime_nsec()) == (wanted.len(), wanted.mtime(), wanted.mtime_nsec())
            && there.mode() & 0o7777 == MODE
            && there.uid() == 0
    };
    if std::fs::symlink_metadata(&path).is_ok_and(is_it) {
        return Ok(path);
    }
    let mut copy = || -> anyhow::Result<()> {
        // Under another name first: somebody may be executing the old one.
        let mut file = tempfile::NamedTempFile::new_in(state)?;
        std::io::copy(&mut source, &mut file)?;
        file.as_file().set_permissions(Permissions::from_mode(MODE))?;
        // A file that a power failure left without its content would look like this one.
        file.as_file().sync_all()?;
        file.as_file().set_times(FileTimes::new().set_modified(wanted.modified()?))?;
        file.persist(&path)?;
        Ok(())
    };
    copy().with_context(|| format!("the gate's program {} cannot be written", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_launchers_program_and_nobody_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let launcher = dir.path().join("launch");
        std::fs::write(&launcher, "one").unwrap();
        let Gate { program: gate, library } = install(&launcher, dir.path()).unwrap();
        assert_eq!(std::fs::read(library).unwrap(), SPAWN);
        let text = || std::fs::read_to_string(&gate).unwrap();
        assert_eq!((text().as_str(), std::fs::metadata(&gate).unwrap().mode() & 0o7777), ("one", 0o711));
        std::fs::set_permissions(&gate, Permissions::from_mode(0o755)).unwrap();
        install(&launcher, dir.path()).unwrap();
        assert_eq!(std::fs::metadata(&gate).unwrap().mode() & 0o7777, 0o711);
        std::fs::write(&launcher, "another").unwrap();
        install(&launcher, dir.path()).unwrap();
        assert_eq!(text(), "another");
    }
}
