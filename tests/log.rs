//! What is said while the runner works, and where: the log's lines, its file, and what a person reads who waits.

mod common;
mod support;

use common::{send_signal, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use support::backend::Counting;
use support::{BIN, Place, need_root};

const HUP: i32 = 1;
const TERM: i32 = 15;

/// What lines are about that belong to no task, by how their message begins. A new one of the runner's own is put here; one of
/// a task needs its name.
const OF_NO_TASK: [&str; 4] = ["started", "no task", "ended", "results wait"];

/// A place with a submission that passes, one that does not compile, and a suite that prints what looks like a line of the log.
fn place() -> (Place, PathBuf) {
    let place = Place::new();
    place.repository("good", &[("Makefile", "all:\n\ttrue\n")]);
    place.repository("broken", &[("Makefile", "all:\n\tfalse\n")]);
    let forged = "def test_a(): print('2026-01-01T00:00:00.000000Z ERROR forged task=attempt 9', flush=True)\n";
    let toml =
        "[build]\ncommand = ['make']\n[test]\ncommand = ['python', '-m', 'pytest', '-s', '--junit-xml={report}']\n";
    let suite = place.tree("suite", &[("test_a.py", forged), ("ostest.toml", toml)]);
    (place, suite)
}

fn task(attempt: u64, name: &str, branch: &str) -> Value {
    json!({"attempt": attempt, "repositoryUrl": format!("https://course.example/{name}"), "branch": branch})
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("a pid")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The log of a run over tasks of which two are graded at a time.
fn log_of(place: &Place, suite: &Path, more: &[&str]) -> String {
    let server = "https://127.0.0.1:9/";
    let elsewhere = json!({"attempt": 5, "repositoryUrl": format!("{server}x"), "branch": "main"});
    let tasks = [
        task(1, "good", "main"),
        task(2, "broken", "main"),
        json!({"id": "third", "repositoryUrl": "https://course.example/good", "branch": "main"}),
        task(4, "good", "no-such-branch"),
        elsewhere,
        json!({"attempt": 6, "repositoryUrl": "https://refused.example/x", "branch": "main"}),
    ];
    let backend = Counting::start(tasks, || ());
    let mut command = place.runner(&backend.url, suite);
    command.args(["--once", "--concurrent", "2", "--allow-url", server, "--logger-level", "debug"]).args(more);
    let out = command.output().expect("the runner starts");
    assert!(out.status.success(), "{out:?}");
    assert_eq!(backend.books().taken.len(), 6);
    String::from_utf8(out.stdout).expect("text")
}

#[test]
fn each_line_names_its_task_once_and_in_one_way() {
    if !need_root("each_line_names_its_task_once_and_in_one_way") {
        return;
    }
    let (place, suite) = place();
    let log = log_of(&place, &suite, &["--log-format", "json"]);
    let mut by_task: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in log.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let message = object["message"].as_str().expect("a message").to_string();
        assert!(line.matches("\"task\":").count() <= 1 && object.get("attempt").is_none(), "{line}");
        match object["task"].as_str() {
            Some(task) => by_task.entry(task.to_string()).or_default().push(message),
            None => {
                let known = object.get("check").is_some() || OF_NO_TASK.iter().any(|known| message.starts_with(known));
                assert!(known, "this line names no task: {line}");
            }
        }
    }
    let names: Vec<&String> = by_task.keys().filter(|name| *name != "canary").collect();
    assert_eq!(names, ["attempt 1", "attempt 2", "attempt 4", "attempt 5", "attempt 6", "id third"], "{log}");
    let said = |task: &str, what: &str| by_task[task].iter().any(|message| message.starts_with(what));
    for what in [
        "taken",
        "limits read back",
        "fetched the submission",
        "hid the suite's tests",
        "built the project",
        "the suite has run",
        "what the suite printed",
        "graded",
        "result delivered",
    ] {
        assert!(said("attempt 1", what) && said("id third", what), "{what}: {:#?}", by_task["attempt 1"]);
    }
    assert!(said("attempt 2", "built the project") && said("attempt 6", "refused: "), "{log}");
    // A connection of the proxy is served beside the task that it belongs to.
    assert!(said("attempt 5", "the proxy refused a connection"), "{:#?}", by_task["attempt 5"]);
}

#[test]
fn what_a_suite_prints_is_no_line_of_the_log() {
    if !need_root("what_a_suite_prints_is_no_line_of_the_log") {
        return;
    }
    let (place, suite) = place();
    let log = log_of(&place, &suite, &[]);
    assert!(log.contains("ERROR forged"), "{log}");
    let begins = |line: &&str| !line.starts_with("    ");
    for line in log.lines().filter(begins) {
        let level = line.split_whitespace().nth(1).unwrap_or_default();
        assert!(["DEBUG", "INFO", "WARN", "ERROR"].contains(&level) && !line.contains("attempt="), "{line}");
        assert!(line.matches(" task=").count() <= 1 && !line.contains("ERROR forged"), "{line}");
    }
    let journal = log_of(&place, &suite, &["--log-format", "journal"]);
    assert!(journal.lines().all(|line| line.starts_with('<') && line.matches(" task=").count() <= 2), "{journal}");
    assert!(journal.contains("<7>    stdout: ") && journal.contains("<6>INFO taken task=attempt 1 slot="), "{journal}");
}

#[test]
fn nothing_that_a_student_does_is_an_error_of_the_log() {
    if !need_root("nothing_that_a_student_does_is_an_error_of_the_log") {
        return;
    }
    let (place, suite) = place();
    let tasks = [
        task(1, "broken", "main"),
        task(2, "good", "no-such-branch"),
        json!({"attempt": 3, "repositoryUrl": "https://refused.example/x", "branch": "main"}),
        json!({"attempt": 4, "branch": "main"}),
        task(5, "no-such-repository", "main"),
    ];
    let backend = Counting::start(tasks, || ());
    let out = place.runner(&backend.url, &suite).arg("--once").output().expect("the runner starts");
    assert!(out.status.success() && backend.books().taken.len() == 5, "{out:?}");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "", "the default level says only what needs a person");
}

