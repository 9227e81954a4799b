//! Environments of suites on the disk: what is damaged is never used, and what cannot be built is blamed on whoever can mend it.

mod common;
mod support;

use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use support::backend::Counting;
use support::running::{Running, passed, row};
use support::servers::{Certificate, Server, wheel};
use support::{Graded, Place, need_root};

const NOTHING: &[(&str, &str)] = &[("README", "nothing to build")];
const SUITE: &[(&str, &str)] = &[("test_a.py", "def test_a(): pass\n")];

/// A place whose cache is its own.
fn own_cache() -> Place {
    let place = Place::new();
    place.own_cache();
    place
}

/// The environments in a cache, by their names.
fn environments(cache: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(cache).expect("a cache").flatten().map(|entry| entry.path());
    names.filter(|path| path.is_dir() && path.extension().is_none()).collect()
}

/// What is left in a cache of environments that are none any more, or none yet.
fn leftovers(cache: &Path) -> Vec<String> {
    let names = std::fs::read_dir(cache).expect("a cache").flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.into_string().expect("a plain name"));
    names.filter(|name| name.contains(".building") || name.contains(".damaged")).collect()
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp starts");
    assert!(copied.success());
}

/// An environment of pytest alone, as the runner under test has built it.
fn built() -> &'static Path {
    static BUILT: OnceLock<(Place, PathBuf)> = OnceLock::new();
    let (_, environment) = BUILT.get_or_init(|| {
        let place = own_cache();
        let graded = grade(&place, &place.tree("suite", SUITE));
        assert_eq!(graded.code(), 0, "{:#}", graded.result);
        let environment = environments(&place.path("state/cache")).pop().expect("an environment");
        (place, environment)
    });
    environment
}

/// A place with a copy of it.
fn with_environment() -> (Place, PathBuf) {
    let place = own_cache();
    let cache = place.path("state/cache");
    copy(built(), &cache);
    let environment = environments(&cache).pop().expect("an environment");
    (place, environment)
}

fn grade(place: &Place, suite: &Path) -> Graded {
    let project = place.tree("project", NOTHING);
    place.grade(&project, suite, &["--logger-level", "warning"])
}

/// The folder of packages.
fn packages(environment: &Path) -> PathBuf {
    let lib = std::fs::read_dir(environment.join("lib")).expect("a folder").flatten().next().expect("a version");
    lib.path().join("site-packages")
}

/// A way in which an environment is damaged: its name, what the log says, and how it is done.
type Damage = (&'static str, &'static str, fn(&Path));

const DAMAGES: &[Damage] = &[
    ("empty", "ostest-manifest.json cannot be read", |environment| {
        std::fs::remove_dir_all(environment).expect("it is removed");
        std::fs::create_dir(environment).expect("a directory");
    }),
    ("interpreter gone", "leads to /nowhere/python3", |environment| {
        for entry in std::fs::read_dir(environment.join("bin")).expect("a folder").flatten() {
            if std::fs::read_link(entry.path()).is_ok_and(|to| to.is_absolute()) {
                std::fs::remove_file(entry.path()).expect("a link is removed");
                std::os::unix::fs::symlink("/nowhere/python3", entry.path()).expect("a link");
            }
        }
    }),
    // Its byte code names the size that it had, so Python would compile what is there: nothing.
    ("package truncated", "site-packages/pytest/__init__.py is 0 bytes, it was ", |environment| {
        std::fs::write(packages(environment).join("pytest/__init__.py"), "").expect("it is cut");
    }),
    ("package gone", "site-packages/iniconfig is missing, and ", |environment| {
        std::fs::remove_dir_all(packages(environment).join("iniconfig")).expect("it is removed");
    }),
    ("byte code cut", "__init__.cpython-", |environment| {
        let mut find = Command::new("find");
        let found = find.arg(environment.join("pycache")).args(["-path", "*/pytest/__init__.*.pyc"]).output();
        let found = String::from_utf8(found.expect("find starts").stdout).expect("plain paths");
        let file = Path::new(found.lines().next().expect("byte code of pytest"));
        let bytes = std::fs::read(file).expect("byte code");
        std::fs::write(file, &bytes[..bytes.len() / 2]).expect("it is cut");
    }),
];

