//! The allow-lists of `policies/*.json`, read, checked and put together.
//!
//! A file has an `about`, a list of files to `include`, rules that `allow` and rules that
//! `refuse`. Every rule says `why` and names its `syscalls`; a rule with `args` holds only for
//! these arguments. What the lists mean together:
//!
//! - a call that is allowed nowhere is answered with ENOSYS, because that is the only error on
//!   which the C library tries an older call instead;
//! - a call that is allowed only with certain arguments is answered with the rule's `otherwise`;
//! - a call that is refused is answered with the rule's `errno`, so that a program says
//!   "Operation not permitted" instead of "Function not implemented".
//!
//! A group of calls (`policies/groups/`) goes on top of a policy: what that says of the calls that the group `replaces` is taken
//! out, and the group's own rules hold instead. The policy `test+perf` is `test` with the group `perf`.
//!
//! A refusal, by an `errno` or an `otherwise`, is told to whoever reads the result ([`super::told`]); a rule's `instead` says what the course allows, and `quiet` keeps one untold.

use super::constants;
use super::rules::AnyOf;
use super::written::{File, GroupFile, Rule};
use crate::groups::Group;
pub use seccompiler::TargetArch;
use std::collections::{BTreeMap, BTreeSet};

/// The files, as they were when this was built.
const FILES: &[(&str, &str)] = &[
    ("refused", include_str!("../../../policies/refused.json")),
    ("common", include_str!("../../../policies/common.json")),
    ("programs", include_str!("../../../policies/programs.json")),
    ("fetch", include_str!("../../../policies/fetch.json")),
    ("build", include_str!("../../../policies/build.json")),
    ("test", include_str!("../../../policies/test.json")),
    ("init", include_str!("../../../policies/init.json")),
];

/// A policy for one architecture, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its file's name, without `.json`.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// What is allowed, by name of the call.
    pub allow: BTreeMap<String, Allowed>,
    /// What is refused with an error of its own, in the order in which it is written.
    pub refuse: Vec<Refused>,
    /// The same as it is written, for people: a rule for each of its calls, in the order in which it is written.
    pub entries: Vec<Entry>,
}

/// A rule for one call, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the call.
    pub syscall: String,
    /// The file that has the rule, without `.json`.
    pub file: String,
    /// What the rule does with it.
    pub says: Says,
    /// With which arguments it holds: any of these will do. Empty where they do not matter.
    pub when: Vec<String>,
    /// The name of the error: of what it refuses, or of what it allows with other arguments.
    pub errno: Option<String>,
    /// Its reason.
    pub why: String,
    /// Who needs the call, though it was not seen.
    pub needed_by: Option<String>,
    /// What to do instead, in words for students.
    pub instead: Option<String>,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It allows.
    Allowed,
    /// It refuses.
    Refused,
}

/// How a call is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Whatever its arguments.
    Always,
    /// With these arguments only.
    When {
        /// The arguments.
        rule: AnyOf,
        /// The error otherwise.
        otherwise: u32,
        /// What is said of it then.
        words: Words,
    },
}

/// A call that is answered with an error of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Name of the call.
    pub syscall: String,
    /// With these arguments only; `None` for all.
    pub rule: Option<AnyOf>,
    /// The error.
    pub errno: u32,
    /// What is said of it.
    pub words: Words,
}

/// What whoever made a call that is refused is told of it, beside the error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// What can be done instead, in a student's words.
    pub instead: Option<String>,
    /// Nobody is told: honest tools try the call and go on without it.
    pub quiet: bool,
}

/// Why a policy cannot be used. Each is a mistake in a file of `policies/`.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// No such file.
    #[error("there is no policy called {name:?}; add it to policies/ and to FILES in policy.rs")]
    Missing {
        /// The name that was asked for.
        name: String,
    },
    /// Not the JSON that is expected.
    #[error("policies/{name}.json cannot be read: {source}")]
    Syntax {
        /// The file.
        name: String,
        /// What serde says.
        source: serde_json::Error,
    },
    /// A file that includes itself.
    #[error("policies/{name}.json includes itself by way of {chain}; take one of the includes out")]
    Cycle {
        /// The file.
        name: String,
        /// The files on the way.
        chain: String,
    },
    /// A rule that does not make sense.
    #[error("policies/{name}.json, rule {why:?}: {what}")]
    Rule {
        /// The file.
        name: String,
        /// The rule's reason, which is how it is found.
        why: String,
        /// What is wrong.
        what: String,
    },
}

