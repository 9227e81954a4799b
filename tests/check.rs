//! `check`, and the runner's start, on this host: as it is, and with one thing broken at a time. What is broken is broken in
//! a mount or user namespace of the test's own, so that the host notices nothing. What cannot be staged so is tested by
//! recorded texts, beside each probe.

mod common;
mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use support::{BIN, Place, need_root, traces};

/// Findings of a host on which nothing is red.
const CANARY: [&str; 4] = ["canary", "canary verdicts", "canary memory", "canary walls"];

/// What `check --json` said.
#[derive(Debug)]
struct Said {
    code: i32,
    report: Value,
}

impl Said {
    #[track_caller]
    fn of(output: &Output) -> Said {
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("no report ({e}): {output:?}"));
        let said = Said { code: output.status.code().expect("it exits"), report };
        said.is_consistent();
        said
    }

    fn findings(&self) -> &Vec<Value> {
        self.report["findings"].as_array().expect("findings is a list")
    }

    /// Grade, what was found, remedy.
    fn get(&self, name: &str) -> Option<(&str, &str, &str)> {
        let text = |finding: &'_ Value, key: &str| finding[key].as_str().map(str::to_string);
        let finding = self.findings().iter().find(|f| text(f, "name").as_deref() == Some(name))?;
        let field = |key: &str| finding[key].as_str().expect("a string");
        Some((field("grade"), field("found"), field("remedy")))
    }

    #[track_caller]
    fn finding(&self, name: &str) -> (&str, &str, &str) {
        self.get(name).unwrap_or_else(|| panic!("no finding {name:?} in {:#}", self.report))
    }

    /// Names of all red findings.
    fn red(&self) -> Vec<&str> {
        let red = self.findings().iter().filter(|f| f["grade"] == "red");
        red.filter_map(|f| f["name"].as_str()).collect()
    }

    /// Exit code, verdict and findings say the same, and whatever is to be mended comes with its remedy.
    #[track_caller]
    fn is_consistent(&self) {
        let grades: Vec<&str> = self.findings().iter().filter_map(|f| f["grade"].as_str()).collect();
        let worst = ["red", "yellow", "green"].into_iter().find(|grade| grades.contains(grade));
        assert_eq!(self.report["verdict"].as_str(), worst, "{:#}", self.report);
        let code = match worst {
            Some("green") => 0,
            Some("yellow") => 1,
            _ => 2,
        };
        assert_eq!(self.code, code, "{:#}", self.report);
        for finding in self.findings() {
            let keys: Vec<&String> = finding.as_object().expect("an object").keys().collect();
            assert_eq!(keys, ["found", "grade", "name", "remedy"]);
            let found = finding["found"].as_str().expect("a string");
            assert!(!found.is_empty() && !found.contains('\n'), "{finding:#}");
            assert_eq!(finding["remedy"] == "", finding["grade"] == "green", "{finding:#}");
        }
        let canary = CANARY.iter().any(|name| self.get(name).is_some());
        let before = self.red().iter().any(|name| !CANARY.contains(name));
        assert_eq!(canary, !before, "the canary runs where nothing else is red, and only there: {:#}", self.report);
    }
}

/// `check --json` with more arguments.
fn check(place: &Place, more: &[&str]) -> Said {
    Said::of(&place.command(&["check", "--json"]).args(more).output().expect("the program starts"))
}

/// The same after `script`, in namespaces of its own. `kind` are flags of unshare.
fn broken(place: &Place, kind: &[&str], script: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command.args(kind).args(["sh", "-euc", &format!("{script}\nexec \"$@\""), "sh", BIN]).args(arguments);
    command.arg("--state-dir").arg(place.path("state")).output().expect("unshare starts")
}

/// Takes a program away, wherever it is.
fn without(program: &str) -> String {
    format!(
        "for dir in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do\n\
         [ ! -e $dir/{program} ] || mount --bind /dev/null $dir/{program}\ndone"
    )
}

