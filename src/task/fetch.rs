//! The fetch stage: git, and only git, in a sandbox of its own.

use super::outward::{self, Reader};
use super::{Context, Source, TaskError};
use crate::config::Mirror;
use crate::contain::tree::{self, inside};
use crate::contain::work::WorkTree;
use crate::contain::{ContainError, Stage};
use crate::fault::Fault;
use crate::proxy::{Place, Reach, Refused};
use sandbox::outcome::Verdict;
use sandbox::plan::Policy;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Wall clock where the configuration says nothing.
pub(super) const DEFAULT_TIME: Duration = Duration::from_secs(120);

/// Memory of the stages in which only tools of the operator run.
pub const TOOL_MEMORY: u64 = 1 << 30;

/// What git is told once for all. Submodules, hooks, filters and local clones are ways in which a repository can make
/// git run or read something (CVE-2024-32002, CVE-2025-48384); none of them is needed to read one branch.
/// The directory's owner is the operator, not the sandbox's user, hence safe.directory.
const GIT_CONFIG: &str = "[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n\tsymlinks = true\n\
    [protocol]\n\tallow = never\n[protocol \"https\"]\n\tallow = always\n[protocol \"http\"]\n\tallow = always\n\
    [protocol \"file\"]\n\tallow = always\n\
    [transfer]\n\tfsckObjects = true\n[fetch]\n\trecurseSubmodules = false\n\
    [http]\n\tfollowRedirects = false\n[submodule]\n\trecurse = false\n[safe]\n\tdirectory = *\n\
    [gc]\n\tauto = 0\n[advice]\n\tdetachedHead = false\n[init]\n\tdefaultBranch = main\n";

/// The repository's own directory lies in /tmp, so `.git` never comes near the project. `$1` is the URL, `$2` the ref,
/// `$3` the directory; none of them is ever a part of the script.
const SCRIPT: &str = r#"
git init --quiet --bare --template= /tmp/repository.git
cd "$3"
export GIT_DIR=/tmp/repository.git GIT_WORK_TREE="$3"
git fetch --quiet --depth=1 --no-tags --no-recurse-submodules --no-write-fetch-head -- "$1" "$2:refs/heads/fetched"
git read-tree refs/heads/fetched
git checkout-index --all --force --quiet
git rev-parse refs/heads/fetched
"#;

/// Brings the submission into the work tree. Returns the commit, where it came from git.
pub async fn submission(context: &Context<'_>, work: &WorkTree) -> Result<Option<String>, TaskError> {
    match &context.assignment.source {
        Source::Directory(path) => {
            let taken = work.take_project(path).map_err(|e| Fault::submission(format!("{e:#}")))?;
            tracing::info!(files = taken.entries, bytes = taken.bytes, "took the project from its directory");
            Ok(None)
        }
        Source::Git { url, branch } => {
            let commit = git(context, url, Some(branch), &work.project(), inside::PROJECT).await?;
            tracing::info!(%url, %branch, %commit, "fetched the submission");
            Ok(Some(commit))
        }
    }
}

