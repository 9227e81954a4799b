use super::*;
use crate::backend::contract::{Answer, parse_task};

const SECOND: Duration = Duration::from_secs(1);

fn job(attempt: u64, within: Option<Duration>, now: Instant) -> Job {
    let text = format!(r#"{{"attempt": {attempt}, "repositoryUrl": "https://a.example/x", "branch": "main"}}"#);
    match parse_task(200, text.as_bytes()) {
        Ok(Answer::Task(task)) => Job::new(task, within, now),
        other => panic!("{other:?}"),
    }
}

fn away() -> Fault {
    Fault::network(Cause::Server("a.example:443".into()), "the server cannot be reached")
}

fn number(due: Option<Due>) -> String {
    match due {
        Some(Due::Job(job)) => job.task.key.to_string(),
        Some(Due::Probe { job, .. }) => format!("probe with {}", job.task.key),
        None => "nothing".into(),
    }
}

#[test]
fn a_held_task_is_its_own_probe_and_the_pause_grows() {
    let mut holds = Holds::default();
    let mut now = Instant::now();
    assert!(holds.hold(job(1, None, now), away(), Step::Fetch, now));
    assert!(!holds.hold(job(2, None, now), away(), Step::Fetch, now), "it is the same fault");
    assert!(holds.blocking().is_some());
    assert!(holds.due(now).is_none(), "a pause comes first");
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let begun = now;
        while holds.next().is_some_and(|next| next > now) {
            now += SECOND;
        }
        pauses.push((now - begun).as_secs());
        let Some(Due::Job(job)) = holds.due(now) else { panic!("a task is due") };
        assert!(holds.due(now).is_none(), "one slot tries at a time");
        holds.hold(*job, away(), Step::Fetch, now);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 20, 20, 20, 20]);
    let Standing { held, tries, blocks, .. } = holds.standing(now).remove(0);
    assert_eq!((held.len(), tries, blocks), (2, 10, true));
}

#[test]
fn what_works_again_lets_all_that_was_held_go_on() {
    let mut holds = Holds::default();
    let now = Instant::now();
    for attempt in [1, 2, 3] {
        holds.hold(job(attempt, None, now), away(), Step::Fetch, now);
    }
    let later = now + 100 * SECOND;
    assert_eq!(number(holds.due(later)), "attempt 1");
    assert_eq!(holds.healed(&away().cause, later), Some(100 * SECOND));
    assert!(holds.blocking().is_none() && !holds.is_empty());
    let ready: Vec<String> = std::iter::from_fn(|| holds.ready()).map(|job| job.task.key.to_string()).collect();
    assert_eq!(ready, ["attempt 2", "attempt 3"]);
    assert!(holds.is_empty());
    assert_eq!(holds.healed(&away().cause, later), None);
}

#[test]
fn a_task_whose_time_is_over_is_given_back_and_a_probe_takes_its_place() {
    let mut holds = Holds::default();
    let now = Instant::now();
    holds.hold(job(1, Some(10 * SECOND), now), away(), Step::Fetch, now);
    assert!(holds.expired(now + 9 * SECOND).is_empty());
    let over = holds.expired(now + 10 * SECOND);
    assert_eq!(over.len(), 1);
    assert_eq!(over[0].1, away());
    assert!(holds.is_empty() && holds.blocking().is_some(), "the fault stands");
    assert_eq!(number(holds.due(now + 10 * SECOND)), "probe with attempt 1");
    holds.still(&away().cause, away(), now + 10 * SECOND);
    assert!(holds.due(now + 11 * SECOND).is_none());
    assert_eq!(number(holds.due(now + 12 * SECOND)), "probe with attempt 1");
    holds.untried(&away().cause, now + 12 * SECOND);
    assert!(holds.blocking().is_some());
}

#[test]
fn a_fault_of_one_task_keeps_no_other_and_ends_with_it() {
    let broken = || Fault::host(Cause::Sandbox, "the sandbox broke");
    let mut holds = Holds::default();
    let mut now = Instant::now();
    holds.hold(job(1, None, now), broken(), Step::Test, now);
    assert!(!holds.wants_evidence(&broken().cause), "it may be over at the next try");
    for tries in 1..=3 {
        now += 60 * SECOND;
        let Some(Due::Job(job)) = holds.due(now) else { panic!("a task is due") };
        assert_eq!(job.tries, tries);
        holds.hold(*job, broken(), Step::Test, now);
        if tries == 1 {
            assert!(holds.wants_evidence(&broken().cause));
            holds.belongs_to_tasks(&broken().cause);
            assert!(holds.blocking().is_none() && !holds.wants_evidence(&broken().cause));
        }
    }
    now += 60 * SECOND;
    let Some(Due::Job(job)) = holds.due(now) else { panic!("a task is due") };
    assert!(holds.is_hopeless(&broken().cause, &job));
    holds.untried(&broken().cause, now);
    now += 60 * SECOND;
    assert!(holds.due(now).is_none() && holds.standing(now).is_empty(), "nobody waits for it");
}

