//! Tests of finding repositories in mirrors. Some are directories that only look like one to this module.

use super::*;
use crate::fault::Blame;
use std::os::unix::fs::symlink;

struct Mirrors {
    dir: tempfile::TempDir,
    all: Vec<Mirror>,
}

impl Mirrors {
    fn new() -> Mirrors {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let all = vec![Mirror { prefix: "https://course.example/".into(), dir: top.join("git") }];
        std::fs::create_dir(top.join("git")).unwrap();
        Mirrors { dir, all }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn bare(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        for part in ["objects/info", "objects/pack", "refs/heads"] {
            std::fs::create_dir_all(path.join(part)).unwrap();
        }
        std::fs::write(path.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        path
    }

    fn find(&self, url: &str) -> Result<Option<Repository>, Fault> {
        find(&self.all, url)
    }

    fn found(&self, url: &str) -> Repository {
        self.find(url).unwrap().unwrap()
    }

    fn fault(&self, url: &str) -> Fault {
        self.find(url).unwrap_err()
    }
}

#[test]
fn a_mirror_holds_bare_and_ordinary_repositories_and_nothing_above_it() {
    let mirrors = Mirrors::new();
    let (bare, _) = (mirrors.bare("git/org/a.git"), mirrors.bare("git/org/b/.git"));
    mirrors.bare("secret.git");
    std::fs::create_dir_all(mirrors.path("git/org/none")).unwrap();
    assert_eq!(mirrors.found("https://course.example/org/a.git").path, bare);
    assert_eq!(mirrors.found("https://Course.Example:443/org/a").path, bare);
    assert_eq!(mirrors.found("https://course.example/org/b.git").path, mirrors.path("git/org/b"));
    assert_eq!(mirrors.find("https://elsewhere.example/org/a.git"), Ok(None));
    assert_eq!(mirrors.find("http://course.example/org/a.git"), Ok(None));
    let long = format!("https://course.example/{}", "x".repeat(300));
    for url in [
        "https://course.example/../secret.git",
        "https://course.example/org/%2e%2e",
        "https://course.example/none",
        "https://course.example/org",
        "https://course.example/org/none",
        "https://course.example/org/a.git/HEAD",
        &long,
    ] {
        assert_eq!(mirrors.fault(url).blame, Blame::Submission, "{url}");
    }
}

#[test]
fn a_prefix_ends_at_a_border_and_the_longest_counts() {
    let mut mirrors = Mirrors::new();
    let (team, all) = (mirrors.bare("team/a"), mirrors.bare("git/team-2/a"));
    mirrors.all.push(Mirror { prefix: "https://course.example/team".into(), dir: mirrors.path("team") });
    assert_eq!(mirrors.found("https://course.example/team/a").path, team);
    assert_eq!(mirrors.found("https://course.example/team-2/a").path, all);
}

#[test]
fn a_mirror_that_does_not_work_is_the_operators() {
    let mirrors = Mirrors::new();
    let url = "https://course.example/a";
    let cause = Cause::Mirror("https://course.example/".into());
    let away = |why: &str| {
        let fault = mirrors.fault(url);
        assert_eq!((fault.blame, &fault.cause), (Blame::Host, &cause));
        assert!(fault.detail.contains(why) && !fault.message.contains("git"), "{fault:?}");
    };
    away("empty");
    symlink("nowhere", mirrors.path("git/a")).unwrap();
    away("leads nowhere");
    std::fs::remove_file(mirrors.path("git/a")).unwrap();
    mirrors.bare("outside");
    symlink(mirrors.path("outside"), mirrors.path("git/a")).unwrap();
    away("leads out of it");
    std::fs::remove_dir_all(mirrors.path("git")).unwrap();
    away("No such file");
    std::fs::write(mirrors.path("git"), "").unwrap();
    away("Not a directory");
}

#[test]
fn alternates_are_shown_where_the_repository_looks_for_them() {
    let mirrors = Mirrors::new();
    let (a, pool, base) = (mirrors.bare("git/a.git"), mirrors.bare("git/pools/p.git"), mirrors.bare("git/base.git"));
    std::fs::write(a.join("objects/info/alternates"), "# of a pool\n../../pools/p.git/objects\n").unwrap();
    let line = format!("{}\n", base.join("objects").display());
    std::fs::write(pool.join("objects/info/alternates"), line).unwrap();
    let shown: Vec<PathBuf> = mirrors.found("https://course.example/a").shown.into_iter().map(|(_, at)| at).collect();
    assert_eq!(shown, [a.clone(), pool.join("objects"), base.join("objects")]);
    // Named by way of a link, it is shown at the name, and is the real one.
    symlink(&base, mirrors.path("git/link")).unwrap();
    let line = format!("{}\n", mirrors.path("git/link/objects").display());
    std::fs::write(a.join("objects/info/alternates"), line).unwrap();
    let shown = mirrors.found("https://course.example/a").shown;
    assert_eq!(shown[1], (base.join("objects"), mirrors.path("git/link/objects")));
}

#[test]
fn alternates_do_not_lead_out_of_the_mirrors() {
    let mut mirrors = Mirrors::new();
    let (a, secret) = (mirrors.bare("git/a.git"), mirrors.bare("secret.git"));
    symlink(&secret, mirrors.path("git/s")).unwrap();
    let absolute = secret.join("objects").display().to_string();
    for line in ["../../../secret.git/objects", &absolute, "../../s/objects", "/etc"] {
        std::fs::write(a.join("objects/info/alternates"), line).unwrap();
        let fault = mirrors.fault("https://course.example/a");
        assert_eq!(fault.cause, Cause::Mirror("https://course.example/".into()), "{line}");
        assert!(fault.detail.contains("lies in no mirror's directory"), "{fault:?}");
    }
    // Where it is a mirror of its own, the operator has said so.
    mirrors.all.push(Mirror { prefix: "https://pools.example/".into(), dir: secret.clone() });
    std::fs::write(a.join("objects/info/alternates"), absolute).unwrap();
    assert_eq!(mirrors.found("https://course.example/a").shown.len(), 2);
}

#[test]
fn alternates_that_do_not_end_are_not_followed_for_ever() {
    let mirrors = Mirrors::new();
    let alternates = |name: &str, line: &str| {
        let path = mirrors.bare(&format!("git/{name}"));
        std::fs::write(path.join("objects/info/alternates"), line).unwrap();
    };
    alternates("a", "../objects\n../../b/objects\n");
    alternates("b", "../../a/objects\n");
    assert_eq!(mirrors.found("https://course.example/a").shown.len(), 2);
    for number in 0..8 {
        alternates(&format!("deep{number}"), &format!("../../deep{}/objects\n", number + 1));
    }
    mirrors.bare("git/deep8");
    assert!(mirrors.fault("https://course.example/deep0").detail.contains("deep"));
    assert!(mirrors.find("https://course.example/deep4").is_ok());
}

#[test]
fn worktrees_and_repositories_with_a_git_file_are_shown_whole() {
    let mirrors = Mirrors::new();
    let main = mirrors.bare("git/main/.git");
    let git = main.join("worktrees/tree");
    std::fs::create_dir_all(&git).unwrap();
    std::fs::create_dir(mirrors.path("git/tree")).unwrap();
    for (file, text) in [("HEAD", "ref: refs/heads/x\n"), ("commondir", "../..\n")] {
        std::fs::write(git.join(file), text).unwrap();
    }
    std::fs::write(mirrors.path("git/tree/.git"), format!("gitdir: {}\n", git.display())).unwrap();
    let found = mirrors.found("https://course.example/tree");
    assert_eq!(found.url(), format!("file://{}", mirrors.path("git/tree").display()));
    let shown: Vec<PathBuf> = found.shown.into_iter().map(|(_, at)| at).collect();
    assert_eq!(shown, [mirrors.path("git/tree"), git, main]);
    std::fs::write(mirrors.path("git/tree/.git"), "gitdir: /etc\n").unwrap();
    assert_eq!(mirrors.fault("https://course.example/tree").blame, Blame::Host);
}

#[test]
fn a_branch_is_there_for_root_loose_or_packed() {
    let mirrors = Mirrors::new();
    let a = mirrors.bare("git/a");
    std::fs::write(a.join("refs/heads/loose"), "1\n").unwrap();
    std::fs::write(a.join("packed-refs"), "# pack-refs with: peeled\n12 refs/heads/lab/1\n^34\n").unwrap();
    let found = mirrors.found("https://course.example/a");
    assert!(found.has_branch("loose") && found.has_branch("lab/1"));
    assert!(!found.has_branch("lab") && !found.has_branch("1") && !found.has_branch("main"));
}

#[test]
fn nothing_in_a_work_tree_is_a_repository() {
    let mirrors = Mirrors::new();
    mirrors.bare("git/org/repo/.git");
    mirrors.bare("git/org/bare.git");
    mirrors.bare("git/org/bare.git/deep/inner");
    let evil = mirrors.bare("git/org/repo/evil");
    nix::unistd::mkfifo(&evil.join("commondir"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("/dev/zero", evil.join("packed-refs")).unwrap();
    mirrors.bare("git/org/repo/a/b/evil.git");
    // What would be a fault of the mirror anywhere else.
    symlink("/etc", mirrors.path("git/org/repo/out")).unwrap();
    symlink("nowhere", mirrors.path("git/org/repo/lost")).unwrap();
    symlink("loop", mirrors.path("git/org/repo/loop")).unwrap();
    symlink("repo/evil", mirrors.path("git/org/alias")).unwrap();
    for name in [
        "repo/evil",
        "repo/evil.git",
        "repo/a/b/evil",
        "repo/out",
        "repo/lost",
        "repo/loop",
        "repo/out/x",
        "repo/loop/x",
        "bare.git/deep/inner",
        "alias",
    ] {
        let fault = mirrors.fault(&format!("https://course.example/org/{name}"));
        assert_eq!((fault.blame, &fault.cause), (Blame::Submission, &Cause::Submission), "{name}: {fault:?}");
        assert!(fault.message.contains("no such repository"), "{fault:?}");
    }
    // Itself it is one, whatever a student calls his files.
    mirrors.bare("git/org/repo");
    std::fs::write(mirrors.path("git/org/repo/commondir"), "/etc\n").unwrap();
    let found = mirrors.found("https://course.example/org/repo");
    assert_eq!(found.common, mirrors.path("git/org/repo/.git"));
    assert_eq!(mirrors.found("https://course.example/org/repo/.git").path, mirrors.path("git/org/repo"));
}

#[test]
fn no_file_is_read_through_a_link_or_for_ever_and_none_is_quoted() {
    let mirrors = Mirrors::new();
    let a = mirrors.bare("git/a");
    let secret = mirrors.path("secret");
    std::fs::write(&secret, "root:secret\n").unwrap();
    let alternates = a.join("objects/info/alternates");
    let refused = |what: &str| {
        let fault = mirrors.fault("https://course.example/a");
        assert_eq!((fault.blame, &fault.cause), (Blame::Host, &Cause::Mirror("https://course.example/".into())));
        let all = format!("{fault:?}");
        assert!(all.contains("objects/info/alternates") && !all.contains("secret"), "{what}: {fault:?}");
    };
    for target in [secret.to_str().unwrap(), "/dev/zero", "/etc"] {
        symlink(target, &alternates).unwrap();
        refused(target);
        std::fs::remove_file(&alternates).unwrap();
    }
    nix::unistd::mkfifo(&alternates, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("a pipe");
    std::fs::remove_file(&alternates).unwrap();
    let long = "secret/\n".repeat(10_000);
    for text in
        ["/proc/self/root/secret", "/sys/secret", "/dev/fd/0/secret", "/secret", "\"secret\"", "../../secret", &long]
    {
        std::fs::write(&alternates, text).unwrap();
        refused(text);
    }
    std::fs::remove_dir_all(a.join("objects/info")).unwrap();
    symlink(mirrors.path(""), a.join("objects/info")).unwrap();
    std::fs::write(mirrors.path("alternates"), "secret\n").unwrap();
    refused("a link on the way");
}

#[test]
fn a_link_in_a_repository_leads_into_a_mirror_or_is_refused() {
    let mirrors = Mirrors::new();
    let (real, a) = (mirrors.bare("git/real.git"), mirrors.path("git/a"));
    std::fs::create_dir(&a).unwrap();
    symlink("../real.git", a.join(".git")).unwrap();
    let shown = mirrors.found("https://course.example/a").shown;
    assert_eq!(shown[1], (real.clone(), real.clone()));
    let b = mirrors.bare("git/b");
    std::fs::remove_dir_all(b.join("objects")).unwrap();
    symlink(real.join("objects"), b.join("objects")).unwrap();
    let shown = mirrors.found("https://course.example/b").shown;
    assert_eq!(shown[1], (real.join("objects"), real.join("objects")));
    let outside = mirrors.bare("outside");
    for (link, target) in [(a.join(".git"), outside.clone()), (b.join("objects"), outside.join("objects"))] {
        std::fs::remove_file(&link).unwrap();
        symlink(&target, &link).unwrap();
    }
    for name in ["a", "b"] {
        let fault = mirrors.fault(&format!("https://course.example/{name}"));
        assert!(fault.blame == Blame::Host && fault.detail.contains("lies in no mirror's directory"), "{fault:?}");
    }
}

#[test]
fn a_branch_is_looked_up_in_the_repository_alone() {
    let mirrors = Mirrors::new();
    let a = mirrors.bare("git/a");
    std::fs::write(mirrors.path("git/file"), "").unwrap();
    let found = mirrors.found("https://course.example/a");
    symlink("/etc", a.join("refs/heads/etc")).unwrap();
    assert!(!found.has_branch("../../../file") && !found.has_branch("etc/passwd"));
    nix::unistd::mkfifo(&a.join("packed-refs"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(!found.has_branch("x"));
    std::fs::remove_file(a.join("packed-refs")).unwrap();
    symlink("/dev/zero", a.join("packed-refs")).unwrap();
    assert!(!found.has_branch("x"));
}
