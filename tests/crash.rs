//! The runner is killed at every place of a task's life, and at random times: nothing is lost, nothing is answered twice with
//! different content, nothing is left behind.
//!
//! A debug build of the runner says which places it passes (src/steps.rs) and kills itself at one of them. The list comes
//! from a run that is not killed, so a new place is tried without a word here. OSTEST_TEST_KILLS is the number of random
//! times, 20 without it; in an emulated machine (OSTEST_EMULATED) and without OSTEST_TEST_KILLS a part of both is tried.
//! OSTEST_TEST_ASKING_KILLS and OSTEST_TEST_DISK_KILLS are the numbers of kills while the backend is asked, and on disks that fill up
//! and become read-only.

mod common;
mod support;

use common::{send_signal, wait_until};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use support::backend::{Counting, Reply};
use support::disk::Disk;
use support::{Place, need_root, traces};

const KILL: i32 = 9;

/// The place at which the runner has an answer that it has not written down. The backend has handed a task out, and nobody can know
/// of it but the backend: it has to hand it out again. The next start says so.
const NOBODYS: &str = "poll: the backend has answered";

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

    /// One that is answered without being graded.
    fn offer_invalid(&mut self) {
        self.attempt += 1;
        self.backend.books().queue.push_back(json!({"attempt": self.attempt, "branch": "main"}));
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
    number("OSTEST_TEST_KILLS")
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|number| number.parse().unwrap_or_else(|e| panic!("{name} is no number: {e}")))
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
        // The second question is answered with nothing.
        let nobodys = place == NOBODYS && !places[..at].iter().any(|before| before == NOBODYS);
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
    let begun = Instant::now();
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

#[test]
fn a_kill_while_the_backend_is_asked_loses_nothing_in_silence() {
    if !need_root("a_kill_while_the_backend_is_asked_loses_nothing_in_silence") {
        return;
    }
    let mut course = Course::new();
    // What is built once is built now.
    course.offer();
    course.run();
    // A task that is answered at once, a pause, a task: nothing happens but questions, answers and records.
    course.backend.books().sparse = true;
    let wanted = number("OSTEST_TEST_ASKING_KILLS").unwrap_or(10);
    let seed = std::process::id();
    let mut state = seed | 1;
    let (mut log, mut asked) = (String::new(), course.backend.books().asked);
    // Tasks whose answers were out, and in the kernel's hands, before the kill; and those that the backend had only chosen.
    let (mut out, mut chosen) = (Vec::new(), Vec::new());
    for _ in 0..wanted {
        let before = course.backend.books().handed.len();
        (0..10).for_each(|_| course.offer_invalid());
        let mut command = course.place.runner(&course.backend.url, &course.suite);
        command.args(["--logger-level", "warning"]).stdout(Stdio::piped());
        let mut runner = command.spawn().expect("the runner starts");
        // Anywhere in two rounds. The next start goes on from there.
        course.backend.wait("the first question", |books| books.asked > asked);
        std::thread::sleep(Duration::from_millis(200).mul_f64(f64::from(random(&mut state)) / f64::from(u32::MAX)));
        let killed = Instant::now();
        send_signal(i32::try_from(runner.id()).expect("a pid"), KILL);
        let output = runner.stdout.take().map(std::io::read_to_string).expect("a pipe").expect("text");
        log.push_str(&output);
        assert_eq!(runner.wait().expect("it ends").signal(), Some(KILL), "{output}");
        course.backend.wait("the backend", |books| books.answered == books.asked);
        let books = course.backend.books();
        asked = books.asked;
        for (task, time) in books.handed.iter().zip(&books.out).skip(before) {
            let attempt = task["attempt"].as_u64().expect("a number");
            if *time < killed { out.push(attempt) } else { chosen.push(attempt) }
        }
    }
    course.backend.books().sparse = false;
    course.backend.books().queue.clear();
    log.push_str(&course.run());
    let told = course.backend.by_attempt();
    for (attempt, all) in &told {
        assert!(all.iter().all(|one| *one == all[0]), "seed {seed}: attempt {attempt}: {all:#?}");
    }
    let lost = |handed: &[u64]| handed.iter().filter(|attempt| !told.contains_key(&attempt.to_string())).count();
    let named = log.matches("killed while it asked the backend").count();
    let interrupted =
        told.values().filter(|all| all[0]["testResults"]["errorDetails"].to_string().contains("interrupted")).count();
    println!(
        "{wanted} kills while the backend was asked (seed {seed}): of {} tasks whose answers were out {} are lost and {interrupted} \
         interrupted; of {} that it had chosen, and not sent yet, {}; {named} starts said that one may be lost",
        out.len(),
        lost(&out),
        chosen.len(),
        lost(&chosen),
    );
    // What is in the kernel's hands alone at that instant nobody can have.
    assert!(lost(&out) + lost(&chosen) <= named && lost(&out) <= 1 + wanted / 100, "seed {seed}: {log}");
}

