//! A file of `policies/` as it is written: rules with the names of calls, constants and errors, before they become numbers.

use super::constants;
use super::policy::Words;
use super::rules::{AnyOf, Condition, Width};
use seccompiler::TargetArch;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A file of `policies/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub about: String,
    #[serde(default)]
    pub include: Vec<String>,
    pub allow: Vec<Rule>,
    #[serde(default)]
    pub refuse: Vec<Rule>,
}

/// A file of `policies/groups/`: calls that a laboratory can be allowed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupFile {
    pub about: String,
    pub risk: String,
    /// Calls of which what the stage's policy says is no more: what these rules say holds instead.
    pub replaces: Vec<String>,
    pub allow: Vec<Rule>,
    #[serde(default)]
    pub refuse: Vec<Rule>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub why: String,
    /// Who needs those of its calls that no recorded program was seen to make: the reason, and the calls.
    #[serde(default, rename = "for")]
    pub needed_by: BTreeMap<String, Vec<String>>,
    pub syscalls: Vec<String>,
    /// The architectures that have these calls; all, if absent.
    arch: Option<Vec<String>>,
    args: Option<Vec<Vec<Arg>>>,
    pub otherwise: Option<String>,
    pub errno: Option<String>,
    /// What to do instead of what is refused, in words for students.
    pub instead: Option<String>,
    /// Nobody is told of it.
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
    /// Whether this architecture has the rule. Says what is wrong with what does not depend on that.
    pub fn applies_to(&self, arch: TargetArch) -> Result<bool, String> {
        if self.why.trim().is_empty() {
            return Err("it does not say why".into());
        }
        if self.syscalls.is_empty() {
            return Err("it names no system call".into());
        }
        let mut named: Vec<&String> = self.needed_by.values().flatten().collect();
        if let Some(other) = named.iter().find(|call| !self.syscalls.contains(call)) {
            return Err(format!("its \"for\" names {other}, which is none of its calls"));
        }
        named.sort();
        if let Some(twice) = named.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("its \"for\" names {} twice", twice[0]));
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

    /// The arguments with which it holds; `None` for all.
    pub fn args(&self) -> Result<Option<AnyOf>, String> {
        let Some(lists) = &self.args else {
            return Ok(None);
        };
        if lists.is_empty() || lists.iter().any(Vec::is_empty) {
            return Err("an empty list of arguments matches nothing or everything".into());
        }
        lists.iter().map(|all| all.iter().map(Arg::condition).collect()).collect::<Result<AnyOf, String>>().map(Some)
    }

    /// What whoever is refused is told.
    pub fn told(&self) -> Words {
        Words { instead: self.instead.clone(), quiet: self.quiet }
    }

    /// The same in words, each of which is enough.
    pub fn words(&self) -> Vec<String> {
        let all_of = |all: &Vec<Arg>| all.iter().map(Arg::words).collect::<Vec<_>>().join(" and ");
        self.args.iter().flatten().map(all_of).collect()
    }

    /// Who needs this call of it, though it was not seen.
    pub fn needed_by(&self, syscall: &str) -> Option<&String> {
        self.needed_by.iter().find(|(_, calls)| calls.iter().any(|call| call == syscall)).map(|(who, _)| who)
    }
}

impl Arg {
    fn values(&self) -> Result<&[Number], String> {
        match (self.op, &self.value, &self.values) {
            (Op::Eq | Op::Ne, Some(value), None) => Ok(std::slice::from_ref(value)),
            (Op::In | Op::NotIn, None, Some(values)) => Ok(values),
            _ => Err("eq and ne take one value, in and not_in take values".into()),
        }
    }

    fn condition(&self) -> Result<Condition, String> {
        let condition = Condition {
            index: self.index,
            width: self.width,
            mask: self.mask.as_ref().map(Number::resolve).transpose()?,
            values: self.values()?.iter().map(Number::resolve).collect::<Result<_, _>>()?,
            negated: matches!(self.op, Op::Ne | Op::NotIn),
        };
        condition.check()?;
        Ok(condition)
    }

    fn words(&self) -> String {
        let argument = ["first", "second", "third", "fourth", "fifth", "sixth"].get(usize::from(self.index));
        let argument = argument.unwrap_or(&"?");
        let values: Vec<String> = self.values().unwrap_or_default().iter().map(Number::words).collect();
        let negated = matches!(self.op, Op::Ne | Op::NotIn);
        match (&self.mask, values.as_slice()) {
            (Some(mask), [zero]) if zero == "0" => {
                let any = if negated { "some" } else { "none" };
                format!("its {argument} argument has {any} of the bits {}", mask.words())
            }
            (mask, values) => {
                let masked = mask.as_ref().map(|mask| format!(" & {}", mask.words())).unwrap_or_default();
                let not = if negated { "not " } else { "" };
                format!("its {argument} argument{masked} is {not}{}", values.join(" or "))
            }
        }
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

    fn words(&self) -> String {
        match self {
            Number::Literal(value) => value.to_string(),
            Number::Names(names) => names.clone(),
        }
    }
}