/// Fetches one branch (none: the default one) of `url` into the host directory `to`, seen inside as `target`.
pub async fn git(
    context: &Context<'_>,
    url: &str,
    branch: Option<&str>,
    to: &Path,
    target: &str,
) -> Result<String, TaskError> {
    let options = &context.grading.fetch;
    let mut stage = Stage::new("fetch", Policy::Fetch, &context.limits);
    stage.memory = stage.memory.max(TOOL_MEMORY);
    stage.pids = stage.pids.max(64);
    stage.wall = options.timeout.map_or(DEFAULT_TIME, |t| t.0);
    stage.mounts.push(tree::file("/run/ostest/gitconfig", GIT_CONFIG));
    stage.mounts.push(tree::bind(to, target, true));
    let mut from = url.to_string();
    let env = outward::environment(&options.env);
    let rules = match mirrored(&context.grading.mirrors, url) {
        Some(Ok(path)) => {
            stage.mounts.push(tree::bind(path, inside::MIRROR, false));
            from = format!("file://{}", inside::MIRROR);
            outward::show_files(&mut stage, env);
            None
        }
        Some(Err(sentence)) => return Err(Fault::submission(sentence).into()),
        None => {
            let bytes = options.traffic_limit.map_or(traffic(context.limits.disk), |size| size.0);
            Some(outward::open(context, &mut stage, env, reach(url), bytes)?)
        }
    };
    stage.env.extend(
        [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/run/ostest/gitconfig"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "/bin/false"),
        ]
        .map(|(k, v)| (k.to_string(), v.to_string())),
    );
    let reference = branch.map_or("HEAD".to_string(), |b| format!("refs/heads/{b}"));
    stage.argv = ["sh", "-euc", SCRIPT, "fetch", &from, &reference, target].map(str::to_string).to_vec();
    let plan = context.host.plan(context.slot, &stage);
    let finished = context.host.run_with("fetch", &plan, rules, context.cancel, &mut |_, _| {}).await;
    let finished = finished.map_err(ContainError::of_own_command)?;
    let what = branch.map_or(format!("the repository {url}"), |b| format!("branch {b:?} of {url}"));
    match finished.outcome.verdict {
        Verdict::Ok => Ok(finished.stdout.lines(1)),
        Verdict::Interrupted => Err(TaskError::Interrupted),
        _ => {
            let said = finished.stderr.lines(20);
            let why = refused(&finished.refused).unwrap_or_else(|| explain(&said, &finished.outcome.message));
            Err(Fault::submission(format!("{what} could not be fetched: {why}\n{said}").trim_end()).into())
        }
    }
}

/// Where git may go: to the server of the repository, which was checked against what is allowed, and nowhere else. A URL of
/// another kind than http leads nowhere.
fn reach(url: &str) -> Reach {
    let server = Url::parse(url).ok().as_ref().and_then(Place::of_url);
    Reach::Listed(server.into_iter().collect())
}

/// Bytes that may come: what fits into /tmp, twice, because of what git and TLS say beside it. A pack that is larger does not fit there; a
/// server that never ends to talk about it would otherwise only end with the stage's time.
fn traffic(disk: u64) -> u64 {
    disk.saturating_mul(2).saturating_add(16 << 20)
}

/// What the proxy did not give, for the student.
fn refused(all: &[Refused]) -> Option<String> {
    outward::explain(all, Reader::Student).into_iter().next()
}

/// How the shell of [`SCRIPT`] tells of a program that SIGXFSZ has ended: 128 and the signal's number.
const TOO_LARGE: &str = "code 153";

/// What a person should make of git's words.
fn explain(said: &str, ended: &str) -> String {
    let has = |text: &str| said.contains(text);
    // git's own words on an object that it does not take: "error: object ID: hasDotgit: contains '.git'".
    let object = said.lines().find_map(|line| line.strip_prefix("error: object ")?.rsplit_once(": "));
    if let Some((_, what)) = object.filter(|_| has("fsck error")) {
        format!("it holds something that no repository should, which git refuses ({what}); rewrite it without that")
    } else if has("couldn't find remote ref") {
        "there is no such branch; check its name, and that it has been pushed".into()
    } else if has("could not read Username") || has("Authentication failed") || has("terminal prompts disabled") {
        "the repository does not exist or is not public".into()
    } else if has("not found") || has("does not appear to be a git repository") || has("does not exist") {
        "there is no such repository".into()
    } else if has("certificate") || has("SSL") {
        "the server cannot prove who it is; if this goes on, tell your teacher".into()
    } else if has("redirect") {
        "the address leads elsewhere; give the one that it leads to".into()
    } else if has("Could not resolve host") || has("Failed to connect") || has("fatal: unable to access") {
        "the server cannot be reached; if this goes on, tell your teacher".into()
    } else if has("No space left on device") || has("write error") || ended.ends_with(TOO_LARGE) {
        "it is larger than the disk limit".into()
    } else if has("File name too long") || has("fatal: cannot create directory at") || has("unable to create file") {
        // Of a long path git says so much that the reason does not fit.
        "it holds a path that cannot be made here, most likely because it is too long".into()
    } else {
        format!("git failed, {ended}")
    }
}

