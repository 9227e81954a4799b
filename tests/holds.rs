//! A fault that is not the submission's costs no student an attempt: the task that meets it is held, no other is taken, and all go on
//! when it is mended.

mod common;
mod support;

use common::{send_signal, wait_until};
use serde_json::{Value, json};
use std::path::Path;
use support::backend::Counting;
use support::running::{Everything, Running, passed, status};
use support::servers::{Certificate, Server};
use support::{Place, need_root};

const TERM: i32 = 15;
const HUP: i32 = 1;
const KILL: i32 = 9;

fn task(attempt: u64) -> Value {
    json!({"attempt": attempt, "repositoryUrl": "https://course.example/good", "branch": "main"})
}

/// What a fault of everybody's is, how it is made and how it is mended.
struct Everybodys<'a> {
    name: &'a str,
    /// Whether the submissions come from a git server, and not from a mirror.
    remote: bool,
    /// How often it is tried before it is mended.
    tries: u64,
    make: &'a dyn Fn(&Place, &Path),
    mend: &'a dyn Fn(&Place, &Path),
}

/// Such a fault meets a runner that has eleven tasks to take. How many it is given before it stops asking.
fn meets(slots: &str, fault: &Everybodys) -> usize {
    let (place, suite) = Place::with_good();
    let certificate = Certificate::make(&place);
    let server = fault.remote.then(|| Server::git(&place, &certificate));
    let of = |attempt: u64| match &server {
        Some(server) => json!({"attempt": attempt, "repositoryUrl": server.url("good"), "branch": "main"}),
        None => task(attempt),
    };
    let backend = Counting::start([of(1)], || ());
    let runner = match &server {
        Some(server) => of_server(&place, &backend, &suite, server, &certificate, &["--concurrent", slots]),
        None => Running::start(&place, &backend, &suite, &["--concurrent", slots]),
    };
    let all = Everything { place: &place, backend: &backend, runner: &runner, of: &of };
    let given = all.meet_after(
        fault.tries,
        fault.name,
        slots,
        || (fault.make)(&place, &suite),
        || (fault.mend)(&place, &suite),
    );
    runner.ends();
    assert_eq!(status(&place)["held"], json!([]));
    given
}

#[test]
fn a_program_that_the_suite_needs_and_the_host_lacks_costs_no_attempt() {
    if !need_root("a_program_that_the_suite_needs_and_the_host_lacks_costs_no_attempt") {
        return;
    }
    let write = |suite: &Path, text: &str| std::fs::write(suite.join("ostest.toml"), text).expect("it is written");
    let lacking = Everybodys {
        name: "program missing",
        remote: false,
        tries: 3,
        make: &|_, suite| write(suite, "needs = [\"sh\", \"no-such-program\"]\n"),
        mend: &|_, suite| write(suite, "needs = [\"sh\"]\n"),
    };
    assert!(meets("2", &lacking) <= 2);

    // What one laboratory needs keeps no task of another.
    let (place, suite) = Place::with_good();
    write(&suite, "[lab.2]\nneeds = [\"no-such-program\"]\n");
    let of_lab = |attempt, lab: u32| {
        let mut task = task(attempt);
        task["laboratoryNumber"] = json!(lab);
        task
    };
    let backend = Counting::start([of_lab(1, 2)], || ());
    let runner = Running::start(&place, &backend, &suite, &["--concurrent", "1"]);
    wait_until("a task is held", || status(&place)["held"].as_array().is_some_and(|held| !held.is_empty()));
    assert_eq!(status(&place)["held"][0]["blame"], "host", "{}", runner.log());
    backend.books().queue.extend([of_lab(2, 1)]);
    backend.wait("the other laboratory's result", |books| books.taken.len() == 1);
    assert!(
        passed(&backend.books().taken[0]) && backend.books().taken[0]["attempt"] == 2,
        "{:#?}",
        backend.books().taken
    );
    runner.ends();
}