/// A backend that only answers, with this date; and the first line of each request that it got.
fn backend(date: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            seen.lock().expect("no panic").push(first);
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let answer =
                format!("HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            // Who has gone needs no answer.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

#[test]
fn this_host_is_fit_and_the_canary_leaves_nothing() {
    if !need_root("this_host_is_fit_and_the_canary_leaves_nothing") {
        return;
    }
    let place = Place::new();
    let said = check(&place, &[]);
    assert!(said.red().is_empty(), "{:#}", said.report);
    for name in CANARY {
        assert_ne!(said.finding(name).0, "red", "{:#}", said.report);
    }
    assert!(said.finding("canary memory").1.contains("262144 KiB"));
    assert!(said.finding("backend").1.contains("no --backend-url"));
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
    // For people: the same, a line each, with remedies below, and no colour where it is no terminal.
    let output = place.command(&["check"]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(said.code));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("to fix it: ")).collect();
    assert_eq!(lines.len(), said.findings().len(), "{text}");
    for (line, finding) in lines.iter().zip(said.findings()) {
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), finding["grade"].as_str());
        assert!(line.contains(finding["name"].as_str().expect("a name")), "{line}");
    }
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_missing_program_is_named_and_the_runner_refuses_with_the_same_sentence() {
    if !need_root("a_missing_program_is_named_and_the_runner_refuses_with_the_same_sentence") {
        return;
    }
    let place = Place::new();
    let said = Said::of(&broken(&place, &["--mount"], &without("git"), &["check", "--json"]));
    assert_eq!(said.red(), ["git"]);
    let (_, found, remedy) = said.finding("git");
    assert!(remedy.contains("apt-get install git"), "{remedy}");
    let (url, asked) = backend("Thu, 01 Jan 2026 00:00:00 GMT");
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let log = place.path("log");
    let (suite, shown) = (suite.display().to_string(), log.display().to_string());
    let runner = ["--backend-url", &url, "--once", "--tests", &suite, "--logger-output", &shown];
    let output = broken(&place, &["--mount"], &without("git"), &runner);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let logged = std::fs::read_to_string(log).expect("a log");
    for sentence in [found, remedy] {
        assert!(stderr.contains(sentence) && logged.contains(sentence), "{stderr}\n{logged}");
    }
    assert!(stderr.contains("not fit"), "{stderr}");
    let asked = asked.lock().expect("no panic");
    assert!(!asked.is_empty() && asked.iter().all(|line| line == "HEAD / HTTP/1.1"), "no task is taken: {asked:?}");
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}

#[test]
fn a_compiler_that_does_not_work_is_found_out_by_the_canary() {
    if !need_root("a_compiler_that_does_not_work_is_found_out_by_the_canary") {
        return;
    }
    let place = Place::new();
    let fake =
        place.tree("fake", &[("gcc", "#!/bin/sh\n[ \"$1\" != --version ] || exit 0\necho no cc1 >&2\nexit 1\n")]);
    let script = format!("chmod 755 {0}/gcc\nmount --bind {0}/gcc \"$(readlink -f /usr/bin/gcc)\"", fake.display());
    let said = Said::of(&broken(&place, &["--mount"], &script, &["check", "--json"]));
    assert_eq!(said.red(), ["canary"]);
    let (_, found, remedy) = said.finding("canary");
    assert!(found.starts_with("the build stage broke: the build failed: `make`"), "{found}");
    assert!(remedy.contains("build-essential"), "{remedy}");
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}

#[test]
fn a_proc_that_hides_something_is_red() {
    if !need_root("a_proc_that_hides_something_is_red") {
        return;
    }
    let place = Place::new();
    let said = Said::of(&broken(&place, &["--mount"], "mount --bind /dev/null /proc/interrupts", &["check", "--json"]));
    assert_eq!(said.red(), ["/proc"]);
    let (_, found, remedy) = said.finding("/proc");
    assert!(found.contains("/proc/interrupts") && remedy.contains("systempaths=unconfined"), "{found}; {remedy}");
}