/// A runner whose log is this file.
fn runner(place: &Place, suite: &Path, backend: &Counting, log: &Path) -> Child {
    let mut command = place.runner(&backend.url, suite);
    command.args(["--logger-level", "info", "--logger-output"]).arg(log).stderr(Stdio::piped());
    command.spawn().expect("the runner starts")
}

/// Hands a task out and waits for its result.
fn grade(backend: &Counting, attempt: u64) {
    let before = backend.books().taken.len();
    backend.books().queue.push_back(task(attempt, "good", "main"));
    backend.wait("a result", |books| books.taken.len() > before);
}

fn stop(mut runner: Child) -> String {
    send_signal(pid(&runner), TERM);
    let mut said = String::new();
    runner.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!(runner.wait().expect("it ends").code(), Some(0), "{said}");
    said
}

#[test]
fn the_file_of_logrotate_moves_the_log_away_and_no_line_is_lost() {
    if !need_root("the_file_of_logrotate_moves_the_log_away_and_no_line_is_lost") {
        return;
    }
    if Command::new("logrotate").arg("--version").output().is_err() {
        println!("SKIPPED: the_file_of_logrotate_moves_the_log_away_and_no_line_is_lost needs logrotate");
        return;
    }
    let (place, suite) = place();
    let dir = place.tree("log", &[]);
    let (log, old) = (dir.join("runner.log"), dir.join("runner.log.1"));
    let backend = Counting::start([], || ());
    let runner = runner(&place, &suite, &backend, &log);
    grade(&backend, 1);
    wait_until("the line of a result", || read(&log).contains("result delivered"));
    let made = std::fs::metadata(&log).expect("the log");
    assert_eq!((made.mode() & 0o7777, made.uid()), (0o640, 0));

    // The one that is shipped, but for the directory, and for systemd, which does not know this runner.
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/logrotate/ostest-sandbox"));
    let shipped = shipped.expect("it is shipped").replace("/var/log/ostest-sandbox/", &format!("{}/", dir.display()));
    let signal = shipped.lines().find(|line| line.trim().starts_with("systemctl kill ")).expect("it sends a signal");
    let config = place.path("logrotate.conf");
    std::fs::write(&config, shipped.replace(signal, &format!("kill -HUP {}", runner.id()))).expect("a file");
    let logrotate = |flags: &[&str]| -> Output {
        let mut command = Command::new("logrotate");
        command.args(flags).arg("--state").arg(place.path("logrotate.state")).arg(&config);
        let done = command.output().expect("logrotate starts");
        assert!(done.status.success(), "{done:?}");
        done
    };
    let dry = logrotate(&["--debug"]);
    let dry = String::from_utf8_lossy(&dry.stderr).into_owned();
    assert!(dry.contains("considering log") && !dry.contains("error:"), "{dry}");

    logrotate(&["--force", "--verbose"]);
    wait_until("the new file", || log.exists());
    grade(&backend, 2);
    wait_until("lines in the new file", || read(&log).contains("result delivered task=attempt 2"));
    let made = std::fs::metadata(&log).expect("the log");
    assert_eq!((made.mode() & 0o7777, made.uid()), (0o640, 0));
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", runner.id())).expect("its descriptors").flatten();
    let open: Vec<PathBuf> = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
    assert!(open.contains(&log.canonicalize().expect("a path")) && !open.contains(&old), "{open:?}");
    stop(runner);
    let (old, new) = (read(&old), read(&log));
    for (text, attempt) in [(&old, 1), (&new, 2)] {
        for what in ["taken", "graded", "result delivered"] {
            assert!(text.contains(&format!("{what} task=attempt {attempt}")), "{what} {attempt}: {text}");
        }
    }
    assert!(old.contains("started ") && new.trim_end().ends_with("INFO ended"), "{old}\n{new}");
}