#[test]
fn a_repository_that_cannot_be_fetched_is_tried_to_its_deadline_or_for_some_minutes() {
    let begun = Instant::now();
    for (within, tries) in [(None, Some(FETCHES_ALONE)), (Some(3600 * SECOND), None)] {
        let (mut holds, mut now) = (Holds::default(), begun);
        holds.hold(job(1, within, now), away(), Step::Fetch, now);
        holds.belongs_to_tasks(&away().cause);
        let hopeless = (1..100).find(|_| {
            now += 20 * SECOND;
            let Some(Due::Job(job)) = holds.due(now) else { panic!("a task is due") };
            let hopeless = holds.is_hopeless(&away().cause, &job);
            holds.hold(*job, away(), Step::Fetch, now);
            hopeless
        });
        assert_eq!(hopeless, tries);
    }
}

#[test]
fn what_stands_is_said_once_a_minute() {
    let mut holds = Holds::default();
    let now = Instant::now();
    holds.hold(job(1, None, now), away(), Step::Fetch, now);
    let every = 60 * SECOND;
    assert!(holds.say_again(now + 59 * SECOND, every).is_empty());
    assert_eq!(holds.say_again(now + 61 * SECOND, every).len(), 1);
    assert!(holds.say_again(now + 100 * SECOND, every).is_empty());
    assert_eq!(holds.take_all().len(), 1);
}

#[test]
fn a_probe_that_something_else_keeps_from_its_step_changes_nothing() {
    let (mut holds, now) = (Holds::default(), Instant::now());
    holds.hold(job(1, Some(SECOND), now), Fault::suite("it is broken"), Step::Suite, now);
    assert_eq!(holds.expired(now + SECOND).len(), 1);
    let mut later = now + 60 * SECOND;
    for _ in 0..3 {
        let Some(Due::Probe { cause, .. }) = holds.due(later) else { panic!("a probe is due") };
        assert_eq!(cause, Cause::Suite);
        holds.still(&cause, away(), later);
        assert_eq!(holds.fault(&Cause::Suite).map(|fault| fault.cause.clone()), Some(Cause::Suite));
        later += 60 * SECOND;
    }
    let Some(Due::Probe { cause, .. }) = holds.due(later) else { panic!("a probe is due") };
    assert!(holds.healed(&cause, later).is_some() && holds.blocking().is_none());
}

#[test]
fn a_task_that_was_parked_ends_its_try_as_one_that_was_held() {
    let (mut holds, now) = (Holds::default(), Instant::now());
    assert!(holds.park(job(2, None, now), &away().cause).is_err(), "nothing is broken");
    holds.hold(job(1, None, now), away(), Step::Fetch, now);
    assert!(holds.park(job(2, None, now), &away().cause).is_ok());
    let later = now + 60 * SECOND;
    assert_eq!(number(holds.due(later)), "attempt 1");
    holds.untried(&away().cause, later);
    let Some(Due::Job(parked)) = holds.due(later + 60 * SECOND) else { panic!("a task is due") };
    assert_eq!(parked.held_by, Some((away().cause, Step::Fetch)));
}

#[test]
fn what_was_shown_of_one_task_does_not_hold_for_the_next() {
    let (mut holds, mut now) = (Holds::default(), Instant::now());
    for _ in 0..2 {
        holds.hold(job(1, None, now), away(), Step::Fetch, now);
        now += 60 * SECOND;
    }
    holds.belongs_to_tasks(&away().cause);
    let Some(Due::Job(first)) = holds.due(now) else { panic!("a task is due") };
    holds.hold(*first, away(), Step::Fetch, now);
    assert!(holds.blocking().is_none(), "it is still its own");
    holds.hold(job(3, None, now), away(), Step::Fetch, now);
    assert!(holds.blocking().is_some() && holds.wants_evidence(&away().cause));
}

#[test]
fn what_goes_on_has_a_deadline_too_while_something_else_keeps_it() {
    let (mut holds, now) = (Holds::default(), Instant::now());
    holds.resume([job(1, Some(SECOND), now), job(2, None, now)]);
    assert!(holds.expired(now + SECOND).is_empty(), "nothing keeps it");
    holds.hold(job(3, None, now), away(), Step::Fetch, now);
    let over = holds.expired(now + SECOND);
    assert_eq!((over.len(), &over[0].1), (1, &away()));
}
