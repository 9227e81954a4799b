//! Scopes: what a runner that was started by hand gets from systemd, a group of its own that is
//! delegated to it. Here are their names, and what becomes of one that a crash left.

use super::detect::NAME;
use super::{CgroupError, tree};
use std::path::Path;
use std::time::Duration;

/// The name of the scope of one process of a runner. `instance` as in [`super::Base::detect`].
///
/// Each process has its own: systemd gives a process to one scope, and a `grade` beside the runner
/// ends at another time.
pub fn scope_name(instance: &str, pid: u32) -> String {
    format!("{NAME}-{instance}-{pid}.scope")
}

/// Whether a group is such a scope, of any process of this instance.
pub fn is_scope_of(group: &Path, instance: &str) -> bool {
    let name = group.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix(&format!("{NAME}-{instance}-"))
        .and_then(|rest| rest.strip_suffix(".scope"))
        .is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()))
}

/// Kills what is left in other scopes of this base's instance, and says how many held anything.
/// systemd removes a scope itself as soon as it is empty.
pub(super) fn sweep(base: &Path, patience: Duration) -> Result<usize, CgroupError> {
    let (Some(own), Some(name)) = (base.parent(), base.file_name().and_then(|name| name.to_str())) else {
        return Ok(0);
    };
    let Some(instance) = name.strip_prefix(&format!("{NAME}-")) else { return Ok(0) };
    let (true, Some(slice)) = (is_scope_of(own, instance), own.parent()) else { return Ok(0) };
    let mut swept = 0;
    for other in tree::subdirs(slice)?.into_iter().filter(|other| other != own && is_scope_of(other, instance)) {
        let group = super::Base::Unified { dir: other };
        if tree::is_populated(&group)? {
            tree::empty(&group, patience)?;
            swept += 1;
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_scope_belongs_to_one_instance() {
        let group = Path::new("/sys/fs/cgroup/system.slice").join(scope_name("0a1b", 4711));
        assert!(is_scope_of(&group, "0a1b"));
        assert!(!is_scope_of(&group, "0a1"));
        assert!(!is_scope_of(&group, "0a1b-4711"));
        assert!(!is_scope_of(Path::new("/x/ostest-sandbox-0a1b-.scope"), "0a1b"));
        assert!(!is_scope_of(Path::new("/x/ostest-sandbox-0a1b-1-2.scope"), "0a1b"));
    }

    #[test]
    fn only_other_scopes_of_the_same_instance_are_killed() {
        let slice = tempfile::tempdir().unwrap();
        let scope = |instance, pid| slice.path().join(scope_name(instance, pid));
        let (own, left, empty, foreign) = (scope("a", 1), scope("a", 2), scope("a", 3), scope("b", 4));
        for (dir, populated) in [(&own, 1), (&left, 1), (&empty, 0), (&foreign, 1)] {
            fs::create_dir_all(dir).unwrap();
            fs::write(dir.join("cgroup.kill"), "").unwrap();
            fs::write(dir.join("cgroup.procs"), "").unwrap();
            fs::write(dir.join("cgroup.events"), format!("populated {populated}\n")).unwrap();
        }
        // Plain files never become unpopulated: it is tried, and said.
        let base = own.join("ostest-sandbox-a");
        let swept = sweep(&base, Duration::ZERO);
        assert!(matches!(swept, Err(CgroupError::StillPopulated { ref dir, .. }) if *dir == left), "{swept:?}");
        let killed = |dir: &Path| fs::read_to_string(dir.join("cgroup.kill")).unwrap();
        assert_eq!([killed(&own), killed(&left), killed(&empty), killed(&foreign)], ["", "1", "", ""]);
        // A base that lies in no scope has no siblings to look at.
        assert_eq!(sweep(&slice.path().join("foo.service/ostest-sandbox-a"), Duration::ZERO).unwrap(), 0);
    }
}