#[test]
fn a_log_that_cannot_be_opened_again_goes_on_where_it_was_and_says_so() {
    if !need_root("a_log_that_cannot_be_opened_again_goes_on_where_it_was_and_says_so") {
        return;
    }
    let (place, suite) = place();
    let dir = place.tree("log", &[]);
    let backend = Counting::start([], || ());
    let runner = runner(&place, &suite, &backend, &dir.join("runner.log"));
    grade(&backend, 1);
    let moved = place.path("moved");
    std::fs::rename(&dir, &moved).expect("the directory is moved");
    send_signal(pid(&runner), HUP);
    let log = moved.join("runner.log");
    wait_until("the error", || read(&log).contains("ERROR the log file "));
    grade(&backend, 2);
    wait_until("the line of a result", || read(&log).contains("result delivered task=attempt 2"));
    // Its directory is there again: the next signal brings the file back.
    std::fs::create_dir(&dir).expect("a directory");
    send_signal(pid(&runner), HUP);
    let new = dir.join("runner.log");
    wait_until("the new file", || read(&new).contains("the configuration was read again"));
    let said = stop(runner);
    assert!(said.contains("cannot be opened again: No such file or directory"), "{said}");
}

#[test]
fn a_full_disk_keeps_the_log_and_not_the_runner() {
    if !need_root("a_full_disk_keeps_the_log_and_not_the_runner") {
        return;
    }
    let (place, suite) = place();
    let backend = Counting::start([task(1, "good", "main")], || ());
    let mut command = place.runner(&backend.url, &suite);
    command.args(["--once", "--logger-level", "info", "--logger-output", "/dev/full"]);
    let out = command.output().expect("the runner starts");
    assert!(out.status.success() && backend.books().taken.len() == 1, "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(
        said.matches("the log file /dev/full cannot be written to (No space left on device").count(),
        1,
        "{said}"
    );
    assert!(said.contains("INFO graded task=attempt 1"), "{said}");
}

/// A cache of the test's own, in which no environment is and none can be built: nobody waits long for that.
fn without_environments(place: &Place) {
    std::fs::remove_file(place.path("state/cache")).expect("the link to the shared cache goes");
    std::fs::create_dir_all(place.path("state/cache")).expect("a cache");
    place.tree("no-wheels", &[]);
}

fn offline(command: &mut Command, place: &Place) {
    command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", place.path("no-wheels")).env_remove("PIP_INDEX_URL");
}

#[test]
fn commands_say_what_they_wait_for() {
    if !need_root("commands_say_what_they_wait_for") {
        return;
    }
    let (place, suite) = place();
    let project = place.path("git/good");
    without_environments(&place);
    // Begins to grade, reads until each of these has been said, and does what is to be done then; ends it early.
    let grade = |said: &[(&str, &dyn Fn())]| {
        let mut command = place.command(&["grade"]);
        command.arg(&project).arg("--tests").arg(&suite);
        offline(&mut command, &place);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        for (said, then) in said {
            assert!(lines.any(|line| line.starts_with(said)), "{said}");
            then();
        }
        send_signal(pid(&child), TERM);
        assert_eq!(lines.filter(|line| line.contains("Python environment")).count(), 0, "it is said once");
        assert_eq!(child.wait().expect("it ends").code(), Some(2));
    };
    let building = "ostest-sandbox: building the suite's Python environment";
    grade(&[(building, &|| ())]);
    // The same environment is being built by somebody else.
    let entries = std::fs::read_dir(place.path("state/cache")).expect("a cache").flatten().map(|entry| entry.path());
    let lock = entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "lock")).expect("a lock");
    let lock = File::options().append(true).open(lock).expect("a lock");
    lock.lock().expect("nobody has it");
    grade(&[
        ("ostest-sandbox: waiting for another process to build", &|| lock.unlock().expect("it is let go")),
        (building, &|| ()),
    ]);

    let mut check = place.command(&["check", "--json"]);
    offline(&mut check, &place);
    let out = check.output().expect("the program starts");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("ostest-sandbox: grading the canary: building the suite's Python environment"), "{said}");
    serde_json::from_slice::<Value>(&out.stdout).expect("standard output is the report alone");
}

#[test]
fn a_terminal_shows_the_step_and_nothing_of_it_stays() {
    if !need_root("a_terminal_shows_the_step_and_nothing_of_it_stays") {
        return;
    }
    let (place, suite) = place();
    // script(1) gives it a terminal.
    let (project, state) = (place.path("git/good"), place.path("state"));
    let command = format!(
        "{BIN} grade {} --tests {} --state-dir {} --logger-level info",
        project.display(),
        suite.display(),
        state.display()
    );
    let out =
        Command::new("script").args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null()).output();
    let out = out.expect("script starts");
    let screen = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(screen.contains("building the project") && screen.contains("running the tests"), "{screen:?}");
    // A line of the log begins where the changing line was cleared.
    let begun = screen.split("\x1b[2K").any(|part| part.trim_start_matches('\r').contains(" INFO"));
    assert!(begun && screen.contains("PASSED: 1 passed"), "{screen:?}");
}
