//! Mirrors: where the operator's directories hold a repository, and all that git has to see of it.
//!
//! A mirror is trusted as far as that what it holds may be graded, and no further: a repository may have come with a student's own
//! `.git`, whose alternates could name any directory of the host. So everything that git is shown lies in the directory of some
//! mirror. Whatever is wrong with a mirror is the operator's to mend. That a mirror which works has no such repository is the task's.

use crate::config::Mirror;
use crate::fault::{Cause, Fault};
use sandbox::plan::Mount;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use url::Url;

/// How deep alternates may be nested: git's own bound.
const DEEPEST: usize = 5;

/// How many directories a repository may consist of.
const MOST: usize = 64;

/// Longest `.git`, `commondir` and `alternates`, in bytes.
const LONGEST: u64 = 64 << 10;

/// A repository of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The mirror's prefix.
    pub prefix: String,
    /// Its place, on the host and inside.
    pub path: PathBuf,
    /// Where its branches and objects are, on the host.
    common: PathBuf,
    /// What git has to see: a directory of the host, and its place inside. The same but for links in the paths that git has noted.
    shown: Vec<(PathBuf, PathBuf)>,
}

impl Repository {
    /// What git has to see, read-only. Repository, alternates and worktrees name each other by paths, so each has its own.
    pub fn mounts(&self) -> impl Iterator<Item = Mount> {
        self.shown.iter().map(|(source, target)| Mount::Bind {
            source: source.clone(),
            target: target.clone(),
            writable: false,
            optional: false,
        })
    }

    /// Its URL inside.
    pub fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// Whether it has this branch, as far as root can see. Of a file or a directory that it may not read git says nothing: to git the
    /// branch is not there.
    pub fn has_branch(&self, name: &str) -> bool {
        let reference = format!("refs/heads/{name}");
        let packed = std::fs::read(self.common.join("packed-refs")).unwrap_or_default();
        let line = |line: &[u8]| line.split(|b| *b == b' ').nth(1) == Some(reference.as_bytes());
        self.common.join(&reference).is_file() || packed.split(|b| *b == b'\n').any(line)
    }
}

/// The repository of this URL. `None`: no mirror has a prefix of it. Of several mirrors the one with the longest prefix counts.
pub fn find(mirrors: &[Mirror], url: &str) -> Result<Option<Repository>, Fault> {
    let Some((mirror, rest)) = of(mirrors, url) else { return Ok(None) };
    let rest = rest.trim_matches('/');
    let plain = !rest.is_empty()
        && rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !rest.contains(['\\', '%', '?', '#']);
    if !plain {
        return Err(Fault::submission(format!("the repository URL {url} holds a path that is not allowed")));
    }
    let search = Search { mirrors, mirror, top: healthy(mirror)? };
    let absent =
        || format!("the repository {url} could not be fetched: there is no such repository; check the address");
    search.find(rest)?.map(Some).ok_or_else(|| Fault::submission(absent()))
}

/// The mirror of this URL, and what stands behind its prefix.
pub fn of<'a>(mirrors: &'a [Mirror], url: &'a str) -> Option<(&'a Mirror, &'a str)> {
    let covering = mirrors.iter().filter_map(|mirror| Some((mirror, below(&mirror.prefix, url)?)));
    covering.min_by_key(|(_, rest)| rest.len())
}

/// What stands behind the prefix in the URL, if the prefix ends at a border: of the host, or of a part of the path.
fn below<'a>(prefix: &str, url: &'a str) -> Option<&'a str> {
    let path = |text: &'a str| {
        let authority = text.split_once("://")?.1;
        Some(&authority[authority.find('/').unwrap_or(authority.len())..])
    };
    let server = |text: &str| {
        let url = Url::parse(text).ok()?;
        Some((url.scheme().to_string(), url.host_str()?.to_ascii_lowercase(), url.port_or_known_default()))
    };
    let covered = prefix.split_once("://")?.1;
    let covered = covered[covered.find('/').unwrap_or(covered.len())..].trim_end_matches('/');
    let rest = path(url)?.strip_prefix(covered)?;
    let same = match (server(prefix), server(url)) {
        (Some(prefix), Some(url)) => prefix == url,
        _ => false,
    };
    Some(rest).filter(|rest| same && (rest.is_empty() || rest.starts_with('/')))
}

/// The mirror's real directory. One that is empty is a mount point without its file system.
fn healthy(mirror: &Mirror) -> Result<PathBuf, Fault> {
    let look = || -> io::Result<PathBuf> {
        let top = mirror.dir.canonicalize()?;
        match std::fs::read_dir(&top)?.next() {
            Some(entry) => entry.map(|_| top),
            None => Err(io::Error::other("it is empty, as a mount point is without its file system")),
        }
    };
    look().map_err(|error| broken(mirror, &format!("{}: {error}", mirror.dir.display())))
}

/// The mirror does not work.
fn broken(mirror: &Mirror, detail: &str) -> Fault {
    Fault::host(Cause::Mirror(mirror.prefix.clone()), "the grading machine's copy of the repositories cannot be read")
        .with_detail(format!("the mirror of {}: {detail}", mirror.prefix))
}

/// Whether there is nothing of this name, in contrast to a place that cannot be looked at.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
}

struct Search<'a> {
    mirrors: &'a [Mirror],
    mirror: &'a Mirror,
    top: PathBuf,
}

