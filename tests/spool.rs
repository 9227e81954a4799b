//! No result is lost: backends that refuse, fail and go away, disks that fill up, hosts that break.

mod common;
mod support;

use common::{send_signal, wait_until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use support::backend::{Counting, Reply};
use support::disk::{Disk, fill};
use support::running::{passed, row, status};
use support::{Place, need_root};

const TERM: i32 = 15;
const HUP: i32 = 1;
const ABRT: i32 = 6;

fn task(attempt: u64) -> Value {
    json!({"attempt": attempt, "repositoryUrl": "https://course.example/good", "branch": "main"})
}

fn spool(place: &Place, words: &[&str]) -> Output {
    let mut command = place.command(&["spool"]);
    command.args(words).output().expect("the program starts")
}

/// What `spool list --json` shows: names with their states.
fn listed(place: &Place) -> Vec<(String, String)> {
    let out = spool(place, &["list", "--json"]);
    let all: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
    let text = |value: &Value| value.as_str().expect("a string").to_string();
    all.iter().map(|entry| (text(&entry["name"]), text(&entry["state"]))).collect()
}

fn ended(mut runner: Child) -> Option<i32> {
    runner.wait().expect("it ends").code()
}

fn pid(runner: &Child) -> i32 {
    i32::try_from(runner.id()).expect("a pid")
}

#[test]
fn a_result_is_sent_until_it_is_taken_and_always_the_same() {
    if !need_root("a_result_is_sent_until_it_is_taken_and_always_the_same") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([task(1)], || ());
    let fails = [Reply::Status(500, ""), Reply::Status(429, "Retry-After: 1\r\n"), Reply::TakenAndDropped];
    backend.books().replies.extend(fails);
    let output = place.runner(&backend.url, &suite).arg("--once").output().expect("the runner starts");
    assert!(output.status.success(), "{output:?}");
    let books = backend.books();
    assert_eq!((books.sent.len(), books.taken.len()), (4, 2));
    assert!(books.sent.iter().all(|sent| *sent == books.sent[0]), "{:#?}", books.sent);
    assert_eq!(books.sent[0]["testResults"]["isPassed"], true);
    drop(books);
    assert!(listed(&place).is_empty());
}

#[test]
fn a_task_whose_second_hand_out_crosses_with_its_result_is_answered_as_before() {
    if !need_root("a_task_whose_second_hand_out_crosses_with_its_result_is_answered_as_before") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([task(1), task(1)], || ());
    let arrives = Arc::new(AtomicBool::new(false));
    backend.books().second = Some(arrives.clone());
    let runner =
        place.runner(&backend.url, &suite).args(["--once", "--concurrent", "2"]).spawn().expect("the runner starts");
    backend.wait("the result", |books| books.handed.len() == 2 && books.taken.len() == 1);
    wait_until("the end of its record", || listed(&place).is_empty());
    arrives.store(true, Ordering::Relaxed);
    assert_eq!(ended(runner), Some(0));
    let taken = backend.books().taken.clone();
    assert_eq!(taken.len(), 2, "{taken:#?}");
    assert_eq!(taken[0], taken[1]);
}

#[test]
fn what_a_backend_refuses_for_good_is_kept_and_can_be_sent_again() {
    if !need_root("what_a_backend_refuses_for_good_is_kept_and_can_be_sent_again") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([task(1), task(2)], || ());
    backend.books().replies.push_back(Reply::Status(422, ""));
    let mut once = place.runner(&backend.url, &suite);
    once.args(["--once", "--concurrent", "1"]);
    assert!(once.output().expect("the runner starts").status.success());
    assert_eq!(backend.books().sent.len(), 2, "it is not sent again by itself");
    let [(name, state)] = &listed(&place)[..] else { panic!("{:?}", listed(&place)) };
    assert!(name.starts_with("attempt-1@") && state == "rejected", "{name} {state}");
    let list = String::from_utf8(spool(&place, &["list"]).stdout).expect("text");
    assert!(list.contains("passed, 1 tests; refused with 422: {\"message\":\"no\"}"), "{list}");
    let shown: Value = serde_json::from_slice(&spool(&place, &["show", "attempt-1"]).stdout).expect("JSON");
    assert_eq!((&shown["status"], &shown["task"]["branch"]), (&json!(422), &json!("main")));

    assert!(spool(&place, &["retry", "1"]).status.success());
    assert_eq!(listed(&place), [("attempt-1".to_string(), "waiting".to_string())]);
    assert!(once.output().expect("the runner starts").status.success());
    let taken: Vec<_> = backend.books().taken.iter().map(|result| result["attempt"].clone()).collect();
    assert_eq!(taken, [2, 1]);
    let sent = backend.books().sent.clone();
    assert_eq!(sent[0], sent[2]);
    assert!(listed(&place).is_empty());
    let gone = spool(&place, &["drop", "1"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("spool list"), "{gone:?}");
}

#[test]
fn a_result_outlives_an_outage_of_the_backend_and_a_restart_of_the_runner() {
    if !need_root("a_result_outlives_an_outage_of_the_backend_and_a_restart_of_the_runner") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([task(1)], || ());
    backend.books().replies.extend((0..100).map(|_| Reply::Status(503, "")));
    let mut runner = place.runner(&backend.url, &suite).spawn().expect("the runner starts");
    backend.wait("the first try", |books| !books.sent.is_empty());
    backend.books().down = true;
    send_signal(pid(&runner), TERM);
    assert_eq!(runner.wait().expect("it ends").code(), Some(0));
    assert_eq!(listed(&place), [("attempt-1".to_string(), "waiting".to_string())]);
    let kept: Value = serde_json::from_slice(&spool(&place, &["show", "1"]).stdout).expect("JSON");

    // Another backend gets nothing of it.
    let other = Counting::start([], || ());
    assert!(place.runner(&other.url, &suite).arg("--once").output().expect("the runner starts").status.success());
    assert_eq!(other.books().sent.len(), 0);

    (backend.books().down, backend.books().replies) = (false, Default::default());
    assert!(place.runner(&backend.url, &suite).arg("--once").output().expect("the runner starts").status.success());
    assert_eq!(backend.books().taken, [kept["result"].clone()]);
    assert!(listed(&place).is_empty());
}

#[test]
fn a_spool_without_room_takes_no_task() {
    if !need_root("a_spool_without_room_takes_no_task") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([task(1)], || ());
    let mut once = place.runner(&backend.url, &suite);
    once.args(["--once", "--concurrent", "1"]);
    let disk = Disk::new(&place, "1m");
    let output = disk.command(&once).output().expect("the runner starts");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot be written to") && said.contains("--state-dir"), "{said}");
    assert_eq!(backend.books().asked, 0, "the task stays with the backend");

    // One that goes on says so to whoever looks, and ends when it is told to.
    let (mut runner, log) = (place.runner(&backend.url, &suite), place.path("log"));
    runner.args(["--concurrent", "2", "--logger-level", "warning", "--logger-output"]).arg(&log);
    let mut runner = disk.command(&runner).spawn().expect("the runner starts");
    wait_until("the status", || status(&place)["state"] == "spool-full");
    let check = place.command(&["check", "--json"]).output().expect("check starts");
    let said = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(2), "{said}");
    assert!(said.contains("takes no tasks since"), "{said}");
    assert_eq!(backend.books().asked, 0);
    // And when there is room again it takes the task.
    disk.resize("20m");
    let mended = Instant::now();
    backend.wait("the result", |books| books.taken.len() == 1);
    row("disk full before a task", "2", 0, mended.elapsed(), &text(&log), "cannot be written to");
    send_signal(pid(&runner), TERM);
    assert_eq!(runner.wait().expect("it ends").code(), Some(0));
    assert!(passed(&backend.books().taken[0]), "{}", text(&log));
}

#[test]
fn a_disk_that_fills_up_while_a_task_runs_loses_nothing() {
    if !need_root("a_disk_that_fills_up_while_a_task_runs_loses_nothing") {
        return;
    }
    let (place, suite) = Place::with_good();
    let disk = Disk::new(&place, "10m");
    let (reserve, filler) = (disk.path(".reserve-0"), disk.path("filler"));
    // Whoever is handed the task finds the disk full.
    let backend = Counting::start([task(1)], move || {
        assert!(reserve.exists() && reserve.with_file_name(".reserve-task").exists());
        fill(&filler);
    });
    backend.books().replies.push_back(Reply::Status(503, ""));
    let log = place.path("log");
    let mut once = place.runner(&backend.url, &suite);
    once.args(["--once", "--concurrent", "1", "--logger-level", "warning", "--logger-output"]).arg(&log);
    let output = disk.command(&once).output().expect("the runner starts");
    let log = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(backend.books().taken.len(), 1, "{log}");
    assert_eq!(backend.books().taken[0]["testResults"]["isPassed"], true);
    row("disk full while a task is graded", "1", 1, Default::default(), &log, "reserve is used");
    assert!(!log.contains("before it is recorded") && log.contains("the spool's own reserve is used"), "{log}");
    assert!(!log.contains("in memory alone"), "{log}");
    // No other task is taken until there is room again.
    assert_eq!((output.status.code(), backend.books().asked), (Some(1), 1), "{log}");
}

#[test]
fn a_task_that_is_handed_out_twice_is_answered_once() {
    if !need_root("a_task_that_is_handed_out_twice_is_answered_once") {
        return;
    }
    let (place, suite) = Place::with_good();
    let invalid = json!({"attempt": 2, "branch": "main"});
    let backend = Counting::start([task(1), task(1), invalid.clone(), invalid, task(3)], || ());
    // Their results wait while they are handed out again.
    backend.books().replies.extend([Reply::Status(503, ""), Reply::Status(503, ""), Reply::Status(503, "")]);
    let output = place.runner(&backend.url, &suite).arg("--once").output().expect("the runner starts");
    assert!(output.status.success(), "{output:?}");
    let by_attempt: Vec<_> = backend.by_attempt().into_iter().map(|(attempt, all)| (attempt, all.len())).collect();
    assert_eq!(by_attempt, [("1".into(), 1), ("2".into(), 1), ("3".into(), 1)]);
}

#[test]
fn a_new_configuration_holds_for_the_next_tasks() {
    if !need_root("a_new_configuration_holds_for_the_next_tasks") {
        return;
    }
    let (place, suite) = Place::with_good();
    let second = place.tree("second", &[("test_a.py", "def test_a(): pass\ndef test_b(): assert False\n")]);
    let config = place.path("config.toml");
    let write = |suite: &Path, more: &str| std::fs::write(&config, format!("tests = '{}'\n{more}", suite.display()));
    write(&suite, "").expect("a file");
    let backend = Counting::start([task(1)], || ());
    let mirror = format!("https://course.example/={}", place.path("git").display());
    let log = place.path("log");
    let runner = place
        .command(&["--backend-url", &backend.url, "--git-mirror", &mirror, "--check-interval", "0.1"])
        .arg("--config")
        .arg(&config)
        .args(["--logger-level", "info", "--logger-output"])
        .arg(&log)
        .spawn()
        .expect("the runner starts");
    backend.wait("the first result", |books| books.taken.len() == 1);
    let read_again = |count: usize| {
        send_signal(pid(&runner), HUP);
        wait_until("the configuration is read", || {
            std::fs::read_to_string(&log).unwrap_or_default().matches("the configuration was read again").count()
                == count
        });
    };
    write(&second, "concurrent = 7\n").expect("a file");
    read_again(1);
    backend.books().queue.push_back(task(2));
    backend.wait("the second result", |books| books.taken.len() == 2);
    // What is not valid changes nothing.
    write(&suite, "concurent = 7\n").expect("a file");
    read_again(2);
    backend.books().queue.push_back(task(3));
    backend.wait("the third result", |books| books.taken.len() == 3);
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(0));
    let cases: Vec<_> =
        backend.books().taken.iter().map(|r| r["testResults"]["testCases"].as_array().map(Vec::len)).collect();
    assert_eq!(cases, [Some(1), Some(2), Some(2)]);
    let log = std::fs::read_to_string(&log).expect("a log");
    assert!(log.contains("concurrent has changed") && log.contains("concurent"), "{log}");
}

