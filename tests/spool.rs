//! No result is lost: backends that refuse, fail and go away, disks that fill up, hosts that break.

mod common;
mod support;

use common::{send_signal, wait_until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::backend::{Counting, Reply};
use support::{Place, need_root};

const TERM: i32 = 15;
const HUP: i32 = 1;
const ABRT: i32 = 6;

/// A place with a submission and a suite of one test that passes.
fn place() -> (Place, PathBuf) {
    let place = Place::new();
    place.repository("good", &[("main.c", "int main(void) { return 0; }\n")]);
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    (place, suite)
}

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

fn status(place: &Place) -> Value {
    let text = std::fs::read_to_string(place.path("state/status.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[test]
fn a_result_is_sent_until_it_is_taken_and_always_the_same() {
    if !need_root("a_result_is_sent_until_it_is_taken_and_always_the_same") {
        return;
    }
    let (place, suite) = place();
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
    let (place, suite) = place();
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
    let (place, suite) = place();
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
    let (place, suite) = place();
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

/// The runner in a mount namespace of its own, where the spool is a file system of this size.
fn with_small_spool(place: &Place, runner: &Command, size: &str) -> Command {
    let dir = place.path("state/spool");
    std::fs::create_dir_all(&dir).expect("a directory");
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size={size} spool '{}' && exec \"$@\"", dir.display());
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(runner.get_program()).args(runner.get_args());
    command
}

#[test]
fn a_spool_without_room_takes_no_task() {
    if !need_root("a_spool_without_room_takes_no_task") {
        return;
    }
    let (place, suite) = place();
    let backend = Counting::start([task(1)], || ());
    let mut once = place.runner(&backend.url, &suite);
    once.args(["--once", "--concurrent", "1"]);
    let output = with_small_spool(&place, &once, "1m").output().expect("the runner starts");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot be written to") && said.contains("--state-dir"), "{said}");
    assert_eq!(backend.books().asked, 0, "the task stays with the backend");

    // One that goes on says so to whoever looks, and ends when it is told to.
    let runner = place.runner(&backend.url, &suite);
    let mut runner = with_small_spool(&place, &runner, "1m").stdout(Stdio::null()).spawn().expect("the runner starts");
    wait_until("the status", || status(&place)["state"] == "spool-full");
    let check = place.command(&["check", "--json"]).output().expect("check starts");
    let said = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(2), "{said}");
    assert!(said.contains("takes no tasks since"), "{said}");
    send_signal(pid(&runner), TERM);
    assert_eq!(runner.wait().expect("it ends").code(), Some(0));
    assert_eq!(backend.books().asked, 0);
}

#[test]
fn a_disk_that_fills_up_while_a_task_runs_loses_nothing() {
    if !need_root("a_disk_that_fills_up_while_a_task_runs_loses_nothing") {
        return;
    }
    let (place, suite) = place();
    let filler = place.path("state/spool/filler");
    // Whoever is handed the task finds the disk full.
    let backend = Counting::start([task(1)], move || {
        let full = common::all_pids().into_iter().find_map(|pid| {
            let inside = PathBuf::from(format!("/proc/{pid}/root{}", filler.parent()?.display()));
            inside.join(".reserve-0").exists().then(|| inside.join("filler"))
        });
        let mut file = std::fs::File::create(full.expect("the runner's spool")).expect("a file");
        let error = std::iter::repeat_with(|| std::io::Write::write_all(&mut file, &[1; 4096])).find_map(Result::err);
        assert_eq!(error.map(|e| e.kind()), Some(std::io::ErrorKind::StorageFull));
    });
    backend.books().replies.push_back(Reply::Status(503, ""));
    let log = place.path("log");
    let mut once = place.runner(&backend.url, &suite);
    once.args(["--once", "--concurrent", "1", "--logger-level", "warning", "--logger-output"]).arg(&log);
    let output = with_small_spool(&place, &once, "10m").output().expect("the runner starts");
    let log = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(backend.books().taken.len(), 1, "{log}");
    assert_eq!(backend.books().taken[0]["testResults"]["isPassed"], true);
    assert!(log.contains("without a record on disk") && log.contains("the spool's own reserve is used"), "{log}");
    assert!(!log.contains("in memory alone"), "{log}");
    // No other task is taken until there is room again.
    assert_eq!((output.status.code(), backend.books().asked), (Some(1), 1), "{log}");
}

#[test]
fn a_task_that_is_handed_out_twice_is_answered_once() {
    if !need_root("a_task_that_is_handed_out_twice_is_answered_once") {
        return;
    }
    let (place, suite) = place();
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
    let (place, suite) = place();
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
        .args(["--logger-level", "warning", "--logger-output"])
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
fn a_host_that_fails_takes_no_tasks_until_it_is_well() {
    if !need_root("a_host_that_fails_takes_no_tasks_until_it_is_well") {
        return;
    }
    let (place, suite) = place();
    let backend = Counting::start([task(1)], || ());
    let runner = place
        .runner(&backend.url, &suite)
        .args(["--concurrent", "1", "--quarantine-after", "2"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the runner starts");
    backend.wait("the first result", |books| !books.taken.is_empty());
    // No suite: no fault of the submissions.
    std::fs::rename(&suite, place.path("away")).expect("the suite is moved");
    backend.books().queue.extend((2..=5).map(task));
    wait_until("quarantine", || status(&place)["state"] == "quarantined");
    wait_until("both answers", || backend.books().taken.len() == 3);
    let check =
        place.command(&["check", "--json"]).arg("--tests").arg(place.path("away")).output().expect("check starts");
    let said = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(2), "{said}");
    assert!(said.contains("failed task after task"), "{said}");
    assert_eq!(backend.books().queue.len(), 2, "no task is taken meanwhile");
    std::fs::rename(place.path("away"), &suite).expect("the suite is back");
    backend.wait("the last result", |books| books.taken.len() == 5);
    send_signal(pid(&runner), TERM);
    assert_eq!(ended(runner), Some(0));
    let errors: Vec<_> = backend.books().taken.iter().map(|r| r["testResults"]["isError"].clone()).collect();
    // A canary passes without the suite, so the host may be tried, and found ill, once more.
    assert_eq!((&errors[..3], &errors[4]), (&[json!(false), json!(true), json!(true)][..], &json!(false)));
}

#[test]
fn a_drain_has_an_end() {
    if !need_root("a_drain_has_an_end") {
        return;
    }
    let (place, _) = place();
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
    let (place, _) = place();
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
