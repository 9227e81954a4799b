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
//! A refusal, by an `errno` or an `otherwise`, that is not ENOSYS is told to whoever reads the result
//! ([`super::told`]); a rule's `instead` says what the course allows, and `quiet` keeps one untold.

use super::constants;
use super::rules::{AnyOf, Condition, Width};
use seccompiler::TargetArch;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The files, as they were when this was built.
const FILES: &[(&str, &str)] = &[
    ("refused", include_str!("../../../policies/refused.json")),
    ("common", include_str!("../../../policies/common.json")),
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
    /// What is allowed, by name of the call.
    pub allow: BTreeMap<String, Allowed>,
    /// What is refused with an error of its own, in the order in which it is written.
    pub refuse: Vec<Refused>,
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
    /// Puts the policy of this name together for an architecture.
    pub fn load(name: &str, arch: TargetArch) -> Result<Policy, PolicyError> {
        Policy::from_sources(name, arch, &|wanted| {
            let (_, text) = FILES.iter().find(|(file, _)| *file == wanted)?;
            Some((*text).to_owned())
        })
    }

    /// The same from any source of files; a file is asked for by its name without `.json`.
    pub fn from_sources(
        name: &str,
        arch: TargetArch,
        source: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Policy, PolicyError> {
        let mut assembly = Assembly {
            arch,
            source,
            done: BTreeSet::new(),
            open: Vec::new(),
            policy: Policy { name: name.to_owned(), allow: BTreeMap::new(), refuse: Vec::new() },
        };
        assembly.add_file(name)?;
        assembly.policy.check_conflicts()?;
        Ok(assembly.policy)
    }

    /// A call that is both allowed and refused without a condition is a contradiction: the filters
    /// would refuse it, but a reader of the allow-list would believe otherwise.
    fn check_conflicts(&self) -> Result<(), PolicyError> {
        let refused = self.refuse.iter().filter(|refused| refused.rule.is_none());
        match refused.into_iter().find(|r| self.allow.contains_key(&r.syscall)) {
            None => Ok(()),
            Some(both) => Err(PolicyError::Rule {
                name: self.name.clone(),
                why: "allow and refuse".into(),
                what: format!("{} is in both; take it out of one", both.syscall),
            }),
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
    policy: Policy,
}

impl Assembly<'_> {
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
        self.open.push(name.to_owned());
        for include in &file.include {
            self.add_file(include)?;
        }
        for (rule, refuses) in
            file.allow.iter().map(|rule| (rule, false)).chain(file.refuse.iter().map(|rule| (rule, true)))
        {
            let added = if refuses { self.refuse(rule) } else { self.allow(rule) };
            added.map_err(|what| PolicyError::Rule { name: name.to_owned(), why: rule.why.clone(), what })?;
        }
        self.open.pop();
        self.done.insert(name.to_owned());
        Ok(())
    }

    fn allow(&mut self, written: &Rule) -> Result<(), String> {
        if !written.applies_to(self.arch)? {
            return Ok(());
        }
        if written.errno.is_some() {
            return Err("a rule that allows has no errno; it may have an otherwise".into());
        }
        let args = written.args()?;
        let otherwise = written.otherwise.as_deref().map(errno).transpose()?;
        for syscall in &written.syscalls {
            let allowed = match (&args, otherwise) {
                (None, None) => Allowed::Always,
                (Some(rule), Some(otherwise)) => {
                    Allowed::When { rule: rule.clone(), otherwise, words: written.words() }
                }
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
        Ok(())
    }

    fn refuse(&mut self, written: &Rule) -> Result<(), String> {
        if !written.applies_to(self.arch)? {
            return Ok(());
        }
        if written.otherwise.is_some() {
            return Err("a rule that refuses has no otherwise".into());
        }
        let name = written.errno.as_deref();
        let errno = errno(name.ok_or("it refuses without an errno")?)?;
        let rule = written.args()?;
        for syscall in &written.syscalls {
            let refused = Refused { syscall: syscall.clone(), rule: rule.clone(), errno, words: written.words() };
            self.policy.refuse.push(refused);
        }
        Ok(())
    }
}

fn errno(name: &str) -> Result<u32, String> {
    constants::errno(name).ok_or_else(|| format!("the error {name:?} is not known"))
}

/// A file of `policies/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: String,
    #[serde(default)]
    include: Vec<String>,
    allow: Vec<Rule>,
    #[serde(default)]
    refuse: Vec<Rule>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    why: String,
    syscalls: Vec<String>,
    /// The architectures that have these calls; all, if absent.
    arch: Option<Vec<String>>,
    args: Option<Vec<Vec<Arg>>>,
    otherwise: Option<String>,
    errno: Option<String>,
    instead: Option<String>,
    #[serde(default)]
    quiet: bool,
}

/// A condition as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arg {
    index: u8,
    width: Width,
    mask: Option<Number>,
    op: Op,
    value: Option<Number>,
    values: Option<Vec<Number>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Eq,
    Ne,
    In,
    NotIn,
}

/// A number, or the names of constants.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Literal(u64),
    Names(String),
}

impl Rule {
    fn applies_to(&self, arch: TargetArch) -> Result<bool, String> {
        if self.why.trim().is_empty() {
            return Err("it does not say why".into());
        }
        if self.syscalls.is_empty() {
            return Err("it names no system call".into());
        }
        let Some(names) = &self.arch else {
            return Ok(true);
        };
        let mut applies = false;
        for name in names {
            applies |= TargetArch::try_from(name.as_str()).map_err(|e| e.to_string())? == arch;
        }
        Ok(applies)
    }

    fn words(&self) -> Words {
        Words { instead: self.instead.clone(), quiet: self.quiet }
    }

    fn args(&self) -> Result<Option<AnyOf>, String> {
        let Some(lists) = &self.args else {
            return Ok(None);
        };
        if lists.is_empty() || lists.iter().any(Vec::is_empty) {
            return Err("an empty list of arguments matches nothing or everything".into());
        }
        lists.iter().map(|all| all.iter().map(Arg::condition).collect()).collect::<Result<AnyOf, String>>().map(Some)
    }
}

impl Arg {
    fn condition(&self) -> Result<Condition, String> {
        let values = match (self.op, &self.value, &self.values) {
            (Op::Eq | Op::Ne, Some(value), None) => std::slice::from_ref(value),
            (Op::In | Op::NotIn, None, Some(values)) => values.as_slice(),
            _ => return Err("eq and ne take one value, in and not_in take values".into()),
        };
        let condition = Condition {
            index: self.index,
            width: self.width,
            mask: self.mask.as_ref().map(Number::resolve).transpose()?,
            values: values.iter().map(Number::resolve).collect::<Result<_, _>>()?,
            negated: matches!(self.op, Op::Ne | Op::NotIn),
        };
        condition.check()?;
        Ok(condition)
    }
}

impl Number {
    fn resolve(&self) -> Result<u64, String> {
        match self {
            Number::Literal(value) => Ok(*value),
            Number::Names(names) => {
                constants::number(names).map_err(|name| format!("the constant {name:?} is not known to constants.rs"))
            }
        }
    }
}
