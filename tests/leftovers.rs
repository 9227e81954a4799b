//! What a test leaves running is ended at its end, unless the suite says otherwise or a fixture of a wider scope has started it.
//! Real pytest, real programs. Needs root.

mod common;
mod support;

use serde_json::Value;
use support::{Graded, Place, need_root};

/// Writes its pid to the file that it is given, and sleeps, out of its parent's sight.
const DAEMON: &str = "#!/bin/sh\nsetsid sh -c 'echo $$ > \"$1\"; exec sleep 300' sh \"$1\" >/dev/null 2>&1 &\n\
                      until [ -s \"$1\" ]; do sleep 0.01; done\n";

const PROJECT: &[(&str, &str)] = &[("daemon", DAEMON)];

/// What all suites here have.
const HELPERS: &str = r#"
import os, pathlib, subprocess
import pytest
DAEMON = os.environ["OSTEST_PROJECT"] + "/daemon"

def start(name):
    path = "/tmp/" + name
    subprocess.run(["sh", DAEMON, path], check=True)
    return int(pathlib.Path(path).read_text())

def serve(name):
    path = pathlib.Path("/tmp/" + name)
    process = subprocess.Popen(["sh", "-c", 'echo $$ > "$1"; exec sleep 300', "sh", path])
    while not (path.exists() and path.read_text()):
        assert process.poll() is None
    return process

def lives(name):
    pid = int(pathlib.Path("/tmp/" + name).read_text())
    try:
        # One that has ended and was not waited for yet is there, and does nothing any more.
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
"#;

fn graded(place: &Place, test: &str, options: &str) -> Graded {
    let text = format!("{HELPERS}\n{test}");
    let suite = place.tree("suite", &[("test_left.py", &text), ("ostest.toml", options)]);
    place.grade(&place.tree("project", PROJECT), &suite, &["--lab", "2"])
}

