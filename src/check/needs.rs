//! Whether this host has what the operator's suite needs, programs and groups of system calls, for each laboratory of which the suite says something.

use super::Finding;
use crate::config::{Grading, SuiteOptions};
use crate::contain::Host;
use crate::contain::slots::Slot;
use crate::fault::{Cause, Fault};
use crate::task::{Assignment, Source, Step, TaskError, rehearse, suite};
use sandbox::groups::Groups;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// What this looks at.
const NAME: &str = "suite's programs";

/// Looks by the steps of a task that come before there is a submission. Nothing is said of a suite that needs nothing, and of one that
/// is a repository: it is fetched with each task, and looked at then.
pub async fn look(host: &Host, grading: &Grading, slot: &Slot, cancel: &CancellationToken) -> Option<Finding> {
    if suite::is_git(&grading.tests) {
        return None;
    }
    // What is wrong with the file itself a task says.
    let options = suite::read_options(Path::new(&grading.tests)).ok()?;
    let labs: Vec<u32> = options
        .lab
        .iter()
        .filter(|(_, lab)| !lab.needs.is_empty() || lab.allow.is_some())
        .filter_map(|(n, _)| n.parse().ok())
        .collect();
    if options.needs.is_empty() && options.test.allow.is_none() && labs.is_empty() {
        return None;
    }
    let mut lacks = Vec::new();
    for lab in std::iter::once(None).chain(labs.into_iter().map(Some)) {
        let assignment = Assignment {
            attempt: "check".into(),
            source: Source::Directory("/".into()),
            labs: lab.into_iter().collect(),
            connected_tests: Vec::new(),
        };
        match rehearse(host, grading, slot, &assignment, Step::Prepare, cancel).await {
            Ok(()) => {}
            Err(TaskError::Interrupted) => return None,
            Err(TaskError::Fault(fault)) => {
                let everybody = lab.is_none();
                lacks.push((lab, fault));
                if everybody {
                    break;
                }
            }
        }
    }
    Some(judge(&options, lacks))
}

fn judge(options: &SuiteOptions, lacks: Vec<(Option<u32>, Fault)>) -> Finding {
    let Some((lab, fault)) = lacks.into_iter().next() else {
        let all = options.needs.iter().chain(options.lab.values().flat_map(|lab| &lab.needs));
        let mut names: Vec<String> = all.map(ToString::to_string).collect();
        names.dedup();
        let groups = options.lab.values().filter_map(|lab| lab.allow).chain(options.test.allow);
        names.extend(groups.fold(Groups::NONE, Groups::and).iter().map(|group| format!("the calls of {group}")));
        return Finding::green(NAME, names.join(", "));
    };
    // Of something else the canary, or a task, says more.
    if !matches!(fault.cause, Cause::Programs | Cause::Groups) {
        return Finding::yellow(NAME, fault.whole(), "mend what this says; until then tasks are held");
    }
    match lab {
        None => Finding::red(NAME, fault.message, fault.detail),
        Some(lab) => Finding::yellow(NAME, format!("for laboratory {lab}: {}", fault.message), fault.detail),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn what_everybody_needs_is_red_and_what_a_laboratory_needs_is_yellow() {
        let options = SuiteOptions::parse("needs = [\"make\"]\n[lab.2]\nneeds = [\"gdb>=13\"]").unwrap();
        let fine = judge(&options, Vec::new());
        assert!(fine.grade == Grade::Green && fine.found == "make, gdb 13 or newer", "{fine:?}");
        let lack = |cause| Fault::host(cause, "it lacks gdb").with_detail("install it");
        let all = judge(&options, vec![(None, lack(Cause::Programs))]);
        assert!(all.grade == Grade::Red && all.remedy == "install it", "{all:?}");
        let lab = judge(&options, vec![(Some(2), lack(Cause::Programs))]);
        assert!(lab.grade == Grade::Yellow && lab.found.starts_with("for laboratory 2: it lacks"), "{lab:?}");
        assert_eq!(judge(&options, vec![(None, lack(Cause::Index))]).grade, Grade::Yellow);
    }
}
