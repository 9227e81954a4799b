//! What the sandbox knows of why a test did not pass: one clause for each limit and each refusal that the test met, with its
//! figure and what to do.
//!
//! All of it comes from the kernel, by way of the launcher. It stands in front of what pytest says, each clause on a line of
//! its own behind [`MARK`]. What a program prints is quoted where it begins like that ([`crate::text::quoted`]).

use crate::text::MARK;
use crate::verdict::remarks_on;
use sandbox::confine::told::Refusal;
use sandbox::outcome::{Denied, Figure, Full, LeafUsage};
use sandbox::words::{self, bytes};

/// What is known of one test that did not pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met<'a> {
    /// What was measured.
    pub(super) leaf: Option<&'a LeafUsage>,
    /// Calls that its programs were refused.
    pub(super) denied: &'a [&'a Denied],
    /// Places that were full when it ended.
    pub(super) full: &'a [Full],
    /// Whether its time was up: its own, or the run's.
    pub(super) late: bool,
    /// Calls that are refused without a word.
    pub(super) quiet: &'a [Refusal],
    /// What pytest says of it.
    pub(super) text: &'a str,
    /// What was in force.
    pub(super) limits: &'a super::InForce,
}

/// The clauses, in front of `text`.
pub(super) fn in_front(clauses: &[String], text: &str) -> String {
    let lines: Vec<String> = clauses.iter().map(|clause| format!("{MARK}{clause}")).collect();
    match (&lines[..], text) {
        ([], _) => text.to_owned(),
        (_, "") => lines.join("\n"),
        _ => format!("{}\n\n{text}", lines.join("\n")),
    }
}

/// All clauses on a test.
pub(super) fn of(met: &Met<'_>) -> Vec<String> {
    let mut clauses = Vec::new();
    if let Some(leaf) = met.leaf {
        clauses.extend(memory(met, leaf));
        clauses.extend(beyond(met, leaf));
        clauses.extend(processes(met, leaf));
    }
    clauses.extend(met.full.iter().map(words::full));
    let filled = met.leaf.map_or(&[][..], |leaf| leaf.meanwhile.filled.as_slice());
    clauses.extend(filled.iter().map(words::was_full));
    clauses.extend(met.leaf.filter(|_| met.late).and_then(|leaf| processor(met, leaf)));
    clauses.extend(words::all_denied(met.denied.iter().copied()));
    clauses.extend(super::named::of(met));
    clauses.extend(met.leaf.map(remarks_on).unwrap_or_default());
    clauses
}

fn value(figure: &Option<Figure>) -> u64 {
    figure.as_ref().map_or(0, |figure| figure.value)
}

fn memory(met: &Met<'_>, leaf: &LeafUsage) -> Option<String> {
    let kills = value(&leaf.usage.oom_kills);
    let peak = leaf
        .usage
        .memory_peak
        .as_ref()
        .map_or(String::new(), |peak| format!("; the programs of this test took up to {}", bytes(peak.value)));
    (kills > 0).then(|| {
        format!(
            "the kernel ended {} of this test (signal 9, SIGKILL), because the memory limit of {} for all programs and pytest \
             together was reached{peak}: take less memory, or free it sooner",
            counted(kills, "process", "processes"),
            bytes(met.limits.memory)
        )
    })
}

fn beyond(met: &Met<'_>, leaf: &LeafUsage) -> Option<String> {
    let ended = leaf.memory.ended_beyond;
    (ended > 0).then(|| {
        format!(
            "{} ended by signal 9 (SIGKILL), because the memory limit of {} for all programs and pytest together was \
             reached with files in memory that were mapped: take less memory, or free it sooner",
            counted(ended, "process of this test was", "processes of this test were"),
            bytes(met.limits.memory)
        )
    })
}

fn processes(met: &Met<'_>, leaf: &LeafUsage) -> Option<String> {
    let (own, meanwhile) = (value(&leaf.usage.pids_denied), value(&leaf.meanwhile.pids_denied));
    let (count, whose) = match own {
        // Newer kernels count them for the whole run only.
        0 => (meanwhile, "failed while this test ran"),
        _ => (own, "by this test's programs failed"),
    };
    (count > 0).then(|| {
        format!(
            "{} to start a process or a thread {whose} (Resource temporarily unavailable), because the limit of {} processes \
             and threads at a time was reached: wait for children and join threads before more are started",
            counted(count, "attempt", "attempts"),
            met.limits.pids
        )
    })
}

