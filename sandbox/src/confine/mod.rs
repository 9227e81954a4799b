//! What a process gives up before it becomes the payload: limits, capabilities, file system rights, system calls.

pub mod call;
pub mod caps;
mod constants;
pub mod landlock;
pub mod listing;
pub mod policy;
pub mod rlimits;
pub mod rules;
pub mod seccomp;
pub mod seen;
pub mod told;
pub mod verdict;
mod written;

#[cfg(test)]
mod bpf_eval;
#[cfg(test)]
mod groups_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod seccomp_tests;
#[cfg(test)]
mod seen_tests;
#[cfg(test)]
mod walk_tests;

/// Why a layer could not be put in place. Each message names the layer and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Capabilities are left.
    #[error("capabilities could not be dropped: {0}")]
    Caps(String),
    /// A process limit.
    #[error("a process limit could not be set: {0}")]
    Rlimit(String),
    /// There is no Landlock.
    #[error(
        "this kernel offers no Landlock: it needs CONFIG_SECURITY_LANDLOCK (5.13 or newer) and `landlock` in the \
         boot parameter `lsm=`; to run without this layer say --allow-degraded landlock"
    )]
    NoLandlock,
    /// The Landlock domain.
    #[error(
        "the Landlock domain could not be put in place: {0}; to run without this layer say --allow-degraded landlock"
    )]
    Landlock(String),
}
