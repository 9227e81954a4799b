//! A fault that is not the submission's costs no student an attempt: the task that meets it is held, no other is taken, and all go on
//! when it is mended.

mod common;
mod support;

use common::{send_signal, wait_until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::backend::Counting;
use support::{Place, need_root};

const TERM: i32 = 15;
const HUP: i32 = 1;
const KILL: i32 = 9;

fn place() -> (Place, PathBuf) {
    let place = Place::new();
    place.repository("good", &[("main.c", "int main(void) { return 0; }\n")]);
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    (place, suite)
}

fn task(attempt: u64) -> Value {
    json!({"attempt": attempt, "repositoryUrl": "https://course.example/good", "branch": "main"})
}

fn status(place: &Place) -> Value {
    let text = std::fs::read_to_string(place.path("state/status.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// A runner with a log.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a test that has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(place: &Place, backend: &Counting, suite: &Path, more: &[&str]) -> Running {
        let log = place.path("log");
        let mut command: Command = place.runner(&backend.url, suite);
        command.args(more).arg("--logger-output").arg(&log).stdout(Stdio::null());
        Running { child: command.spawn().expect("the runner starts"), log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn ends(mut self) {
        send_signal(i32::try_from(self.child.id()).expect("a pid"), TERM);
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0), "{}", self.log());
    }
}

fn passed(result: &Value) -> bool {
    result["testResults"]["isPassed"] == true
}

/// A fault of everybody's, made by `break_it` and mended by `mend_it`, meets a runner that has tasks to take. How many tasks it was
/// given before it stopped asking.
fn meets(slots: &str, break_it: &dyn Fn(&Place, &Path), mend_it: &dyn Fn(&Place, &Path)) -> usize {
    let (place, suite) = place();
    let backend = Counting::start([task(1)], || ());
    let runner = Running::start(&place, &backend, &suite, &["--concurrent", slots]);
    backend.wait("a first result", |books| books.taken.len() == 1);
    break_it(&place, &suite);
    backend.books().queue.extend((2..=12).map(task));
    wait_until("a task is held", || status(&place)["held"].as_array().is_some_and(|held| !held.is_empty()));
    assert_eq!(status(&place)["state"], "holding", "{}", runner.log());
    // The step is tried again, and nothing else happens meanwhile.
    wait_until("it is tried again", || status(&place)["held"][0]["tries"].as_u64().is_some_and(|tries| tries >= 3));
    let books = backend.books();
    let (taken, handed) = (books.taken.len(), books.handed.len());
    drop(books);
    assert_eq!(taken, 1, "nothing is answered: {}", runner.log());
    // That the others were not taken is shown; two of them will do to show that they are now.
    backend.books().queue.truncate(2);
    mend_it(&place, &suite);
    backend.wait("all results", |books| books.taken.len() == handed + 2);
    assert!(backend.books().taken.iter().all(passed), "{:#?}", backend.books().taken);
    let log = runner.log();
    assert!(log.contains("does not work; the task is held") && log.contains("task=attempt 2"), "{log}");
    runner.ends();
    assert_eq!(status(&place)["held"], json!([]));
    handed - 1
}

#[test]
fn a_suite_that_is_away_costs_no_attempt_and_stops_the_taking() {
    if !need_root("a_suite_that_is_away_costs_no_attempt_and_stops_the_taking") {
        return;
    }
    let away = |place: &Place, suite: &Path| std::fs::rename(suite, place.path("away")).expect("the suite is moved");
    let back = |place: &Place, suite: &Path| std::fs::rename(place.path("away"), suite).expect("the suite is back");
    for slots in ["2", "8"] {
        assert_eq!(meets(slots, &away, &back), 1, "{slots} slots");
    }
}

#[test]
fn a_suite_whose_file_is_broken_costs_no_attempt() {
    if !need_root("a_suite_whose_file_is_broken_costs_no_attempt") {
        return;
    }
    let broken = |_: &Place, suite: &Path| std::fs::write(suite.join("ostest.toml"), "[test\n").expect("a file");
    let mended = |_: &Place, suite: &Path| std::fs::remove_file(suite.join("ostest.toml")).expect("no file");
    assert_eq!(meets("2", &broken, &mended), 1);
}

#[test]
fn a_task_whose_time_is_over_is_answered_as_nobodys_fault_and_no_other_is_taken() {
    if !need_root("a_task_whose_time_is_over_is_answered_as_nobodys_fault_and_no_other_is_taken") {
        return;
    }
    let (place, suite) = place();
    let backend = Counting::start([task(1)], || ());
    let config = place.path("config.toml");
    std::fs::write(&config, "answer-within = 20\n").expect("a file");
    let arguments = ["--concurrent", "4", "--logger-level", "warning", "--config", &config.display().to_string()];
    let runner = Running::start(&place, &backend, &suite, &arguments);
    backend.wait("a first result", |books| books.taken.len() == 1);
    std::fs::write(suite.join("ostest.toml"), "[test\n").expect("a file");
    backend.books().queue.extend((2..=4).map(task));
    backend.wait("the answer", |books| books.taken.len() == 2);
    // A probe goes on without a task.
    wait_until("it is tried again", || {
        let log = runner.log();
        log.contains("it is answered ungraded") && status(&place)["state"] == "holding"
    });
    let answer = backend.books().taken[1].clone();
    assert_eq!((&answer["attempt"], &answer["testResults"]["isError"]), (&json!(2), &json!(true)));
    let said = answer["testResults"]["errorDetails"].as_str().expect("text").to_string();
    assert!(
        said.contains("not to blame")
            && said.contains("ostest.toml")
            && !said.contains(&place.path("").display().to_string()),
        "{said}"
    );
    assert_eq!(backend.books().handed.len(), 2, "no other was taken");
    // The others have all the time that this machine needs.
    std::fs::write(&config, "").expect("a file");
    send_signal(i32::try_from(runner.child.id()).expect("a pid"), HUP);
    wait_until("it is read", || runner.log().contains("the configuration was read again"));
    std::fs::remove_file(suite.join("ostest.toml")).expect("no file");
    backend.wait("the others", |books| books.taken.len() == 4);
    let taken = backend.books().taken.clone();
    assert_eq!(taken.iter().filter(|result| passed(result)).count(), 3, "{taken:#?}\n{}", runner.log());
    runner.ends();
}

#[test]
fn a_task_that_is_held_outlives_the_runner_and_is_graded_by_the_next() {
    if !need_root("a_task_that_is_held_outlives_the_runner_and_is_graded_by_the_next") {
        return;
    }
    let (place, suite) = place();
    std::fs::write(suite.join("ostest.toml"), "[test\n").expect("a file");
    let backend = Counting::start([task(1), task(2)], || ());
    for signal in [TERM, KILL] {
        let mut runner = Running::start(&place, &backend, &suite, &[]);
        wait_until("it is held", || runner.log().contains("does not work; the task is held"));
        send_signal(i32::try_from(runner.child.id()).expect("a pid"), signal);
        runner.child.wait().expect("it ends");
        std::fs::remove_file(&runner.log).expect("a log");
    }
    assert_eq!((backend.books().handed.len(), backend.books().taken.len()), (1, 0));
    std::fs::remove_file(suite.join("ostest.toml")).expect("no file");
    let runner = Running::start(&place, &backend, &suite, &[]);
    backend.wait("both results", |books| books.taken.len() == 2);
    assert!(backend.books().taken.iter().all(passed), "{:#?}", backend.books().taken);
    runner.ends();
}

#[test]
fn tests_that_have_less_time_than_they_should_have_failed_nobody() {
    if !need_root("tests_that_have_less_time_than_they_should_have_failed_nobody") {
        return;
    }
    let (place, suite) = place();
    let slow = "import os, time\ndef test_a(): pass\ndef test_b(): time.sleep(1000)\n";
    std::fs::write(suite.join("test_a.py"), slow).expect("a file");
    let backend = Counting::start([task(1)], || ());
    let runner = Running::start(&place, &backend, &suite, &["--concurrent", "1", "--answer-within", "16"]);
    // Five eighths of the time are the tests' own: one that takes longer is too slow.
    backend.wait("a first result", |books| books.taken.len() == 1);
    let first = backend.books().taken[0]["testResults"].clone();
    assert!(first["errorDetails"].as_str().is_some_and(|text| text.contains("10 s")), "{first:#}");
    let cases = first["testCases"].as_array().expect("a list").clone();
    assert!(
        cases[0]["isPassed"] == true && cases[1]["description"].as_str().is_some_and(|d| d.contains("10 s")),
        "{first:#}"
    );
    // One that was held before has less, and that is not its fault.
    std::fs::rename(&suite, place.path("away")).expect("the suite is moved");
    backend.books().queue.push_back(task(2));
    wait_until("it is held", || status(&place)["held"][0]["tries"].as_u64().is_some_and(|tries| tries >= 3));
    std::fs::rename(place.path("away"), &suite).expect("the suite is back");
    backend.wait("the answer", |books| books.taken.len() == 2);
    let second = backend.books().taken[1]["testResults"].clone();
    assert_eq!(second["isError"], true, "{second:#}");
    assert!(second["errorDetails"].as_str().is_some_and(|text| text.contains("not to blame")), "{second:#}");
    runner.ends();
}
