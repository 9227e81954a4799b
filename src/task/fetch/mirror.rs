//! Mirrors: where the operator's directories hold a repository, and all that git has to see of it.
//!
//! A mirror is trusted as far as that what it holds may be graded, and no further: a repository may have come with a student's own
//! `.git`, whose alternates could name any directory of the host. So everything that git is shown lies in the directory of some
//! mirror, and no file is read but a regular one that no link leads to. What lies in a repository's work tree is no mirror's but a
//! student's, and no repository. No message holds a word of a file. Whatever is wrong with a mirror is the operator's to mend. That a mirror which works has no such repository is the task's.

use super::plain;
use crate::config::Mirror;
use crate::fault::{Cause, Fault};
use sandbox::plan::Mount;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use url::Url;

/// How deep alternates may be nested: git's own bound.
const DEEPEST: usize = 5;

/// How many directories a repository may consist of.
const MOST: usize = 64;

/// Longest `.git`, `commondir` and `alternates`, in bytes.
const LONGEST: u64 = 64 << 10;

/// How much of `packed-refs` is read, in bytes.
const LONGEST_PACKED: u64 = 8 << 20;

/// File systems of the kernel's, where a name may be a way to anywhere.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// A repository of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The mirror's prefix.
    pub prefix: String,
    /// Its place, on the host and inside.
    pub path: PathBuf,
    /// Where its branches and objects really are, on the host.
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
        // The name is the task's, and may lead anywhere.
        let loose = self.common.join(&reference).canonicalize();
        if loose.is_ok_and(|path| path.starts_with(&self.common) && path.is_file()) {
            return true;
        }
        let packed = plain::read(&self.common, "packed-refs", LONGEST_PACKED).ok().flatten().unwrap_or_default();
        // The last line may be cut.
        let whole = packed.iter().rposition(|b| *b == b'\n').map_or(&[][..], |end| &packed[..end]);
        whole.split(|b| *b == b'\n').any(|line| line.split(|b| *b == b' ').nth(1) == Some(reference.as_bytes()))
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