impl Policy {
    /// Puts the policy of this name together for an architecture: `test`, or `test+perf+io_uring` with groups of calls.
    pub fn load(name: &str, arch: TargetArch) -> Result<Policy, PolicyError> {
        let source = |wanted: &str| Policy::embedded(wanted).map(str::to_owned);
        let mut parts = name.split('+');
        let mut assembly = Assembly::of(name, arch, &source);
        assembly.add_file(parts.next().unwrap_or_default())?;
        for part in parts {
            let group = part.parse().map_err(|_| PolicyError::Missing { name: format!("groups/{part}") })?;
            assembly.add_group(group)?;
        }
        assembly.finish()
    }

    /// A file as it was when this was built, by its name without `.json`.
    pub fn embedded(name: &str) -> Option<&'static str> {
        FILES.iter().find(|(file, _)| *file == name).map(|(_, text)| *text)
    }

    /// The same from any source of files; a file is asked for by its name without `.json`.
    pub fn from_sources(
        name: &str,
        arch: TargetArch,
        source: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Policy, PolicyError> {
        let mut assembly = Assembly::of(name, arch, source);
        assembly.add_file(name)?;
        assembly.finish()
    }

    /// A call that is both allowed and refused without a condition is a contradiction: the filters
    /// would refuse it, but a reader of the allow-list would believe otherwise.
    fn check_conflicts(&self) -> Result<(), PolicyError> {
        let wrong = |why: &str, what: String| Err(PolicyError::Rule { name: self.name.clone(), why: why.into(), what });
        let mut refused = self.refuse.iter().filter(|refused| refused.rule.is_none());
        match refused.find(|refused| self.allow.contains_key(&refused.syscall)) {
            None => Ok(()),
            Some(both) => wrong("allow and refuse", format!("{} is in both; take it out of one", both.syscall)),
        }
    }
}

/// A policy while its files are being read.
struct Assembly<'a> {
    arch: TargetArch,
    source: &'a dyn Fn(&str) -> Option<String>,
    /// Files that are in.
    done: BTreeSet<String>,
    /// Files that are being read, outermost first.
    open: Vec<String>,
    /// Calls of which groups speak that are in.
    replaced: BTreeSet<String>,
    policy: Policy,
}

/// What a group of calls is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What a laboratory can do with it.
    pub about: String,
    /// What is given up by allowing it, in a sentence.
    pub risk: String,
    /// The calls.
    pub calls: Vec<String>,
}

/// Reads the file of a group.
fn group_file(group: Group) -> Result<GroupFile, PolicyError> {
    serde_json::from_str(group.text()).map_err(|source| PolicyError::Syntax { name: format!("groups/{group}"), source })
}

impl Described {
    /// What a group is.
    ///
    /// # Errors
    /// A mistake in its file.
    pub fn of(group: Group) -> Result<Described, PolicyError> {
        let GroupFile { about, risk, replaces, .. } = group_file(group)?;
        Ok(Described { about, risk, calls: replaces })
    }
}

