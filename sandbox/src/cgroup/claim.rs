//! Taking a base into possession, sweeping what a crashed run left in it, and giving it back.

use super::detect::{REQUIRED, SUPERVISOR};
use super::host::{Host, ThisHost, is_ours, words};
use super::{Base, CgroupError, check_name, files, scope, tree};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

/// What became of what a crashed run left.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many groups held something, and are gone.
    pub groups: usize,
    /// Why others are still there. Whoever makes groups has to use other names.
    pub left: Vec<CgroupError>,
}

impl Base {
    /// Makes the base and whatever it needs; can be called again.
    ///
    /// On a unified host every process of the own group moves into its `supervisor` leaf, because a
    /// group that hands controllers to its children may not hold processes; then memory, pids and cpu
    /// are enabled down to the base (cpuset, too, where there is one), and read back.
    ///
    /// # Errors
    /// When a directory cannot be made, when the own group is systemd's, when a process cannot be
    /// moved, or when a controller does not become enabled.
    pub fn claim(&self) -> Result<(), CgroupError> {
        match self {
            Base::Unified { dir } => claim_unified(dir, &ThisHost),
            Base::Hybrid { .. } => self.dirs().into_iter().try_for_each(ensure_v1),
        }
    }

    /// Makes the base anew where somebody has taken it, or controllers of it, away while the runner lived. Gives what was
    /// missing; `None` where nothing was.
    ///
    /// # Errors
    /// As [`Base::claim`], and where a hierarchy is not there any more.
    pub fn mend(&self) -> Result<Option<String>, CgroupError> {
        let Some(missing) = self.missing()? else { return Ok(None) };
        self.claim()?;
        // Where a hierarchy was unmounted its directory is made all the same: an ordinary one, which limits nothing.
        match self.dirs().into_iter().map(|dir| dir.join("cgroup.procs")).find(|file| !file.exists()) {
            None => Ok(Some(missing)),
            Some(file) => {
                Err(CgroupError::Missing { file, remedy: "mount the hierarchy again, and start the runner anew" })
            }
        }
    }

    /// What is not as [`Base::claim`] left it.
    fn missing(&self) -> Result<Option<String>, CgroupError> {
        if let Some(gone) = self.dirs().into_iter().find(|dir| !dir.join("cgroup.procs").exists()) {
            return Ok(Some(format!("the runner's control group {} was removed", gone.display())));
        }
        let Base::Unified { dir } = self else { return Ok(None) };
        for group in [dir.parent(), Some(dir)].into_iter().flatten() {
            let file = group.join("cgroup.subtree_control");
            let enabled = words(&files::read(&file)?);
            if let Some(name) = REQUIRED.iter().find(|name| !enabled.iter().any(|have| have == *name)) {
                return Ok(Some(format!("the controller {name} was taken out of {}", file.display())));
            }
        }
        Ok(None)
    }

