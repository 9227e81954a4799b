//! The runner of this state directory, and what its spool holds. A runner does not ask this of itself.

use super::Finding;
use crate::contain::state;
use crate::spool::{self, Lying, Shelf};
use crate::status::{Held, State, Status};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Name of the finding on the runner.
const RUNNER: &str = "runner";
/// Name of the finding on the spool.
const SPOOL: &str = "spool";

/// How long a result may wait for the backend before somebody should know: far longer than a restart of the backend.
const LONG: Duration = Duration::from_secs(300);

/// Looks at both.
pub fn look(state_dir: &Path) -> Vec<Finding> {
    let alive = state::has_runner(state_dir);
    let runner = match Status::read(state_dir) {
        Ok(status) => judge_runner(status.as_ref(), alive),
        Err(error) => Finding::yellow(RUNNER, format!("{error:#}"), "restart it; it writes the file anew"),
    };
    let spool = match Shelf::of(state_dir).list() {
        Ok(entries) => {
            let count = |state: spool::State| {
                let here = entries.iter().filter(|lying| !lying.is_elsewhere());
                here.filter(|lying| lying.entry.as_ref().is_ok_and(|head| head.state == state)).count()
            };
            judge_spool(
                &Counts {
                    taken: count(spool::State::Taken),
                    waiting: count(spool::State::Waiting),
                    rejected: count(spool::State::Rejected),
                    elsewhere: entries.iter().filter(|lying| lying.is_elsewhere()).count(),
                    unreadable: entries.iter().filter(|lying| lying.entry.is_err()).count(),
                    oldest: entries.iter().filter(|lying| !lying.is_elsewhere()).filter_map(waits_since).min(),
                    alive,
                },
                SystemTime::now(),
            )
        }
        Err(error) => Finding::red(
            SPOOL,
            format!("{error:#}"),
            "make the directory readable for root, or restore it; results may be in it",
        ),
    };
    vec![runner, spool]
}

/// Since when this result waits for the backend, if it does.
fn waits_since(lying: &Lying) -> Option<SystemTime> {
    let head = lying.entry.as_ref().ok().filter(|head| head.state == spool::State::Waiting)?;
    humantime::parse_rfc3339(&head.since).ok()
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
    if let Some(first) = status.held.first().filter(|_| status.state != State::Ended) {
        return judge_held(*pid, first, status.held.len());
    }
    match status.state {
        State::Asking => Finding::green(RUNNER, format!("process {pid} asks {backend}; {busy}")),
        State::Draining => {
            Finding::green(RUNNER, format!("process {pid} was told to stop and finishes what runs; {busy}"))
        }
        State::Ended => Finding::green(RUNNER, format!("process {pid} is ending")),
        State::BackendAway => Finding::yellow(
            RUNNER,
            format!("process {pid} gets no task since {since}: {reason}"),
            "see whether the backend runs, and whether its address and login are right; the runner goes on asking",
        ),
        State::SpoolFull => Finding::red(
            RUNNER,
            format!("process {pid} takes no tasks since {since}: {reason}"),
            "fix the error above; the runner looks every 10 s and goes on by itself",
        ),
        State::Holding => Finding::red(
            RUNNER,
            format!("process {pid} holds tasks since {since}: {reason}"),
            "fix the error above; the runner tries again and goes on by itself",
        ),
    }
}

/// A runner that holds tasks: what failed first is to be looked at first.
fn judge_held(pid: u32, first: &Held, count: usize) -> Finding {
    let Held { task, cause, since, message, tries, deadline, .. } = first;
    let many = if count == 1 { "1 task".into() } else { format!("{count} tasks") };
    let times = if *tries == 1 { "once".into() } else { format!("{tries} times") };
    let said = message.lines().next().unwrap_or_default();
    let mut found =
        format!("process {pid} holds {many}, {task} since {since} and tried {times}, because {cause} fails: {said}");
    if let Some(deadline) = deadline {
        found.push_str(&format!("; if it goes on, {task} is answered as not graded at {deadline}"));
    }
    let what = match first.blame.as_str() {
        "network" => {
            "see whether this host reaches it (name server, firewall, proxy; `git ls-remote URL`), or wait until it is up again"
        }
        "suite" => "tell the suite's author; `ostest-sandbox grade` with the same --tests shows all of the error",
        "backend" => "tell the backend's maintainer",
        _ => "fix the error above; `ostest-sandbox check` with the runner's flags looks at the whole host",
    };
    Finding::red(RUNNER, found, format!("{what}; the runner tries again by itself, and goes on when it works"))
}