#[test]
fn a_damaged_environment_costs_no_attempt_and_is_built_anew() {
    if !need_root("a_damaged_environment_costs_no_attempt_and_is_built_anew") {
        return;
    }
    let (place, environment) = with_environment();
    place.repository("good", NOTHING);
    let task =
        |attempt: usize| json!({"attempt": attempt, "repositoryUrl": "https://course.example/good", "branch": "main"});
    let backend = Counting::start([task(1)], || ());
    let arguments = ["--concurrent", "2", "--logger-level", "warning"];
    let runner = Running::start(&place, &backend, &place.tree("suite", SUITE), &arguments);
    backend.wait("a first result", |books| books.taken.len() == 1);
    for (number, (name, said, damage)) in DAMAGES.iter().enumerate() {
        damage(&environment);
        let damaged = Instant::now();
        backend.books().queue.push_back(task(number + 2));
        backend.wait("its result", |books| books.taken.len() == number + 2);
        let log = runner.log();
        assert!(passed(&backend.books().taken[number + 1]), "{name}: {log}");
        let lines: Vec<_> = log.lines().filter(|line| line.contains("is damaged, and is built anew")).collect();
        assert!(lines.len() == number + 1 && lines[number].contains(said), "{name}: {log}");
        row(&format!("environment: {name}"), "2", 1, damaged.elapsed(), lines[number], said);
    }
    assert_eq!(environments(&place.path("state/cache")), [environment]);
    assert_eq!(leftovers(&place.path("state/cache")), [""; 0]);
    // And then all is well.
    backend.books().queue.push_back(task(DAMAGES.len() + 2));
    backend.wait("another result", |books| books.taken.len() == DAMAGES.len() + 2);
    assert_eq!(runner.log().lines().count(), DAMAGES.len(), "{}", runner.log());
    runner.ends();
    assert!(backend.books().taken.iter().all(passed));
}