/// The local place of a repository under one of the mirrors' prefixes: `DIR/rest`, with or without `.git`.
/// `None`: no mirror has this prefix.
fn mirrored(mirrors: &[Mirror], url: &str) -> Option<Result<PathBuf, String>> {
    let (mirror, rest) = mirrors.iter().find_map(|m| Some((m, url.strip_prefix(&m.prefix)?)))?;
    let rest = rest.trim_matches('/');
    let plain = !rest.is_empty()
        && rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !rest.contains(['\\', '%', '?', '#']);
    if !plain {
        return Some(Err(format!("the repository URL {url} holds a path that is not allowed")));
    }
    let bare = rest.strip_suffix(".git").unwrap_or(rest);
    let candidates = [mirror.dir.join(rest), mirror.dir.join(bare), mirror.dir.join(format!("{bare}.git"))];
    // What the mirror holds is the operator's; the real path must all the same lie in it.
    let top = mirror.dir.canonicalize().unwrap_or_else(|_| mirror.dir.clone());
    let found =
        candidates.into_iter().filter_map(|c| c.canonicalize().ok()).find(|c| c.is_dir() && c.starts_with(&top));
    Some(found.ok_or_else(|| format!("there is no repository {url}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_holds_bare_and_ordinary_repositories_and_nothing_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for made in ["git/org/a.git", "git/org/b", "secret.git"] {
            std::fs::create_dir_all(top.join(made)).unwrap();
        }
        let mirrors = [Mirror { prefix: "https://course.example/".into(), dir: top.join("git") }];
        let found = |url: &str| mirrored(&mirrors, url);
        assert_eq!(found("https://course.example/org/a.git"), Some(Ok(top.join("git/org/a.git"))));
        assert_eq!(found("https://course.example/org/a"), Some(Ok(top.join("git/org/a.git"))));
        assert_eq!(found("https://course.example/org/b.git"), Some(Ok(top.join("git/org/b"))));
        assert!(matches!(found("https://course.example/../secret.git"), Some(Err(_))));
        assert!(matches!(found("https://course.example/org/%2e%2e"), Some(Err(_))));
        assert!(matches!(found("https://course.example/none"), Some(Err(_))));
        assert_eq!(found("https://elsewhere.example/org/a.git"), None);
    }

    #[test]
    fn git_may_go_to_the_repositorys_server_alone() {
        let one = |text: &str| Reach::Listed([Place::parse(text).unwrap()].into());
        assert_eq!(reach("https://Git.Example/a.git"), one("git.example:443"));
        assert_eq!(reach("https://0x7f.1:8443/a.git"), one("127.0.0.1:8443"));
        assert_eq!(reach("http://git.example/a"), one("git.example:80"));
        assert_eq!(reach("file:///srv/git/a"), Reach::Listed([].into()));
    }

    #[test]
    fn gits_words_become_advice() {
        assert!(explain("fatal: couldn't find remote ref refs/heads/x", "").contains("no such branch"));
        assert!(explain("fatal: could not read Username for 'https://github.com'", "").contains("not public"));
        assert!(explain("?", "it exited with code 1").contains("code 1"));
        let refused = "error: object 3de451: hasDotdot: contains '..'\nfatal: fsck error in packed object";
        assert!(explain(refused, "").contains("(contains '..')"));
        assert!(explain("remote: warning: unable to access 'd/d': File name too long", "").contains("too long"));
        assert!(explain("", "it exited with code 153").contains("disk limit"));
        assert!(explain("fatal: unable to access 'https://x/': timed out", "").contains("cannot be reached"));
    }
}