#[test]
fn a_suite_that_is_away_costs_no_attempt_and_stops_the_taking() {
    if !need_root("a_suite_that_is_away_costs_no_attempt_and_stops_the_taking") {
        return;
    }
    let away = Everybodys {
        name: "suite away",
        remote: false,
        tries: 3,
        make: &|place, suite| std::fs::rename(suite, place.path("away")).expect("the suite is moved"),
        mend: &|place, suite| std::fs::rename(place.path("away"), suite).expect("the suite is back"),
    };
    for slots in ["2", "8"] {
        assert_eq!(meets(slots, &away), 1, "{slots} slots");
    }
}

#[test]
fn a_mirror_that_is_away_costs_no_attempt() {
    if !need_root("a_mirror_that_is_away_costs_no_attempt") {
        return;
    }
    let away = Everybodys {
        name: "mirror away",
        remote: false,
        tries: 3,
        make: &|place, _| std::fs::rename(place.path("git"), place.path("away")).expect("it is moved"),
        mend: &|place, _| std::fs::rename(place.path("away"), place.path("git")).expect("it is back"),
    };
    assert_eq!(meets("8", &away), 1);
}

#[test]
fn a_git_server_that_does_not_work_costs_no_attempt() {
    if !need_root("a_git_server_that_does_not_work_costs_no_attempt") {
        return;
    }
    for (slots, answers) in [("2", "hangup"), ("8", "status/503")] {
        let fault = Everybodys {
            name: answers,
            remote: true,
            tries: 3,
            make: &|place, _| std::fs::write(place.path("git/.answers"), answers).expect("a file"),
            mend: &|place, _| std::fs::remove_file(place.path("git/.answers")).expect("no file"),
        };
        assert_eq!(meets(slots, &fault), 1, "{answers}");
    }
}

#[test]
fn a_git_server_that_accepts_and_says_nothing_costs_no_attempt() {
    if !need_root("a_git_server_that_accepts_and_says_nothing_costs_no_attempt") {
        return;
    }
    // At once, and when it is asked for objects. Each try takes as long as it takes to know.
    std::thread::scope(|scope| {
        for (slots, answers) in [("2", "hang"), ("8", "stall")] {
            scope.spawn(move || {
                let fault = Everybodys {
                    name: answers,
                    remote: true,
                    tries: 2,
                    make: &|place, _| std::fs::write(place.path("git/.answers"), answers).expect("a file"),
                    mend: &|place, _| std::fs::remove_file(place.path("git/.answers")).expect("no file"),
                };
                assert_eq!(meets(slots, &fault), 1, "{answers}");
            });
        }
    });
}

/// A runner of a git server, which is known by its certificate.
fn of_server(
    place: &Place,
    backend: &Counting,
    suite: &Path,
    server: &Server,
    certificate: &Certificate,
    more: &[&str],
) -> Running {
    let mut command = place.command(&["--backend-url", &backend.url, "--allow-url", &server.url("")]);
    command.args(["--check-interval", "0.1", "--logger-level", "warning"]).args(more);
    command.arg("--allow-internal").arg(server.place()).arg("--tests").arg(suite);
    command.env("GIT_SSL_CAINFO", &certificate.file);
    Running::of(place, command)
}

#[test]
fn a_repository_that_its_server_cannot_serve_holds_up_nobody_else() {
    if !need_root("a_repository_that_its_server_cannot_serve_holds_up_nobody_else") {
        return;
    }
    let (place, suite) = Place::with_good();
    let certificate = Certificate::make(&place);
    let server = Server::git(&place, &certificate);
    let of =
        |attempt: u64, path: &str| json!({"attempt": attempt, "repositoryUrl": server.url(path), "branch": "main"});
    let backend = Counting::start([of(1, "good"), of(2, "status/503/good"), of(3, "good"), of(4, "good")], || ());
    let runner =
        of_server(&place, &backend, &suite, &server, &certificate, &["--concurrent", "4", "--answer-within", "60"]);
    backend.wait("all answers", |books| books.taken.len() == 4);
    let taken = backend.books().taken.clone();
    let of_attempt =
        |attempt: u64| taken.iter().find(|result| result["attempt"] == attempt).cloned().unwrap_or_default();
    assert!([1, 3, 4].iter().all(|attempt| passed(&of_attempt(*attempt))), "{taken:#?}");
    let said = of_attempt(2)["testResults"]["errorDetails"].to_string();
    assert!(said.contains("not to blame") && said.contains("HTTP 503"), "{said}");
    assert!(runner.log().contains("works for other tasks"), "{}", runner.log());
    runner.ends();
}