/// What a spool holds.
#[derive(Default)]
struct Counts {
    taken: usize,
    waiting: usize,
    rejected: usize,
    elsewhere: usize,
    unreadable: usize,
    /// Since when the one waits that has waited longest.
    oldest: Option<SystemTime>,
    alive: bool,
}

fn judge_spool(counts: &Counts, now: SystemTime) -> Finding {
    let Counts { taken, waiting, rejected, elsewhere, unreadable, oldest, alive } = *counts;
    let mut found = format!("{taken} being graded, {waiting} waiting for the backend, {rejected} refused by it");
    if elsewhere > 0 {
        found.push_str(&format!(", {elsewhere} for another backend"));
    }
    if unreadable > 0 {
        found.push_str(&format!(", {unreadable} that cannot be read"));
    }
    // A clock that was set back makes nothing old.
    let long = oldest.filter(|oldest| now.duration_since(*oldest).is_ok_and(|time| time > LONG));
    if let Some(oldest) = long {
        found.push_str(&format!("; one has waited since {}", humantime::format_rfc3339_seconds(oldest)));
    }
    let mut remedies = Vec::new();
    if !alive && taken + waiting > 0 {
        remedies.push("start the runner: it answers them");
    } else if long.is_some() {
        remedies.push("see why the backend takes no results (its log, and the runner's); they are safe meanwhile");
    }
    if rejected + elsewhere + unreadable > 0 {
        remedies.push(
            "`ostest-sandbox spool list` shows them; `spool retry` sends one again (`--backend-url URL`: elsewhere), `spool drop` throws it away",
        );
    }
    match remedies.is_empty() {
        true => Finding::green(SPOOL, found),
        false => Finding::yellow(SPOOL, found, remedies.join("; ")),
    }
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
            (State::Holding, true, Grade::Red),
            (State::Holding, false, Grade::Yellow),
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
    fn held_tasks_are_red_and_the_first_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::begin(dir.path(), "http://b", 2, |_| ());
        let held = |task: &str, blame: &str, deadline: Option<&str>| Held {
            task: task.into(),
            blame: blame.into(),
            cause: "the git server github.com".into(),
            since: "2026-01-01T02:00:00Z".into(),
            message: "it cannot be reached\nfatal: unable to access".into(),
            tries: 4,
            deadline: deadline.map(str::to_string),
        };
        // Whatever else it does, a slot of its holds them.
        for state in [State::Asking, State::Holding, State::BackendAway, State::Draining] {
            board.change(|status| {
                status.state = state;
                status.held = vec![
                    held("attempt 103", "network", Some("2026-01-01T02:08:00Z")),
                    held("attempt 104", "host", None),
                ];
            });
            let Finding { grade, found, remedy, .. } = judge_runner(Some(&board.now()), true);
            assert_eq!(grade, Grade::Red, "{state:?}");
            for said in [
                "holds 2 tasks",
                "attempt 103 since 2026-01-01T02:00:00Z and tried 4 times",
                "the git server github.com fails: it cannot be reached",
                "is answered as not graded at 2026-01-01T02:08:00Z",
            ] {
                assert!(found.contains(said), "{said}: {found}");
            }
            assert!(!found.contains("fatal"), "the log has the tool's own words: {found}");
            assert!(remedy.contains("firewall") && remedy.contains("by itself"), "{remedy}");
        }
        assert_eq!(judge_runner(Some(&board.now()), false).grade, Grade::Yellow, "a dead one holds nothing");
        board.change(|status| status.held.truncate(1));
        assert!(judge_runner(Some(&board.now()), true).found.contains("holds 1 task,"));
    }

    #[test]
    fn what_somebody_has_to_decide_on_is_yellow() {
        let alive = || Counts { alive: true, ..Counts::default() };
        let now = SystemTime::now();
        let before = |seconds: u64| now.checked_sub(Duration::from_secs(seconds));
        for (counts, grade) in [
            (Counts::default(), Grade::Green),
            (Counts { waiting: 3, ..alive() }, Grade::Green),
            (Counts { waiting: 3, oldest: before(290), ..alive() }, Grade::Green),
            (Counts { waiting: 3, oldest: before(310), ..alive() }, Grade::Yellow),
            (Counts { waiting: 3, oldest: now.checked_add(2 * LONG), ..alive() }, Grade::Green),
            (Counts { waiting: 3, ..Counts::default() }, Grade::Yellow),
            (Counts { rejected: 1, ..alive() }, Grade::Yellow),
            (Counts { elsewhere: 1, ..alive() }, Grade::Yellow),
            (Counts { unreadable: 1, ..alive() }, Grade::Yellow),
        ] {
            assert_eq!(judge_spool(&counts, now).grade, grade);
        }
    }
}
