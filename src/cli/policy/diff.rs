//! `policy diff`: what one policy allows more and less than another.

use super::{programs, some};
use crate::cli::out;
use sandbox::confine::listing::{Kind, Listing, POLICIES};
use sandbox::confine::policy::Policy;
use serde_json::json;
use std::collections::BTreeSet;

/// Programs that a line names.
const NAMED: usize = 4;

/// What is different.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    /// What only the second allows: a call, or a call and with which arguments.
    more: Vec<String>,
    /// What only the first allows.
    less: Vec<String>,
    /// What neither allows, and each answers with another error.
    otherwise: Vec<String>,
}

/// Prints it; whether there is any difference.
pub fn diff(first: &Policy, second: &Policy, as_json: bool) -> anyhow::Result<bool> {
    let found = between(first, second);
    let differ = found != Differences::default();
    if as_json {
        let shown = json!({
            "first": first.name, "second": second.name,
            "more": found.more, "less": found.less, "otherwise": found.otherwise,
        });
        out::json(serde_json::to_string_pretty(&shown)?)?;
    } else if differ {
        out::line(format_args!("--- {}\n+++ {}", first.name, second.name))?;
        let who = |policy: &Policy, line: &String| match seen(policy, line) {
            names if names.is_empty() => String::new(),
            names => format!("  ({})", some(&names, NAMED)),
        };
        found.less.iter().try_for_each(|line| out::line(format_args!("- {line}{}", who(first, line))))?;
        found.more.iter().try_for_each(|line| out::line(format_args!("+ {line}{}", who(second, line))))?;
        found.otherwise.iter().try_for_each(|line| out::line(format_args!("~ {line}")))?;
    }
    Ok(differ)
}

/// Who was seen to make the call of a line, in a stage.
fn seen(policy: &Policy, line: &str) -> Vec<&'static str> {
    let call = line.split_whitespace().next().unwrap_or_default();
    if POLICIES.contains(&policy.name.as_str()) { programs(&policy.name, call) } else { Vec::new() }
}

fn between(first: &Policy, second: &Policy) -> Differences {
    let mut found = Differences::default();
    for call in first.calls().union(&second.calls()) {
        let (before, after) = (first.listing(call), second.listing(call));
        let (had, has) = (ways(call, &before), ways(call, &after));
        found.less.extend(had.difference(&has).cloned());
        found.more.extend(has.difference(&had).cloned());
        let (old, new) = (answers(&before), answers(&after));
        if old != new && before.kind() != Kind::Allowed && after.kind() != Kind::Allowed {
            found.otherwise.push(format!("{call}: {} -> {}", old.join(", "), new.join(", ")));
        }
    }
    found
}

/// In which ways a call is allowed.
fn ways(call: &str, listing: &Listing<'_>) -> BTreeSet<String> {
    match listing.kind() {
        Kind::Allowed => BTreeSet::from([call.to_string()]),
        _ => listing.when().into_iter().map(|when| format!("{call} when {when}")).collect(),
    }
}

/// With which errors it is answered, and when.
fn answers(listing: &Listing<'_>) -> Vec<String> {
    let particular = listing
        .refuse
        .iter()
        .filter(|entry| !entry.when.is_empty())
        .map(|entry| format!("{} when {}", entry.errno.as_deref().unwrap_or("an error"), entry.when.join(" or ")));
    particular.chain(listing.errno().map(str::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Arch, load};
    use super::*;

    #[test]
    fn what_stages_have_more_and_less() {
        let stage = |name| load(name, Arch::X86_64).unwrap();
        assert_eq!(between(&stage("test"), &stage("test")), Differences::default());
        let found = between(&stage("build"), &stage("test"));
        assert_eq!(found.less, Vec::<String>::new());
        assert!(found.more.contains(&"vmsplice".to_string()), "{found:?}");
        assert!(
            found.more.iter().any(|line| line.starts_with("socket when") && line.contains("AF_NETLINK")),
            "{found:?}"
        );
        let back = between(&stage("test"), &stage("build"));
        assert_eq!((back.more, back.less), (found.less, found.more));
        let traced = between(&stage("fetch"), &stage("test"));
        assert!(traced.more.contains(&"ptrace".to_string()), "{traced:?}");
    }
}