impl Search<'_> {
    /// `DIR/rest`, with or without `.git`.
    fn find(&self, rest: &str) -> Result<Option<Repository>, Fault> {
        let bare = rest.strip_suffix(".git").unwrap_or(rest);
        for name in [rest.to_string(), bare.to_string(), format!("{bare}.git")] {
            let candidate = self.mirror.dir.join(name);
            let Some(path) = self.real(&candidate)? else { continue };
            if !path.starts_with(&self.top) {
                return Err(self.broken(format!("{} leads out of it", candidate.display())));
            }
            if let Some(repository) = self.open(path)? {
                return Ok(Some(repository));
            }
        }
        Ok(None)
    }

    /// The real path of a directory, if there is one.
    fn real(&self, path: &Path) -> Result<Option<PathBuf>, Fault> {
        match path.canonicalize() {
            Ok(real) => Ok(Some(real).filter(|real| real.is_dir())),
            Err(error) if is_absent(&error) && path.is_symlink() => {
                Err(self.broken(format!("{} is a link that leads nowhere", path.display())))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.broken(format!("{}: {error}", path.display()))),
        }
    }

    /// What this directory is as a repository: bare, ordinary, or a worktree of another. `None`: it is none.
    fn open(&self, path: PathBuf) -> Result<Option<Repository>, Fault> {
        let mut all = All { search: self, shown: vec![(path.clone(), path.clone())], followed: BTreeSet::new() };
        let git = match self.is_git(&path)? {
            true => path.clone(),
            false => {
                let inner = path.join(".git");
                match self.small(&inner) {
                    Ok(Some(text)) => {
                        let named = text.trim().strip_prefix("gitdir:").map(str::trim);
                        let named = named.ok_or_else(|| self.broken(format!("{} names nothing", inner.display())))?;
                        all.show(&path.join(named))?
                    }
                    // A directory.
                    Err(_) if inner.is_dir() => inner,
                    Err(fault) => return Err(fault),
                    Ok(None) => return Ok(None),
                }
            }
        };
        let common = match self.small(&git.join("commondir"))? {
            Some(text) => all.show(&git.join(text.trim()))?,
            None => git,
        };
        all.alternates(&common.join("objects"), &common.join("objects"), 0)?;
        Ok(Some(Repository { prefix: self.mirror.prefix.clone(), path, common, shown: all.shown }))
    }

    /// What git takes for a repository's own directory. One that has lost a part still is one: it is the mirror that is broken then.
    fn is_git(&self, path: &Path) -> Result<bool, Fault> {
        let there = |name: &str| match path.join(name).symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(self.broken(format!("{}: {error}", path.join(name).display()))),
        };
        let objects = there("objects/pack")? || there("objects/info")?;
        Ok(objects || (there("HEAD")? && (there("objects")? || there("refs")?)))
    }

    /// The text of a small file, if there is one.
    fn small(&self, path: &Path) -> Result<Option<String>, Fault> {
        let read = || {
            let mut text = String::new();
            std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text).map(|_| text)
        };
        match read() {
            Ok(text) => Ok(Some(text)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.broken(format!("{}: {error}", path.display()))),
        }
    }

    fn broken(&self, detail: impl AsRef<str>) -> Fault {
        broken(self.mirror, detail.as_ref())
    }
}

/// All directories of one repository.
struct All<'a> {
    search: &'a Search<'a>,
    shown: Vec<(PathBuf, PathBuf)>,
    /// Directories of objects whose alternates were followed: two may name each other.
    followed: BTreeSet<PathBuf>,
}

impl All<'_> {
    /// Shows one more directory, which has to lie in a mirror; gives its place inside.
    fn show(&mut self, named: &Path) -> Result<PathBuf, Fault> {
        let target = normal(named);
        let source = self.search.real(&target)?;
        let source = source.ok_or_else(|| {
            self.search.broken(format!("{} belongs to the repository and is not there", target.display()))
        })?;
        let tops = self.search.mirrors.iter().filter_map(|mirror| mirror.dir.canonicalize().ok());
        if !tops.into_iter().any(|top| source.starts_with(top)) {
            return Err(self.search.broken(format!(
                "{} belongs to a repository, and lies in no mirror's directory; name one that holds it, or copy its objects with \
                 `git repack -a -d`",
                source.display()
            )));
        }
        let covered =
            |(from, to): &(PathBuf, PathBuf)| target.strip_prefix(to).is_ok_and(|rest| from.join(rest) == source);
        if !self.shown.iter().any(covered) {
            if self.shown.len() >= MOST {
                return Err(self.search.broken(format!("a repository consists of more than {MOST} directories")));
            }
            self.shown.push((source, target.clone()));
        }
        Ok(target)
    }

    /// The alternates of this directory of objects, and theirs.
    fn alternates(&mut self, source: &Path, target: &Path, depth: usize) -> Result<(), Fault> {
        if !self.followed.insert(source.canonicalize().unwrap_or_else(|_| source.into())) {
            return Ok(());
        }
        let Some(text) = self.search.small(&source.join("info/alternates"))? else { return Ok(()) };
        if depth >= DEEPEST && !text.trim().is_empty() {
            return Err(self.search.broken(format!("alternates are nested more than {DEEPEST} deep")));
        }
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('"') {
                return Err(self.search.broken(format!("the alternate {line} is quoted, which is not understood")));
            }
            let inside = self.show(&target.join(line))?;
            let real = self.search.real(&inside)?.unwrap_or_else(|| inside.clone());
            self.alternates(&real, &inside, depth + 1)?;
        }
        Ok(())
    }
}

/// A path without `.` and `..`, as git makes one of a line in `alternates`: by its letters, whatever is a link.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
