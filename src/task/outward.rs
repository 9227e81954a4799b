//! What fetch and prepare have of a network: the proxy, the variables that lead git and pip to it, and the certificates by which they
//! know whom they speak with.

use super::Context;
use crate::contain::Stage;
use crate::contain::tree;
use crate::fault::{Cause, Fault};
use crate::proxy::{Limits, Reach, Refused, Rules, Upstream, Why};
use sandbox::plan::{Network, PROXY_PORT};
use std::collections::BTreeMap;
use std::path::Path;

/// Variables of the runner's own environment that reach git and pip as they are.
const PASSED_ON: [&str; 3] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"];

/// Variables that name a proxy. The operator's say which one ours goes through; inside they name ours.
const PROXIES: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    // pip's own, which goes before the others and before its file of settings.
    "PIP_PROXY",
];

/// Variables that lead around a proxy. There is nothing around ours.
const AROUND: [&str; 3] = ["no_proxy", "NO_PROXY", "GIT_PROXY_COMMAND"];

/// Certificate settings of the runner's own environment, and what the configuration adds; with the proxies that it names.
pub fn environment(more: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = PASSED_ON.into_iter().filter_map(|name| Some((name.to_string(), std::env::var(name).ok()?)));
    own.chain(more.iter().map(|(name, value)| (name.clone(), value.clone()))).collect()
}

/// The operator's own proxy, by a stage's environment and the runner's.
///
/// # Errors
/// A sentence, where it is one that ours cannot go through.
pub fn upstream(env: &BTreeMap<String, String>) -> Result<Upstream, String> {
    let named = |name: &str| env.get(name).cloned().or_else(|| std::env::var(name).ok());
    Upstream::of(|name| match name {
        "https_proxy" | "http_proxy" => env.get("PIP_PROXY").cloned().or_else(|| named(name)),
        _ => named(name),
    })
}

/// Lets a stage go where `reach` says, through a proxy of its own that moves at most `bytes`, with this environment.
pub fn open(
    context: &Context<'_>,
    stage: &mut Stage,
    env: BTreeMap<String, String>,
    reach: Reach,
    bytes: u64,
) -> Result<Rules, Fault> {
    let upstream = upstream(&env);
    let upstream =
        upstream.map_err(|why| Fault::host(Cause::Sandbox, format!("the {} stage cannot start: {why}", stage.name)))?;
    stage.network = Network::Proxy;
    show_files(stage, env);
    lead_to_proxy(&mut stage.env);
    Ok(Rules {
        reach,
        allow_internal: context.grading.allow_internal.clone(),
        backend: context.grading.backend.clone(),
        upstream,
        limits: Limits::new(bytes),
    })
}

fn lead_to_proxy(env: &mut BTreeMap<String, String>) {
    for name in AROUND {
        env.remove(name);
    }
    for name in PROXIES {
        env.insert(name.into(), format!("http://127.0.0.1:{PROXY_PORT}"));
    }
}

/// Gives a stage an environment, and shows it the files that this environment names. They are named by their real paths inside: a
/// place below a link cannot be mounted on.
pub fn show_files(stage: &mut Stage, env: BTreeMap<String, String>) {
    for (name, value) in env {
        let real = Some(&value).filter(|v| Path::new(v).is_absolute()).and_then(|v| std::fs::canonicalize(v).ok());
        let Some(real) = real else {
            stage.env.insert(name, value);
            continue;
        };
        if !tree::SHOWN_WITH_PROXY.iter().any(|top| real.starts_with(top)) {
            stage.mounts.push(tree::same_place(&real, true));
        }
        stage.env.insert(name, real.display().to_string());
    }
}

/// Who reads about what was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Who cannot change the host, and need not know its network.
    Student,
    /// Who can.
    Operator,
}

/// What this reader should make of what the proxy refused, a sentence each: most telling first, since one of them is why the stage
/// failed, and the others may be what a tool tried afterwards.
pub fn explain(refused: &[Refused], reader: Reader) -> Vec<String> {
    let rank = |entry: &&Refused| match entry.why {
        Why::Internal(..) => 0,
        Why::NotListed => 1,
        Why::TooMuch(_) | Why::TooMany(_) => 2,
        Why::NoAddress(_) | Why::Unreachable(_) => 3,
        Why::Malformed(_) => 4,
    };
    let mut sorted: Vec<&Refused> = refused.iter().collect();
    sorted.sort_by_key(rank);
    sorted.into_iter().map(|entry| sentence(entry, reader)).collect()
}

