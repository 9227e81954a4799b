//! Git as it is, with the real git against real servers and mirrors: who is blamed when a fetch fails, which repositories are taken,
//! and what of them is understood. The stage is run as the runner runs it, below the pipeline, because there the blame can be seen.

mod common;
mod support;

use ostest_sandbox::config::{CredentialOptions, Grading, HostOptions, LimitOptions, Limits, Mirror, Span};
use ostest_sandbox::contain::Host;
use ostest_sandbox::contain::slots::Slot;
use ostest_sandbox::fault::{Blame, Cause, Fault};
use ostest_sandbox::task::{Assignment, Context, Source, TaskError, fetch};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::backend::Counting;
use support::servers::{Certificate, Server};
use support::{Place, need_root};
use tokio_util::sync::CancellationToken;

/// The token that the staged server wants, and the form in which it is sent.
const TOKEN: &str = "s3cret?t0ken";
const BASIC: &str = "Z3JhZGVyOnMzY3JldD90MGtlbg==";

/// Repositories, a server that serves them, and what a fetch needs beside.
struct Bench {
    place: Place,
    server: Server,
    host: Host,
    slot: Slot,
    grading: Grading,
}

impl Bench {
    fn new() -> Bench {
        let place = Place::new();
        place.repository("good", &[("main.c", "int main(void) { return 0; }\n")]);
        let certificate = Certificate::make(&place);
        let server = Server::git(&place, &certificate);
        launcher_beside_this_program();
        let options =
            HostOptions { state_dir: place.path("state"), waived: Vec::new(), python: None, toolchain: Vec::new() };
        let host = Host::open(&options, false).expect("a host");
        host.claim().expect("its groups");
        let mut grading = Grading {
            tests: String::new(),
            tests_branch: None,
            limits: Limits::from_options(LimitOptions::default(), 1),
            proxy_timeout: Duration::from_secs(10),
            allow_url: Vec::new(),
            mirrors: Vec::new(),
            allow_internal: vec![server.place().parse().expect("a place")],
            backend: None,
            answer_within: None,
            credentials: BTreeMap::new(),
            fetch: Default::default(),
            prepare: Default::default(),
            build: Default::default(),
            test: Default::default(),
            labs: BTreeMap::new(),
        };
        let ca = certificate.file.display().to_string();
        grading.fetch.env.insert("GIT_SSL_CAINFO".into(), ca);
        // For trying another git than the first of the path.
        if let Ok(path) = std::env::var("OSTEST_TEST_GIT_PATH") {
            grading.fetch.env.insert("PATH".into(), path);
        }
        Bench { slot: Slot::take(0).expect("a slot"), place, server, host, grading }
    }

    /// The same with the repositories as a mirror of `https://course.example/`.
    fn mirrored() -> Bench {
        let mut bench = Bench::new();
        bench.grading.mirrors = vec![mirror(bench.place.path("git"))];
        bench
    }

