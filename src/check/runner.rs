//! The runner of this state directory, and what its spool holds. A runner does not ask this of itself.

use super::Finding;
use crate::contain::state;
use crate::spool::{self, Shelf};
use crate::status::{State, Status};
use std::path::Path;

/// Name of the finding on the runner.
const RUNNER: &str = "runner";
/// Name of the finding on the spool.
const SPOOL: &str = "spool";

/// Looks at both.
pub fn look(state_dir: &Path) -> Vec<Finding> {
    let alive = state::has_runner(state_dir);
    let runner = match Status::read(state_dir) {
        Ok(status) => judge_runner(status.as_ref(), alive),
        Err(error) => Finding::yellow(RUNNER, format!("{error:#}"), "start it anew"),
    };
    let spool = match Shelf::of(state_dir).list() {
        Ok(entries) => {
            let count = |state: spool::State| {
                let here = entries.iter().filter(|lying| !lying.is_elsewhere());
                here.filter(|lying| lying.entry.as_ref().is_ok_and(|head| head.state == state)).count()
            };
            judge_spool(&Counts {
                taken: count(spool::State::Taken),
                waiting: count(spool::State::Waiting),
                rejected: count(spool::State::Rejected),
                elsewhere: entries.iter().filter(|lying| lying.is_elsewhere()).count(),
                unreadable: entries.iter().filter(|lying| lying.entry.is_err()).count(),
                alive,
            })
        }
        Err(error) => Finding::red(SPOOL, format!("{error:#}"), "mend what the sentence names"),
    };
    vec![runner, spool]
}

fn judge_runner(status: Option<&Status>, alive: bool) -> Finding {
    let Some(status) = status else {
        return match alive {
            true => Finding::green(RUNNER, "one is starting"),
            false => Finding::green(RUNNER, "none has run with this state directory"),
        };
    };
    let Status { pid, since, reason, backend, .. } = status;
    if !alive {
        return match status.state {
            State::Ended => Finding::green(RUNNER, format!("none runs; the last one ended in good order at {since}")),
            _ => Finding::yellow(
                RUNNER,
                format!("none runs; the last one, process {pid}, was killed"),
                "start it: it goes on from what lies in the spool",
            ),
        };
    }
    let busy = format!(
        "{} of {} slots busy, {} graded, {} delivered",
        status.busy.len(),
        status.slots,
        status.graded,
        status.delivered
    );
    match status.state {
        State::Asking => Finding::green(RUNNER, format!("process {pid} asks {backend}; {busy}")),
        State::Draining => {
            Finding::green(RUNNER, format!("process {pid} was told to stop and finishes what runs; {busy}"))
        }
        State::Ended => Finding::green(RUNNER, format!("process {pid} is ending")),
        State::BackendAway => Finding::yellow(
            RUNNER,
            format!("process {pid} gets no task since {since}: {reason}"),
            "mend what the sentence names; it goes on asking",
        ),
        State::SpoolFull => Finding::red(
            RUNNER,
            format!("process {pid} takes no tasks since {since}: {reason}"),
            "mend what the sentence names; it goes on by itself",
        ),
        State::Quarantined => Finding::red(
            RUNNER,
            format!("process {pid} takes no tasks since {since}, because this host failed task after task: {reason}"),
            "mend what the sentence names; it goes on by itself when a canary has passed",
        ),
    }
}

/// What a spool holds.
#[derive(Default)]
struct Counts {
    taken: usize,
    waiting: usize,
    rejected: usize,
    elsewhere: usize,
    unreadable: usize,
    alive: bool,
}

fn judge_spool(counts: &Counts) -> Finding {
    let Counts { taken, waiting, rejected, elsewhere, unreadable, alive } = *counts;
    let mut found = format!("{taken} being graded, {waiting} waiting for the backend, {rejected} refused by it");
    if elsewhere > 0 {
        found.push_str(&format!(", {elsewhere} for another backend"));
    }
    if unreadable > 0 {
        found.push_str(&format!(", {unreadable} that cannot be read"));
    }
    if rejected + elsewhere + unreadable > 0 {
        return Finding::yellow(
            SPOOL,
            found,
            "`ostest-sandbox spool list` shows them; `spool retry` sends one again (`--backend-url URL`: elsewhere), `spool drop` throws it away",
        );
    }
    if !alive && taken + waiting > 0 {
        return Finding::yellow(SPOOL, found, "start the runner: it answers them");
    }
    Finding::green(SPOOL, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Grade;
    use crate::status::Board;

    #[test]
    fn a_runner_that_takes_no_tasks_is_red_while_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::begin(dir.path(), "http://b", 2, |_| ());
        for (state, alive, grade) in [
            (State::Asking, true, Grade::Green),
            (State::Asking, false, Grade::Yellow),
            (State::BackendAway, true, Grade::Yellow),
            (State::SpoolFull, true, Grade::Red),
            (State::Quarantined, true, Grade::Red),
            (State::Quarantined, false, Grade::Yellow),
            (State::Draining, true, Grade::Green),
            (State::Ended, false, Grade::Green),
        ] {
            board.change(|status| status.turn(state, "the reason"));
            let finding = judge_runner(Some(&board.now()), alive);
            assert_eq!(finding.grade, grade, "{state:?} {alive}: {}", finding.found);
            assert!(grade != Grade::Red || finding.found.contains("the reason"));
        }
        assert_eq!(judge_runner(None, false).grade, Grade::Green);
    }

    #[test]
    fn what_somebody_has_to_decide_on_is_yellow() {
        let alive = || Counts { alive: true, ..Counts::default() };
        for (counts, grade) in [
            (Counts::default(), Grade::Green),
            (Counts { waiting: 3, ..alive() }, Grade::Green),
            (Counts { waiting: 3, ..Counts::default() }, Grade::Yellow),
            (Counts { rejected: 1, ..alive() }, Grade::Yellow),
            (Counts { elsewhere: 1, ..alive() }, Grade::Yellow),
            (Counts { unreadable: 1, ..alive() }, Grade::Yellow),
        ] {
            assert_eq!(judge_spool(&counts).grade, grade);
        }
    }
}
