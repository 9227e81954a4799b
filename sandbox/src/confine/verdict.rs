//! What a policy answers to a call: straight from its rules, without the filters that they become. Tests compare the two.

use super::policy::{Allowed, Policy};
use super::rules::{AnyOf, Condition};

/// What comes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel carries it out.
    Allowed,
    /// It is answered with this error, as the policy says.
    Refused(u32),
    /// It is on no list, or on the list of what does not exist here: ENOSYS.
    Unknown,
}

impl Policy {
    /// What is answered to a call with these arguments. Where several rules refuse it, any other error goes before EPERM: it says
    /// more; and of two others the larger number, which is the filter that is installed later.
    pub fn verdict(&self, syscall: &str, args: &[u64; 6]) -> Verdict {
        let allowed = self.allow.get(syscall);
        let otherwise = match allowed {
            Some(Allowed::When { rule, otherwise, .. }) if !holds(rule, args) => Some(*otherwise),
            _ => None,
        };
        let refused = self.refuse.iter().filter(|refused| refused.syscall == syscall);
        let refused = refused.filter(|r| r.rule.as_ref().is_none_or(|rule| holds(rule, args))).map(|r| r.errno);
        match otherwise.into_iter().chain(refused).max_by_key(|errno| (*errno != libc::EPERM as u32, *errno)) {
            Some(errno) if errno == libc::ENOSYS as u32 => Verdict::Unknown,
            Some(errno) => Verdict::Refused(errno),
            None if allowed.is_some() => Verdict::Allowed,
            None => Verdict::Unknown,
        }
    }
}

/// Whether any of the lists holds.
pub fn holds(rule: &AnyOf, args: &[u64; 6]) -> bool {
    rule.iter().any(|all| all.iter().all(|condition| condition.holds(args)))
}

impl Condition {
    /// Whether these arguments meet it. An argument that no call has meets nothing.
    fn holds(&self, args: &[u64; 6]) -> bool {
        args.get(usize::from(self.index)).is_some_and(|argument| {
            let seen = argument & self.width.max() & self.mask.unwrap_or(u64::MAX);
            self.values.contains(&seen) != self.negated
        })
    }
}