#[test]
fn each_start_looks_at_the_environment_although_the_canary_has_passed() {
    if !need_root("each_start_looks_at_the_environment_although_the_canary_has_passed") {
        return;
    }
    let (place, environment) = with_environment();
    let suite = place.tree("suite", SUITE);
    place.tree("git", &[]);
    let start = || {
        let backend = support::backend::Counting::start([], || {});
        let mut runner = place.runner(&backend.url, &suite);
        let output = runner.args(["--once", "--logger-level", "warning"]).output().expect("the runner starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    start();
    assert!(!start().contains("is damaged"));
    std::fs::write(packages(&environment).join("pytest/__init__.py"), "").expect("it is cut");
    let said = start();
    assert!(said.contains("is damaged, and is built anew: lib/"), "{said}");
    assert!(!start().contains("is damaged"));
}

#[test]
fn one_builds_and_the_other_waits_and_what_is_in_use_is_not_removed() {
    if !need_root("one_builds_and_the_other_waits_and_what_is_in_use_is_not_removed") {
        return;
    }
    let (place, environment) = with_environment();
    let cache = place.path("state/cache");
    let project = place.tree("project", NOTHING);
    // It imports what nothing has imported before, after it was told to go on. What it says then is not believed, because its
    // environment is another one: all of it is done once more, in trees of its own, and waits again.
    let waits = "import signal\ndef test_a():\n    \
                 signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])\n    \
                 assert signal.sigtimedwait([signal.SIGUSR1], 500)\n    import _pytest.pastebin\n";
    let waiting = place.tree("waiting", &[("test_a.py", waits)]);
    let spawn = |suite: &Path| {
        let mut command = place.command(&["grade"]);
        command.arg(&project).arg("--tests").arg(suite).args(["--logger-level", "info"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    };
    let user = spawn(&waiting);
    let waits_in = |before: i32| {
        let mut pytest = None;
        common::wait_until("the test that waits", || {
            pytest = blocked_pytest(user.id()).filter(|pid| *pid != before);
            pytest.is_some()
        });
        pytest.expect("it was found")
    };
    let tell = |pid: i32| {
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).expect("it is told");
    };
    let pytest = waits_in(0);
    let damaged = packages(&environment).join("pytest/__init__.py");
    std::fs::write(&damaged, "").expect("it is cut");
    let suite = place.tree("suite", SUITE);
    let both = [spawn(&suite), spawn(&suite)];
    let said = both.map(|child| {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    });
    let times = |what: &str| said.iter().filter(|text| text.contains(what)).count();
    assert_eq!(times("is damaged, and is built anew"), 1, "{said:?}");
    assert_eq!(times("INFO building the suite's Python environment"), 1, "{said:?}");
    assert_eq!(times("waiting for another process to build the suite's Python environment"), 1, "{said:?}");
    // What the first one runs in is out of the way and still there.
    assert_eq!(leftovers(&cache).len(), 1);
    tell(pytest);
    tell(waits_in(pytest));
    let output = user.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("are run again in a new one"), "{output:?}");
    assert_eq!(grade(&place, &suite).code(), 0);
    assert_eq!(leftovers(&cache), [""; 0]);
}

/// The pytest below this process that waits for its signal.
fn blocked_pytest(runner: u32) -> Option<i32> {
    let (mut left, mut below) = (vec![runner as i32], Vec::new());
    while let Some(pid) = left.pop() {
        let children = common::children(pid);
        left.extend(&children);
        below.extend(children);
    }
    // SIGUSR2, the 12th bit: the kernel takes the signal that is waited for out of the mask.
    let mask = |pid: i32| common::field(pid, "SigBlk").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    // A launcher blocks all signals for a moment, too.
    let is_pytest = |pid: i32| common::cmdline(pid).contains("pytest");
    below.into_iter().find(|pid| is_pytest(*pid) && mask(*pid).is_some_and(|mask| mask & (1 << 11) != 0))
}

/// A course whose packages come from an index of its own.
struct Indexed {
    place: Place,
    certificate: Certificate,
    index: Server,
}

impl Indexed {
    fn new() -> Indexed {
        let place = own_cache();
        let certificate = Certificate::make(&place);
        let wheels = place.tree("wheels", &[]);
        wheel(
            &wheels,
            "pytest",
            &[("pytest/__init__.py", ""), ("pytest/__main__.py", "raise SystemExit('no pytest')\n")],
        );
        let index = Server::index(wheels, &certificate);
        Indexed { place, certificate, index }
    }

    /// What is said where these requirements are to be built, with pip's index at this path and these settings over the usual ones.
    fn said(&self, requirements: &str, path: &str, more: &[(&str, &str)]) -> String {
        let suite = self.place.tree("suite", SUITE);
        std::fs::write(suite.join("requirements.txt"), requirements).expect("a file");
        let config = format!("allow-internal = ['{}']\n", self.index.place());
        let config = self.place.tree("config", &[("ostest.toml", &config)]).join("ostest.toml");
        let json = self.place.path("result.json");
        let mut command = self.place.command(&["grade"]);
        command.arg(self.place.tree("project", NOTHING)).arg("--tests").arg(suite).arg("--json").arg(&json);
        command.arg("--config").arg(config).env_remove("OSTEST_ALLOW_INTERNAL");
        command.env("PIP_INDEX_URL", self.index.url(path)).env("PIP_CERT", &self.certificate.file);
        command.envs([("PIP_RETRIES", "0"), ("PIP_NO_INDEX", "0"), ("PIP_FIND_LINKS", "")]).envs(more.iter().copied());
        let output = command.output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = std::fs::read_to_string(&json).expect("a result");
        Graded { result: serde_json::from_str(&text).expect("a result is JSON"), output }.error().to_string()
    }
}

#[test]
fn an_index_that_is_down_is_the_networks_fault_and_never_the_suites() {
    if !need_root("an_index_that_is_down_is_the_networks_fault_and_never_the_suites") {
        return;
    }
    let mut course = Indexed::new();
    let said = course.said("pytest\n", "status/503/simple", &[]);
    assert!(said.contains("the package index does not work (it answers with 503)"), "{said}");
    let elsewhere = own_cache();
    let other = Certificate::make(&elsewhere).file;
    let said = course.said("pytest\n", "simple", &[("PIP_CERT", &other.display().to_string())]);
    assert!(said.contains("the package index cannot be reached"), "{said}");
    course.index.stop();
    let said = course.said("pytest\n", "simple", &[]);
    assert!(said.contains("the package index cannot be reached"), "{said}");
    assert!(!said.lines().next().is_some_and(|line| line.contains("requirements.txt")), "{said}");
}

#[test]
fn requirements_that_cannot_be_met_are_the_suites_fault() {
    if !need_root("requirements_that_cannot_be_met_are_the_suites_fault") {
        return;
    }
    let course = Indexed::new();
    let said = course.said("pytest==99999\n", "simple", &[]);
    assert!(
        said.contains("requirements.txt asks for `pytest==99999`, which the package index does not have"),
        "{said}"
    );
    let said = course.said("pytest==1.0\n", "simple", &[]);
    assert!(said.contains("pytest does not run with the packages that its requirements.txt asks for"), "{said}");
}

#[test]
fn a_suite_that_cannot_be_taken_says_what_of_it() {
    if !need_root("a_suite_that_cannot_be_taken_says_what_of_it") {
        return;
    }
    let place = own_cache();
    let suite = place.tree("suite", SUITE);
    let said = |place: &Place| grade(place, &suite).error().to_string();
    std::fs::write(suite.join("requirements.txt"), b"pytest\xff\n").expect("a file");
    let error = said(&place);
    assert!(error.starts_with("requirements.txt of the test suite cannot be read"), "{error}");
    std::fs::remove_file(suite.join("requirements.txt")).expect("it goes");
    let listener = std::os::unix::net::UnixListener::bind(suite.join("left.sock")).expect("a socket");
    let error = said(&place);
    assert!(error.starts_with("the test suite holds a pipe") && error.contains("left.sock"), "{error}");
    drop(listener);
    std::fs::remove_file(suite.join("left.sock")).expect("it goes");
    std::fs::write(suite.join("large"), vec![1; 300 << 20]).expect("a file");
    let error = said(&place);
    assert!(
        error.starts_with("the test suite is too large for the limit of 256.0 MiB") && error.contains("large"),
        "{error}"
    );
}

#[test]
fn a_suite_that_is_changed_while_it_is_copied_is_copied_again() {
    if !need_root("a_suite_that_is_changed_while_it_is_copied_is_copied_again") {
        return;
    }
    let (place, _) = with_environment();
    let suite = place.tree("suite", SUITE);
    // So many that the writer has its turn while they are copied.
    for number in 0..5000 {
        std::fs::write(suite.join(format!("data-{number}")), "x").expect("a file");
    }
    let (stop, file) = (Arc::new(AtomicBool::new(false)), suite.join("zz_being_written"));
    let told = stop.clone();
    let writer = std::thread::spawn(move || {
        let mut size = 1;
        while !told.load(Ordering::Relaxed) {
            size += 1;
            std::fs::write(&file, vec![b'x'; size % 1000]).expect("it is written");
        }
    });
    let mut command = place.command(&["grade"]);
    command.arg(place.tree("project", NOTHING)).arg("--tests").arg(&suite).args(["--logger-level", "info"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let again = lines.any(|line| line.contains("the test suite changed while it was copied"));
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer ends");
    let rest: Vec<String> = lines.collect();
    let output = child.wait_with_output().expect("it ends");
    assert!(again && output.status.success(), "{output:?} {rest:?}");
}