#[test]
fn a_git_server_that_is_away_costs_one_attempt_at_most_and_is_gone_on_with() {
    if !need_root("a_git_server_that_is_away_costs_one_attempt_at_most_and_is_gone_on_with") {
        return;
    }
    let (place, suite) = Place::with_good();
    let certificate = Certificate::make(&place);
    let mut server = Server::git(&place, &certificate);
    let (top, port) = (server.url(""), server.place());
    let of = |attempt: u64| json!({"attempt": attempt, "repositoryUrl": format!("{top}good"), "branch": "main"});
    let backend = Counting::start([of(1)], || ());
    let runner = of_server(&place, &backend, &suite, &server, &certificate, &["--concurrent", "4"]);
    backend.wait("a first result", |books| books.taken.len() == 1);
    server.stop();
    backend.books().queue.extend((2..=9).map(of));
    wait_until("it is tried again", || status(&place)["held"][0]["tries"].as_u64().is_some_and(|tries| tries >= 3));
    let books = backend.books();
    assert_eq!((books.taken.len(), books.handed.len()), (1, 2), "nothing is answered, and one is held");
    drop(books);
    let log = runner.log();
    let first = format!("the git server {port} does not work; the task is held and tried again, and no other is taken");
    assert!(log.contains(&first) && log.contains("task=attempt 2"), "{log}");
    // With nothing to compare with the fault is everybody's, however long it lasts.
    assert_eq!(status(&place)["held"].as_array().map(Vec::len), Some(1));
    runner.ends();
    assert_eq!(backend.books().taken.len(), 1, "what is held waits for the next start");
}

#[test]
fn a_suite_whose_file_is_broken_costs_no_attempt() {
    if !need_root("a_suite_whose_file_is_broken_costs_no_attempt") {
        return;
    }
    let broken = Everybodys {
        name: "suite's ostest.toml broken",
        remote: false,
        tries: 3,
        make: &|_, suite| std::fs::write(suite.join("ostest.toml"), "[test\n").expect("a file"),
        mend: &|_, suite| std::fs::remove_file(suite.join("ostest.toml")).expect("no file"),
    };
    assert_eq!(meets("2", &broken), 1);
}

#[test]
fn a_task_whose_time_is_over_is_answered_as_nobodys_fault_and_no_other_is_taken() {
    if !need_root("a_task_whose_time_is_over_is_answered_as_nobodys_fault_and_no_other_is_taken") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([task(1)], || ());
    let config = place.path("config.toml");
    std::fs::write(&config, "answer-within = 20\n").expect("a file");
    let arguments = ["--concurrent", "4", "--logger-level", "info", "--config", &config.display().to_string()];
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
    send_signal(runner.pid(), HUP);
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
    let (place, suite) = Place::with_good();
    std::fs::write(suite.join("ostest.toml"), "[test\n").expect("a file");
    let backend = Counting::start([task(1), task(2)], || ());
    for signal in [TERM, KILL] {
        let mut runner = Running::start(&place, &backend, &suite, &[]);
        wait_until("it is held", || runner.log().contains("does not work; the task is held"));
        send_signal(runner.pid(), signal);
        runner.child.wait().expect("it ends");
        std::fs::remove_file(&runner.log).expect("a log");
    }
    let books = backend.books();
    assert_eq!((books.handed.len(), books.taken.len()), (1, 0));
    drop(books);
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
    let (place, suite) = Place::with_good();
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
