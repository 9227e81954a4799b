//! The fetch stage: git, and only git, in a sandbox of its own.

mod credentials;
mod explain;
mod mirror;
mod plain;
mod script;

use super::outward;
use super::{Context, Source, TaskError};
use crate::config::Grading;
use crate::contain::tree::{self, inside};
use crate::contain::work::WorkTree;
use crate::contain::{ContainError, Finished, Stage};
use crate::fault::{Cause, Fault};
use crate::proxy::{Place, Reach, Rules};
use credentials::Secret;
use explain::{Failure, Origin};
use sandbox::outcome::Verdict;
use sandbox::plan::Policy;
use script::Told;
use secrecy::ExposeSecret;
use std::path::Path;
use std::time::Duration;
use url::Url;

/// Wall clock where the configuration says nothing.
pub(super) const DEFAULT_TIME: Duration = Duration::from_secs(120);

/// Wall clock of a probe, which brings little.
const PROBE_TIME: Duration = Duration::from_secs(60);

/// Memory of the stages in which only tools of the operator run.
pub const TOOL_MEMORY: u64 = 1 << 30;

/// Where git finds its configuration inside.
const CONFIG: &str = "/run/ostest/gitconfig";

/// What was brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The commit, where it came from git.
    pub commit: Option<String>,
    /// Paths of submodules, which are not fetched; the first of them.
    pub submodules: Vec<String>,
}

impl Fetched {
    /// What is to be added where a submission lacks something: it may be what its submodules hold. Empty without any.
    pub fn submodules_sentence(&self) -> String {
        const NAMED: usize = 5;
        const LONGEST: usize = 80;
        let short = |name: &String| name.chars().take(LONGEST).collect::<String>();
        let named = self.submodules.iter().take(NAMED).map(short).collect::<Vec<_>>().join(", ");
        match self.submodules.len() {
            0 => String::new(),
            1..=NAMED => format!("; the repository has submodules ({named}), which are not fetched"),
            _ => format!("; the repository has submodules ({named} and more), which are not fetched"),
        }
    }
}

/// Brings the submission into the work tree.
pub async fn submission(context: &Context<'_>, work: &WorkTree) -> Result<Fetched, TaskError> {
    match &context.assignment.source {
        Source::Directory(path) => {
            let taken = work.take_project(path).map_err(|e| Fault::submission(format!("{e:#}")))?;
            tracing::info!(files = taken.entries, bytes = taken.bytes, "took the project from its directory");
            Ok(Fetched::default())
        }
        Source::Git { url, branch } => {
            let told = bring(context, url, Some(branch), &work.project(), inside::PROJECT).await?;
            let commit = told.commit.unwrap_or_default();
            tracing::info!(%url, %branch, %commit, "fetched the submission");
            Ok(Fetched { commit: Some(commit), submodules: told.submodules })
        }
    }
}

/// Fetches one branch (none: the default one) of `url` into the host directory `to`, seen inside as `target`; gives the commit.
pub async fn git(
    context: &Context<'_>,
    url: &str,
    branch: Option<&str>,
    to: &Path,
    target: &str,
) -> Result<String, TaskError> {
    Ok(bring(context, url, branch, to, target).await?.commit.unwrap_or_default())
}

/// Whether what a fetch of this URL depends on works: the server answers, or the mirror gives its objects. What is wrong with the
/// repository itself, as the server says it, is no matter here.
pub async fn probe(context: &Context<'_>, url: &str) -> Result<(), TaskError> {
    let found = async {
        let mut ready = prepare(context, url)?;
        ready.stage.wall = ready.stage.wall.min(PROBE_TIME);
        let deep = if let Origin::Mirror(_) = ready.origin { "deep" } else { "" };
        ready.stage.argv = ["sh", "-euc", script::PROBE, "probe", &ready.url, deep].map(str::to_string).to_vec();
        run(context, ready, format!("the repository {}", shown(url)), None).await
    };
    match found.await {
        Err(TaskError::Fault(fault)) if !fault.is_worth_another_try() => Ok(()),
        other => other.map(drop),
    }
}

/// What a repository is fetched from, as a fault of it names it.
pub fn cause(grading: &Grading, url: &str) -> Cause {
    match (mirror::of(&grading.mirrors, url), server(url)) {
        (Some((mirror, _)), _) => Cause::Mirror(mirror.prefix.clone()),
        (None, Ok(place)) => Cause::Server(place.to_string()),
        (None, Err(fault)) => fault.cause,
    }
}

async fn bring(
    context: &Context<'_>,
    url: &str,
    branch: Option<&str>,
    to: &Path,
    target: &str,
) -> Result<Told, TaskError> {
    let mut ready = prepare(context, url)?;
    ready.stage.mounts.push(tree::bind(to, target, true));
    let (exact, meant) = (branch.unwrap_or_default(), branch.and_then(meant).unwrap_or_default());
    ready.stage.argv =
        ["sh", "-euc", script::FETCH, "fetch", &ready.url, exact, meant, target].map(str::to_string).to_vec();
    let what = branch.map_or(format!("the repository {}", shown(url)), |b| format!("branch {b:?} of {}", shown(url)));
    run(context, ready, what, branch).await
}

/// The branch that is meant by a name as git itself writes it in some places. A branch that really is called so goes before.
fn meant(branch: &str) -> Option<&str> {
    ["refs/heads/", "refs/remotes/origin/", "remotes/origin/", "heads/", "origin/"]
        .into_iter()
        .find_map(|before| branch.strip_prefix(before))
        .filter(|rest| !rest.is_empty())
}