#[test]
fn a_drain_has_an_end() {
    if !need_root("a_drain_has_an_end") {
        return;
    }
    let (place, _) = Place::with_good();
    let suite = place.tree("slow", &[("test_a.py", "import time\ndef test_a(): time.sleep(300)\n")]);
    let backend = Counting::start([task(1)], || ());
    let runner = place
        .runner(&backend.url, &suite)
        .args(["--drain-timeout", "1"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the runner starts");
    wait_until("the task is taken", || status(&place)["busy"] == json!(["attempt 1"]));
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(0));
    let said = backend.books().taken[0]["testResults"]["errorDetails"].as_str().expect("a string").to_string();
    assert!(said.contains("interrupted"), "{said}");
    assert_eq!(status(&place)["state"], "ended");
}

#[test]
fn a_password_reaches_no_child_and_no_core() {
    if !need_root("a_password_reaches_no_child_and_no_core") {
        return;
    }
    let (place, _) = Place::with_good();
    let suite = place.tree("slow", &[("test_a.py", "import time\ndef test_a(): time.sleep(300)\n")]);
    let backend = Counting::start([task(1)], || ());
    let cores = place.tree("cores", &[]);
    // Without the power to look into what is not dumpable. Where the hard limit is 0 and cannot be raised (sudo sets it,
    // and a container's root lacks CAP_SYS_RESOURCE) nobody leaves a core, and what is seen of the runner has to do.
    let weaker = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-sys_ptrace", program]).current_dir(&cores);
        command
    };
    let dying = |script: &str| {
        let mut command = weaker("sh");
        command.args([
            "-c",
            &format!("if (ulimit -c unlimited) 2>/dev/null; then ulimit -c unlimited; fi; {script}"),
            "sh",
        ]);
        command
    };
    let runner = place.runner(&backend.url, &suite);
    let mut runner = dying("exec \"$@\"")
        .arg(runner.get_program())
        .args(runner.get_args())
        .env("OSTEST_PASSWORD", "very-secret")
        .stdout(Stdio::null())
        .spawn()
        .expect("the runner starts");
    wait_until("the task is taken", || status(&place)["busy"] == json!(["attempt 1"]));
    let mut children = Vec::new();
    wait_until("the launcher and what is inside", || {
        children = common::children(pid(&runner));
        children.extend(children.clone().into_iter().flat_map(common::children));
        children.len() >= 2
    });
    let looked_into = |of: i32| {
        let link = format!("/proc/{of}/exe");
        weaker("readlink").arg(link).stdout(Stdio::null()).status().expect("readlink starts").success()
    };
    let mut other = weaker("sleep").arg("60").spawn().expect("sleep starts");
    wait_until("another program can be looked into", || looked_into(pid(&other)));
    other.kill().and_then(|()| other.wait()).expect("it ends");
    assert!(!looked_into(pid(&runner)), "the runner is dumpable");
    for child in children {
        let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environment).contains("very-secret"), "{}", common::cmdline(child));
    }
    // Any other program leaves one here, unless the host's pattern leads elsewhere.
    let left = || std::fs::read_dir(&cores).expect("a directory").count();
    send_signal(pid(&runner), ABRT);
    assert_eq!(runner.wait().expect("it ends").code(), None);
    assert_eq!(left(), 0, "the runner left a core file");
    assert_eq!(dying("kill -ABRT $$").status().expect("sh starts").code(), None);
    println!("core files that another program leaves: {}", left());
}

