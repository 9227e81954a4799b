//! Scopes: what a runner that was started by hand gets from systemd, a group of its own that is
//! delegated to it. Here are their names, and what becomes of one that a crash left.

use super::detect::{NAME, SUPERVISOR};
use super::{CgroupError, Swept, files, tree};
use std::path::Path;
use std::time::Duration;

/// The slice of systemd's in which they are.
pub const SCOPE_SLICE: &str = "system.slice";

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

/// Kills what is left in scopes of this base's instance, other than the one it may lie in, and counts those that held
/// anything. systemd removes a scope itself as soon as it is empty.
///
/// They are looked for whatever group this runner is in: the one that crashed was started by hand, and this one may be a
/// service.
pub(super) fn sweep(base: &Path, patience: Duration, swept: &mut Swept) -> Result<(), CgroupError> {
    let name = base.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(instance) = name.strip_prefix(&format!("{NAME}-")) else { return Ok(()) };
    // Where they were asked for lies at the top of what is mounted, which is some way up from here.
    for slice in base.ancestors().map(|around| around.join(SCOPE_SLICE)) {
        for scope in tree::subdirs(&slice)?.into_iter().filter(|group| is_scope_of(group, instance)) {
            // Who has its scope already may still be waiting for its turn to sweep, or for ours to end.
            if is_inhabited(&scope)? {
                continue;
            }
            let group = super::Base::Unified { dir: scope };
            if tree::is_populated(&group)? {
                match tree::empty(&group, patience) {
                    Ok(()) => swept.groups += 1,
                    Err(error) => swept.left.push(error),
                }
            }
        }
    }
    Ok(())
}

/// Whether the process for which the scope was made lives in it still: in itself, or in the leaf into which it moves. A
/// stranger that was given the number of a dead one is elsewhere, and a sandbox's processes are in groups further down.
fn is_inhabited(scope: &Path) -> Result<bool, CgroupError> {
    let owner = scope.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.rsplit('-').next());
    let owner = owner.and_then(|pid| pid.parse::<i32>().ok());
    for group in [scope.to_path_buf(), scope.join(SUPERVISOR)] {
        let file = group.join("cgroup.procs");
        let listed = files::read_if_present(&file)?.map_or(Ok(Vec::new()), |text| files::pids(&file, &text))?;
        if listed.into_iter().any(|pid| Some(pid) == owner) {
            return Ok(true);
        }
    }
    Ok(false)
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

    /// A tree with a scope, its processes in the leaf `supervisor`, for each of these.
    fn tree_of(scopes: &[(&str, u32, &str, u8)]) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for (instance, pid, supervisor, populated) in scopes {
            let dir = top.path().join(SCOPE_SLICE).join(scope_name(instance, *pid));
            fs::create_dir_all(dir.join(SUPERVISOR)).unwrap();
            fs::write(dir.join(SUPERVISOR).join("cgroup.procs"), supervisor).unwrap();
            fs::write(dir.join("cgroup.kill"), "").unwrap();
            fs::write(dir.join("cgroup.procs"), "").unwrap();
            fs::write(dir.join("cgroup.events"), format!("populated {populated}\n")).unwrap();
        }
        top
    }

    #[test]
    fn only_what_a_dead_one_of_the_same_instance_left_is_killed() {
        // Ours, a dead one whose sandbox lives, one that is empty, another instance's, and one that has just begun.
        let scopes = [("a", 1, "1\n", 1), ("a", 2, "", 1), ("a", 3, "", 0), ("b", 4, "", 1), ("a", 5, "5\n", 1)];
        let top = tree_of(&scopes);
        let slice = top.path().join(SCOPE_SLICE);
        for base in
            [slice.join(scope_name("a", 1)), slice.join("grader.service"), top.path().join("my.slice/x.service")]
        {
            let killed = |pid, instance| {
                let file = slice.join(scope_name(instance, pid)).join("cgroup.kill");
                let text = fs::read_to_string(&file).unwrap();
                fs::write(&file, "").unwrap();
                text
            };
            // Plain files never become unpopulated: it is tried, and said.
            let mut swept = Swept::default();
            sweep(&base.join("ostest-sandbox-a"), Duration::ZERO, &mut swept).unwrap();
            let left = slice.join(scope_name("a", 2));
            assert!(matches!(&swept.left[..], [CgroupError::StillPopulated { dir, .. }] if *dir == left), "{swept:?}");
            let all = scopes.map(|(instance, pid, _, _)| killed(pid, instance));
            assert_eq!(all, ["", "1", "", "", ""], "from {}", base.display());
        }
    }

    #[test]
    fn a_host_without_systemds_slices_has_no_scopes() {
        let top = tempfile::tempdir().unwrap();
        let mut swept = Swept::default();
        sweep(&top.path().join("group/ostest-sandbox-a"), Duration::ZERO, &mut swept).unwrap();
        assert!(swept.groups == 0 && swept.left.is_empty());
    }

    #[test]
    fn a_number_that_was_used_anew_does_not_make_a_scope_inhabited() {
        let top = tree_of(&[("a", 7, "", 1)]);
        let scope = top.path().join(SCOPE_SLICE).join(scope_name("a", 7));
        let stage = scope.join("ostest-sandbox-a/slot0-exec-7-0/payload");
        fs::create_dir_all(&stage).unwrap();
        fs::write(stage.join("cgroup.procs"), "7\n").unwrap();
        assert!(!is_inhabited(&scope).unwrap());
        fs::write(scope.join("cgroup.procs"), "7\n").unwrap();
        assert!(is_inhabited(&scope).unwrap(), "before it moved into its leaf");
    }
}
