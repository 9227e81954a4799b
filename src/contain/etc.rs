//! The part of the host's /etc that is visible inside, found and not listed: what packages have put there for their files in /usr.
//!
//! Debian keeps what an administrator may change of a package in /etc and links to it from /usr: Java's configuration, OpenSSL's, a
//! Python's. Without it such a program does not start. What a link of /usr leads to is shown, where every account of the host may
//! read it and root alone may change it; so a key is not, nor what says something about the host.

use super::tree;
use sandbox::plan::Mount;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Where links into /etc are, and how many folders below that they are looked for: a whole /usr has a hundred thousand files, and
/// whatever is looked at here is looked at by every `exec`.
const PLACES: [(&str, usize); 6] =
    [("lib", 2), ("lib/jvm", 8), ("libexec", 1), ("share", 1), ("local/lib", 2), ("bin", 0)];

/// Folders with much in them and no such link that a program needs.
const PASSED_OVER: [&str; 13] = [
    "share/doc",
    "share/icons",
    "share/info",
    "share/locale",
    "share/man",
    "share/zoneinfo",
    "lib/debug",
    "lib/firmware",
    "lib/git-core",
    "lib/modules",
    "lib/node_modules",
    "lib/systemd",
    "lib/terminfo",
];

/// The same by name, wherever they are: a Java has a hundred folders of licences, and links from each to another.
const NOTHING_TO_RUN: [&str; 6] = ["demo", "include", "jmods", "legal", "man", "src"];

/// What is the host's own, whatever links to it: accounts, names, addresses, services and their settings.
const HOSTS_OWN: [&str; 24] = [
    "cron.d",
    "cron.daily",
    "default",
    "environment",
    "fstab",
    "group",
    "gshadow",
    "hostname",
    "hosts",
    "init.d",
    "issue",
    "machine-id",
    "motd",
    "mtab",
    "network",
    "nsswitch.conf",
    "pam.d",
    "passwd",
    "profile",
    "resolv.conf",
    "shadow",
    "ssh",
    "sudoers",
    "systemd",
];

/// Paths of one folder from which on the folder is shown instead, if all of it may be.
const MANY: usize = 4;

/// Most of what is shown, and most files of a folder that are looked at: each mount takes a little of every stage's start.
const MOST: usize = 64;
const MOST_FILES: usize = 2000;

/// What links of the host's /usr show of its /etc, as read-only mounts.
pub fn linked() -> Vec<Mount> {
    let mut found = Found::new(Path::new("/usr"), Path::new("/etc"));
    found.look_everywhere();
    found.whole_folders().into_iter().take(MOST).map(|path| tree::same_place(path, true)).collect()
}

struct Found<'a> {
    usr: &'a Path,
    etc: &'a Path,
    paths: BTreeSet<PathBuf>,
    /// Where Debian keeps which of several programs or libraries goes by a name, if it is shown as a whole: most links that lead into
    /// /etc lead there, and those of libraries lead there or to other libraries.
    alternatives: Option<PathBuf>,
}

impl<'a> Found<'a> {
    fn new(usr: &'a Path, etc: &'a Path) -> Self {
        Found { usr, etc, paths: BTreeSet::new(), alternatives: None }
    }

    fn look_everywhere(&mut self) {
        let alternatives = self.etc.join("alternatives");
        if self.is_everybodys(&alternatives) && is_all_open(&alternatives) {
            self.paths.insert(alternatives.clone());
            self.alternatives = Some(alternatives);
        }
        let usr = self.usr;
        for (place, depth) in PLACES {
            self.look(&usr.join(place), depth);
        }
    }

    fn look(&mut self, dir: &Path, depth: usize) {
        if PASSED_OVER.iter().any(|over| dir.strip_prefix(self.usr).is_ok_and(|below| below == Path::new(over))) {
            return;
        }
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_symlink() {
                let is_library = entry.file_name().as_bytes().windows(3).any(|part| part == b".so");
                if !is_library || self.alternatives.is_none() {
                    self.link(&entry.path());
                }
            } else if kind.is_dir() && depth > 0 && !NOTHING_TO_RUN.iter().any(|name| entry.file_name() == *name) {
                self.look(&entry.path(), depth - 1);
            }
        }
    }

    fn link(&mut self, link: &Path) {
        let Ok(to) = std::fs::read_link(link) else { return };
        let to = plain(&link.parent().unwrap_or(self.usr).join(to));
        let Ok(below) = to.strip_prefix(self.etc) else { return };
        if self.alternatives.as_ref().is_some_and(|shown| to.starts_with(shown)) {
            return;
        }
        let first = below.components().next().map(|part| part.as_os_str().to_os_string());
        let own = first.is_none_or(|first| HOSTS_OWN.iter().any(|own| first == *own));
        if !own && self.is_everybodys(&to) {
            self.paths.insert(to);
        }
    }

    /// Whether every account may read it, and come to it, and it is root's. A link of /etc is what it leads to.
    fn is_everybodys(&self, path: &Path) -> bool {
        let Ok(real) = path.canonicalize() else { return false };
        let reachable = |dir: &Path| is_open(dir, 0o001);
        let within = real.starts_with(self.etc) || real.starts_with(self.usr);
        within
            && [path, &real].into_iter().all(|path| path.ancestors().skip(1).all(reachable))
            && is_open(&real, if real.is_dir() { 0o005 } else { 0o004 })
    }

    /// The paths, and a folder instead of many in it where nothing in it is kept from anybody.
    fn whole_folders(self) -> Vec<PathBuf> {
        let mut of_folder: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        for path in &self.paths {
            let parts = path.strip_prefix(self.etc).map(|below| below.components().count()).unwrap_or(0);
            if let (2.., Some(first)) = (parts, path.strip_prefix(self.etc).ok().and_then(|p| p.components().next())) {
                of_folder.entry(self.etc.join(first)).or_default().push(path.clone());
            }
        }
        let whole: Vec<PathBuf> = of_folder
            .into_iter()
            .filter(|(folder, paths)| paths.len() >= MANY && is_all_open(folder))
            .map(|(folder, _)| folder)
            .collect();
        let mut all: BTreeSet<PathBuf> = self.paths;
        all.extend(whole);
        // What lies in another one comes with it; in order a folder is before what is in it.
        let mut shown: Vec<PathBuf> = Vec::new();
        for path in all {
            if !shown.iter().any(|above| path.starts_with(above)) {
                shown.push(path);
            }
        }
        shown
    }
}

