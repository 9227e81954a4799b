//! `policy show`: all calls of a stage, or of all stages beside each other.

use super::super::table;
use super::{Kernel, colour, load, programs, some, verdict};
use crate::cli::out;
use sandbox::confine::listing::{Kind, Listing, POLICIES};
use sandbox::confine::policy::{Entry, Policy};
use sandbox::confine::seen;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::IsTerminal;

/// Programs that a line names.
const NAMED: usize = 5;

/// All stages: a line for each call that any of them speaks of.
pub fn all(kernel: &Kernel, as_json: bool) -> anyhow::Result<()> {
    let policies = POLICIES.map(|name| load(name, kernel.arch)).into_iter().collect::<anyhow::Result<Vec<Policy>>>()?;
    if as_json {
        let stages: Vec<Value> = policies.iter().map(|policy| stage(kernel, policy)).collect();
        out::json(serde_json::to_string_pretty(&stages)?)?;
        return Ok(());
    }
    let calls: BTreeSet<&str> = policies.iter().flat_map(Policy::calls).collect();
    let mut rows = vec![["CALL", "FETCH", "BUILD", "TEST", "INIT"].map(String::from).to_vec()];
    rows.extend(calls.iter().map(|call| {
        let words = policies.iter().map(|policy| word(&policy.listing(call)));
        std::iter::once(call.to_string()).chain(words).collect()
    }));
    table::columns(&rows).iter().try_for_each(out::line)?;
    out::line("\nEvery other call: ENOSYS.")?;
    policies.iter().try_for_each(|policy| out::line(counts(kernel, policy)))?;
    Ok(())
}

/// One stage: a line for each call with its conditions, and who needs it or why nobody has it.
pub fn one(kernel: &Kernel, name: &str, as_json: bool) -> anyhow::Result<()> {
    let policy = load(name, kernel.arch)?;
    if as_json {
        out::json(serde_json::to_string_pretty(&stage(kernel, &policy))?)?;
        return Ok(());
    }
    let calls = policy.calls();
    let mut rows = vec![["CALL", "VERDICT", "WHO NEEDS IT, OR WHY NOBODY HAS IT"].map(String::from).to_vec()];
    rows.extend(calls.iter().map(|call| {
        let listing = policy.listing(call);
        vec![call.to_string(), word(&listing), reason(name, call, &listing)]
    }));
    let coloured = std::io::stdout().is_terminal();
    out::line(format_args!("{}\n", policy.about))?;
    let lines = table::columns(&rows);
    let kinds = std::iter::once(None).chain(calls.iter().map(|call| Some(policy.listing(call).kind())));
    for (line, kind) in lines.iter().zip(kinds) {
        match kind.filter(|_| coloured) {
            Some(kind) => out::coloured(format_args!("{}{line}\x1b[0m\n", colour(kind)))?,
            None => out::line(line)?,
        }
    }
    out::line("\nEvery other call: ENOSYS. `ostest-sandbox policy explain CALL` has the whole reason of one.")?;
    out::line(counts(kernel, &policy))?;
    Ok(())
}

/// The answer in a word: an error, if it is one.
fn word(listing: &Listing<'_>) -> String {
    match listing.kind() {
        Kind::Allowed => "allowed".into(),
        Kind::Conditional => format!("allowed, or {}", listing.errno().unwrap_or("an error")),
        Kind::Refused => listing.errno().unwrap_or("an error").into(),
        Kind::Unlisted => "-".into(),
    }
}

fn reason(stage: &str, call: &str, listing: &Listing<'_>) -> String {
    if listing.kind() == Kind::Refused {
        let why = listing.refuse.first().map_or("", |entry| &entry.why);
        // The first sentence: the rest is `explain`'s.
        return why.split_once(". ").map_or(why, |(first, _)| first).trim_end_matches('.').to_string();
    }
    let who = match listing.needed_by() {
        Some(who) => who.to_string(),
        None => some(&programs(stage, call), NAMED),
    };
    match listing.when().as_slice() {
        [] => who,
        when => format!("{who}; when {}", when.join(", or ")),
    }
}

/// The last line: what a stage allows, in figures.
fn counts(kernel: &Kernel, policy: &Policy) -> String {
    let [allowed, conditional, refused] =
        [Kind::Allowed, Kind::Conditional, Kind::Refused].map(|kind| policy.count(kind));
    format!(
        "{}: {allowed} allowed, {conditional} depending on their arguments, {refused} refused with an error of their own, \
         of {} that the kernel has on {}",
        policy.name,
        kernel.numbers.len(),
        kernel.arch.name()
    )
}

fn stage(kernel: &Kernel, policy: &Policy) -> Value {
    let call = |call: &str| {
        let listing = policy.listing(call);
        let mut shown = described(policy, call, &listing);
        shown["call"] = json!(call);
        shown["number"] = json!(kernel.numbers.get(call));
        shown
    };
    json!({
        "stage": policy.name,
        "about": policy.about,
        "arch": kernel.arch.name(),
        "allowed": policy.count(Kind::Allowed),
        "conditional": policy.count(Kind::Conditional),
        "refused": policy.count(Kind::Refused),
        "kernel": kernel.numbers.len(),
        "calls": policy.calls().into_iter().map(call).collect::<Vec<_>>(),
    })
}

/// What a policy says of a call, as JSON.
pub fn described(policy: &Policy, call: &str, listing: &Listing<'_>) -> Value {
    let rule = |entry: &&Entry| json!({"file": entry.file, "when": entry.when, "errno": entry.errno, "why": entry.why});
    json!({
        "verdict": verdict(listing.kind()),
        "errno": listing.errno(),
        "when": listing.when(),
        "allow": listing.allow.iter().map(rule).collect::<Vec<_>>(),
        "refuse": listing.refuse.iter().map(rule).collect::<Vec<_>>(),
        "seen": seen::programs([policy.name.as_str()], call),
        "for": listing.needed_by(),
        "instead": listing.instead(),
    })
}