/// Puts results into the spool that wait for this backend, as an earlier run would have left them.
fn prefill(place: &Place, url: &str, attempts: std::ops::RangeInclusive<u64>, text: &str) {
    let dir = place.path("state/spool");
    std::fs::create_dir_all(&dir).expect("a directory");
    for attempt in attempts {
        let entry = json!({
            "version": 1, "backend": url, "task": {"attempt": attempt}, "taken": "2026-11-25T22:50:16Z",
            "state": "waiting", "graded": format!("2026-11-25T22:{:02}:{:02}Z", attempt / 60, attempt % 60),
            "result": {"attempt": attempt, "testResults": {
                "isPassed": false, "isError": true, "errorDetails": text, "duration": "0.100", "testCases": [],
            }},
        });
        std::fs::write(dir.join(format!("attempt-{attempt}.json")), entry.to_string()).expect("an entry");
    }
}

/// A runner that goes on until it is told to stop, and its log.
fn running(place: &Place, url: &str, suite: &Path, level: &str) -> (Child, PathBuf) {
    let log = place.path("log");
    let mut command = place.runner(url, suite);
    command.args(["--concurrent", "1", "--logger-level", level, "--logger-output"]).arg(&log);
    (command.spawn().expect("the runner starts"), log)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// An attempt that is answered without being graded.
fn invalid(attempt: u64) -> Value {
    json!({"attempt": attempt, "branch": "main"})
}

fn always(status: u16) -> Option<support::backend::Rule> {
    Some(Box::new(move |_| Some(Reply::Status(status, ""))))
}

#[test]
fn an_outage_is_one_line_and_ends_for_all_results_at_once() {
    if !need_root("an_outage_is_one_line_and_ends_for_all_results_at_once") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([], || ());
    prefill(&place, &backend.url, 1..=50, "an error");
    backend.books().rule = always(503);
    let (runner, log) = running(&place, &backend.url, &suite, "warning");
    backend.wait("some tries", |books| books.sent.len() >= 10);
    let tries = backend.books().sent.len();
    backend.books().rule = None;
    backend.wait("the first result", |books| !books.taken.is_empty());
    let begun = std::time::Instant::now();
    backend.wait("all results", |books| books.taken.len() == 50);
    println!("{tries} tries while it was away; 49 more results {:.3} s after the first", begun.elapsed().as_secs_f64());
    wait_until("the end of the outage", || text(&log).contains("takes results again"));
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(0));
    let log = text(&log);
    assert_eq!(log.matches("the backend takes no results").count(), 1, "{log}");
    assert!(log.lines().count() < 10 && log.contains("waiting=50"), "{log}");
    assert_eq!(backend.books().sent.len(), tries + 50, "nobody waits for a pause of its own");
    assert!(listed(&place).is_empty());
}

