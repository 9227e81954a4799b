//! The runner is killed at every place of a task's life, and at random times: nothing is lost, nothing is answered twice with
//! different content, nothing is left behind.
//!
//! A debug build of the runner says which places it passes (src/steps.rs) and kills itself at one of them. The list comes
//! from a run that is not killed, so a new place is tried without a word here. OSTEST_TEST_KILLS is the number of random
//! times, 20 without it; in an emulated machine (OSTEST_EMULATED) and without OSTEST_TEST_KILLS a part of both is tried.

mod common;
mod support;

use common::{send_signal, wait_until};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use support::backend::Counting;
use support::{Place, need_root, traces};

const KILL: i32 = 9;

/// The place at which the runner has a task that it has not put on record. The backend has handed it out, and nobody can know
/// of it but the backend: it has to hand it out again. The next start says so.
const NOBODYS: &str = "poll: a task is in memory";

struct Course {
    place: Place,
    suite: PathBuf,
    backend: Counting,
    attempt: u64,
}

impl Course {
    fn new() -> Course {
        let place = Place::new();
        place.repository(
            "good",
            &[("Makefile", "all:\n\tcc -o prog prog.c\n"), ("prog.c", "int main(void) { return 7; }\n")],
        );
        let tests = "import subprocess, os\nP = os.environ['OSTEST_PROJECT']\n\
            def test_a(): assert subprocess.run([P + '/prog']).returncode == 7\ndef test_b(): assert False\n";
        let suite = place.tree("suite", &[("ostest.toml", "[build]\ncommand = ['make']\n"), ("test_a.py", tests)]);
        Course { place, suite, backend: Counting::start([], || ()), attempt: 0 }
    }

    /// One more task waits at the backend.
    fn offer(&mut self) -> u64 {
        self.attempt += 1;
        let task = json!({"attempt": self.attempt, "repositoryUrl": "https://course.example/good", "branch": "main"});
        self.backend.books().queue.push_back(task);
        self.attempt
    }

    fn runner(&self) -> Command {
        let mut command = self.place.runner(&self.backend.url, &self.suite);
        command.args(["--once", "--concurrent", "1", "--logger-level", "warning"]).stdout(Stdio::piped());
        command
    }

    /// Runs to the end as if nothing had been; what the log says.
    fn run(&self) -> String {
        let output = self.runner().output().expect("the runner starts");
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{log}{}", String::from_utf8_lossy(&output.stderr));
        log
    }

    /// The places that a task passes, in order.
    fn places(&mut self) -> Vec<String> {
        self.offer();
        // What is built once is built now.
        self.run();
        let file = self.place.path("steps");
        self.offer();
        assert!(self.runner().env("OSTEST_TEST_STEPS", &file).status().expect("the runner starts").success());
        let text =
            std::fs::read_to_string(&file).expect("the runner under test is a debug build, which says its places");
        text.lines().map(str::to_string).collect()
    }

    /// After a kill and a start that was not killed: what is told of this attempt, and nothing is left.
    fn settled(&self, attempt: u64, after: &str) -> Vec<Value> {
        let told = self.backend.by_attempt().remove(&attempt.to_string()).unwrap_or_default();
        assert!(told.iter().all(|one| *one == told[0]), "killed {after}, it was answered differently: {told:#?}");
        let state = self.place.path("state");
        let spool = std::fs::read_dir(state.join("spool")).expect("a spool").flatten();
        let left: Vec<_> =
            spool.map(|e| e.file_name()).filter(|name| name.to_string_lossy().ends_with(".json")).collect();
        assert!(left.is_empty(), "killed {after}, the spool still holds {left:?}");
        // The launcher of the runner that was killed may be slower than the next runner.
        let groups = || self.place.groups();
        wait_until(&format!("an end to what is left of a runner killed {after}"), || {
            traces(&state).is_empty() && groups().is_empty()
        });
        told
    }
}

fn kills() -> Option<usize> {
    std::env::var("OSTEST_TEST_KILLS").ok().map(|number| number.parse().expect("OSTEST_TEST_KILLS is a number"))
}

fn whole() -> bool {
    std::env::var_os("OSTEST_EMULATED").is_none() || kills().is_some()
}

