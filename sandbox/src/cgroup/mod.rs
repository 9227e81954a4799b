//! Control groups.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where a runner's groups are made: the directory that belongs to this runner alone, in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Base {
    /// One v2 tree with all controllers.
    Unified {
        /// The runner's directory in it.
        dir: PathBuf,
    },
    /// v1 controllers, beside a v2 tree without controllers (for `cgroup.kill` and CLONE_INTO_CGROUP).
    Hybrid {
        /// The runner's directory in the v2 tree.
        dir: PathBuf,
        /// ... in the v1 memory hierarchy.
        memory: PathBuf,
        /// ... in the v1 pids hierarchy.
        pids: PathBuf,
        /// ... in the v1 cpu hierarchy.
        cpu: PathBuf,
        /// ... in the v1 cpuacct hierarchy (may be the same directory as `cpu`).
        cpuacct: PathBuf,
    },
}