fn processor(met: &Met<'_>, leaf: &LeafUsage) -> Option<String> {
    let held_back = value(&leaf.meanwhile.throttled_us);
    // A little of it is everyday; a tenth of the time is a reason.
    let much = held_back > 0 && held_back / 100 >= leaf.wall_ms;
    let cores = met.limits.cpu_millis as f64 / 1000.0;
    much.then(|| {
        format!(
            "the limit of {cores} {} held its programs back for {:.1} s of {:.1} s, summed over cores: wait in calls that \
             block, not in loops, and start no more threads than that",
            if met.limits.cpu_millis == 1000 { "core" } else { "cores" },
            held_back as f64 / 1e6,
            leaf.wall_ms as f64 / 1000.0
        )
    })
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::super::InForce;
    use super::*;
    use sandbox::outcome::{Meanwhile, Usage};

    const LIMITS: InForce =
        InForce { memory: 512 << 20, pids: 64, cpu_millis: 1000, file: 128 << 20, cores: 0, test_time: None };

    fn leaf(change: impl FnOnce(&mut LeafUsage)) -> LeafUsage {
        let (usage, meanwhile) = (Usage::default(), Meanwhile::default());
        let mut leaf =
            LeafUsage { leaf: "t0".into(), entered: 1, wall_ms: 4000, usage, meanwhile, ..Default::default() };
        change(&mut leaf);
        leaf
    }

    fn figure(value: u64) -> Option<Figure> {
        Some(Figure { value, source: "test".into() })
    }

    fn said(leaf: &LeafUsage, late: bool, text: &str) -> Vec<String> {
        of(&Met { leaf: Some(leaf), denied: &[], full: &leaf.meanwhile.full, late, quiet: &[], text, limits: &LIMITS })
    }

    #[test]
    fn a_test_that_met_nothing_gets_no_word() {
        assert_eq!(said(&leaf(|_| ()), true, "assert 1 == 2"), Vec::<String>::new());
        assert_eq!(in_front(&[], "assert 1 == 2"), "assert 1 == 2");
        assert_eq!(in_front(&["a".into(), "b".into()], "c"), "sandbox: a\nsandbox: b\n\nc");
        assert_eq!(in_front(&["a".into()], ""), "sandbox: a");
    }

    #[test]
    fn each_limit_has_its_figure_and_what_to_do() {
        let memory = leaf(|leaf| {
            leaf.usage.oom_kills = figure(1);
            leaf.usage.memory_peak = figure(500 << 20);
        });
        assert_eq!(
            said(&memory, false, ""),
            [
                "the kernel ended 1 process of this test (signal 9, SIGKILL), because the memory limit of 512.0 MiB for all \
              programs and pytest together was reached; the programs of this test took up to 500.0 MiB: take less memory, or \
              free it sooner"
            ]
        );
        for (ended, begins) in
            [(1, "1 process of this test was ended by"), (2, "2 processes of this test were ended by")]
        {
            let beyond = said(&leaf(|leaf| leaf.memory.ended_beyond = ended), false, "");
            assert!(beyond[0].starts_with(begins), "{beyond:?}");
        }
        let own = said(&leaf(|leaf| leaf.usage.pids_denied = figure(3)), false, "");
        assert!(
            own[0].starts_with("3 attempts to start a process or a thread by this test's programs failed"),
            "{own:?}"
        );
        assert!(own[0].contains("limit of 64 processes"), "{own:?}");
        let meanwhile = said(&leaf(|leaf| leaf.meanwhile.pids_denied = figure(1)), false, "");
        assert!(meanwhile[0].starts_with("1 attempt to start a process or a thread failed while"), "{meanwhile:?}");
        let full = Full { place: "/tmp".into(), bytes: 1 << 20, files: false };
        let full = said(&leaf(|leaf| leaf.meanwhile.full.push(full)), false, "");
        assert!(full[0].starts_with("/tmp (1.0 MiB) was full at the end"), "{full:?}");
        let filled = Full { place: "/tmp".into(), bytes: 1 << 20, files: false };
        let filled = said(&leaf(|leaf| leaf.meanwhile.filled.push(filled)), false, "");
        assert!(filled[0].starts_with("/tmp (1.0 MiB) was full for a while"), "{filled:?}");
        let mapped = said(&leaf(|leaf| leaf.memory.ended_beyond = 1), false, "");
        assert!(mapped[0].starts_with("1 process of this test was ended by signal 9 (SIGKILL), because"), "{mapped:?}");
    }

    #[test]
    fn the_processor_is_a_reason_only_where_time_was_up_and_much_was_held_back() {
        let held = |us| leaf(|leaf| leaf.meanwhile.throttled_us = figure(us));
        assert_eq!(said(&held(399_999), true, "").len(), 0);
        assert_eq!(said(&held(3_000_000), false, "").len(), 0);
        let text = said(&held(3_000_000), true, "");
        assert!(text[0].starts_with("the limit of 1 core held its programs back for 3.0 s of 4.0 s"), "{text:?}");
    }

    #[test]
    fn refusals_are_among_the_clauses() {
        let denied = Denied {
            leaf: "t0".into(),
            program: "prog".into(),
            call: "mount".into(),
            error: "Operation not permitted".into(),
            times: 1,
            instead: None,
        };
        let clauses =
            of(&Met { leaf: None, denied: &[&denied], full: &[], late: false, quiet: &[], text: "", limits: &LIMITS });
        assert!(clauses[0].starts_with("prog called mount, which is refused here"), "{clauses:?}");
    }
}