/// Whether others have these bits, and root owns it.
fn is_open(path: &Path, bits: u32) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.uid() == 0 && meta.mode() & bits == bits)
}

/// Whether nothing in a folder is kept from anybody. Of one with very much in it that is not found out.
fn is_all_open(dir: &Path) -> bool {
    let mut left = MOST_FILES;
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { return false };
        if !is_open(&dir, 0o005) {
            return false;
        }
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { return false };
            // A link leads inside to what is there, or to nothing.
            let is_fine = kind.is_symlink() || kind.is_dir() || (kind.is_file() && is_open(&entry.path(), 0o004));
            if left == 0 || !is_fine {
                return false;
            }
            left -= 1;
            if kind.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    true
}

/// Without `.` and `..`, by the text alone.
fn plain(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            other => whole.push(other),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, bits: u32) {
        set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
    }

    /// What links find in a made-up root.
    fn found(fill: impl FnOnce(&Path, &dyn Fn(&str, &str, u32), &dyn Fn(&str, &str))) -> Vec<String> {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        mode(dir.path(), 0o755);
        let root = dir.path().canonicalize().unwrap();
        let file = |path: &str, text: &str, bits: u32| {
            let path = root.join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(&path, text).unwrap();
            mode(&path, bits);
        };
        let link = |at: &str, to: &str| {
            let at = root.join(at);
            create_dir_all(at.parent().unwrap()).unwrap();
            symlink(to, at).unwrap();
        };
        fill(&root, &file, &link);
        let (usr, etc) = (root.join("usr"), root.join("etc"));
        let mut found = Found::new(&usr, &etc);
        found.look_everywhere();
        let short = |path: PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
        found.whole_folders().into_iter().map(short).collect()
    }

    #[test]
    fn what_packages_link_to_is_shown_and_what_is_kept_from_others_or_the_hosts_own_is_not() {
        if !super::super::is_root() {
            return;
        }
        let shown = found(|root, file, link| {
            file("etc/ssl/openssl.cnf", "", 0o644);
            file("etc/ssl/private/key", "", 0o600);
            file("etc/tool/secret", "", 0o640);
            file("etc/closed/file", "", 0o644);
            file("etc/passwd", "", 0o644);
            file("etc/theirs", "", 0o644);
            std::os::unix::fs::chown(root.join("etc/theirs"), Some(1000), None).unwrap();
            mode(&root.join("etc/ssl/private"), 0o710);
            mode(&root.join("etc/closed"), 0o750);
            link("usr/lib/ssl/openssl.cnf", "../../../etc/ssl/openssl.cnf");
            link("usr/lib/ssl/private", "../../../etc/ssl/private");
            link("usr/lib/ssl/key", "../../../etc/ssl/private/key");
            link("usr/share/tool/secret", "../../../etc/tool/secret");
            link("usr/share/tool/closed", "../../../etc/closed/file");
            link("usr/share/tool/gone", "../../../etc/tool/gone");
            link("usr/share/tool/theirs", "../../../etc/theirs");
            link("usr/share/tool/accounts", "../../../etc/passwd");
            link("usr/share/tool/all", "../../../etc");
            link("usr/share/doc/x", "../../../etc/ssl/openssl.cnf");
        });
        assert_eq!(shown, ["etc/ssl/openssl.cnf"]);
    }

    #[test]
    fn a_folder_with_much_in_it_is_shown_whole_unless_something_in_it_is_kept_from_others() {
        if !super::super::is_root() {
            return;
        }
        for (bits, wanted) in [(0o644, 1), (0o640, 4)] {
            let shown = found(|_, file, link| {
                for name in ["a", "b", "c", "d"] {
                    file(&format!("etc/java/{name}"), "", 0o644);
                    link(&format!("usr/lib/jvm/java/conf/deep/{name}"), &format!("../../../../../../etc/java/{name}"));
                }
                file("etc/java/other", "", bits);
            });
            assert_eq!(shown.len(), wanted, "{shown:?}");
        }
    }

    #[test]
    fn what_goes_by_a_name_is_shown_as_a_whole_and_otherwise_found_by_its_links() {
        if !super::super::is_root() {
            return;
        }
        for (bits, wanted) in [(0o755, "etc/alternatives"), (0o751, "etc/alternatives/libblas.so.3")] {
            let shown = found(|root, file, link| {
                file("usr/lib/blas/libblas.so.3", "", 0o644);
                link("etc/alternatives/libblas.so.3", &root.join("usr/lib/blas/libblas.so.3").display().to_string());
                link("usr/lib/libblas.so.3", "../../etc/alternatives/libblas.so.3");
                mode(&root.join("etc/alternatives"), bits);
            });
            assert_eq!(shown, [wanted], "{bits:o}");
        }
    }
}