/// A URL for people: without the password that an operator may have written into that of a suite.
pub(crate) fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", authority.rsplit_once('@').map_or(authority, |(_, host)| host))
        }
        None => url.to_string(),
    }
}

/// A stage that lacks its command.
struct Ready {
    stage: Stage,
    rules: Option<Rules>,
    /// As git is given it.
    url: String,
    origin: Origin,
    secret: Option<Secret>,
}

fn prepare(context: &Context<'_>, url: &str) -> Result<Ready, Fault> {
    let options = &context.grading.fetch;
    let mut stage = Stage::new("fetch", Policy::Fetch, &context.limits);
    stage.memory = stage.memory.max(TOOL_MEMORY);
    stage.pids = stage.pids.max(64);
    stage.wall = options.timeout.map_or(DEFAULT_TIME, |t| t.0);
    let env = outward::environment(&options.env);
    let mut config = script::config();
    let mut ready = if let Some(repository) = mirror::find(&context.grading.mirrors, url)? {
        outward::show_files(&mut stage, env);
        stage.mounts.extend(repository.mounts());
        let url = repository.url();
        Ready { stage, rules: None, url, origin: Origin::Mirror(repository), secret: None }
    } else {
        let server = server(url)?;
        let secret = credentials::of(&context.grading.credentials, url).map(credentials::read).transpose();
        let secret = secret.map_err(|why| no_credentials(&server, url, &why))?;
        if let Some(secret) = &secret {
            config.push_str(secret.config(url).expose_secret());
        }
        let origin =
            Origin::Server { place: server.to_string(), secure: url.starts_with("https:"), known: secret.is_some() };
        let bytes = options.traffic_limit.map_or(traffic(context.limits.disk), |size| size.0);
        let rules = outward::open(context, &mut stage, env, Reach::Listed([server].into()), bytes)?;
        Ready { stage, rules: Some(rules), url: url.to_string(), origin, secret }
    };
    ready.stage.mounts.push(tree::file(CONFIG, config));
    ready.stage.env.extend(
        [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", CONFIG),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "/bin/false"),
            // What git says is read, and must not depend on a language.
            ("LC_ALL", "C"),
            ("LANGUAGE", ""),
        ]
        .map(|(k, v)| (k.to_string(), v.to_string())),
    );
    Ok(ready)
}

/// Where git may go: to the server of the repository, which was checked against what is allowed, and nowhere else.
fn server(url: &str) -> Result<Place, Fault> {
    Url::parse(url).ok().as_ref().and_then(Place::of_url).ok_or_else(|| {
        Fault::host(
            Cause::Mirror(shown(url)),
            format!("the repository {} could not be fetched: the grading machine reaches no such address", shown(url)),
        )
        .with_detail("only http and https addresses can be fetched; others need a --git-mirror of their prefix")
    })
}

fn no_credentials(server: &Place, url: &str, why: &str) -> Fault {
    let message = format!("the repository {} could not be fetched: the grader lacks its credentials", shown(url));
    Fault::host(Cause::Server(server.to_string()), message).with_detail(why)
}

/// Bytes that may come: what fits into /tmp, twice, because of what git and TLS say beside it. A pack that is larger does not fit there; a
/// server that never ends to talk about it would otherwise only end with the stage's time.
fn traffic(disk: u64) -> u64 {
    disk.saturating_mul(2).saturating_add(16 << 20)
}

async fn run(context: &Context<'_>, ready: Ready, what: String, branch: Option<&str>) -> Result<Told, TaskError> {
    let Ready { stage, rules, origin, secret, .. } = ready;
    let plan = context.host.plan(context.slot, &stage);
    let finished = context.host.run_with("fetch", &plan, rules, context.cancel, &mut |_, _| {}).await;
    let finished: Finished = finished.map_err(ContainError::of_own_command)?;
    let told = Told::read(&finished.stdout.text());
    match finished.outcome.verdict {
        Verdict::Ok => Ok(told),
        Verdict::Interrupted => Err(TaskError::Interrupted),
        _ => {
            let said = finished.stderr.text();
            let said = secret.map_or(said.clone(), |secret| secret.redact(&said));
            let (told, said, finished) = (&told, said.as_str(), &finished);
            let (disk, wall) = (stage.disk, stage.wall);
            let failure = Failure { what, branch, origin: &origin, told, said, finished, disk, wall };
            Err(failure.fault().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_may_go_to_the_repositorys_server_alone() {
        let one = |text: &str| Place::parse(text).unwrap();
        assert_eq!(server("https://Git.Example/a.git"), Ok(one("git.example:443")));
        assert_eq!(server("https://0x7f.1:8443/a.git"), Ok(one("127.0.0.1:8443")));
        assert_eq!(server("http://git.example/a"), Ok(one("git.example:80")));
        assert_eq!(server("file:///srv/git/a").unwrap_err().blame, crate::fault::Blame::Host);
    }

    #[test]
    fn a_branch_is_known_by_the_names_that_git_gives_it() {
        for (name, branch) in [
            ("refs/heads/lab/1", Some("lab/1")),
            ("origin/main", Some("main")),
            ("remotes/origin/main", Some("main")),
            ("refs/remotes/origin/x", Some("x")),
            ("heads/x", Some("x")),
            ("main", None),
            ("upstream/main", None),
            ("origin", None),
        ] {
            assert_eq!(meant(name), branch, "{name}");
        }
    }

    #[test]
    fn no_password_of_an_address_is_shown() {
        assert_eq!(shown("https://me:secret@git.example/a@b"), "https://git.example/a@b");
        assert_eq!(shown("https://git.example/a"), "https://git.example/a");
        assert_eq!(shown("/srv/suite"), "/srv/suite");
    }
}
