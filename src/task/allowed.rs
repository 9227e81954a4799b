//! Groups of system calls beyond those of the test stage: what the operator allows, the suite asks for, and this host can do.
//!
//! The operator decides. Where the suite's file speaks of groups a laboratory gets those that it asks for, and no more; where it does
//! not, all that the operator allows there. Nothing of a submission's has a part in it. What is lacking is told before there is a
//! submission: tests of everybody would fail, and look like their fault.

use super::{Context, TaskError};
use crate::config::SuiteOptions;
use crate::fault::{Cause, Fault};
use sandbox::groups::host::{Obstacle, obstacle};
use sandbox::groups::{Group, Groups};

/// The groups that the tests of this task have.
///
/// # Errors
/// The host's fault, where the operator does not allow one that the suite needs, or the kernel refuses it.
pub fn of(context: &Context<'_>, suite: &SuiteOptions) -> Result<Groups, TaskError> {
    let lab = context.assignment.labs.iter().max().copied();
    let groups = decide(context.grading.allowed(lab), suite.asks_for(lab), lab)?;
    match obstacle(groups) {
        None => Ok(groups),
        Some(obstacle) => Err(refused(&obstacle).into()),
    }
}

fn decide(allowed: Groups, asked: Option<Groups>, lab: Option<u32>) -> Result<Groups, Fault> {
    let Some(asked) = asked else { return Ok(allowed) };
    let lacking = asked.without(allowed);
    if lacking.is_empty() {
        return Ok(asked);
    }
    let section = lab.map_or("[test]".into(), |lab| format!("[lab.{lab}]"));
    let list: Vec<String> = asked.iter().map(|group| format!("\"{group}\"")).collect();
    let risks = lacking.iter().map(|group| format!("{group}: {}", risk(group))).collect::<Vec<_>>().join("\n");
    let message = format!("the grading machine does not allow system calls that the test suite needs: {lacking}");
    Err(Fault::host(Cause::Groups, message).with_detail(format!(
        "to allow them write in the file of --config, below {section}: `allow = [{}]`, after having read what that gives up\n{risks}",
        list.join(", ")
    )))
}

/// The risk of a group, in a sentence.
pub fn risk(group: Group) -> String {
    // A file that cannot be read is found by the tests.
    sandbox::confine::policy::Described::of(group).map_or_else(|error| error.to_string(), |group| group.risk)
}

fn refused(obstacle: &Obstacle) -> Fault {
    let Obstacle { group, found, remedy } = obstacle;
    Fault::host(Cause::Groups, format!("the grading machine cannot do what the test suite needs: {group}"))
        .with_detail(format!("{found}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Blame;
    use proptest::prelude::*;

    fn any_groups() -> impl Strategy<Value = Groups> {
        proptest::sample::subsequence(Group::ALL.to_vec(), 0..=Group::ALL.len()).prop_map(|list| groups(&list))
    }

    fn groups(list: &[Group]) -> Groups {
        list.iter().copied().collect()
    }

    #[test]
    fn the_operator_allows_and_the_suite_narrows() {
        let both = groups(&[Group::Perf, Group::IoUring]);
        let perf = groups(&[Group::Perf]);
        assert_eq!(decide(both, None, Some(3)).unwrap(), both);
        assert_eq!(decide(both, Some(perf), Some(3)).unwrap(), perf);
        assert_eq!(decide(both, Some(Groups::NONE), Some(4)).unwrap(), Groups::NONE);
        assert_eq!(decide(Groups::NONE, None, None).unwrap(), Groups::NONE);
    }

    #[test]
    fn what_the_operator_does_not_allow_is_the_hosts_fault_with_the_line_that_allows_it() {
        let asked = groups(&[Group::Landlock, Group::Perf]);
        let fault = decide(groups(&[Group::Landlock]), Some(asked), Some(5)).unwrap_err();
        assert!(fault.blame == Blame::Host && fault.is_worth_another_try(), "{fault:?}");
        assert!(fault.message.ends_with("needs: perf"), "{fault:?}");
        for part in ["[lab.5]", "allow = [\"landlock\", \"perf\"]", &risk(Group::Perf)] {
            assert!(fault.detail.contains(part), "{part}: {fault:?}");
        }
        assert!(decide(Groups::NONE, Some(asked), None).unwrap_err().detail.contains("[test]"));
    }

    proptest! {
        #[test]
        fn nothing_is_on_that_the_operator_does_not_allow_or_the_suite_that_speaks_of_groups_does_not_ask_for(
            allowed in any_groups(),
            asked in proptest::option::of(any_groups()),
            lab in proptest::option::of(0u32..9),
        ) {
            match decide(allowed, asked, lab) {
                Ok(on) => prop_assert!(on.without(allowed).is_empty() && on.without(asked.unwrap_or(allowed)).is_empty()),
                Err(fault) => prop_assert!(fault.blame == Blame::Host && !asked.unwrap_or_default().without(allowed).is_empty()),
            }
        }
    }

    #[test]
    fn every_group_says_what_is_given_up_in_a_sentence() {
        for group in Group::ALL {
            let risk = risk(group);
            assert!(risk.len() > 60 && risk.ends_with('.') && !risk.contains('\n'), "{group}: {risk}");
        }
    }
}
