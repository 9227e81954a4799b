//! What kept a task from being graded, and who is to blame for it.
//!
//! The place that makes the error decides on the blame, because only there it is known what failed. Nothing converts into a
//! [`Fault`] by itself: `?` on an `io::Error` would blame whoever the conversion names.

use crate::text::quoted;
use std::fmt;

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// The student: shown to be the submission's, never assumed.
    Submission,
    /// The teacher: the suite, its configuration or its requirements.
    Suite,
    /// The operator: this host, its disk, its kernel, the runner itself.
    Host,
    /// Whoever runs the network: names, connections, certificates, the git server, the package index.
    Network,
    /// The backend's maintainer: a task that is not valid.
    Backend,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Blame::Submission => "submission",
            Blame::Suite => "suite",
            Blame::Host => "host",
            Blame::Network => "network",
            Blame::Backend => "backend",
        })
    }
}

/// What is broken. Two faults of one cause are mended by the same act, and one probe shows that it is mended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The submission itself; nothing else is affected.
    Submission,
    /// A git server, as `host:port`.
    Server(String),
    /// The local mirror of this URL prefix.
    Mirror(String),
    /// The suite as it is: `ostest.toml`, `requirements.txt`, its command, its directory.
    Suite,
    /// The package index, or the way to it.
    Index,
    /// The Python environment of the suite.
    Environment,
    /// Programs of this host that the suite needs.
    Programs,
    /// Groups of system calls that the suite needs and this host does not allow, or cannot.
    Groups,
    /// Whatever a sandbox is made of: control groups, mounts, the launcher, the work tree.
    Sandbox,
    /// The runner's own code.
    Runner,
    /// The time in which the backend wants an answer.
    Deadline,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Submission => f.write_str("the submission"),
            Cause::Server(place) => write!(f, "the git server {}", place.strip_suffix(":443").unwrap_or(place)),
            Cause::Mirror(prefix) => write!(f, "the mirror of {prefix}"),
            Cause::Suite => f.write_str("the test suite"),
            Cause::Index => f.write_str("the package index"),
            Cause::Environment => f.write_str("the suite's Python environment"),
            Cause::Programs => f.write_str("the look for the programs that the suite needs"),
            Cause::Groups => f.write_str("the look for the system calls that the suite needs"),
            Cause::Sandbox => f.write_str("the sandbox"),
            Cause::Runner => f.write_str("the runner"),
            Cause::Deadline => f.write_str("the time for an answer"),
        }
    }
}

/// Why a task was not graded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Who has to act.
    pub blame: Blame,
    /// What is broken.
    pub cause: Cause,
    /// A sentence for whoever reads the result: a student or a teacher. It names nothing of the host that is not theirs to know.
    pub message: String,
    /// What the operator needs beside it, such as a path, an error number, a tool's own words. Empty for none.
    pub detail: String,
}

impl Fault {
    /// The submission is to blame, which has been shown.
    pub fn submission(message: impl Into<String>) -> Fault {
        Fault::new(Blame::Submission, Cause::Submission, message)
    }

    /// The suite is to blame.
    pub fn suite(message: impl Into<String>) -> Fault {
        Fault::new(Blame::Suite, Cause::Suite, message)
    }

    /// This host is to blame; `cause` says what of it.
    pub fn host(cause: Cause, message: impl Into<String>) -> Fault {
        Fault::new(Blame::Host, cause, message)
    }

    /// The network, or a server in it, is to blame.
    pub fn network(cause: Cause, message: impl Into<String>) -> Fault {
        Fault::new(Blame::Network, cause, message)
    }

    /// Any.
    pub fn new(blame: Blame, cause: Cause, message: impl Into<String>) -> Fault {
        // Many a message has what a tool or a program has printed below its first line.
        Fault { blame, cause, message: quoted(&message.into()), detail: String::new() }
    }

    /// With what only the operator needs; much of it is what git, pip and other tools say.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Fault {
        Fault { detail: quoted(&detail.into()), ..self }
    }

    /// Whether the same task can succeed later without the student doing anything. Such a task is held and tried again, and the
    /// backend is told of the fault only when its time is over.
    pub fn is_worth_another_try(&self) -> bool {
        !matches!(self.blame, Blame::Submission | Blame::Backend) && self.cause != Cause::Deadline
    }

    /// The whole of it, for the operator: on more than one line where a tool has said something.
    pub fn whole(&self) -> String {
        let parts = [self.message.trim_end(), self.detail.trim()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_the_submissions_is_tried_again() {
        assert!(!Fault::submission("it does not compile").is_worth_another_try());
        assert!(!Fault::new(Blame::Backend, Cause::Runner, "no URL").is_worth_another_try());
        for fault in [Fault::suite("x"), Fault::host(Cause::Sandbox, "x"), Fault::network(Cause::Index, "x")] {
            assert!(fault.is_worth_another_try(), "{fault:?}");
        }
    }

    #[test]
    fn the_operator_reads_both_parts_and_the_student_one() {
        let fault =
            Fault::host(Cause::Mirror("https://a/".into()), "the mirror is away").with_detail("/srv/git: EIO\n");
        assert_eq!(fault.to_string(), "the mirror is away");
        assert_eq!(fault.whole(), "the mirror is away\n/srv/git: EIO");
        assert_eq!(fault.cause.to_string(), "the mirror of https://a/");
        assert_eq!(Cause::Server("github.com:443".into()).to_string(), "the git server github.com");
    }
}
