//! Groups of system calls that the operator can allow a laboratory beyond what the test stage has.
//!
//! What a group opens, and its risk, stands in `policies/groups/` ([`crate::confine::policy`]). Here is what they are called, and
//! how a plan carries them. What else has to change for one is asked for where it changes: the filters' listener in the
//! launcher, mounts and the count of user namespaces in init. What the kernel must have is in [`host`].

pub mod host;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A group of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Landlock domains.
    Landlock,
    /// Extended attributes, set.
    Xattrs,
    /// Page faults that a program answers.
    Userfaultfd,
    /// Counters of oneself.
    Perf,
    /// Rings.
    IoUring,
    /// A listener of a filter.
    SeccompNotify,
    /// Namespaces and mounts.
    Containers,
}

impl Group {
    /// All of them.
    pub const ALL: [Group; 7] = [
        Group::Landlock,
        Group::Xattrs,
        Group::Userfaultfd,
        Group::Perf,
        Group::IoUring,
        Group::SeccompNotify,
        Group::Containers,
    ];

    /// The name that operators and teachers write.
    pub fn name(self) -> &'static str {
        match self {
            Group::Landlock => "landlock",
            Group::Xattrs => "xattrs",
            Group::Userfaultfd => "userfaultfd",
            Group::Perf => "perf",
            Group::IoUring => "io_uring",
            Group::SeccompNotify => "seccomp-notify",
            Group::Containers => "containers",
        }
    }

    /// Its file of `policies/groups/`, as it was when this was built.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Group::Landlock => include_str!("../../policies/groups/landlock.json"),
            Group::Xattrs => include_str!("../../policies/groups/xattrs.json"),
            Group::Userfaultfd => include_str!("../../policies/groups/userfaultfd.json"),
            Group::Perf => include_str!("../../policies/groups/perf.json"),
            Group::IoUring => include_str!("../../policies/groups/io_uring.json"),
            Group::SeccompNotify => include_str!("../../policies/groups/seccomp-notify.json"),
            Group::Containers => include_str!("../../policies/groups/containers.json"),
        }
    }

    /// Whether only the ledger ([`crate::ledger`]) holds what it lets a program have of the kernel's memory: access lists, counters,
    /// file systems, sockets in a network namespace of its own, at which nobody else looks.
    pub fn needs_ledger(self) -> bool {
        matches!(self, Group::Xattrs | Group::Perf | Group::IoUring | Group::Containers)
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(name: &str) -> Result<Group, String> {
        let found = Group::ALL.into_iter().find(|group| group.name() == name);
        found.ok_or_else(|| {
            format!("{name:?} is no group of calls; there are: {}", Group::ALL.map(Group::name).join(", "))
        })
    }
}

/// Some groups, each once, in the order of [`Group::ALL`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Groups(u8);

impl Groups {
    /// None.
    pub const NONE: Groups = Groups(0);

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Whether this one is among them.
    pub fn contains(self, group: Group) -> bool {
        self.0 & group.bit() != 0
    }

    /// All of either.
    #[must_use]
    pub fn and(self, other: Groups) -> Groups {
        Groups(self.0 | other.0)
    }

    /// Those that are not among the others.
    #[must_use]
    pub fn without(self, other: Groups) -> Groups {
        Groups(self.0 & !other.0)
    }

    /// Each.
    pub fn iter(self) -> impl Iterator<Item = Group> {
        Group::ALL.into_iter().filter(move |group| self.contains(*group))
    }

    /// The name of a policy with these on top of it: `test+perf+io_uring`.
    pub fn on(self, policy: &str) -> String {
        self.iter().fold(policy.to_owned(), |name, group| name + "+" + group.name())
    }
}

impl FromIterator<Group> for Groups {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Groups {
        Groups(groups.into_iter().fold(0, |bits, group| bits | group.bit()))
    }
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Group::name).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Group::name)).finish()
    }
}

impl Serialize for Groups {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_seq(self.iter().map(Group::name))
    }
}

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Groups, D::Error> {
        let names = Vec::<String>::deserialize(input)?;
        names.iter().map(|name| name.parse()).collect::<Result<Groups, String>>().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_nobody_has_is_answered_with_those_that_there_are() {
        let error = serde_json::from_str::<Groups>(r#"["perf", "io_urnig"]"#).unwrap_err().to_string();
        assert!(error.contains("io_urnig") && Group::ALL.iter().all(|group| error.contains(group.name())), "{error}");
        assert!("Perf".parse::<Group>().is_err());
    }

    #[test]
    fn a_policy_is_called_by_what_is_on_top_of_it() {
        assert_eq!(Groups::NONE.on("test"), "test");
        let some: Groups = [Group::IoUring, Group::Perf, Group::Perf].into_iter().collect();
        assert_eq!((some.on("test"), some.to_string()), ("test+perf+io_uring".into(), "perf, io_uring".into()));
    }

    proptest! {
        #[test]
        fn a_set_of_names_comes_back_from_json_and_holds_what_it_was_given(bits in 0u8..128) {
            let set = Groups(bits);
            let back: Groups = serde_json::from_str(&serde_json::to_string(&set).unwrap()).unwrap();
            prop_assert_eq!(back, set);
            prop_assert_eq!(set.iter().collect::<Groups>(), set);
            prop_assert!(set.without(set).is_empty());
            prop_assert_eq!(set.and(Groups::NONE), set);
        }
    }
}
