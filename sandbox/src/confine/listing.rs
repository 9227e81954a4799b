//! What a policy says of a call, for people: `ostest-sandbox policy` shows it, and so can whoever has to tell a student why a call
//! was refused.

use super::policy::{Entry, Policy, Says};
use std::collections::BTreeSet;

/// The policies that sandboxes are given: those of the stages, and that of pid 1.
pub const POLICIES: [&str; 4] = ["fetch", "build", "test", "init"];

/// How a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The kernel carries it out.
    Allowed,
    /// It depends on the arguments.
    Conditional,
    /// With an error that says so.
    Refused,
    /// As if the kernel did not have it: ENOSYS.
    Unlisted,
}

/// The rules of a policy for one call.
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    /// Those that allow it.
    pub allow: Vec<&'a Entry>,
    /// Those that refuse it.
    pub refuse: Vec<&'a Entry>,
}

impl Policy {
    /// What is said of a call.
    pub fn listing(&self, syscall: &str) -> Listing<'_> {
        let those = |says| self.entries.iter().filter(|entry| entry.syscall == syscall && entry.says == says).collect();
        Listing { allow: those(Says::Allowed), refuse: those(Says::Refused) }
    }

    /// The calls of which anything is said.
    pub fn calls(&self) -> BTreeSet<&str> {
        self.entries.iter().map(|entry| entry.syscall.as_str()).collect()
    }

    /// How many of its calls are answered in this way.
    pub fn count(&self, kind: Kind) -> usize {
        self.calls().into_iter().filter(|call| self.listing(call).kind() == kind).count()
    }
}

impl<'a> Listing<'a> {
    /// How the call is answered.
    pub fn kind(&self) -> Kind {
        match (self.allow.as_slice(), self.refuse.as_slice()) {
            ([], []) => Kind::Unlisted,
            ([], _) => Kind::Refused,
            ([one], []) if one.when.is_empty() => Kind::Allowed,
            _ => Kind::Conditional,
        }
    }

    /// With which arguments it is allowed: any of these will do. Empty where they do not matter.
    pub fn when(&self) -> Vec<&'a str> {
        self.allow.iter().flat_map(|entry| &entry.when).map(String::as_str).collect()
    }

    /// The name of the error that it gets where no particular rule says otherwise. `None` where there is none.
    pub fn errno(&self) -> Option<&'a str> {
        match self.kind() {
            Kind::Allowed => None,
            Kind::Unlisted => Some("ENOSYS"),
            Kind::Conditional => self.allow.iter().find_map(|entry| entry.errno.as_deref()),
            Kind::Refused => self.refuse.iter().find_map(|entry| entry.errno.as_deref()),
        }
    }

    /// What to do instead of what is refused, in words for students.
    pub fn instead(&self) -> Option<&'a str> {
        self.refuse.iter().chain(&self.allow).find_map(|entry| entry.instead.as_deref())
    }

    /// Who needs it, though it was not seen.
    pub fn needed_by(&self) -> Option<&'a str> {
        self.allow.iter().find_map(|entry| entry.needed_by.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seccompiler::TargetArch;

    #[test]
    fn every_kind_of_answer_is_told() {
        let policy = Policy::load("fetch", TargetArch::x86_64).unwrap();
        let kind = |call: &str| policy.listing(call).kind();
        assert_eq!(kind("read"), Kind::Allowed);
        assert_eq!(kind("socket"), Kind::Conditional);
        assert_eq!(kind("ptrace"), Kind::Refused);
        assert_eq!(kind("shmget"), Kind::Unlisted);
        assert_eq!(policy.listing("socket").errno(), Some("EPERM"));
        assert_eq!(policy.listing("clone3").errno(), Some("ENOSYS"));
        assert_eq!(policy.listing("read").errno(), None);
        assert!(policy.listing("mount").instead().is_some());
        let socket = policy.listing("socket").when();
        assert!(socket.contains(&"its first argument is AF_UNIX"), "{socket:?}");
        let kinds = [Kind::Allowed, Kind::Conditional, Kind::Refused];
        assert_eq!(kinds.map(|kind| policy.count(kind)).iter().sum::<usize>(), policy.calls().len());
    }

    #[test]
    fn whoever_is_refused_a_call_of_the_list_is_told_what_to_do() {
        let policy = Policy::load("test", TargetArch::x86_64).unwrap();
        for call in policy.calls() {
            let listing = policy.listing(call);
            if listing.kind() == Kind::Refused {
                assert!(
                    listing.instead().is_some(),
                    "{call} is refused, and nobody says what a student can do instead"
                );
            }
        }
    }
}
