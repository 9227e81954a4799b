//! The work tree: carries a project from fetch to test, in memory, and is gone afterwards.

use super::tree::inodes_for;
use crate::units::show_bytes;
use anyhow::Context;
use sandbox::copy::{Cap, Copied, Ownership, copy_tree};
use sandbox::plan::{APART, IdRange, STUDENT_ID};
use std::path::{Path, PathBuf};

/// Most files in a project or a suite.
const MAX_ENTRIES: u64 = 200_000;

/// A file system of limited size and inodes, mounted in the runner's own mount namespace: the host does not see it,
/// and the kernel takes it away should the runner die.
#[derive(Debug)]
pub struct WorkTree {
    path: PathBuf,
    ids: IdRange,
    size: u64,
}

impl WorkTree {
    /// Mounts an empty one on `path`, of `size` bytes, with directories for the project and the suite.
    pub fn make(path: PathBuf, ids: IdRange, size: u64) -> anyhow::Result<WorkTree> {
        std::fs::create_dir_all(&path).with_context(|| format!("the directory {} cannot be made", path.display()))?;
        sandbox::mounts::mount_work_tree(&path, size, inodes_for(size))?;
        let tree = WorkTree { path, ids, size };
        for (dir, owner) in [("project", STUDENT_ID), ("suite-source", STUDENT_ID), ("suite", 0)] {
            let dir = tree.path.join(dir);
            std::fs::create_dir(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
            std::os::unix::fs::chown(&dir, Some(ids.base + owner), Some(ids.base + owner))
                .with_context(|| format!("{} cannot be given to the slot's ids", dir.display()))?;
        }
        Ok(tree)
    }

    /// The project's directory, on the host.
    pub fn project(&self) -> PathBuf {
        self.path.join("project")
    }

    /// A suite as it was fetched, on the host.
    pub fn suite_source(&self) -> PathBuf {
        self.path.join("suite-source")
    }

    /// The suite's copy, on the host.
    pub fn suite(&self) -> PathBuf {
        self.path.join("suite")
    }

    /// Copies a local project into the tree, for the student's ids.
    pub fn take_project(&self, from: &Path) -> anyhow::Result<Copied> {
        let id = self.ids.base + STUDENT_ID;
        let owner = Ownership { uid: id, gid: id, shielded: false };
        let done = copy_tree(from, &self.project(), owner, self.cap(), &[".git"])
            .with_context(|| format!("the project {} cannot be taken", from.display()))?;
        Ok(done)
    }

    /// Copies a suite into the tree, for the sandbox's root: students cannot change what it shipped.
    pub fn take_suite(&self, from: &Path) -> anyhow::Result<Copied> {
        let owner = Ownership { uid: self.ids.base, gid: self.ids.base, shielded: true };
        let done = copy_tree(from, &self.suite(), owner, self.cap(), &[".git"])
            .with_context(|| format!("the suite {} cannot be taken", from.display()))?;
        Ok(done)
    }

    /// Lets only the harness read those files of the suite whose path below its top is `hidden`. Gives their number.
    pub fn hide_from_students(&self, hidden: &dyn Fn(&str) -> bool) -> anyhow::Result<u64> {
        Ok(sandbox::copy::hide(&self.suite(), self.ids.base + APART.gid, hidden)?)
    }

    fn cap(&self) -> Cap {
        Cap { bytes: self.size, entries: MAX_ENTRIES }
    }
}

impl Drop for WorkTree {
    fn drop(&mut self) {
        let gone = sandbox::mounts::unmount_work_tree(&self.path).map_err(anyhow::Error::from);
        let gone = gone.and_then(|()| std::fs::remove_dir(&self.path).map_err(anyhow::Error::from));
        if let Err(error) = gone {
            tracing::error!(
                path = %self.path.display(),
                "the work tree cannot be removed: {error:#}; up to {} of memory stay in use until the runner is started again",
                show_bytes(self.size)
            );
        }
    }
}