/// A directory: where it really is, and where git sees it.
#[derive(Debug, Clone)]
struct Place {
    real: PathBuf,
    seen: PathBuf,
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
            let candidate = self.top.join(name);
            // Before a link there is followed: a student could make a fault of the mirror out of it.
            if self.is_inside_another(&candidate)? {
                continue;
            }
            let Some(path) = self.real(&candidate)? else { continue };
            if !is_below(&path, &self.top) {
                return Err(self.broken(format!("{} leads out of it", candidate.display())));
            }
            if self.is_inside_another(&path)? {
                continue;
            }
            if let Some(repository) = self.open(path)? {
                return Ok(Some(repository));
            }
        }
        Ok(None)
    }

    /// Whether a directory between the mirror's own and this one is a repository. What lies in that is a student's.
    fn is_inside_another(&self, path: &Path) -> Result<bool, Fault> {
        let between = |above: &&Path| above.starts_with(&self.top) && *above != self.top;
        let above: Vec<&Path> = path.ancestors().skip(1).filter(between).collect();
        // From above: below a repository nothing is looked at.
        for directory in above.into_iter().rev() {
            if self.is_there(directory, ".git")? || self.is_git(directory)? {
                return Ok(true);
            }
        }
        Ok(false)
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
        let here = Place { real: path.clone(), seen: path.clone() };
        let inner = path.join(".git");
        // As git does, `.git` first: beside it lies what a student calls as he likes.
        let git = if inner.symlink_metadata().is_ok_and(|data| data.is_file()) {
            let text = self.small(&path, ".git")?.unwrap_or_default();
            let named = text.trim().strip_prefix("gitdir:").map(str::trim);
            let named = named.ok_or_else(|| self.broken(format!("{} names nothing", inner.display())))?;
            all.show(&path.join(named), &inner)?
        } else if let Some(git) = all.part(&here, ".git")? {
            git
        } else if self.is_git(&path)? {
            here
        } else {
            return Ok(None);
        };
        let common = match self.small(&git.real, "commondir")? {
            Some(text) => all.show(&git.seen.join(text.trim()), &git.real.join("commondir"))?,
            None => git,
        };
        if let Some(objects) = all.part(&common, "objects")? {
            all.alternates(&objects, 0)?;
        }
        Ok(Some(Repository { prefix: self.mirror.prefix.clone(), path, common: common.real, shown: all.shown }))
    }

    /// What git takes for a repository's own directory. One that has lost a part still is one: it is the mirror that is broken then.
    fn is_git(&self, path: &Path) -> Result<bool, Fault> {
        let there = |name: &str| self.is_there(path, name);
        let objects = there("objects/pack")? || there("objects/info")?;
        Ok(objects || (there("HEAD")? && (there("objects")? || there("refs")?)))
    }

    fn is_there(&self, path: &Path, name: &str) -> Result<bool, Fault> {
        match path.join(name).symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(self.broken(format!("{}: {error}", path.join(name).display()))),
        }
    }

    /// The text of a small file, if there is one.
    fn small(&self, real: &Path, name: &str) -> Result<Option<String>, Fault> {
        plain::text(real, name, LONGEST).map_err(|error| self.broken(format!("{}: {error}", real.join(name).display())))
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
    /// Shows one more directory, which has to lie in a mirror; `by` is what names it.
    fn show(&mut self, named: &Path, by: &Path) -> Result<Place, Fault> {
        let by = by.display();
        let target = normal(named);
        let tops: Vec<PathBuf> =
            self.search.mirrors.iter().filter_map(|mirror| mirror.dir.canonicalize().ok()).collect();
        let apart = |path: &Path| !tops.iter().any(|top| is_below(path, top));
        let outside = || {
            self.search.broken(format!(
                "{by} names a directory that lies in no mirror's directory; name one that holds it, or copy its objects with \
                 `git repack -a -d`"
            ))
        };
        if is_kernels(&target) && apart(&target) {
            return Err(outside());
        }
        let source = target.canonicalize().ok().filter(|source| source.is_dir());
        let Some(source) = source else {
            return Err(self.search.broken(format!("{by} names a directory that is not there")));
        };
        if apart(&source) {
            return Err(outside());
        }
        let covered =
            |(from, to): &(PathBuf, PathBuf)| target.strip_prefix(to).is_ok_and(|rest| from.join(rest) == source);
        if !self.shown.iter().any(covered) {
            if self.shown.len() >= MOST {
                return Err(self.search.broken(format!("a repository consists of more than {MOST} directories")));
            }
            self.shown.push((source.clone(), target.clone()));
        }
        Ok(Place { real: source, seen: target })
    }

    /// A directory in one of the repository's. Where it is a link, what that leads to is shown.
    fn part(&mut self, of: &Place, name: &str) -> Result<Option<Place>, Fault> {
        let (real, seen) = (of.real.join(name), of.seen.join(name));
        match real.symlink_metadata() {
            Ok(data) if data.is_dir() => Ok(Some(Place { real, seen })),
            Ok(_) => {
                let link = std::fs::read_link(&real)
                    .map_err(|_| self.search.broken(format!("{} is no directory", real.display())))?;
                self.show(&of.seen.join(link), &real).map(Some)
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.search.broken(format!("{}: {error}", real.display()))),
        }
    }

    /// The alternates of this directory of objects, and theirs.
    fn alternates(&mut self, objects: &Place, depth: usize) -> Result<(), Fault> {
        if !self.followed.insert(objects.real.clone()) {
            return Ok(());
        }
        let file = objects.real.join("info/alternates");
        let Some(text) = self.search.small(&objects.real, "info/alternates")? else { return Ok(()) };
        if depth >= DEEPEST && !text.trim().is_empty() {
            return Err(self.search.broken(format!("alternates are nested more than {DEEPEST} deep")));
        }
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('"') {
                return Err(self
                    .search
                    .broken(format!("{}: a line is quoted, which is not understood", file.display())));
            }
            let next = self.show(&objects.seen.join(line), &file)?;
            self.alternates(&next, depth + 1)?;
        }
        Ok(())
    }
}

/// Whether the path is one of the kernel's own.
fn is_kernels(path: &Path) -> bool {
    KERNEL.iter().any(|kernel| path.starts_with(kernel))
}

/// Whether this real path lies in a mirror's directory: not on what the kernel has there, if that is all of the host.
fn is_below(path: &Path, top: &Path) -> bool {
    path.starts_with(top) && (!is_kernels(path) || is_kernels(top))
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