#[test]
fn an_upload_that_hangs_holds_up_no_other() {
    if !need_root("an_upload_that_hangs_holds_up_no_other") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([], || ());
    prefill(&place, &backend.url, 1..=40, "an error");
    let released = Arc::new(AtomicBool::new(false));
    let until = released.clone();
    backend.books().rule = Some(Box::new(move |result| {
        let hangs = result["attempt"].as_u64() <= Some(20) && !until.load(Ordering::Relaxed);
        hangs.then(|| Reply::Hangs(until.clone()))
    }));
    let (runner, log) = running(&place, &backend.url, &suite, "warning");
    backend.wait("the others", |books| books.taken.len() == 20);
    released.store(true, Ordering::Relaxed);
    backend.wait("all results", |books| books.taken.len() == 40);
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(0), "{}", text(&log));
    let attempts: std::collections::BTreeSet<u64> =
        backend.books().taken.iter().filter_map(|result| result["attempt"].as_u64()).collect();
    assert_eq!(attempts.len(), 40);
}

#[test]
fn a_result_over_which_the_backend_fails_is_sent_smaller_and_then_put_aside() {
    if !need_root("a_result_over_which_the_backend_fails_is_sent_smaller_and_then_put_aside") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([], || ());
    let long = "the compiler said: й ".repeat(100);
    prefill(&place, &backend.url, 1..=2, &long);
    // It takes no more than 255 characters, and the second attempt not at all.
    backend.books().rule = Some(Box::new(|result| {
        let said = result["testResults"]["errorDetails"].as_str().unwrap_or_default();
        (said.chars().count() > 255 || result["attempt"] == 2).then_some(Reply::Status(500, ""))
    }));
    let (runner, log) = running(&place, &backend.url, &suite, "error");
    let settled =
        |name: &str| listed(&place).iter().all(|(known, state)| !known.starts_with(name) || state == "rejected");
    let mut attempt = 100;
    wait_until("an end for both", || {
        // Others come and are taken meanwhile.
        attempt += 1;
        backend.books().queue.push_back(invalid(attempt));
        backend.wait("another one", |books| books.taken.iter().any(|result| result["attempt"] == attempt));
        settled("attempt-1") && settled("attempt-2")
    });
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(0));
    let (first, second): (Vec<Value>, Vec<Value>) = {
        let books = backend.books();
        let of = |attempt: u64| books.sent.iter().filter(|result| result["attempt"] == attempt).cloned().collect();
        (of(1), of(2))
    };
    for sent in [&first, &second] {
        // The whole first, then the small one, and never the whole again.
        let mut forms = sent.clone();
        forms.dedup();
        assert_eq!(forms.len(), 2, "{sent:#?}");
        assert_eq!(forms[0]["testResults"]["errorDetails"], long);
        for same in ["isPassed", "isError", "duration", "testCases"] {
            assert_eq!(forms[0]["testResults"][same], forms[1]["testResults"][same]);
        }
    }
    assert_eq!(backend.by_attempt()["1"], [first.last().cloned().expect("a result")]);
    assert!(!backend.by_attempt().contains_key("2"));
    let kept: Value = serde_json::from_slice(&spool(&place, &["show", "2"]).stdout).expect("JSON");
    assert_eq!((&kept["status"], &kept["whole"]), (&json!(500), &second[0]));
    let log = text(&log);
    assert!(log.contains("in its smallest form") && log.contains("which is kept in spool/rejected"), "{log}");
}