    fn run<T>(&self, what: impl AsyncFnOnce(&Context<'_>) -> Result<T, TaskError>) -> Result<T, Fault> {
        let assignment = Assignment {
            attempt: "1".into(),
            source: Source::Directory("/".into()),
            labs: Vec::new(),
            connected_tests: Vec::new(),
        };
        let cancel = CancellationToken::new();
        let context = Context {
            host: &self.host,
            grading: &self.grading,
            slot: &self.slot,
            assignment: &assignment,
            limits: self.grading.limits,
            allow: sandbox::groups::Groups::NONE,
            cancel: &cancel,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(what(&context)).map_err(|error| match error {
            TaskError::Fault(fault) => fault,
            TaskError::Interrupted => panic!("nobody interrupts it"),
        })
    }

    /// Where the files of a fetch go.
    fn tree(&self) -> PathBuf {
        let tree = self.place.path("tree");
        let _ = std::fs::remove_dir_all(&tree);
        std::fs::create_dir(&tree).expect("a directory");
        std::fs::set_permissions(&tree, std::fs::Permissions::from_mode(0o777)).expect("a mode");
        tree
    }

    fn fetch(&self, url: &str, branch: Option<&str>) -> Result<String, Fault> {
        let tree = self.tree();
        self.run(async |context| fetch::git(context, url, branch, &tree, "/task/project").await)
    }

    #[track_caller]
    fn fault(&self, url: &str) -> Fault {
        let fault = self.fetch(url, Some("main")).expect_err(url);
        println!("{url}\n    {} ({}): {}", fault.blame, fault.cause, fault.message);
        assert!(!fault.message.contains('\n') && !fault.message.contains("127.0.0.1"), "{fault:?}");
        fault
    }

    fn probe(&self, url: &str) -> Result<(), Fault> {
        self.run(async |context| fetch::probe(context, url).await)
    }

    /// Runs git in a repository of this bench's.
    fn git(&self, name: &str, arguments: &[&str]) -> String {
        git(&self.place.path("git").join(name), arguments)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.host.release();
    }
}

fn mirror(dir: PathBuf) -> Mirror {
    Mirror { prefix: "https://course.example/".into(), dir }
}

/// The host looks for it beside its own program, which is this one.
fn launcher_beside_this_program() {
    let own = std::env::current_exe().expect("a program");
    let (link, new) =
        (own.with_file_name("ostest-launch"), own.with_file_name(format!("launch-{}", std::process::id())));
    let launcher = Path::new(env!("CARGO_BIN_EXE_ostest-launch"));
    // Of a copied target directory the link leads into the other one.
    let there = std::fs::read_link(&link).is_ok_and(|to| to == launcher);
    if !there && std::os::unix::fs::symlink(launcher, &new).is_ok() {
        std::fs::rename(&new, &link).expect("a link");
    }
}

#[track_caller]
fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=S", "-c", "user.email=s@course.example", "-c", "init.defaultBranch=main"]);
    let done = command.args(arguments).current_dir(dir).output().expect("git starts");
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    String::from_utf8(done.stdout).expect("text").trim().to_string()
}

#[test]
fn what_a_server_says_and_does_is_told_apart() {
    if !need_root("what_a_server_says_and_does_is_told_apart") {
        return;
    }
    let mut bench = Bench::new();
    let url = |path: &str| bench.server.url(path);
    let (student, network) = (Blame::Submission, Blame::Network);
    assert_eq!(bench.fetch(&url("good"), Some("main")).expect("it is there").len(), 40);
    for (path, blame, said) in [
        ("none", student, "there is no such repository"),
        ("status/404/good", student, "there is no such repository"),
        ("status/401/good", student, "does not exist or is not public"),
        ("private/good", student, "does not exist or is not public"),
        ("status/403/good", student, "does not exist or is not public"),
        ("moved/good", student, "leads elsewhere"),
        ("page/good", student, "has a page at this address"),
        ("silent/good", network, "answers with something else than git"),
        ("throttled/good", network, "is busy (HTTP 403)"),
        ("status/429/good", network, "is busy (HTTP 429)"),
        ("status/500/good", network, "does not work (HTTP 500)"),
        ("status/503/good", network, "does not work (HTTP 503)"),
        ("hangup/good", network, "broke off"),
        ("cut/good", network, "broke off while it sent"),
    ] {
        let fault = bench.fault(&url(path));
        assert_eq!(fault.blame, blame, "{path}: {fault:#?}");
        assert!(fault.message.contains(said), "{path}: {fault:#?}");
        if blame == network {
            assert_eq!(fault.cause, Cause::Server(bench.server.place()));
        }
    }
    // A suite's default branch, of the same server: the same blame.
    let fault = bench.fetch(&url("status/503/good"), None).expect_err("it is down");
    assert_eq!((fault.blame, fault.cause), (network, Cause::Server(bench.server.place())));
    // Whether it goes on is asked of that repository: what the server says of it does not matter, that it speaks does.
    for path in ["good", "none", "private/good"] {
        assert_eq!(bench.probe(&url(path)), Ok(()), "{path}");
    }
    for path in ["status/503/good", "hangup/good"] {
        assert_eq!(bench.probe(&url(path)).expect_err(path).blame, network);
    }
    // Of no use to anybody, and not small.
    let noise: String = (0..200_000u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    bench.place.repository("large", &[("noise", &noise)]);
    bench.grading.limits.disk = 1 << 20;
    let fault = bench.fault(&bench.server.url("large"));
    assert!(fault.blame == student && fault.message.contains("larger than the disk limit"), "{fault:#?}");
    // The clock ends what comes too slowly, and nothing shows that the repository is large.
    bench.grading.fetch.timeout = Some(Span(Duration::from_secs(4)));
    let fault = bench.fault(&bench.server.url("drip/good"));
    assert!(fault.blame == network && fault.message.contains("did not come within 4 s"), "{fault:#?}");
}

#[test]
fn a_server_that_is_not_there_is_nobodys_fault_but_the_networks() {
    if !need_root("a_server_that_is_not_there_is_nobodys_fault_but_the_networks") {
        return;
    }
    let mut bench = Bench::new();
    // Bound and let go again: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    bench.grading.allow_internal.push(format!("localhost:{port}").parse().expect("a place"));
    for (url, place, said) in [
        (format!("https://localhost:{port}/a"), format!("localhost:{port}"), "cannot be reached"),
        (
            "https://no-such-host.invalid/a".into(),
            "no-such-host.invalid:443".into(),
            "no-such-host.invalid is not found",
        ),
    ] {
        let fault = bench.fault(&url);
        assert_eq!((fault.blame, &fault.cause), (Blame::Network, &Cause::Server(place)), "{fault:#?}");
        assert_eq!(fetch::cause(&bench.grading, &url), fault.cause);
        assert!(fault.message.contains(said), "{fault:#?}");
        assert_eq!(bench.probe(&url).expect_err("it is not there").cause, fault.cause);
    }
    // Nobody's network makes another address of one that the URL itself names.
    let fault = bench.fault("https://169.254.169.254/a");
    assert!(fault.blame == Blame::Submission && fault.message.contains("leads to an internal address"), "{fault:#?}");
    // Known to nobody: the authority is not the one that signed it.
    bench.grading.fetch.env.clear();
    let fault = bench.fault(&bench.server.url("good"));
    assert_eq!((fault.blame, &fault.cause), (Blame::Network, &Cause::Server(bench.server.place())));
    assert!(fault.message.contains("cannot prove who it is") && fault.detail.contains("certificate"), "{fault:#?}");
}

#[test]
fn a_mirror_that_does_not_work_is_the_hosts_fault() {
    if !need_root("a_mirror_that_does_not_work_is_the_hosts_fault") {
        return;
    }
    let mut bench = Bench::mirrored();
    let (url, cause) = ("https://course.example/good.git", Cause::Mirror("https://course.example/".into()));
    assert_eq!(bench.fetch(url, Some("main")).map(|commit| commit.len()), Ok(40));
    assert_eq!(bench.probe(url), Ok(()));
    assert_eq!(fetch::cause(&bench.grading, url), cause);
    assert_eq!(bench.fault("https://course.example/none").blame, Blame::Submission);
    assert_eq!(bench.fault("https://course.example/good/sub").blame, Blame::Submission);
    let broken = |bench: &Bench, why: &str| {
        let fault = bench.fault(url);
        assert_eq!((fault.blame, &fault.cause), (Blame::Host, &cause), "{fault:#?}");
        assert!(fault.detail.contains(why), "{fault:#?}");
        assert!(!fault.message.contains("/tmp"), "{fault:?}");
        assert_eq!(bench.probe(url).expect_err("it does not work").cause, cause);
    };
    let repository = bench.place.path("git/good/.git");
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    // Only for root: to git inside some of it is silently not there.
    for (part, why) in [("refs/heads", ""), ("objects", ""), ("HEAD", "readable for all")] {
        let (path, was) = (repository.join(part), if part == "HEAD" { 0o644 } else { 0o755 });
        mode(&path, 0o700);
        let fault = bench.fault(url);
        assert_eq!((fault.blame, &fault.cause), (Blame::Host, &cause), "{part}: {fault:#?}");
        assert!(fault.detail.contains(why), "{part}: {fault:#?}");
        mode(&path, was);
    }
    // An object is gone.
    let blob = bench.git("good", &["rev-parse", "HEAD:main.c"]);
    let object = repository.join("objects").join(&blob[..2]).join(&blob[2..]);
    let kept = std::fs::read(&object).expect("a loose object");
    std::fs::remove_file(&object).expect("it can be removed");
    broken(&bench, &blob[..8]);
    std::fs::write(&object, kept).expect("it is back");
    assert_eq!(bench.probe(url), Ok(()));
    bench.grading.mirrors = vec![mirror(bench.place.path("away"))];
    broken(&bench, "No such file");
    std::fs::create_dir(bench.place.path("away")).expect("a directory");
    broken(&bench, "empty");
}

#[test]
fn repositories_are_taken_however_they_are_kept() {
    if !need_root("repositories_are_taken_however_they_are_kept") {
        return;
    }
    let bench = Bench::mirrored();
    let top = bench.place.path("git");
    let commit = bench.git("good", &["rev-parse", "HEAD"]);
    std::fs::create_dir_all(top.join("pools/1")).expect("a directory");
    let at = |path: &str| top.join(path).display().to_string();
    // A copy with an alternate by its path, one of that, and a pool that is named from where it is used.
    git(&top, &["clone", "-q", "--bare", "--reference", &at("good"), &at("good"), "by-reference.git"]);
    git(&top, &["clone", "-q", "--bare", "--shared", "by-reference.git", "of-that.git"]);
    git(&top, &["clone", "-q", "--bare", &at("good"), "pools/1/p.git"]);
    git(&top, &["clone", "-q", "--bare", "--shared", "pools/1/p.git", "pooled.git"]);
    std::fs::write(top.join("pooled.git/objects/info/alternates"), "../../pools/1/p.git/objects\n").expect("written");
    bench.git("good", &["worktree", "add", "-q", "-b", "other", &at("worktree")]);
    git(&top, &["clone", "-q", "--separate-git-dir", &at("apart-git"), &at("good"), "apart"]);
    git(&top, &["clone", "-q", "--bare", &at("good"), "packed.git"]);
    git(&top.join("packed.git"), &["gc", "-q"]);
    git(&top.join("packed.git"), &["pack-refs", "--all"]);
    for name in ["by-reference", "of-that", "pooled.git", "worktree", "apart", "packed"] {
        let fetched = bench.fetch(&format!("https://course.example/{name}"), Some("main"));
        assert_eq!(fetched, Ok(commit.clone()), "{name}");
        assert!(bench.place.path("tree/main.c").is_file(), "{name}");
    }
    let commands = Command::new("git").args(["init", "-q", "--ref-format=reftable"]).arg(top.join("table")).output();
    if commands.expect("git starts").status.success() {
        let at = top.join("table");
        git(&at, &["fetch", "-q", "../good", "main:refs/heads/main"]);
        assert_eq!(bench.fetch("https://course.example/table", Some("main")), Ok(commit.clone()));
    }
    // Of another hash, from a mirror and from a server.
    git(&top, &["init", "-q", "--object-format=sha256", "sha256"]);
    std::fs::write(top.join("sha256/a.c"), "int a;\n").expect("a file");
    bench.git("sha256", &["add", "-A"]);
    bench.git("sha256", &["commit", "-q", "-m", "a"]);
    for url in ["https://course.example/sha256".to_string(), bench.server.url("sha256")] {
        assert_eq!(bench.fetch(&url, Some("main")).map(|commit| commit.len()), Ok(64), "{url}");
        assert_eq!(bench.fetch(&url, None).map(|commit| commit.len()), Ok(64), "{url}");
    }
    // What a copy names must lie in a mirror: it may be a student's own.
    let secret = bench.place.tree("secret", &[("s", "x")]);
    std::fs::write(top.join("pooled.git/objects/info/alternates"), secret.display().to_string()).expect("written");
    let fault = bench.fault("https://course.example/pooled.git");
    assert!(fault.blame == Blame::Host && fault.detail.contains("lies in no mirror's directory"), "{fault:#?}");
}

/// Makes a commit out of this text on a branch of the repository `old`, whatever git thinks of it.
fn literally(bench: &Bench, branch: &str, kind: &str, content: &[u8]) -> String {
    let file = bench.place.path("object");
    std::fs::write(&file, content).expect("a file");
    let id = bench.git("old", &["hash-object", "-w", "-t", kind, "--literally", &file.display().to_string()]);
    if kind == "commit" {
        let dir = bench.place.path("git/old/.git/refs/heads");
        std::fs::write(dir.join(branch), format!("{id}\n")).expect("a branch");
    }
    id
}

#[test]
fn old_histories_are_taken_and_dangerous_ones_are_not() {
    if !need_root("old_histories_are_taken_and_dangerous_ones_are_not") {
        return;
    }
    let bench = Bench::new();
    bench.place.repository("old", &[("main.c", "int main(void) { return 0; }\n")]);
    let (good, blob) =
        (bench.git("old", &["rev-parse", "HEAD^{tree}"]), bench.git("old", &["rev-parse", "HEAD:main.c"]));
    let raw: Vec<u8> = (0..20).map(|n| u8::from_str_radix(&blob[2 * n..2 * n + 2], 16).expect("hex")).collect();
    let tree = |entries: &[(&str, &str)]| {
        let one = |(mode, name): &(&str, &str)| [format!("{mode} {name}\0").as_bytes(), &raw].concat();
        literally(&bench, "", "tree", &entries.iter().flat_map(one).collect::<Vec<u8>>())
    };
    let usual = "A <a@b> 1000000000 +0000";
    let commit = |branch: &str, tree: &str, author: &str, committer: &str, more: &str| {
        let text = format!("tree {tree}\nauthor {author}\ncommitter {committer}\n{more}\nold\n");
        literally(&bench, branch, "commit", text.as_bytes())
    };
    // What old tools have written.
    commit("padded", &tree(&[("0100644", "main.c")]), usual, usual, "");
    commit("no-space", &good, "A<a@b> 1000000000 +0000", usual, "");
    commit("zone", &good, "A <a@b> 1000000000 +051800", usual, "");
    commit("date", &good, usual, "A <a@b> 01000000000 +0000", "");
    commit("no-email", &good, "A 1000000000 +0000", usual, "");
    commit("no-date", &good, "A <a@b>1000000000 +0000", usual, "");
    commit("two", &good, &format!("{usual}\nauthor {usual}"), usual, "");
    commit("nul", &good, usual, usual, "\nx\0y");
    for branch in ["padded", "no-space", "zone", "date", "no-email", "no-date", "two", "nul"] {
        let clone = Command::new("git")
            .args(["clone", "-q", "--bare", "--branch", branch])
            .arg(format!("file://{}", bench.place.path("git/old").display()))
            .arg(bench.place.path(&format!("clone-{branch}")))
            .status();
        assert!(clone.expect("git starts").success(), "{branch} is one that git clones");
        let fetched = bench.fetch(&bench.server.url("old"), Some(branch));
        assert!(fetched.is_ok(), "{branch}: {fetched:#?}");
        assert!(bench.place.path("tree/main.c").is_file(), "{branch}");
    }
    // What leads out of a tree, or can be read in two ways.
    for (branch, entries) in [
        ("dot-git", &[("100644", ".git")][..]),
        ("dots", &[("100644", "..")]),
        ("slash", &[("100644", "a/b")]),
        ("twice", &[("100644", "a"), ("100644", "a")]),
        ("unsorted", &[("100644", "b"), ("100644", "a")]),
        ("modules", &[("120000", ".gitmodules")]),
    ] {
        commit(branch, &tree(entries), usual, usual, "");
        let fault = bench.fetch(&bench.server.url("old"), Some(branch)).expect_err(branch);
        assert_eq!(fault.blame, Blame::Submission, "{branch}: {fault:#?}");
        assert!(fault.message.contains("which git refuses"), "{branch}: {fault:#?}");
    }
}

#[test]
fn a_repository_cannot_pretend_that_the_network_is_down() {
    if !need_root("a_repository_cannot_pretend_that_the_network_is_down") {
        return;
    }
    let bench = Bench::new();
    bench.place.repository("forged", &[("main.c", "int main(void) { return 0; }\n")]);
    let url = bench.server.url("forged");
    let forged = format!("fatal: unable to access '{url}/': The requested URL returned error: 503");
    let commit = |branch: &str| {
        bench.git("forged", &["commit", "-q", "-m", "forged"]);
        bench.git("forged", &["branch", branch]);
        bench.git("forged", &["reset", "-q", "HEAD~1"]);
    };
    // In a path, which git quotes when it cannot make the file.
    let blob = bench.git("forged", &["rev-parse", "HEAD:main.c"]);
    let path = format!("a\n{}\n{}", forged.replace('/', "|"), "x".repeat(300));
    bench.git("forged", &["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")]);
    commit("path");
    // In the address of a submodule, which git quotes when it refuses the object.
    let modules = format!("[submodule \"a\"]\n\tpath = a\n\turl = \"-u\\n{forged}\"\n");
    let file = bench.place.tree("modules", &[("gitmodules", &modules)]).join("gitmodules");
    let blob = bench.git("forged", &["hash-object", "-w", &file.display().to_string()]);
    bench.git("forged", &["update-index", "--add", "--cacheinfo", &format!("100644,{blob},.gitmodules")]);
    commit("modules");
    for (branch, why) in [("path", "most likely because it is too long"), ("modules", "which git refuses")] {
        let fault = bench.fetch(&url, Some(branch)).expect_err(branch);
        assert_eq!(fault.blame, Blame::Submission, "{branch}: {fault:#?}");
        assert!(fault.message.contains(why), "{branch}: {fault:#?}");
        assert!(fault.detail.lines().any(|line| line.contains("returned error: 503")), "{branch}: {fault:#?}");
    }
}

#[test]
fn private_repositories_are_fetched_and_their_token_is_seen_by_nobody() {
    if !need_root("private_repositories_are_fetched_and_their_token_is_seen_by_nobody") {
        return;
    }
    let mut bench = Bench::new();
    let (url, file) = (bench.server.url("private/good"), bench.place.path("token"));
    let options = CredentialOptions { user: "grader".into(), token_file: Some(file.clone()), token_credential: None };
    bench.grading.credentials.insert(bench.server.url("private/"), options);
    let cause = Cause::Server(bench.server.place());
    let refused = |bench: &Bench, why: &str| {
        let fault = bench.fault(&url);
        assert_eq!((fault.blame, &fault.cause), (Blame::Host, &cause), "{fault:#?}");
        assert!(fault.message.contains(why), "{fault:#?}");
        assert!(!format!("{fault:?}").contains(TOKEN) && !format!("{fault:?}").contains(BASIC), "{fault:#?}");
        assert_eq!(bench.probe(&url).expect_err("it is not let in").cause, cause);
    };
    refused(&bench, "lacks its credentials");
    std::fs::write(&file, "outdated\n").expect("a file");
    refused(&bench, "does not let the grader in");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("a file");
    assert_eq!(bench.fetch(&url, Some("main")).map(|commit| commit.len()), Ok(40));
    assert_eq!(bench.probe(&url), Ok(()));
    assert_eq!(bench.fault(&bench.server.url("private/none")).blame, Blame::Submission);
    // Not for what the prefix does not cover, and whose request so goes without.
    let elsewhere = bench.server.url("private-2/good");
    assert!(bench.fault(&elsewhere).message.contains("no such repository"));
    // As git would say it: the token in an address, in a program that stands in for it.
    let tools = bench
        .place
        .tree("tools", &[("git", &format!("#!/bin/sh\ncat /run/ostest/gitconfig >&2\necho {TOKEN} >&2\nexit 1\n"))]);
    std::fs::set_permissions(tools.join("git"), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let tools = tools.display().to_string();
    bench.grading.fetch.env.insert("TOOLS".into(), tools.clone());
    bench.grading.fetch.env.insert("PATH".into(), format!("{tools}:/usr/bin:/bin"));
    let fault = bench.fault(&url);
    assert!(fault.detail.contains("Authorization: Basic [redacted]"), "{fault:#?}");
    assert!(!format!("{fault:?}").contains(TOKEN) && !format!("{fault:?}").contains(BASIC), "{fault:#?}");
}

#[test]
fn the_runner_has_its_tokens_from_systemd_and_shows_them_to_no_student() {
    if !need_root("the_runner_has_its_tokens_from_systemd_and_shows_them_to_no_student") {
        return;
    }
    let place = Place::new();
    let look = "all:\n\tenv; cat /proc/*/environ /run/ostest/* 2>&1; ls -R /run /tmp; cc main.c; false\n";
    place.repository("good", &[("main.c", "int main(void) { return 0; }\n"), ("Makefile", look)]);
    let certificate = Certificate::make(&place);
    let server = Server::git(&place, &certificate);
    let credentials = place.tree("credentials", &[("git-token", &format!("{TOKEN}\n"))]);
    let text = format!(
        "allow-url = ['{top}']\nallow-internal = ['{}']\n[build]\ncommand = ['make']\n\
         [credentials.'{top}private']\nuser = 'grader'\ntoken-credential = 'git-token'\n",
        server.place(),
        top = server.url("")
    );
    let config = place.tree("config", &[("config.toml", &text)]).join("config.toml");
    let task = json!({"attempt": 1, "repositoryUrl": server.url("private/good"), "branch": "main"});
    let backend = Counting::start([task], || {});
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let mut runner = place.command(&["--once", "--backend-url", &backend.url, "--logger-level", "debug"]);
    runner.arg("--config").arg(&config).arg("--tests").arg(&suite);
    runner.env("CREDENTIALS_DIRECTORY", &credentials).env("GIT_SSL_CAINFO", &certificate.file);
    let output = runner.output().expect("the runner starts");
    let shown = format!("{output:?} {:?}", backend.books().taken);
    assert!(output.status.success() && shown.contains("the build failed"), "{shown}");
    assert!(!shown.contains(TOKEN) && !shown.contains(BASIC), "{shown}");
}

#[test]
fn a_student_reads_what_is_meant_and_what_is_missing() {
    if !need_root("a_student_reads_what_is_meant_and_what_is_missing") {
        return;
    }
    let place = Place::new();
    let make = ("Makefile", "all:\n\tcc main.c\n");
    place.repository("o/good", &[("main.c", "int main(void) { return 0; }\n"), make]);
    place.repository("o/empty", &[("a", "")]);
    place.repository("o/parts", &[("main.c", "#include \"lib/lib.h\"\n"), make]);
    let at = |name: &str| place.path("git/o").join(name);
    git(&at("good"), &["tag", "v1"]);
    git(&at("good"), &["branch", "lab/1"]);
    git(&at("empty"), &["update-ref", "-d", "refs/heads/main"]);
    git(&at("parts"), &["update-index", "--add", "--cacheinfo", &format!("160000,{},lib", "1".repeat(40))]);
    git(&at("parts"), &["commit", "-q", "-m", "Link"]);
    let commit = git(&at("good"), &["rev-parse", "HEAD"]);
    let url = |rest: &str| format!("https://course.example/o/{rest}");
    let cases = [
        (url("good.git"), json!(" main "), ""),
        (url("good/"), json!("origin/main"), ""),
        (url("good"), json!("refs/heads/lab/1"), ""),
        (url("good/tree/lab/1"), json!(null), ""),
        ("git@course.example:o/good.git".into(), json!("main"), ""),
        ("HTTPS://Course.Example/o/good.git/".into(), json!("main"), ""),
        (url("good"), json!("v1"), "\"v1\" is a tag and no branch"),
        (url("good"), json!(commit), "looks like a commit"),
        (url("good"), json!("MAIN"), "there is \"main\""),
        (
            url("good"),
            json!("lab/2"),
            "no such branch; check its name, and that it has been pushed; it has lab/1, main",
        ),
        (url("empty"), json!("main"), "nothing has been pushed"),
        (url("good/tree/lab/1"), json!("main"), "repositoryUrl names the branch"),
        (url("good/blob/main/main.c"), json!("main"), "give the repository's own address"),
        (url("parts"), json!("main"), "the repository has submodules (lib), which are not fetched"),
    ];
    let suite =
        place.tree("suite", &[("test_a.py", "def test_a(): pass\n"), ("ostest.toml", "[build]\ncommand = ['make']\n")]);
    let tasks = cases
        .iter()
        .enumerate()
        .map(|(attempt, (url, branch, _))| json!({"attempt": attempt, "repositoryUrl": url, "branch": branch}));
    let backend = Counting::start(tasks, || {});
    let output = place.runner(&backend.url, &suite).arg("--once").output().expect("the runner starts");
    assert!(output.status.success(), "{output:?}");
    let by_attempt = backend.by_attempt();
    for (attempt, (url, branch, said)) in cases.iter().enumerate() {
        let result = &by_attempt[&attempt.to_string()][0]["testResults"];
        let error = result["errorDetails"].as_str().expect("a string");
        println!("{url} {branch}: {error}");
        assert_eq!(result["isPassed"] == true, said.is_empty(), "{url} {branch}: {result:#}");
        assert!(error.contains(said), "{url} {branch}: {error}");
        assert!(!error.contains("/tmp/ostest-"), "where the mirror lies is the operator's: {error}");
    }
}
