//! Groups of system calls that the operator allows some laboratory: what is given up by each, and whether the kernel has it.

use super::Finding;
use crate::config::Grading;
use crate::task::allowed::risk;
use sandbox::groups::host::{Obstacle, obstacle};
use sandbox::groups::{Group, Groups};
use std::path::Path;

/// Name of the findings.
const NAME: &str = "allowed calls";

/// One for each group that is allowed anywhere. `has_ledger`: whether memory that no control group pays for is booked.
pub fn look(grading: &Grading, has_ledger: bool) -> Vec<Finding> {
    let everywhere = grading.test.allow.unwrap_or_default();
    let of_labs = grading.labs.values().filter_map(|lab| lab.allow).fold(Groups::NONE, Groups::and);
    let judged = |group: Group| {
        let place = place(grading, group, everywhere.contains(group));
        let without_ledger = || (group.needs_ledger() && !has_ledger).then(|| missing_ledger(group));
        let obstacle = obstacle([group].into_iter().collect()).or_else(without_ledger);
        judge(group, &place, obstacle, hypervisor_in_reach())
    };
    everywhere.and(of_labs).iter().map(judged).collect()
}

fn missing_ledger(group: Group) -> Obstacle {
    let found = "only the ledger would hold the memory that it opens, and this host keeps none".into();
    Obstacle { group, found, remedy: "do what the finding on the ledger says".into() }
}

/// The laboratories in which it is allowed.
fn place(grading: &Grading, group: Group, everywhere: bool) -> String {
    if everywhere {
        return "in every laboratory".into();
    }
    let labs = grading.labs.iter().filter(|(_, lab)| lab.allow.is_some_and(|groups| groups.contains(group)));
    let labs: Vec<&str> = labs.map(|(number, _)| number.as_str()).collect();
    format!("in laboratory {}", labs.join(", "))
}

/// Whether a virtual machine's host can be spoken with from here by a kind of socket that no network namespace holds.
fn hypervisor_in_reach() -> bool {
    Path::new("/dev/vsock").exists()
}

fn judge(group: Group, place: &str, obstacle: Option<Obstacle>, hypervisor: bool) -> Finding {
    let without = "take it from `allow` in the file of --config, where no laboratory needs it";
    if let Some(Obstacle { found, remedy, .. }) = obstacle {
        return Finding::red(NAME, format!("{group}, {place}: {found}"), format!("{remedy}; or {without}"));
    }
    let more = match group {
        Group::IoUring if hypervisor => " This machine has such a hypervisor in reach (/dev/vsock).",
        _ => "",
    };
    Finding::yellow(NAME, format!("{group}, {place}: {}{more}", risk(group)), without)
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use crate::config::FileOptions;
    use crate::task::bound::tests::of_file;

    #[test]
    fn what_is_allowed_is_told_with_its_risk_and_where() {
        let file = FileOptions::parse(
            "[test]\nallow = [\"landlock\"]\n[lab.3]\nallow = [\"xattrs\", \"landlock\"]\n[lab.7]\nallow = [\"xattrs\"]",
        )
        .unwrap();
        let grading = of_file(&file, 1);
        assert_eq!(place(&grading, Group::Landlock, true), "in every laboratory");
        assert_eq!(place(&grading, Group::Xattrs, false), "in laboratory 3, 7");
        assert_eq!(look(&grading, true).len(), 2);
        let of = |findings: Vec<Finding>, word: &str| findings.into_iter().find(|f| f.found.starts_with(word)).unwrap();
        let bare = of(look(&grading, false), "xattrs");
        assert!(
            bare.grade == Grade::Red && (bare.found.contains("ledger") || bare.found.contains("user.*")),
            "{bare:?}"
        );
        assert!(look(&of_file(&FileOptions::default(), 1), true).is_empty());
        let told = judge(Group::Xattrs, "in laboratory 3", None, true);
        assert!(told.grade == Grade::Yellow && told.found.contains(&risk(Group::Xattrs)), "{told:?}");
        let ring = |reach| judge(Group::IoUring, "in laboratory 3", None, reach).found.contains("/dev/vsock");
        assert!(ring(true) && !ring(false));
    }

    #[test]
    fn what_the_kernel_refuses_is_red_with_what_mends_it() {
        let obstacle = Obstacle { group: Group::Perf, found: "it is off".into(), remedy: "switch it on".into() };
        let told = judge(Group::Perf, "in laboratory 3", Some(obstacle), false);
        assert!(told.grade == Grade::Red && told.found == "perf, in laboratory 3: it is off", "{told:?}");
        assert!(told.remedy.starts_with("switch it on; or take it"), "{told:?}");
    }
}