#[test]
fn a_state_directory_without_room_is_red_and_a_small_one_yellow() {
    if !need_root("a_state_directory_without_room_is_red_and_a_small_one_yellow") {
        return;
    }
    for (options, grade, word) in [
        ("size=64k", "red", "nothing can be kept there"),
        ("size=64m,nr_inodes=8", "red", "nothing can be kept there"),
        ("size=64m,ro", "red", "read-only"),
        ("size=900m", "yellow", "environments of suites need"),
    ] {
        let place = Place::new();
        let state = place.path("state");
        // Over the one that the place has made, with the shared cache again where it can be linked.
        let script = format!(
            "cache=$(readlink {0}/cache)\nmount -t tmpfs -o {options} tmpfs {0}\nln -s \"$cache\" {0}/cache || true",
            state.display()
        );
        let said = Said::of(&broken(&place, &["--mount"], &script, &["check", "--json"]));
        let (found_grade, found, remedy) = said.finding("state directory");
        assert_eq!(found_grade, grade, "{options}: {found}");
        assert!(found.contains(word) && remedy.contains("--state-dir"), "{options}: {found}; {remedy}");
    }
}

#[test]
fn power_that_is_lacking_is_named() {
    if !need_root("power_that_is_lacking_is_named") {
        return;
    }
    let place = Place::new();
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-sys_admin", BIN, "check", "--json", "--state-dir"])
        .arg(place.path("state"))
        .output()
        .expect("setpriv starts");
    let said = Said::of(&output);
    let (grade, found, remedy) = said.finding("root");
    assert_eq!(grade, "red");
    assert!(found.contains("CAP_SYS_ADMIN") && remedy.contains("CapabilityBoundingSet"), "{found}; {remedy}");
}

#[test]
fn namespaces_that_are_switched_off_come_with_their_sysctl() {
    if !need_root("namespaces_that_are_switched_off_come_with_their_sysctl") {
        return;
    }
    let place = Place::new();
    // These limits are a user namespace's own, so the host's stay as they are; that we are no longer the host's root is said, too.
    // There root has no power over other people's folders, so the program lies where everybody can reach it.
    let (dir, built) = (place.path("bin"), Path::new(BIN).parent().expect("a directory"));
    std::fs::create_dir(&dir).expect("a directory");
    for name in ["ostest-sandbox", "ostest-launch"] {
        std::fs::copy(built.join(name), dir.join(name)).expect("a copy");
    }
    let script = format!(
        "echo 0 >/proc/sys/user/max_user_namespaces; echo 0 >/proc/sys/user/max_net_namespaces\n\
         shift; set -- {}/ostest-sandbox \"$@\"",
        dir.display()
    );
    let said = Said::of(&broken(&place, &["--user", "--map-root-user"], &script, &["check", "--json"]));
    let (grade, _, remedy) = said.finding("user namespaces");
    assert_eq!(grade, "red");
    assert!(
        remedy.contains("sysctl -w user.max_user_namespaces=15000") && remedy.contains("/etc/sysctl.d/"),
        "{remedy}"
    );
    assert!(said.finding("namespaces").2.contains("user.max_net_namespaces"), "{:#}", said.report);
    assert!(said.finding("root").1.contains("user namespace"), "{:#}", said.report);
}

#[test]
fn a_backend_is_looked_for_without_taking_a_task() {
    if !need_root("a_backend_is_looked_for_without_taking_a_task") {
        return;
    }
    let place = Place::new();
    let (url, asked) = backend("Sat, 01 Jan 2000 00:00:00 GMT");
    let said = check(&place, &["--backend-url", &url]);
    assert_eq!(said.finding("backend").0, "green");
    let (grade, found, remedy) = said.finding("clocks");
    assert!(grade == "yellow" && found.contains("ahead of the backend's") && remedy.contains("timedatectl"), "{found}");
    assert_eq!(*asked.lock().expect("no panic"), ["HEAD / HTTP/1.1"]);
    // Bound and let go again: nothing listens there.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let said = check(&place, &["--backend-url", &format!("http://127.0.0.1:{port}")]);
    let (grade, found, remedy) = said.finding("backend");
    assert!(grade == "yellow" && found.contains("refused") && remedy.contains("goes on asking"), "{found}; {remedy}");
    assert_eq!(said.code, 1);
}