/// One share of the places, so that shares can be tried beside each other.
fn every_place_of(share: usize, shares: usize) {
    if !need_root("every_place_of") {
        return;
    }
    let mut course = Course::new();
    let places = course.places();
    assert!(places.len() >= 25, "a task passes {} places only: {places:?}", places.len());
    let (mut killed, mut finished, mut interrupted) = (0, 0, 0);
    for (at, place) in places.iter().enumerate().filter(|(at, _)| at % shares == share) {
        if !whole() && !(at / shares).is_multiple_of(7) {
            continue;
        }
        let attempt = course.offer();
        let status =
            course.runner().env("OSTEST_TEST_DIE_AT", (at + 1).to_string()).status().expect("the runner starts");
        let after = format!("at place {} ({place})", at + 1);
        assert_eq!(status.signal(), Some(KILL), "{after}: {status:?}");
        killed += 1;
        // Before the question the task is still the backend's; while it is nobody's, it becomes so again.
        let nobodys = place == NOBODYS;
        if nobodys {
            let task = course.backend.books().handed.last().cloned().expect("it was handed out");
            course.backend.books().queue.push_back(task);
        }
        let log = course.run();
        assert!(!nobodys || log.contains("killed while it asked the backend"), "{after}: {log}");
        let told = course.settled(attempt, &after);
        assert!(!told.is_empty(), "{after}: the attempt is lost: {log}");
        // A result that was on disk is what is told.
        match told[0]["testResults"]["isError"].as_bool() {
            Some(false) => finished += 1,
            _ => {
                let said = told[0]["testResults"]["errorDetails"].to_string();
                assert!(said.contains("interrupted by a restart of the grader"), "{after}: {said}");
                interrupted += 1;
            }
        }
    }
    println!(
        "share {share}: killed at {killed} of {} places, {finished} graded, {interrupted} interrupted",
        places.len()
    );
    assert!(killed > 0);
}

#[test]
fn a_kill_at_every_place_loses_nothing_first_share() {
    every_place_of(0, 2);
}

#[test]
fn a_kill_at_every_place_loses_nothing_second_share() {
    every_place_of(1, 2);
}

#[test]
fn a_kill_at_any_time_loses_nothing() {
    if !need_root("a_kill_at_any_time_loses_nothing") {
        return;
    }
    let mut course = Course::new();
    course.places();
    // How long a start and a task take here.
    course.offer();
    let begun = std::time::Instant::now();
    course.run();
    let mut longest = begun.elapsed();
    let (mut killed, mut interrupted, mut twice, mut again) = (0, 0, 0, 0);
    let seed = std::process::id();
    let mut state = seed | 1;
    let wanted = kills().unwrap_or(if whole() { 20 } else { 1 });
    for number in 1.. {
        if killed == wanted {
            break;
        }
        assert!(number <= 10 * wanted, "it ends before it can be killed");
        let attempt = course.offer();
        let mut runner = course.runner().stdout(Stdio::null()).spawn().expect("the runner starts");
        let delay = longest.mul_f64(f64::from(random(&mut state)) / f64::from(u32::MAX));
        std::thread::sleep(delay);
        send_signal(i32::try_from(runner.id()).expect("a pid"), KILL);
        let status: ExitStatus = runner.wait().expect("it ends");
        match status.signal() == Some(KILL) {
            true => killed += 1,
            // Other tests held up the one that was measured: with ten times too long nine in ten would end before.
            false => longest = longest.min(delay),
        }
        let log = course.run();
        let asking = log.contains("killed while it asked the backend");
        let after = format!("at the {number}th random time (seed {seed})");
        let mut told = course.settled(attempt, &after);
        if told.is_empty() && asking {
            // It was the backend's word that was lost: it has to say it again.
            again += 1;
            let task = course.backend.books().handed.last().cloned().expect("it was handed out");
            course.backend.books().queue.push_back(task);
            course.run();
            told = course.settled(attempt, &after);
        }
        assert!(!told.is_empty(), "killed {after}, the attempt is lost: {log}");
        interrupted += usize::from(told[0]["testResults"]["isError"] == true);
        twice += usize::from(told.len() > 1);
    }
    println!(
        "killed {killed} times: {interrupted} interrupted, {twice} told twice the same, {again} that the backend had to hand out again"
    );
}

/// One step of xorshift.
fn random(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}

#[test]
fn what_a_killed_run_had_in_hand_is_graded_again_where_that_is_asked_for() {
    if !need_root("what_a_killed_run_had_in_hand_is_graded_again_where_that_is_asked_for") {
        return;
    }
    let mut course = Course::new();
    let places = course.places();
    let attempt = course.offer();
    let at = places.iter().position(|place| place == "test: the harness has said something").expect("a test stage");
    let status = course.runner().env("OSTEST_TEST_DIE_AT", (at + 1).to_string()).status().expect("the runner starts");
    assert_eq!(status.signal(), Some(KILL));
    // Nothing is at the backend any more: the task comes from the spool.
    let asked = course.runner().arg("--resume").output().expect("the runner starts");
    assert!(asked.status.success(), "{asked:?}");
    let told = course.settled(attempt, "in its tests");
    assert_eq!(told.len(), 1);
    let cases = told[0]["testResults"]["testCases"].as_array().expect("a list");
    assert_eq!(cases.iter().map(|case| case["isPassed"].clone()).collect::<Vec<_>>(), [true, false]);
}
