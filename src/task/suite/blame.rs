//! Whose fault it is that a suite could not be taken.

use crate::fault::{Cause, Fault};
use crate::task::sandbox_failed;
use crate::units;
use sandbox::copy::{CopyError, Side};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What shares the room of a work tree.
#[derive(Debug)]
pub struct Limits<'a> {
    /// The submission, which is there already.
    pub project: &'a Path,
    /// The suite that does not fit beside it.
    pub suite: &'a Path,
    /// The room, in bytes.
    pub disk: u64,
}

/// A suite that was not copied.
pub fn untaken(error: &anyhow::Error, limits: &Limits<'_>) -> Fault {
    let detail = format!("{error:#}");
    match error.downcast_ref::<CopyError>() {
        Some(CopyError::TooLarge(what)) => too_large(limits, &format!("{}: {what}", limits.suite.display())),
        Some(CopyError::Io { side: Side::Source, path, error }) => unreadable(limits.suite, path, error),
        Some(CopyError::Io { side: Side::Target, error, .. }) if is_no_room(error) => crowded(limits, &detail),
        _ => sandbox_failed(anyhow::anyhow!(detail)),
    }
}

/// A suite of which this path, below its top, cannot be read.
pub fn unreadable(suite: &Path, path: &str, error: &io::Error) -> Fault {
    use nix::errno::Errno;
    // The top is named by the operator, who can have named what is not there; a file that is missing below it was there when its
    // directory was read.
    let top = path == "." || Path::new(path) == suite;
    let detail =
        if top { format!("{}: {error}", suite.display()) } else { format!("{}: {path}: {error}", suite.display()) };
    let host = |what: &str| Fault::host(Cause::Suite, what.to_string()).with_detail(&detail);
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => {
            Fault::host(Cause::Sandbox, "the grading machine is short of something").with_detail(detail)
        }
        Some(Errno::ENOENT | Errno::ENOTDIR) if top => {
            host("the test suite is not there where the grading machine looks for it")
        }
        _ if top => host("the test suite cannot be read on the grading machine"),
        Some(Errno::EACCES | Errno::EPERM | Errno::ELOOP | Errno::ENAMETOOLONG | Errno::ENOENT | Errno::ENOTDIR) => {
            Fault::suite("a file of the test suite cannot be read").with_detail(detail)
        }
        // A disk, or a server of files, that does not work.
        _ => host("the test suite cannot be read on the grading machine"),
    }
}

fn too_large(limits: &Limits<'_>, detail: &str) -> Fault {
    Fault::suite(format!("the test suite is too large for the limit of {}", units::show_bytes(limits.disk)))
        .with_detail(format!("{detail}; --disk-limit raises the limit"))
}

fn is_no_room(error: &io::Error) -> bool {
    use nix::errno::Errno;
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG))
}

/// Submission and suite do not fit into the work tree together. The submission is only to blame if it takes most of the room, and the
/// suite little of it.
fn crowded(limits: &Limits<'_>, detail: &str) -> Fault {
    let (project, suite) = (Held::by(limits.project), Held::by(limits.suite));
    let inodes = crate::contain::tree::inodes_for(limits.disk);
    let most = |held: Held| held.bytes > limits.disk / 2 || held.files > inodes / 2;
    let limit = units::show_bytes(limits.disk);
    if suite.bytes > limits.disk || suite.files > inodes {
        return too_large(limits, detail);
    }
    if most(project) && !most(suite) {
        let (bytes, files) = (units::show_bytes(project.bytes), project.files);
        return Fault::submission(format!(
            "the submission leaves no room for its tests: it takes {bytes} in {files} files, and the limit for both is {limit}"
        ));
    }
    Fault::suite(format!("the test suite does not fit beside the submission into the limit of {limit}"))
        .with_detail(format!("{detail}; --disk-limit raises the limit"))
}

/// What a tree takes on a file system.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    bytes: u64,
    files: u64,
}

impl Held {
    /// Of a tree, as far as it can be read. No link is followed.
    fn by(dir: &Path) -> Held {
        let mut held = Held::default();
        let mut left = vec![dir.to_path_buf()];
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let Ok(found) = entry.metadata() else { continue };
                held.files += 1;
                held.bytes += found.blocks() * 512;
                if found.is_dir() {
                    left.push(entry.path());
                }
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Blame;
    use nix::errno::Errno;

    fn copied(side: Side, path: &str, errno: Errno) -> anyhow::Error {
        let error = io::Error::from_raw_os_error(errno as i32);
        anyhow::Error::new(CopyError::Io { side, path: path.into(), error }).context("the suite /s cannot be taken")
    }

    #[test]
    fn which_tree_failed_decides_on_the_blame() {
        let none = Path::new("/nonexistent/ostest");
        let limits = Limits { project: none, suite: Path::new("/s"), disk: 1 << 20 };
        let of = |side, path: &str, errno| {
            let fault = untaken(&copied(side, path, errno), &limits);
            (fault.blame, fault.cause)
        };
        for (path, errno) in [("/s", Errno::ENOENT), ("/s", Errno::ESTALE), ("/s", Errno::EACCES), (".", Errno::EIO)] {
            assert_eq!(of(Side::Source, path, errno), (Blame::Host, Cause::Suite), "{path} {errno}");
        }
        assert_eq!(of(Side::Source, "a/b", Errno::EIO), (Blame::Host, Cause::Suite));
        assert_eq!(of(Side::Source, "a/b", Errno::EACCES), (Blame::Suite, Cause::Suite));
        assert_eq!(of(Side::Source, "a/b", Errno::EMFILE), (Blame::Host, Cause::Sandbox));
        assert_eq!(of(Side::Target, "a/b", Errno::EIO), (Blame::Host, Cause::Sandbox));
        assert_eq!(of(Side::Target, "a/b", Errno::ENOSPC), (Blame::Suite, Cause::Suite));
        let named = untaken(&copied(Side::Source, "a/b", Errno::EACCES), &limits);
        assert!(named.detail.contains("/s: a/b: ") && !named.message.contains('/'), "{named:?}");
        let large = anyhow::Error::new(CopyError::TooLarge("more than 9 bytes, at big".into())).context("x");
        let large = untaken(&large, &limits);
        assert!(large.blame == Blame::Suite && large.detail.contains("at big"), "{large:?}");
    }

    #[test]
    fn a_submission_is_to_blame_for_room_only_if_it_takes_it() {
        let dir = tempfile::tempdir().unwrap();
        let tree = |name: &str, bytes: usize| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("f"), vec![1; bytes]).unwrap();
            path
        };
        let (small, large) = (tree("small", 1 << 10), tree("large", 700 << 10));
        let blame = |project, suite| {
            untaken(&copied(Side::Target, "f", Errno::ENOSPC), &Limits { project, suite, disk: 1 << 20 }).blame
        };
        assert_eq!(blame(&large, &small), Blame::Submission);
        assert_eq!(blame(&small, &large), Blame::Suite);
        assert_eq!(blame(&large, &large), Blame::Suite);
        assert_eq!(blame(&small, &small), Blame::Suite);
    }
}