#[test]
fn a_backend_that_refuses_everything_gets_no_more_tasks_until_somebody_says_so() {
    if !need_root("a_backend_that_refuses_everything_gets_no_more_tasks_until_somebody_says_so") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([], || ());
    backend.books().rule = always(403);
    let (runner, log) = running(&place, &backend.url, &suite, "error");
    let refuse = |attempts: std::ops::RangeInclusive<u64>| {
        for attempt in attempts {
            backend.books().queue.push_back(invalid(attempt));
            wait_until("a refusal", || {
                listed(&place)
                    .iter()
                    .any(|(name, state)| name.starts_with(&format!("attempt-{attempt}@")) && state == "rejected")
            });
        }
        wait_until("the status", || status(&place)["state"] == "spool-full");
        assert!(status(&place)["reason"].as_str().is_some_and(|reason| reason.contains("HTTP 403")));
    };
    refuse(1..=5);
    // The configuration is read again: somebody has mended something.
    send_signal(pid(&runner), HUP);
    refuse(6..=10);
    backend.books().queue.extend((11..=15).map(invalid));
    backend.books().rule = None;
    assert!(!spool(&place, &["retry", "--all", "attempt-1"]).status.success());
    let retried = spool(&place, &["retry", "--all", "--status", "422"]);
    assert!(retried.status.success() && retried.stdout.is_empty(), "{retried:?}");
    let retried = spool(&place, &["retry", "--all"]);
    assert!(retried.status.success(), "{retried:?}");
    backend.wait("all results", |books| books.taken.len() == 15);
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(0));
    assert!(backend.by_attempt().values().all(|told| told.len() == 1));
    assert!(text(&log).contains("5 results in a row"), "{}", text(&log));
    prefill(&place, &backend.url, 20..=21, "an error");
    assert!(spool(&place, &["drop", "--all"]).status.success());
    assert_eq!(listed(&place).len(), 2, "what waits has to be named");
}