fn sentence(Refused { place, why }: &Refused, reader: Reader) -> String {
    // The port of https says nothing to most people.
    let place = place.strip_suffix(":443").unwrap_or(place);
    match (why, reader) {
        (Why::NotListed, Reader::Student) => {
            format!("{place} is not one that this course's tasks may be fetched from")
        }
        (Why::NotListed, Reader::Operator) => format!("{place} is not one that packages may come from"),
        (Why::Internal(..), Reader::Student) => {
            format!("{place} leads to an internal address, which is out of reach here")
        }
        (Why::Internal(kind, address), Reader::Operator) => {
            format!("{place} leads to the internal address {address} ({kind})")
        }
        (Why::Malformed(why), _) => format!("an address could not be read: {why}"),
        (Why::TooMuch(limit), _) => format!("{place} sent more than the {} MiB that may come", limit >> 20),
        (Why::TooMany(limit), _) => format!("more than {limit} connections were made"),
        (Why::NoAddress(_), Reader::Student) => format!("the server {place} is not found"),
        (Why::Unreachable(_), Reader::Student) => format!("the server {place} cannot be reached"),
        (Why::NoAddress(why), Reader::Operator) => format!("the name of {place} has no address ({why})"),
        (Why::Unreachable(why), Reader::Operator) => format!("{place} cannot be reached ({why})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::address::Kind;
    use sandbox::plan::Policy;

    fn stage() -> Stage {
        let limits = crate::config::Limits::from_options(crate::config::LimitOptions::default(), 1);
        Stage::new("fetch", Policy::Fetch, &limits)
    }

    #[test]
    fn files_that_the_environment_names_are_shown_by_their_real_paths() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        let mut stage = stage();
        let link = dir.path().join("link").display().to_string();
        let env = [("A", link.as_str()), ("B", "/usr/bin"), ("C", "text"), ("D", "/not/there")];
        show_files(&mut stage, env.map(|(k, v)| (k.to_string(), v.to_string())).into());
        assert_eq!(stage.env["A"], real.display().to_string());
        assert_eq!(stage.mounts, [tree::same_place(&real, true)]);
        assert_eq!((stage.env["C"].as_str(), stage.env["D"].as_str()), ("text", "/not/there"));
    }

    #[test]
    fn inside_every_variable_leads_to_our_proxy_and_none_around_it() {
        let env = [("https_proxy", "http://operators:1"), ("no_proxy", "*"), ("PIP_PROXY", "x"), ("A", "b")];
        let mut env: BTreeMap<String, String> = env.map(|(k, v)| (k.to_string(), v.to_string())).into();
        lead_to_proxy(&mut env);
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "PIP_PROXY"] {
            assert_eq!(env[name], "http://127.0.0.1:3128", "{name}");
        }
        assert!(!env.contains_key("no_proxy") && !env.contains_key("GIT_PROXY_COMMAND") && env["A"] == "b");
    }

    #[test]
    fn the_reason_comes_before_what_followed_from_it() {
        let refused = |place: &str, why| Refused { place: place.into(), why };
        let all = [
            refused("a.example:443", Why::Unreachable("no".into())),
            refused("b.example:8443", Why::NotListed),
            refused("c.example:443", Why::Internal(Kind::LinkLocal, "169.254.169.254".parse().unwrap())),
        ];
        let said = explain(&all, Reader::Student);
        assert!(said[0].starts_with("c.example leads to an internal address,"), "{said:?}");
        assert_eq!(said[1], "b.example:8443 is not one that this course's tasks may be fetched from");
        let said = explain(&all, Reader::Operator);
        assert_eq!(said[0], "c.example leads to the internal address 169.254.169.254 (link-local)");
        assert_eq!(said[2], "a.example cannot be reached (no)");
        assert_eq!(explain(&[], Reader::Student), Vec::<String>::new());
    }
}