#[test]
fn kills_on_disks_that_fill_up_and_become_read_only_lose_nothing_and_contradict_nothing() {
    if !need_root("kills_on_disks_that_fill_up_and_become_read_only_lose_nothing_and_contradict_nothing") {
        return;
    }
    let mut course = Course::new();
    course.offer();
    let begun = Instant::now();
    course.run();
    let longest = begun.elapsed();
    let disk = Disk::new(&course.place, "12m");
    let wanted = number("OSTEST_TEST_DISK_KILLS").unwrap_or(6);
    let seed = std::process::id();
    let mut state = seed | 1;
    let (mut interrupted, mut graded, mut twice, mut again) = (0, 0, 0, 0);
    for kill in 0..wanted {
        let attempt = course.offer();
        // The backend does not take each result at the first try.
        let fails = (0..random(&mut state) % 3).map(|_| Reply::Status(503, ""));
        course.backend.books().replies.extend(fails);
        let mut command = course.runner();
        let mut runner = disk.command(command.stdout(Stdio::null())).spawn().expect("the runner starts");
        let mut wait = |share: u32| {
            std::thread::sleep((longest / share).mul_f64(f64::from(random(&mut state)) / f64::from(u32::MAX)));
        };
        let (fills, spoils) = (kill % 2 == 0, kill % 5 != 4);
        wait(1);
        if spoils {
            match fills {
                true => disk.fill(),
                false => disk.set_read_only(true),
            }
        }
        wait(1);
        if kill % 3 == 0 {
            disk.set_read_only(false);
            disk.free();
            wait(2);
        }
        send_signal(i32::try_from(runner.id()).expect("a pid"), KILL);
        runner.wait().expect("it ends");
        disk.set_read_only(false);
        disk.free();
        course.backend.books().replies.clear();
        let run = || {
            let output = disk.command(&course.runner()).output().expect("the runner starts");
            let log = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "seed {seed}, kill {kill}: {log}");
            log
        };
        let log = run();
        let told = |course: &Course| course.backend.by_attempt().remove(&attempt.to_string()).unwrap_or_default();
        let mut all = told(&course);
        if all.is_empty() && log.contains("killed while it asked the backend") {
            again += 1;
            let task = course.backend.books().handed.last().cloned().expect("it was handed out");
            course.backend.books().queue.push_back(task);
            run();
            all = told(&course);
        }
        assert!(!all.is_empty(), "seed {seed}, kill {kill}: attempt {attempt} is lost: {log}");
        let sent: Vec<Value> =
            course.backend.books().sent.iter().filter(|result| result["attempt"] == attempt).cloned().collect();
        assert!(sent.iter().all(|one| *one == sent[0]), "seed {seed}, kill {kill}: {sent:#?}");
        let left: Vec<_> =
            std::fs::read_dir(disk.path("")).expect("the disk").flatten().map(|e| e.file_name()).collect();
        assert!(
            left.iter().all(|name| !name.to_string_lossy().ends_with(".json")),
            "seed {seed}, kill {kill}: {left:?}"
        );
        match all[0]["testResults"]["isError"] == true {
            true => interrupted += 1,
            false => graded += 1,
        }
        twice += usize::from(all.len() > 1);
    }
    println!(
        "{wanted} kills on bad disks (seed {seed}): {graded} graded, {interrupted} interrupted, {twice} told twice the same, {again} that \
         the backend had to hand out again"
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