impl Assembly<'_> {
    fn of<'a>(name: &str, arch: TargetArch, source: &'a dyn Fn(&str) -> Option<String>) -> Assembly<'a> {
        Assembly {
            arch,
            source,
            done: BTreeSet::new(),
            open: Vec::new(),
            replaced: BTreeSet::new(),
            policy: Policy {
                name: name.to_owned(),
                about: String::new(),
                allow: BTreeMap::new(),
                refuse: Vec::new(),
                entries: Vec::new(),
            },
        }
    }

    fn finish(self) -> Result<Policy, PolicyError> {
        self.policy.check_conflicts()?;
        Ok(self.policy)
    }

    /// Takes out what is said of the calls that a group replaces, and puts its own rules in.
    fn add_group(&mut self, group: Group) -> Result<(), PolicyError> {
        let file = group_file(group)?;
        let name = format!("groups/{group}");
        for call in &file.replaces {
            let policy = &mut self.policy;
            let known = policy.entries.iter().any(|entry| entry.syscall == *call);
            // Of two groups that say something else of one call neither would hold.
            if !known || !self.replaced.insert(call.clone()) {
                let what = format!("there is nothing of {call} to be replaced, or another group has replaced it");
                return Err(PolicyError::Rule { name, why: "replaces".into(), what });
            }
            policy.allow.remove(call);
            policy.refuse.retain(|refused| refused.syscall != *call);
            policy.entries.retain(|entry| entry.syscall != *call);
        }
        self.open.push(name.clone());
        self.add_rules(&name, &file.allow, &file.refuse)?;
        self.open.pop();
        Ok(())
    }

    fn add_rules(&mut self, name: &str, allow: &[Rule], refuse: &[Rule]) -> Result<(), PolicyError> {
        let lists = [(allow, Says::Allowed), (refuse, Says::Refused)];
        for (rule, says) in lists.into_iter().flat_map(|(list, says)| list.iter().map(move |rule| (rule, says))) {
            let added = match says {
                Says::Allowed => self.allow(rule),
                Says::Refused => self.refuse(rule),
            };
            added.map_err(|what| PolicyError::Rule { name: name.to_owned(), why: rule.why.clone(), what })?;
        }
        Ok(())
    }

    fn add_file(&mut self, name: &str) -> Result<(), PolicyError> {
        if self.open.iter().any(|open| open == name) {
            return Err(PolicyError::Cycle { name: name.to_owned(), chain: self.open.join(", ") });
        }
        if self.done.contains(name) {
            return Ok(());
        }
        let text = (self.source)(name).ok_or_else(|| PolicyError::Missing { name: name.to_owned() })?;
        let file: File =
            serde_json::from_str(&text).map_err(|source| PolicyError::Syntax { name: name.to_owned(), source })?;
        if self.open.is_empty() {
            self.policy.about.clone_from(&file.about);
        }
        self.open.push(name.to_owned());
        for include in &file.include {
            self.add_file(include)?;
        }
        self.add_rules(name, &file.allow, &file.refuse)?;
        self.open.pop();
        self.done.insert(name.to_owned());
        Ok(())
    }

    /// Notes what a rule says of each of its calls.
    fn note(&mut self, written: &Rule, says: Says) {
        let file = self.open.last().cloned().unwrap_or_default();
        let entry = |syscall: &String| Entry {
            syscall: syscall.clone(),
            file: file.clone(),
            says,
            when: written.words(),
            errno: written.errno.clone().or(written.otherwise.clone()),
            why: written.why.clone(),
            needed_by: written.needed_by(syscall).cloned(),
            instead: written.instead.clone(),
        };
        self.policy.entries.extend(written.syscalls.iter().map(entry));
    }

    fn allow(&mut self, written: &Rule) -> Result<(), String> {
        if !written.applies_to(self.arch)? {
            return Ok(());
        }
        if written.errno.is_some() {
            return Err("a rule that allows has no errno; it may have an otherwise".into());
        }
        if written.instead.is_some() && written.otherwise.is_none() {
            return Err("it says what to do instead, and refuses nothing".into());
        }
        let args = written.args()?;
        let otherwise = written.otherwise.as_deref().map(errno).transpose()?;
        for syscall in &written.syscalls {
            let allowed = match (&args, otherwise) {
                (None, None) => Allowed::Always,
                (Some(rule), Some(otherwise)) => Allowed::When { rule: rule.clone(), otherwise, words: written.told() },
                (Some(_), None) => return Err("it has args and no otherwise".into()),
                (None, Some(_)) => return Err("it has an otherwise and no args".into()),
            };
            match (self.policy.allow.get_mut(syscall), allowed) {
                (None, allowed) => {
                    self.policy.allow.insert(syscall.clone(), allowed);
                }
                // A stage may allow more arguments of a call than the common part does.
                (Some(Allowed::When { rule, otherwise, .. }), Allowed::When { rule: more, otherwise: same, .. })
                    if *otherwise == same =>
                {
                    rule.extend(more)
                }
                // Everything else is a rule that silently widens or repeats another.
                _ => return Err(format!("{syscall} is allowed by another rule already")),
            }
        }
        self.note(written, Says::Allowed);
        Ok(())
    }

    fn refuse(&mut self, written: &Rule) -> Result<(), String> {
        if !written.applies_to(self.arch)? {
            return Ok(());
        }
        if written.otherwise.is_some() {
            return Err("a rule that refuses has no otherwise".into());
        }
        if !written.needed_by.is_empty() {
            return Err("a rule that refuses has no \"for\": that is said by the one that allows".into());
        }
        let name = written.errno.as_deref();
        let errno = errno(name.ok_or("it refuses without an errno")?)?;
        let rule = written.args()?;
        for syscall in &written.syscalls {
            let refused = Refused { syscall: syscall.clone(), rule: rule.clone(), errno, words: written.told() };
            self.policy.refuse.push(refused);
        }
        self.note(written, Says::Refused);
        Ok(())
    }
}

fn errno(name: &str) -> Result<u32, String> {
    constants::errno(name).ok_or_else(|| format!("the error {name:?} is not known"))
}
