//! The Landlock domain of the payload: the second layer behind the mount namespace.

use super::ConfineError;
use crate::mounts;
use crate::plan::{Mount, Plan};
use crate::switch::Switch;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Which trees may be written, and how. Everything else can be read and executed only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writable {
    /// Trees in which anything may be done but making device nodes.
    pub trees: Vec<PathBuf>,
    /// Files and directories in which what exists may be written and nothing made.
    pub existing: Vec<PathBuf>,
}

/// Derives from a plan's mounts what may be written: its file systems in memory, its writable
/// binds, /dev/shm, message queues; and what exists in /dev and /proc (the kernel's own rules go on holding there).
pub fn writable(plan: &Plan) -> Writable {
    let mut trees = vec![PathBuf::from("/dev/shm")];
    // The host's own tree need not have it.
    if !plan.off(Switch::Mounts) {
        trees.push(PathBuf::from(mounts::QUEUES));
    }
    for mount in &plan.mounts {
        match mount {
            Mount::Tmpfs { target, .. } | Mount::Bind { target, writable: true, .. } => trees.push(target.clone()),
            _ => {}
        }
    }
    Writable { trees, existing: vec![PathBuf::from("/dev"), PathBuf::from("/proc")] }
}

/// The newest ABI of the crate that a kernel's number allows.
fn abi_of(number: i32) -> Option<ABI> {
    match number {
        i32::MIN..=0 => None,
        1 => Some(ABI::V1),
        2 => Some(ABI::V2),
        3 => Some(ABI::V3),
        4 => Some(ABI::V4),
        5 => Some(ABI::V5),
        _ => Some(ABI::V6),
    }
}

/// Puts the calling thread, and all it starts, into a domain in which only `writable` can be written. From ABI 6 on
/// signals and abstract sockets end at the domain's border too.
///
/// # Errors
/// Where the kernel has no Landlock, a path is missing, or the domain was not enforced whole.
pub fn apply(writable: &Writable) -> Result<(), ConfineError> {
    let number = crate::sys::landlock_abi();
    let Some(abi) = abi_of(number) else {
        return Err(ConfineError::NoLandlock);
    };
    let fail = |what: &str| ConfineError::Landlock(what.to_string());
    let all = AccessFs::from_all(abi);
    let devices: BitFlags<AccessFs> = AccessFs::MakeChar | AccessFs::MakeBlock;
    let make = AccessFs::MakeChar
        | AccessFs::MakeBlock
        | AccessFs::MakeDir
        | AccessFs::MakeFifo
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::MakeSym
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::Refer;
    // Every right that is handled exists at this ABI, so anything short of full enforcement is an error.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(all)
        .map_err(|e| fail(&e.to_string()))?;
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi)).map_err(|e| fail(&e.to_string()))?;
    }
    let mut ruleset = ruleset.create().map_err(|e| fail(&e.to_string()))?;
    let mut allow = |path: &Path, access: BitFlags<AccessFs>| -> Result<(), ConfineError> {
        let fd = PathFd::new(path).map_err(|e| fail(&format!("{}: {e}", path.display())))?;
        // A rule on a file may hold only what applies to files.
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(abi) };
        let rule = PathBeneath::new(fd, access);
        (&mut ruleset).add_rule(rule).map_err(|e| fail(&format!("{}: {e}", path.display())))?;
        Ok(())
    };
    allow(Path::new("/"), AccessFs::from_read(abi))?;
    for path in &writable.existing {
        allow(path, all & !make)?;
    }
    for path in &writable.trees {
        allow(path, all & !devices)?;
    }
    let status = ruleset.restrict_self().map_err(|e| fail(&e.to_string()))?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        return Err(fail("the kernel enforced only a part of the domain"));
    }
    Ok(())
}