#[track_caller]
fn remarks(graded: &Graded, name: &str) -> Vec<String> {
    let cases = graded.body()["testCases"].as_array().expect("cases");
    let case = cases.iter().find(|case| case["name"].as_str().is_some_and(|n| n.ends_with(name))).expect("the case");
    let texts = case["remarks"].as_array().expect("remarks").iter();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn what_a_test_leaves_is_ended_and_the_result_says_so() {
    if !need_root("what_a_test_leaves_is_ended_and_the_result_says_so") {
        return;
    }
    let place = Place::new();
    let test = r#"
def test_leaves():
    start("a")
    assert lives("a")
def test_finds_nothing():
    assert not lives("a")
def test_fails_and_leaves():
    start("b")
    assert False, "as it is to be"
@pytest.fixture
def mine():
    start("c")
    yield
    assert lives("c")
def test_function_fixture(mine):
    assert lives("c")
def test_pipeline():
    assert subprocess.run("yes | head -1 > /dev/null", shell=True).returncode == 0
def test_all_are_gone():
    assert not lives("b") and not lives("c")
"#;
    let graded = graded(&place, test, "");
    let failed: Vec<_> = graded.cases().into_iter().filter(|case| case.1 != "passed").collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    let (left, said) =
        ("1 process that this test started was still running at its end and was ended: sleep", &failed[0].2);
    assert!(said.starts_with("sandbox: ") && said.contains(left), "{said}");
    for name in ["::test_leaves", "::test_fails_and_leaves", "::test_function_fixture"] {
        assert_eq!(remarks(&graded, name), [left], "{name}");
    }
    for name in ["::test_finds_nothing", "::test_pipeline", "::test_all_are_gone"] {
        assert!(remarks(&graded, name).is_empty(), "{name}: {:?}", remarks(&graded, name));
    }
    // A pass stays one, with nothing in its description.
    let case = &graded.body()["testCases"][0];
    assert_eq!((&case["isPassed"], &case["description"]), (&true.into(), &"".into()));
    assert!(String::from_utf8_lossy(&graded.output.stdout).contains(left), "`grade` prints it");
}

#[test]
fn what_a_wider_fixture_starts_lives_as_long_as_the_fixture() {
    if !need_root("what_a_wider_fixture_starts_lives_as_long_as_the_fixture") {
        return;
    }
    let place = Place::new();
    let test = r#"
import unittest
@pytest.fixture(scope="session")
def session():
    serve("session")
    yield
    assert lives("session") and not lives("module"), "the inner one ends first"
@pytest.fixture(scope="module")
def module(session):
    yield serve("module")
@pytest.fixture(scope="class")
def inside(request):
    request.getfixturevalue("module")
    serve("inside")
class TestOne:
    def test_a(self, inside):
        assert lives("session") and lives("module") and lives("inside")
    def test_b(self, inside):
        assert lives("session") and lives("module") and lives("inside")
class TestTwo:
    @classmethod
    def setup_class(cls):
        serve("xunit")
    def test_c(self):
        assert not lives("inside") and lives("module") and lives("xunit")
    def test_d(self):
        assert lives("xunit")
class Three(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        serve("unittest")
    def test_e(self):
        self.assertTrue(lives("unittest") and not lives("xunit"))
    def test_f(self):
        self.assertTrue(lives("unittest"))
@pytest.fixture(scope="class", params=[1, 2])
def twice(request):
    serve("twice%d" % request.param)
def test_g(twice, request):
    assert lives("twice%d" % request.node.callspec.params["twice"])
def test_h():
    assert not lives("unittest") and not lives("twice1") and lives("session")
"#;
    let graded = graded(&place, test, "");
    let failed: Vec<_> = graded.cases().into_iter().filter(|case| case.1 != "passed").collect();
    assert!(failed.is_empty() && graded.cases().len() == 9 && graded.code() == 0, "{failed:#?}");
    for name in ["::test_a", "::test_h"] {
        assert!(remarks(&graded, name).is_empty(), "{name}: {:?}", remarks(&graded, name));
    }
}

#[test]
fn what_nobody_in_pytest_has_started_does_not_outlive_a_set_up() {
    if !need_root("what_nobody_in_pytest_has_started_does_not_outlive_a_set_up") {
        return;
    }
    let test = r#"
start("imported")
serve("kept")
@pytest.fixture(scope="session")
def session():
    start("session")
    serve("server")
    # A server's own children are its own; what a child of pytest's starts descends from it.
    subprocess.Popen(["sh", "-c", "sleep 300 & echo $! > /tmp/worker; wait"])
    while not os.path.exists("/tmp/worker") or not pathlib.Path("/tmp/worker").read_text(): pass
@pytest.fixture(scope="module")
def module(session):
    assert lives("server")
    start("module")
    assert lives("module"), "until the set-up is over"
def test_a(session):
    assert ENDS and not lives("imported") and not lives("session")
    assert lives("server") and lives("worker") and lives("kept")
def test_b(module):
    assert not lives("module") and lives("server") and lives("worker") and lives("kept")
"#;
    let ends = graded(&Place::new(), &test.replace("ENDS", "True"), "");
    assert_eq!(ends.code(), 0, "{:#?}", ends.cases());
    let notes: Vec<&str> = ends.error().lines().collect();
    assert_eq!(notes.len(), 3, "{notes:#?}");
    for (note, when) in notes.iter().zip(["when all tests had been collected", "when a fixture", "when a fixture"]) {
        assert!(note.contains(when) && note.contains("1 process ") && note.contains("sleep ("), "{note}");
    }
    assert!(remarks(&ends, "::test_a").is_empty(), "{:?}", remarks(&ends, "::test_a"));

    let kept = graded(
        &Place::new(),
        &test
            .replace("assert ENDS and not", "assert")
            .replace("and not lives", "and lives")
            .replace("assert not lives(\"module\") and", "assert lives(\"module\") and"),
        "[test]\nleftovers = \"keep\"\n",
    );
    assert_eq!((kept.code(), kept.error()), (0, ""), "{:#?}", kept.cases());
}

#[test]
fn a_suite_that_needs_them_keeps_them_also_in_one_lab() {
    if !need_root("a_suite_that_needs_them_keeps_them_also_in_one_lab") {
        return;
    }
    let test = "def test_leaves():\n    start('a')\ndef test_finds():\n    assert lives('a')\n";
    for (options, kept) in [
        ("[test]\nleftovers = \"keep\"\n", true),
        ("[lab.2]\nleftovers = \"keep\"\n", true),
        ("[test]\nleftovers = \"keep\"\n[lab.2]\nleftovers = \"end\"\n", false),
        ("[lab.1]\nleftovers = \"keep\"\n", false),
    ] {
        let graded = graded(&Place::new(), test, options);
        assert_eq!(graded.code(), i32::from(!kept), "{options}: {:#?}", graded.cases());
    }
}

#[test]
fn multiprocessings_own_helper_outlives_the_test_that_needed_it_first() {
    if !need_root("multiprocessings_own_helper_outlives_the_test_that_needed_it_first") {
        return;
    }
    let test = r#"
import multiprocessing, multiprocessing.resource_tracker, warnings
seen = []
@pytest.mark.parametrize("n", range(2))
def test_semaphore(n):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        multiprocessing.get_context("spawn").Semaphore()
    seen.append(multiprocessing.resource_tracker._resource_tracker._pid)
    assert len(set(seen)) == 1
FORKSERVER

def test_whose_program_is_small():
    subprocess.run(["true"], check=True)
"#;
    const FORKED: &str = r#"
import time
def work(pipe): pipe.send(subprocess.run(["echo", "42"], capture_output=True).stdout)
def wait(pipe): pipe.send(1); time.sleep(300)
def ask(target):
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs,), daemon=True); process.start()
    return process, ours.recv()
@pytest.mark.parametrize("n", range(2))
def test_forkserver(n):
    process, said = ask(work); process.join()
    assert said == b"42\n"
def test_forkserver_leaves(): assert ask(wait)[1] == 1
"#;
    let graded = graded(&Place::new(), &test.replace("FORKSERVER", FORKED), "");
    assert_eq!(graded.code(), 0, "{:#?}", graded.cases());
    for name in ["test_semaphore[0]", "test_forkserver[0]", "test_forkserver[1]"] {
        assert!(remarks(&graded, name).is_empty(), "{name}: {:?}", remarks(&graded, name));
    }
    // Its children are the test's own.
    let left = remarks(&graded, "test_forkserver_leaves");
    assert!(left.len() == 1 && left[0].starts_with("1 process that this test started was still running"), "{left:?}");
    // The helper is in no test's figure: a Python takes more than 6 MiB.
    let cases = graded.result["testResults"]["testCases"].as_array().expect("tests");
    let last = cases
        .iter()
        .find(|case| case["name"].as_str().is_some_and(|name| name.ends_with("test_whose_program_is_small")))
        .expect("its last test");
    assert!(last["memoryBytes"].as_u64().is_some_and(|bytes| bytes < 4 << 20), "the helper is in its figure: {last:#}");
}