    /// Kills and removes every group that is left under the base. What is left in other scopes of this
    /// instance is killed as well. What does not go away within 10 s, all of it together, is left and told.
    ///
    /// Only for the start of a runner, before its first stage: whatever is there is taken for the
    /// remains of a run that crashed.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn sweep(&self) -> Result<Swept, CgroupError> {
        let until = Instant::now() + tree::PATIENCE;
        let (names, mut swept) = (self.names()?, Swept::default());
        for name in &names {
            // All die at the same time; whoever waits for one below sees what came of it.
            let _ = tree::kill(&self.child(name));
        }
        for name in &names {
            match tree::destroy(&self.child(name), until.saturating_duration_since(Instant::now())) {
                Ok(()) => swept.groups += 1,
                Err(error) => swept.left.push(error),
            }
        }
        if let Base::Unified { dir } = self {
            scope::sweep(dir, tree::PATIENCE, &mut swept)?;
        }
        Ok(swept)
    }

    /// Kills and removes the groups whose names begin like this: those of stages whose launcher did not do it.
    ///
    /// # Errors
    /// When one cannot be emptied or removed; the others are tried.
    pub fn remove_like(&self, prefix: &str) -> Result<usize, CgroupError> {
        check_name(prefix)?;
        let names: Vec<String> = self.names()?.into_iter().filter(|name| name.starts_with(prefix)).collect();
        let all = names.iter().map(|name| tree::destroy(&self.child(name), tree::PATIENCE));
        all.fold(Ok(()), Result::and).map(|()| names.len())
    }

    /// Names of the groups that there are, in any hierarchy.
    fn names(&self) -> Result<BTreeSet<String>, CgroupError> {
        let mut names = BTreeSet::new();
        for dir in self.dirs() {
            for below in tree::subdirs(dir)? {
                names.extend(below.file_name().and_then(|n| n.to_str()).map(String::from));
            }
        }
        Ok(names)
    }

    /// Removes the base, which must be empty; one that is gone already is as good.
    ///
    /// The supervisor leaf stays: the runner is still in it.
    ///
    /// # Errors
    /// When there is still a group in it; it is left as it is then.
    pub fn release(&self) -> Result<(), CgroupError> {
        for dir in self.dirs() {
            match std::fs::remove_dir(dir) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(CgroupError::Remove { dir: dir.into(), source });
                }
                _ => {}
            }
            if let (Base::Hybrid { .. }, Some(all_runners)) = (self, dir.parent()) {
                // Fails, as it should, while another runner has its base there.
                let _ = std::fs::remove_dir(all_runners);
            }
        }
        Ok(())
    }
}

/// Makes the runner's directory below the one that all runners share, which another runner's release
/// may remove at any moment in between.
fn ensure_v1(dir: &Path) -> Result<(), CgroupError> {
    let mut attempts = 0;
    loop {
        if let Some(all_runners) = dir.parent() {
            files::ensure_dir(all_runners)?;
        }
        match files::ensure_dir(dir) {
            Err(CgroupError::Make { source, .. }) if source.kind() == std::io::ErrorKind::NotFound && attempts < 16 => {
                attempts += 1;
            }
            other => return other,
        }
    }
}

fn claim_unified(dir: &Path, host: &dyn Host) -> Result<(), CgroupError> {
    let Some(own) = dir.parent() else {
        return Err(CgroupError::Name { name: dir.display().to_string() });
    };
    // The plan may come from elsewhere than from detect(), so this is asked again: systemd would
    // disable the controllers at its next change of the tree.
    if !is_ours(host, own) {
        return Err(CgroupError::NotDelegated { group: own.into() });
    }
    // Only the root of the whole hierarchy has no type, and it alone is exempt from the
    // no-internal-process rule. The root of a cgroup namespace is not.
    if own.join("cgroup.type").exists() {
        evacuate(own)?;
    }
    let offered = host.controllers(own)?;
    let cpuset: &[&str] = match offered.iter().any(|name| name == "cpuset") {
        true => &["cpuset"],
        false => &[],
    };
    enable(own, &REQUIRED, cpuset)?;
    files::ensure_dir(dir)?;
    enable(dir, &REQUIRED, cpuset)
}

/// Moves every process of the group into its supervisor leaf.
fn evacuate(own: &Path) -> Result<(), CgroupError> {
    let file = own.join("cgroup.procs");
    let supervisor = own.join(SUPERVISOR);
    // Children may be forked meanwhile; a runner's own are few.
    for _ in 0..16 {
        let pids = files::pids(&file, &files::read(&file)?)?;
        if pids.is_empty() {
            return Ok(());
        }
        if pids.contains(&0) {
            return Err(CgroupError::Foreign { file });
        }
        files::ensure_dir(&supervisor)?;
        for pid in pids {
            // Moves the process with all its threads.
            match files::write(&supervisor.join("cgroup.procs"), &pid.to_string()) {
                Err(CgroupError::Write { source, .. }) if source.raw_os_error() == Some(libc::ESRCH) => {}
                other => other?,
            }
        }
    }
    Err(CgroupError::Busy { dir: own.into(), pids: files::pids(&file, &files::read(&file)?)? })
}

