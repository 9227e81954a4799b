//! Control groups: where a stage's processes are limited, counted and killed.
//!
//! A **base** is the directory that belongs to one runner alone; below it every stage gets a
//! [`StageGroup`], whose processes live in **leaves** (`init`, `payload`, later one for each test).
//! Two drivers stand behind the same interface:
//!
//! - *unified*: one v2 tree with the controllers memory, pids and cpu;
//! - *hybrid*: those controllers as v1 hierarchies, beside a v2 tree without controllers, which
//!   still gives `cgroup.kill` and a target for CLONE_INTO_CGROUP.
//!
//! Directories are made, moved into, read and removed with plain file operations. The limits
//! themselves are written by the single setters of cgroups-rs, whose controllers are constructed on
//! exactly our directory (`MemController::new(dir, …)`). Its `Cgroup` type would look for the
//! hierarchies itself (v2 at `/sys/fs/cgroup` and nowhere else, never both kinds), take in every
//! controller it finds, and write the root's `subtree_control` when it creates. Nothing is taken
//! from its statistics: they turn a file that cannot be read into 0.

mod claim;
mod cores;
mod detect;
mod error;
mod files;
mod host;
mod hybrid;
mod limits;
mod meter;
mod mountinfo;
mod offers;
mod peak;
mod programs;
mod scope;
mod stage;
mod tree;
mod unified;
mod usage;

pub use claim::Swept;
pub use cores::{parse as parse_cores, show as show_cores};
pub use error::CgroupError;
pub use meter::{InFiles, Meter};
pub use offers::Offers;
pub use peak::Rise;
pub use scope::{SCOPE_SLICE, is_scope_of, scope_name};
pub use stage::{INIT, PAYLOAD, StageGroup};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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

impl Base {
    /// The driver's name, as logs and `check` print it: `unified` or `hybrid`.
    pub fn driver(&self) -> &'static str {
        match self {
            Base::Unified { .. } => "unified",
            Base::Hybrid { .. } => "hybrid",
        }
    }

    /// One line for people: the driver and its directories.
    pub fn describe(&self) -> String {
        match self {
            Base::Unified { dir } => format!("unified: cgroup v2 at {}", dir.display()),
            Base::Hybrid { dir, memory, pids, cpu, cpuacct } => format!(
                "hybrid: cgroup v1 memory at {}, pids at {}, cpu at {}, cpuacct at {}, and cgroup v2 for killing at {}",
                memory.display(),
                pids.display(),
                cpu.display(),
                cpuacct.display(),
                dir.display()
            ),
        }
    }

    /// The group of that name below this one. A group has the same shape as the base: one directory
    /// in each hierarchy.
    fn child(&self, name: &str) -> Base {
        match self {
            Base::Unified { dir } => Base::Unified { dir: dir.join(name) },
            Base::Hybrid { dir, memory, pids, cpu, cpuacct } => Base::Hybrid {
                dir: dir.join(name),
                memory: memory.join(name),
                pids: pids.join(name),
                cpu: cpu.join(name),
                cpuacct: cpuacct.join(name),
            },
        }
    }

    /// The directory in the v2 tree.
    fn v2(&self) -> &Path {
        match self {
            Base::Unified { dir } | Base::Hybrid { dir, .. } => dir,
        }
    }

    /// The directory in each hierarchy once (controllers can share one), the v2 tree's first.
    fn dirs(&self) -> Vec<&Path> {
        let mut dirs = vec![self.v2()];
        dirs.extend(self.v1());
        dirs
    }

    /// The directory in each v1 hierarchy, once.
    fn v1(&self) -> Vec<&Path> {
        let mut dirs: Vec<&Path> = Vec::new();
        if let Base::Hybrid { memory, pids, cpu, cpuacct, .. } = self {
            for dir in [memory, pids, cpu, cpuacct] {
                if !dirs.contains(&dir.as_path()) {
                    dirs.push(dir);
                }
            }
        }
        dirs
    }
}

/// Whether this can be the name of a group: nothing that leaves the directory or hides in it.
pub(crate) fn check_name(name: &str) -> Result<(), CgroupError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(CgroupError::Name { name: name.into() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_hierarchy_is_listed_once() {
        let base = Base::Hybrid {
            dir: "/u/x".into(),
            memory: "/m/x".into(),
            pids: "/p/x".into(),
            cpu: "/cpu,cpuacct/x".into(),
            cpuacct: "/cpu,cpuacct/x".into(),
        };
        let stage = base.child("s");
        let dirs: Vec<_> = stage.dirs().into_iter().map(Path::to_path_buf).collect();
        let expected = ["/u/x/s", "/m/x/s", "/p/x/s", "/cpu,cpuacct/x/s"].map(PathBuf::from);
        assert_eq!(dirs, expected);
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        for bad in ["", ".", "..", "a/b", "/a", "a b", ".hidden", "a\0"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name(&"x".repeat(65)).is_err());
        assert!(check_name("slot-1.test_2").is_ok());
    }
}