#[test]
fn results_that_wait_are_not_in_memory() {
    if !need_root("results_that_wait_are_not_in_memory") {
        return;
    }
    // As many as somebody asks for: `OSTEST_TEST_RESULTS=1000` takes 8 GiB of disk and some minutes.
    let many = std::env::var("OSTEST_TEST_RESULTS").map_or(24, |number| number.parse().expect("a number"));
    let (place, suite) = Place::with_good();
    let backend = Counting::start([], || ());
    backend.books().forgets = true;
    prefill(&place, &backend.url, 1..=many, &"x".repeat(8 << 20));
    backend.books().rule = always(503);
    let (runner, log) = running(&place, &backend.url, &suite, "warning");
    backend.wait("some tries", |books| books.sent.len() >= 10);
    let peak = || {
        let status = text(Path::new(&format!("/proc/{}/status", runner.id())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak").to_string();
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
    };
    let waiting = peak();
    backend.books().rule = None;
    backend.wait("all results", |books| books.taken.len() as u64 == many);
    println!("{many} results of 8 MiB: at most {waiting} MiB while they waited, {} MiB with their delivery", peak());
    assert!(waiting < 50 && peak() < 64, "{waiting} and {} MiB: {}", peak(), text(&log));
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(0));
}

#[test]
fn a_directory_that_is_moved_away_takes_no_result_with_it() {
    if !need_root("a_directory_that_is_moved_away_takes_no_result_with_it") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([], || ());
    prefill(&place, &backend.url, 1..=3, "an error");
    backend.books().rule = always(503);
    let (runner, log) = running(&place, &backend.url, &suite, "error");
    backend.wait("a try", |books| !books.sent.is_empty());
    std::fs::rename(place.path("state/spool"), place.path("away")).expect("it is moved");
    let moved = Instant::now();
    wait_until("the directory", || listed(&place).len() == 3);
    assert!(text(&log).contains("it is gone"), "{}", text(&log));
    row("spool moved away", "1", 0, moved.elapsed(), &text(&log), "it is gone");
    assert_eq!(status(&place)["waiting"], 3);
    backend.books().rule = None;
    backend.wait("all results", |books| books.taken.len() == 3);
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(0));
}