/// Hands these controllers to the group's children, and checks that it is so. Those in `welcome` are
/// enabled where they can be.
pub(super) fn enable(dir: &Path, required: &[&str], welcome: &[&str]) -> Result<(), CgroupError> {
    let file = dir.join("cgroup.subtree_control");
    let enabled = words(&files::read(&file)?);
    let lacks = |enabled: &[String], name: &str| !enabled.iter().any(|have| have == name);
    for name in required.iter().filter(|name| lacks(&enabled, name)) {
        // One at a time: the kernel refuses a write as a whole.
        files::write(&file, &format!("+{name}"))?;
    }
    for name in welcome.iter().filter(|name| lacks(&enabled, name)) {
        // No limit rests on it, so what the kernel says is of no interest.
        let _ = files::write(&file, &format!("+{name}"));
    }
    let read = files::read(&file)?;
    let now = words(&read);
    match required.iter().find(|name| lacks(&now, name)) {
        None => Ok(()),
        Some(name) => Err(CgroupError::Mismatch { file, wrote: format!("+{name}"), read }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Recorded;
    use super::*;
    use std::fs;

    const BARE: Recorded<'static> = Recorded { offers: &[], systemd: false, delegated: &[] };

    /// A group's directory as the kernel would show it, and a base below it.
    fn unit(controllers: &str, procs: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let own = tempfile::tempdir().unwrap();
        let base = own.path().join("ostest-sandbox-one");
        for dir in ["", "supervisor", "ostest-sandbox-one"] {
            let dir = own.path().join(dir);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cgroup.subtree_control"), controllers).unwrap();
            fs::write(dir.join("cgroup.type"), "domain\n").unwrap();
            fs::write(dir.join("cgroup.procs"), "").unwrap();
        }
        fs::write(own.path().join("cgroup.procs"), procs).unwrap();
        (own, base)
    }

    #[test]
    fn claiming_what_is_claimed_changes_nothing() {
        let (own, base) = unit("cpuset cpu memory pids\n", "");
        claim_unified(&base, &BARE).unwrap();
        let file = own.path().join("cgroup.subtree_control");
        assert_eq!(fs::read_to_string(file).unwrap(), "cpuset cpu memory pids\n");
    }

    #[test]
    fn a_controller_that_does_not_become_enabled_is_an_error() {
        // A plain file keeps "+memory" to the letter, which is not the controller.
        let (_own, base) = unit("", "");
        let error = claim_unified(&base, &BARE).unwrap_err();
        assert!(matches!(error, CgroupError::Mismatch { .. }), "{error}");
    }

    #[test]
    fn processes_move_into_the_supervisor_leaf() {
        let (own, base) = unit("cpu memory pids", "4711\n");
        // The list in a plain file does not shrink, so this gives up in the end.
        let error = claim_unified(&base, &BARE).unwrap_err();
        assert!(matches!(error, CgroupError::Busy { .. }), "{error}");
        let moved = fs::read_to_string(own.path().join("supervisor/cgroup.procs")).unwrap();
        assert_eq!(moved, "4711");
    }

    #[test]
    fn the_root_of_the_hierarchy_keeps_its_processes() {
        let (own, base) = unit("cpu memory pids", "1\n2\n");
        fs::remove_file(own.path().join("cgroup.type")).unwrap();
        claim_unified(&base, &BARE).unwrap();
        let moved = fs::read_to_string(own.path().join("supervisor/cgroup.procs")).unwrap();
        assert_eq!(moved, "");
    }

    #[test]
    fn processes_without_a_number_are_refused() {
        let (_own, base) = unit("cpu memory pids", "0\n");
        let error = claim_unified(&base, &BARE).unwrap_err();
        assert!(matches!(error, CgroupError::Foreign { .. }), "{error}");
    }

    #[test]
    fn nothing_is_written_where_systemd_rules() {
        let (own, base) = unit("", "");
        let systemd = Recorded { systemd: true, ..BARE };
        let error = claim_unified(&base, &systemd).unwrap_err();
        assert!(matches!(error, CgroupError::NotDelegated { .. }), "{error}");
        let file = own.path().join("cgroup.subtree_control");
        assert_eq!(fs::read_to_string(file).unwrap(), "");
    }
}
