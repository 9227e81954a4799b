//! Limits of each process, beside those of the cgroup.

use super::ConfineError;
use crate::plan::Rlimits;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The calling process's own limit on core files, in bytes (soft); 0 where it cannot be told.
pub fn own_core_limit() -> u64 {
    getrlimit(Resource::RLIMIT_CORE).map_or(0, |(soft, _)| soft)
}

/// Raises this process's own limit on open files to `need`, as far as its hard limit lets it; further up would only slow down
/// programs that close every number that there could be. Gives the limit, and the hard one.
pub fn raise_open_files(need: u64) -> Result<(u64, u64), ConfineError> {
    let fail = |e: nix::Error| ConfineError::Rlimit(format!("RLIMIT_NOFILE: {}", e.desc()));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(fail)?;
    let raised = need.min(hard);
    if soft >= raised {
        return Ok((soft, hard));
    }
    setrlimit(Resource::RLIMIT_NOFILE, raised, hard).map_err(fail)?;
    Ok((raised, hard))
}

/// The hard limit that goes with it; nobody without CAP_SYS_RESOURCE raises it.
pub fn own_core_ceiling() -> u64 {
    getrlimit(Resource::RLIMIT_CORE).map_or(0, |(_, hard)| hard)
}

/// Raises the calling process's hard limit on core files to `wanted` where it is lower and the kernel lets it: sudo sets it to 0,
/// at which the kernel still starts a `|handler` of the host, and the value that it takes as "skip" is 1.
pub fn allow_core(wanted: u64) {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_CORE)
        && hard < wanted
    {
        // Without CAP_SYS_RESOURCE it stays as it is, which `check` tells of.
        let _ = setrlimit(Resource::RLIMIT_CORE, soft, wanted);
    }
}

/// Sets every limit, soft and hard, and reads it back. Hard limits of the stack and of core files may be higher than the soft ones. Where the launcher's own hard limit is lower, that one stays:
/// raising it would need CAP_SYS_RESOURCE on the host, and lower is never weaker.
pub fn apply(limits: &Rlimits) -> Result<(), ConfineError> {
    let wanted = [
        (Resource::RLIMIT_NOFILE, limits.nofile),
        (Resource::RLIMIT_CORE, limits.core),
        (Resource::RLIMIT_FSIZE, limits.fsize),
        (Resource::RLIMIT_STACK, limits.stack),
        (Resource::RLIMIT_MEMLOCK, limits.memlock),
        (Resource::RLIMIT_MSGQUEUE, limits.msgqueue),
        (Resource::RLIMIT_NPROC, limits.nproc),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_NICE, 0),
    ];
    for (resource, value) in wanted {
        let fail = |what: &str| ConfineError::Rlimit(format!("{resource:?} of {value}: {what}"));
        let (_, hard) = getrlimit(resource).map_err(|e| fail(e.desc()))?;
        let value = value.min(hard);
        // A stack's hard limit stays high: programs raise it for their threads.
        let new_hard = match resource {
            Resource::RLIMIT_STACK => hard,
            Resource::RLIMIT_CORE => limits.core_most.clamp(value, hard),
            _ => value,
        };
        setrlimit(resource, value, new_hard).map_err(|e| fail(e.desc()))?;
        if getrlimit(resource).map_err(|e| fail(e.desc()))? != (value, new_hard) {
            return Err(fail("the kernel kept another value"));
        }
    }
    Ok(())
}
