//! Where the cgroup hierarchies are mounted (`/proc/self/mountinfo`) and which of their groups this
//! process is in (`/proc/self/cgroup`).

use std::path::{Component, Path, PathBuf};

/// One mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The group that the mount shows as its top.
    pub(super) root: PathBuf,
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// `None` for the v2 tree, otherwise the options of a v1 hierarchy, its controllers among them.
    pub(super) v1: Option<Vec<String>>,
}

/// Every mounted hierarchy that can be reached. A line that is none, or none that we know, is
/// passed over.
pub(super) fn parse(text: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in text.lines() {
        let Some((place, kind)) = line.split_once(" - ") else {
            continue;
        };
        // 36 35 98:0 ROOT POINT rw,noatime [optional fields] - TYPE SOURCE OPTIONS
        let mut place = place.split(' ').skip(3);
        let (Some(root), Some(point)) = (place.next(), place.next()) else {
            continue;
        };
        let point = PathBuf::from(unescape(point));
        // A mount hides whatever was mounted at the same place before.
        mounts.retain(|earlier| earlier.point != point);
        let mut kind = kind.split(' ');
        let v1 = match kind.next() {
            Some("cgroup2") => None,
            Some("cgroup") => {
                let options = kind.nth(1).unwrap_or_default();
                Some(options.split(',').map(str::to_owned).collect())
            }
            _ => continue,
        };
        let root = PathBuf::from(unescape(root));
        mounts.push(Mount { root, point, v1 });
    }
    mounts
}

/// The v2 group of the process that this `/proc/PID/cgroup` is of.
pub(super) fn own_v2_group(self_cgroup: &str) -> Option<&Path> {
    self_cgroup.lines().find_map(|line| line.strip_prefix("0::")).map(Path::new)
}

impl Mount {
    /// Where a group is found in the file system. `None` when it lies outside of what the mount
    /// shows, which happens when the mount and the process's cgroup namespace do not belong together.
    pub(super) fn locate(&self, group: &Path) -> Option<PathBuf> {
        let climbs = |path: &Path| path.components().any(|c| c == Component::ParentDir);
        if climbs(group) || climbs(&self.root) {
            return None;
        }
        let below = group.strip_prefix(&self.root).ok()?;
        // Joining an empty path would add a slash at the end.
        if below.as_os_str().is_empty() {
            return Some(self.point.clone());
        }
        Some(self.point.join(below))
    }
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                plain.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_optional_fields_and_comounts_are_read() {
        let text = "\
31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:29 /a\\040b /sys/fs/cgroup/cpu,cpuacct rw shared:9 master:3 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/uni\\134fied rw - cgroup2 cgroup2 rw,nsdelegate
nonsense
34 31 0:30 -";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].root, Path::new("/a b"));
        assert_eq!(mounts[0].v1.as_deref(), Some(&["rw".to_owned(), "cpu".into(), "cpuacct".into()][..]));
        assert_eq!(mounts[1].point, Path::new("/sys/fs/cgroup/uni\\fied"));
        assert_eq!(mounts[1].v1, None);
    }

    #[test]
    fn a_later_mount_hides_an_earlier_one() {
        let text = "\
1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
2 0 0:2 / /sys/fs/cgroup rw - tmpfs tmpfs rw";
        assert_eq!(parse(text), []);
    }

    #[test]
    fn groups_are_located_below_the_mounts_root() {
        let mount = Mount { root: "/docker/abc".into(), point: "/sys/fs/cgroup".into(), v1: None };
        let at = |group| mount.locate(Path::new(group));
        assert_eq!(at("/docker/abc"), Some("/sys/fs/cgroup".into()));
        assert_eq!(at("/docker/abc/x"), Some("/sys/fs/cgroup/x".into()));
        assert_eq!(at("/docker/abcd"), None);
        assert_eq!(at("/docker/abc/../abcd"), None);
        let outside = Mount { root: "/..".into(), ..mount };
        assert_eq!(outside.locate(Path::new("/")), None);
    }

    #[test]
    fn the_own_v2_group_stands_behind_two_colons() {
        let text = "12:cpu,cpuacct:/a:b\n1:name=systemd:/c\n0::/d:e\n";
        assert_eq!(own_v2_group(text), Some(Path::new("/d:e")));
        assert_eq!(own_v2_group("1:memory:/a\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*|([0-9 /:a-z,\\\\ü]{0,60} - (cgroup|cgroup2)[ a-z,]{0,9}\n){0,4}") {
            for mount in parse(&text) {
                let _ = mount.locate(Path::new("/a"));
            }
            let _ = own_v2_group(&text);
            let _ = unescape(&text);
        }
    }
}
