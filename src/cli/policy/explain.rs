//! `policy explain`: what comes of one call in each stage.

use super::show::described;
use super::{Kernel, colour, load, some};
use crate::cli::out;
use sandbox::confine::listing::{Kind, Listing, POLICIES};
use sandbox::confine::policy::{Described, Policy};
use sandbox::confine::seen;
use sandbox::groups::Group;
use serde_json::{Value, json};
use std::fmt::Write;
use std::io::IsTerminal;

/// Programs that are named.
const NAMED: usize = 12;

/// Prints it. Stages with the same answer stand together.
pub fn explain(kernel: &Kernel, text: &str, as_json: bool) -> anyhow::Result<()> {
    let (name, number) = kernel.find(text)?;
    let call = name.unwrap_or("");
    let policies =
        POLICIES.map(|stage| load(stage, kernel.arch)).into_iter().collect::<anyhow::Result<Vec<Policy>>>()?;
    if as_json {
        let stages: serde_json::Map<String, Value> =
            policies.iter().map(|p| (p.name.clone(), described(p, call, &p.listing(call)))).collect();
        let shown = json!({"call": name, "number": number, "arch": kernel.arch.name(), "stages": stages, "groups": groups(kernel, call)?});
        out::json(serde_json::to_string_pretty(&shown)?)?;
        return Ok(());
    }
    match name {
        Some(name) => out::line(format_args!("{name}, number {number} on {}", kernel.arch.name()))?,
        None => out::line(format_args!("No call has the number {number} on {}.", kernel.arch.name()))?,
    }
    let mut answers: Vec<(Vec<&str>, Kind, String)> = Vec::new();
    for policy in &policies {
        let listing = policy.listing(call);
        let said = said(&listing);
        match answers.iter_mut().find(|(_, _, other)| *other == said) {
            Some((stages, _, _)) => stages.push(&policy.name),
            None => answers.push((vec![&policy.name], listing.kind(), said)),
        }
    }
    let coloured = std::io::stdout().is_terminal();
    for (stages, kind, said) in answers {
        let (on, off) = if coloured { (colour(kind), "\x1b[0m") } else { ("", "") };
        out::line(format_args!("\n{on}{}{off}: {said}", stages.join(", ")))?;
        for stage in stages {
            if let Some(line) = seen(stage, call, kind) {
                out::line(format_args!("  {line}"))?;
            }
        }
    }
    for group in groups(kernel, call)? {
        out::line(format_args!(
            "\nThe operator can allow it to a laboratory's tests: allow = [\"{group}\"] (policy groups)"
        ))?;
    }
    Ok(())
}

/// Names of the groups that open it.
fn groups(kernel: &Kernel, call: &str) -> anyhow::Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for group in Group::ALL {
        let its_own = Described::of(group)?.calls.iter().any(|other| other == call);
        if its_own && load(&format!("test+{group}"), kernel.arch)?.listing(call).kind() <= Kind::Conditional {
            found.push(group.name());
        }
    }
    Ok(found)
}

/// Who was seen to make it in a stage that allows it.
fn seen(stage: &str, call: &str, kind: Kind) -> Option<String> {
    let programs: Vec<&str> = seen::programs([stage], call).into_iter().collect();
    (matches!(kind, Kind::Allowed | Kind::Conditional) && !programs.is_empty())
        .then(|| format!("seen in {stage}: {}", some(&programs, NAMED)))
}

/// The answer of a stage, in lines.
fn said(listing: &Listing<'_>) -> String {
    let mut text = match listing.kind() {
        Kind::Allowed => "allowed\n".to_string(),
        Kind::Unlisted => "not listed, answered ENOSYS as if the kernel did not have it\n".to_string(),
        Kind::Refused => format!("refused with {}\n", listing.errno().unwrap_or("an error")),
        Kind::Conditional => {
            let when = listing.when().join(",\n  or when ");
            format!("allowed when {when},\n  otherwise refused with {}\n", listing.errno().unwrap_or("an error"))
        }
    };
    for entry in &listing.refuse {
        if !entry.when.is_empty() {
            let _ = writeln!(
                text,
                "  with {} when {}",
                entry.errno.as_deref().unwrap_or("an error"),
                entry.when.join(" or ")
            );
        }
    }
    for entry in listing.allow.iter().chain(&listing.refuse) {
        let _ = writeln!(text, "  why: {} (policies/{}.json)", entry.why, entry.file);
    }
    if let Some(who) = listing.needed_by() {
        let _ = writeln!(text, "  for: {who}");
    }
    if let Some(instead) = listing.instead() {
        let _ = writeln!(text, "  instead: {instead}");
    }
    text.trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Arch;
    use super::*;

    fn in_stage(stage: &str, call: &str) -> String {
        let policy = load(stage, Arch::X86_64).unwrap();
        said(&policy.listing(call))
    }

    #[test]
    fn every_kind_of_answer_has_its_sentence() {
        assert!(in_stage("fetch", "ptrace").starts_with("refused with EPERM\n  why: Nothing is debugged"));
        assert!(in_stage("fetch", "shmget").starts_with("not listed, answered ENOSYS"));
        let traced = in_stage("test", "ptrace");
        assert!(traced.starts_with("allowed\n  why: LeakSanitizer"), "{traced}");
        assert!(seen("test", "ptrace", Kind::Allowed).is_some_and(|line| line.contains("gdb")));
        assert_eq!(seen("test", "clone3", Kind::Refused), None);
        let socket = in_stage("test", "socket");
        assert!(socket.contains("allowed when its first argument is AF_UNIX,\n  or when "), "{socket}");
        assert!(socket.contains("otherwise refused with EPERM"), "{socket}");
        assert!(socket.contains("with EAFNOSUPPORT when its first argument is not AF_UNIX or"), "{socket}");
        assert!(in_stage("test", "mount").contains("instead: "));
        assert!(in_stage("test", "fcntl").starts_with("allowed\n  why: "));
        let advice = in_stage("test", "madvise");
        assert!(advice.contains("  with EINVAL when its third argument is MADV_REMOVE"), "{advice}");
        assert!(in_stage("test", "seccomp").contains("for: the sandbox itself"));
    }
}