#[test]
fn results_that_went_away_with_their_directory_are_told_at_the_end_and_sent_when_they_are_back() {
    if !need_root("results_that_went_away_with_their_directory_are_told_at_the_end_and_sent_when_they_are_back") {
        return;
    }
    let (place, suite) = Place::with_good();
    let backend = Counting::start([], || ());
    // Too long for copies in memory.
    prefill(&place, &backend.url, 1..=2, &"x".repeat(1 << 20));
    backend.books().rule = always(503);
    let (runner, log) = running(&place, &backend.url, &suite, "error");
    backend.wait("a try", |books| !books.sent.is_empty());
    std::fs::rename(place.path("state/spool"), place.path("away")).expect("it is moved");
    wait_until("it to be noticed", || text(&log).contains("it is gone"));
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(1), "{}", text(&log));
    let said = text(&log);
    assert!(said.contains("results went away with the directory of the spool") && said.contains("count=2"), "{said}");
    std::fs::remove_dir_all(place.path("state/spool")).expect("it is removed");
    std::fs::rename(place.path("away"), place.path("state/spool")).expect("it is back");
    backend.books().rule = None;
    assert!(place.runner(&backend.url, &suite).arg("--once").status().expect("the runner starts").success());
    assert_eq!(backend.books().taken.len(), 2);
}

/// Stops the runner while it grades, changes something, and lets it go on.
fn while_it_grades(disk: &Disk, runner: &Child, change: impl FnOnce()) {
    let recorded = || text(&disk.path("attempt-1.json")).contains("\"taken\"");
    wait_until("the record", recorded);
    send_signal(pid(runner), 19);
    wait_until("it to stand still", || {
        text(Path::new(&format!("/proc/{}/stat", runner.id())))
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" T"))
    });
    assert!(recorded(), "the result came before the change");
    change();
    send_signal(pid(runner), 18);
}

#[test]
fn what_a_read_only_disk_does_not_take_is_not_sent_and_not_lost() {
    if !need_root("what_a_read_only_disk_does_not_take_is_not_sent_and_not_lost") {
        return;
    }
    let (place, _) = Place::with_good();
    let suite = place.tree("slow", &[("test_a.py", "import time\ndef test_a(): time.sleep(2)\n")]);
    // Mended while it runs, killed, and told to stop.
    for (number, end) in ["mended", "killed", "stopped"].into_iter().enumerate() {
        let disk = Disk::new(&place, "20m");
        let backend = Counting::start([task(1)], || ());
        let log = place.path(&format!("log-{number}"));
        let mut command = place.runner(&backend.url, &suite);
        command.args(["--concurrent", "1", "--logger-level", "error", "--logger-output"]).arg(&log);
        let mut runner = disk.command(&command).spawn().expect("the runner starts");
        while_it_grades(&disk, &runner, || disk.set_read_only(true));
        wait_until("the result", || text(&log).contains("is in memory alone"));
        wait_until("the status", || status(&place)["state"] == "spool-full");
        assert_eq!(backend.books().sent.len(), 0, "{end}: it is not sent before it is written");
        if end == "mended" {
            disk.set_read_only(false);
            let mended = Instant::now();
            backend.wait("the result", |books| !books.taken.is_empty());
            row("disk read-only while a task is graded", "1", 1, mended.elapsed(), &text(&log), "is in memory alone");
        }
        send_signal(pid(&runner), if end == "killed" { 9 } else { TERM });
        runner.wait().expect("it ends");
        disk.set_read_only(false);
        command.arg("--once");
        assert!(disk.command(&command).status().expect("the runner starts").success());
        let told = backend.books().sent.clone();
        assert!(told.len() == 1 && told[0]["testResults"]["isError"] == (end != "mended"), "{end}: {told:#?}");
    }
}