#[test]
fn cores_are_looked_for_where_they_are_asked_for() {
    if !need_root("cores_are_looked_for_where_they_are_asked_for") {
        return;
    }
    let place = Place::new();
    let said = check(&place, &["--pin-cores", "--concurrent", "1"]);
    let hybrid = said.finding("cgroups").1.starts_with("hybrid");
    let (grade, found, _) = said.finding("cores");
    assert_eq!(grade, if hybrid { "red" } else { "green" }, "{found}");
    assert!(found.contains("--pin-cores"), "{found}");
}

/// A package index that has nothing, and a pip that asks no other.
fn no_index(command: &mut Command, place: &Place) {
    let empty = place.path("no-wheels");
    std::fs::create_dir_all(&empty).expect("a directory");
    command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", empty).env_remove("PIP_INDEX_URL");
}

fn own_cache(place: &Place) {
    std::fs::remove_file(place.path("state/cache")).expect("the link to the shared cache goes");
    std::fs::create_dir(place.path("state/cache")).expect("a cache");
}

/// Puts the environments that all tests share into a cache of its own. A directory that is a link is found like any other.
fn link_environments(place: &Place) {
    let shared = std::fs::read_link(Place::new().path("state/cache")).expect("a link");
    for entry in std::fs::read_dir(&shared).expect("the shared cache").flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("venv-") && entry.path().is_dir() {
            std::os::unix::fs::symlink(entry.path(), place.path("state/cache").join(name)).expect("a link");
        }
    }
}

#[test]
fn without_an_index_a_host_is_unfit_until_an_environment_is_in_its_cache() {
    if !need_root("without_an_index_a_host_is_unfit_until_an_environment_is_in_its_cache") {
        return;
    }
    let place = Place::new();
    own_cache(&place);
    let offline = |more: &[&str]| {
        let mut command = place.command(&["check", "--json"]);
        no_index(&mut command, &place);
        Said::of(&command.args(more).output().expect("the program starts"))
    };
    let course = ["--tests", "https://course.example/suite.git"];
    let said = offline(&course);
    assert_eq!(said.red(), ["canary"]);
    let (_, found, remedy) = said.finding("canary");
    assert!(found.starts_with("the prepare stage broke") && found.contains("pytest"), "{found}");
    assert!(remedy.contains("PIP_FIND_LINKS"), "{remedy}");
    // The environment of a suite, made while there was an index: the one that all tests share.
    let suite = place.tree("suite", &[("requirements.txt", "pytest\n")]);
    let suite = suite.display().to_string();
    let built = check(&Place::new(), &["--tests", &suite]);
    assert!(built.red().is_empty(), "{:#}", built.report);
    link_environments(&place);
    // A suite that lies elsewhere is not fetched, and the cache does for the canary.
    for flags in [&course[..], &["--tests", &suite]] {
        let said = offline(flags);
        assert!(said.red().is_empty(), "{:#}", said.report);
    }
}

#[test]
fn a_start_runs_the_canary_once_and_again_when_something_changed() {
    if !need_root("a_start_runs_the_canary_once_and_again_when_something_changed") {
        return;
    }
    let place = Place::new();
    own_cache(&place);
    // The environments are shared, the records are not.
    link_environments(&place);
    let suite = place.tree("suite", &[("test_a.py", "def test_a(): pass\n")]);
    let start = |more: &[&str]| {
        let (url, _) = backend("Thu, 01 Jan 2026 00:00:00 GMT");
        let mut command = place.command(&["--backend-url", &url, "--once", "--logger-level", "debug"]);
        let output = command.arg("--tests").arg(&suite).args(more).output().expect("the runner starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a log")
    };
    let ran = |log: &str| log.contains("fetched, prepared, built and tested");
    let first = start(&[]);
    assert!(ran(&first), "{first}");
    let records = || count(&place.path("state/cache"), "canary-");
    // A canary of which anything is yellow (a kernel that tells no peak) has nothing to rely on.
    let green = !first.lines().any(|line| line.contains("WARN") && line.contains("check=\"canary"));
    assert_eq!(records(), usize::from(green), "{first}");
    let second = start(&[]);
    assert_eq!(second.contains("passed before"), green, "{second}");
    assert_eq!(ran(&second), !green, "{second}");
    let waived = start(&["--allow-degraded", "landlock"]);
    assert!(ran(&waived), "{waived}");
    assert_eq!(records(), 2 * usize::from(green));
}

