//! The few things that must be asked of the running host, as a trait so that recorded hosts can
//! answer in tests.

use super::CgroupError;
use super::files;
use std::path::Path;

/// What detection and claiming ask about a v2 tree.
pub(super) trait Host {
    /// The controllers that a group offers (`cgroup.controllers`); none where there is no such file.
    fn controllers(&self, group: &Path) -> Result<Vec<String>, CgroupError>;
    /// Whether systemd is the host's init, and so the owner of the tree.
    fn runs_systemd(&self) -> bool;
    /// Whether systemd handed this very group over (`Delegate=yes`).
    fn is_marked_delegated(&self, group: &Path) -> bool;
}

/// This host.
pub(super) struct ThisHost;

impl Host for ThisHost {
    fn controllers(&self, group: &Path) -> Result<Vec<String>, CgroupError> {
        let text = files::read_if_present(&group.join("cgroup.controllers"))?;
        Ok(words(&text.unwrap_or_default()))
    }

    fn runs_systemd(&self) -> bool {
        // The test that sd_booted(3) makes.
        Path::new("/run/systemd/system").is_dir()
    }

    fn is_marked_delegated(&self, group: &Path) -> bool {
        // systemd sets the first as root, and since version 251 the second for everyone to see.
        ["trusted.delegate", "user.delegate"].iter().any(|name| {
            let mut value = [0u8; 8];
            matches!(rustix::fs::getxattr(group, *name, &mut value), Ok(1) if value[0] == b'1')
        })
    }
}

/// Whether systemd leaves this group and everything below it alone. That is so when the innermost
/// of systemd's units around it is delegated; a delegated unit further out belongs to another
/// manager (the systemd of a user, a container engine), which owns what it made inside.
pub(super) fn is_ours(host: &dyn Host, group: &Path) -> bool {
    if !host.runs_systemd() {
        return true;
    }
    for around in group.ancestors() {
        if host.is_marked_delegated(around) {
            return true;
        }
        let unit = around.extension().and_then(|e| e.to_str());
        if matches!(unit, Some("service" | "scope" | "slice")) {
            return false;
        }
    }
    false
}

/// Words of a file such as `cgroup.controllers`.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A host that a test describes.
#[cfg(test)]
pub(super) struct Recorded<'a> {
    /// Groups and the controllers that each offers.
    pub(super) offers: &'a [(&'a str, &'a str)],
    /// Whether systemd runs.
    pub(super) systemd: bool,
    /// The groups that are marked.
    pub(super) delegated: &'a [&'a str],
}

#[cfg(test)]
impl Host for Recorded<'_> {
    fn controllers(&self, group: &Path) -> Result<Vec<String>, CgroupError> {
        let found = self.offers.iter().find(|(at, _)| Path::new(at) == group);
        Ok(words(found.map_or("", |(_, offered)| offered)))
    }
    fn runs_systemd(&self) -> bool {
        self.systemd
    }
    fn is_marked_delegated(&self, group: &Path) -> bool {
        self.delegated.iter().any(|at| Path::new(at) == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_unit_decides() {
        let host =
            Recorded { offers: &[], systemd: true, delegated: &["/c/user@0.service", "/c/system.slice/foo.service"] };
        assert!(is_ours(&host, Path::new("/c/system.slice/foo.service")));
        assert!(is_ours(&host, Path::new("/c/system.slice/foo.service/sub")));
        assert!(!is_ours(&host, Path::new("/c/system.slice/bar.service")));
        assert!(!is_ours(&host, Path::new("/c/user@0.service/app.slice/x.scope")));
        assert!(!is_ours(&host, Path::new("/c")), "the root is systemd's");
        let without = Recorded { systemd: false, ..host };
        assert!(is_ours(&without, Path::new("/c")));
    }
}