fn count(dir: &Path, prefix: &str) -> usize {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count()
}

#[test]
fn held_tasks_are_red_and_results_that_wait_for_long_are_yellow() {
    if !need_root("held_tasks_are_red_and_results_that_wait_for_long_are_yellow") {
        return;
    }
    let place = Place::new();
    // What a runner that works in this directory has left there, and its lock.
    let lock = place.tree("state", &[("runner.lock", "")]).join("runner.lock");
    let lock = std::fs::File::options().append(true).open(lock).expect("a lock");
    lock.lock().expect("nobody has it");
    let held = |task: &str| {
        serde_json::json!({
            "task": task, "blame": "network", "cause": "the git server git.example", "since": "2026-01-01T02:00:00Z",
            "message": "the server cannot be reached\nfatal: unable to access", "tries": 3, "deadline": "2026-01-01T02:08:00Z",
        })
    };
    let status = |state: &str, held: Value| {
        let text = serde_json::json!({
            "pid": 4711, "started": "2026-01-01T00:00:00Z", "state": state, "since": "2026-01-01T02:00:00Z", "reason": "",
            "backend": "http://b", "slots": 2, "busy": [], "held": held, "graded": 7, "delivered": 6, "waiting": 1, "rejected": 0,
        });
        std::fs::write(place.path("state/status.json"), text.to_string()).expect("a file");
    };
    let waiting = |attempt: u64, graded: std::time::SystemTime| {
        let graded = humantime::format_rfc3339_seconds(graded).to_string();
        let entry = serde_json::json!({
            "version": 1, "backend": "http://b/", "taken": graded, "state": "waiting", "graded": graded,
            "task": {"attempt": attempt, "repositoryUrl": "https://course.example/good", "branch": "main"},
            "result": {"attempt": attempt, "testResults": {}},
        });
        let name = format!("attempt-{attempt}.json");
        place.tree("state/spool", &[(&name, &entry.to_string())]);
    };
    // Without git there is no canary, which would say the same each time.
    let look = || Said::of(&broken(&place, &["--mount"], &without("git"), &["check", "--json"]));
    let now = std::time::SystemTime::now();
    status("holding", serde_json::json!([held("attempt 103"), held("attempt 104")]));
    waiting(1, now);
    let said = look();
    let (grade, found, remedy) = said.finding("runner");
    assert_eq!(grade, "red", "{found}");
    for word in
        ["holds 2 tasks", "attempt 103 since 2026-01-01T02:00:00Z", "git.example", "cannot be reached", "02:08:00Z"]
    {
        assert!(found.contains(word), "{word}: {found}");
    }
    assert!(remedy.contains("firewall") && remedy.contains("tries again by itself"), "{remedy}");
    assert_eq!(said.finding("spool").0, "green", "a result that has just been made is on its way: {:#}", said.report);
    status("asking", serde_json::json!([]));
    waiting(2, now - std::time::Duration::from_secs(600));
    let said = look();
    assert_eq!(said.finding("runner").0, "green", "{:#}", said.report);
    let (grade, found, remedy) = said.finding("spool");
    assert!(
        grade == "yellow" && found.contains("2 waiting for the backend, 0 refused by it; one has waited since"),
        "{found}"
    );
    assert!(remedy.contains("why the backend takes no results"), "{remedy}");
}
