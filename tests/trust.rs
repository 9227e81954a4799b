//! What a submission cannot have a word in: how pytest is configured, and whether a test has run.

mod common;
mod support;

use std::path::Path;
use support::{Graded, Place, need_root};

/// Answers `1`, which is right once and wrong once.
const PROJECT: [(&str, &str); 2] = [
    ("Makefile", "prog: prog.c\n\tcc -o prog prog.c\n"),
    ("prog.c", "#include <stdio.h>\nint main(void) { puts(\"1\"); }\n"),
];

const TESTS: &str = r#"
import subprocess
def ask(prog, word): return subprocess.run([prog, word], capture_output=True, text=True, timeout=60).stdout
def test_easy(prog): assert ask(prog, "easy") == "1\n"
def test_hard(prog): assert ask(prog, "hard") == "42\n"
"#;

const CONFTEST: &str = r#"
import os, pytest, subprocess
def pytest_addoption(parser):
    for name in "--src", "--lab", "--proxy_timeout": parser.addoption(name)
@pytest.fixture(scope="session")
def prog(request):
    src = request.config.getoption("--src") or os.environ["OSTEST_PROJECT"]
    subprocess.run(["make", "-C", src], check=True, timeout=60)
    return os.path.join(src, "prog")
"#;

/// A starter that hands everything on, as `run_tests.py`.
const STARTER: &str = "import sys, pytest\nsys.exit(pytest.main(sys.argv[1:] + ['tests']))\n";

fn command(words: &str) -> String {
    let words: Vec<String> = words.split_whitespace().map(|word| format!("{word:?}")).collect();
    format!("[test]\ncommand = [{}]\n", words.join(", "))
}

/// Outcomes in the order of the tests, whatever the modules are called in front of them.
fn outcomes(graded: &Graded) -> Vec<String> {
    let short = |name: &str| name.rsplit("::").next().unwrap_or_default().to_owned();
    graded.cases().into_iter().map(|(name, status, _)| format!("{} {status}", short(&name))).collect()
}

fn grade(place: &Place, name: &str, more: &[(&str, &str)], suite: &Path) -> Graded {
    let project = place.tree(name, &[&PROJECT, more].concat());
    place.grade(&project, suite, &["--lab", "1"])
}

#[test]
fn a_submission_does_not_configure_pytest() {
    if !need_root("a_submission_does_not_configure_pytest") {
        return;
    }
    let place = Place::new();
    let none = "-m pytest tests --src {project} -v --junit-xml={report}";
    let suites = [
        // No ini file of the suite's, a starter with one, one that loads whatever is made.
        place.tree(
            "bare",
            &[
                ("ostest.toml", &*command(&format!("python {none}"))),
                ("tests/conftest.py", CONFTEST),
                ("tests/test_prog.py", TESTS),
            ],
        ),
        place.tree(
            "starter",
            &[
                ("run_tests.py", STARTER),
                ("pytest.ini", "[pytest]\naddopts = -ra\n"),
                ("tests/conftest.py", CONFTEST),
                ("tests/test_prog.py", TESTS),
            ],
        ),
        place.tree(
            "anything",
            &[
                ("ostest.toml", "[test]\nimports = \"anything\"\n"),
                ("run_tests.py", STARTER),
                ("tests/conftest.py", CONFTEST),
                ("tests/test_prog.py", TESTS),
            ],
        ),
        // The project among the folders in which tests are looked for.
        place.tree(
            "beside",
            &[
                ("ostest.toml", &*command("python -m pytest tests {project} --junit-xml={report}")),
                ("tests/conftest.py", CONFTEST),
                ("tests/test_prog.py", TESTS),
            ],
        ),
    ];
    let skip = "import _pytest.python\n_pytest.python.Function.runtest = lambda self: None\n";
    let plan = "[pytest]\naddopts = --setup-plan -k easy\n";
    type Files<'a> = &'a [(&'a str, &'a str)];
    let submissions: [(&str, Files<'_>, &str); 4] = [
        ("honest", &[], ""),
        (
            "ini",
            &[("pytest.ini", plan), ("setup.py", ""), (".pytest.ini", plan), ("pytest.toml", "")],
            "pytest.ini was not read",
        ),
        (
            "shared",
            &[
                ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = '--collect-only'\n"),
                ("setup.cfg", "[tool:pytest]\naddopts = --setup-only\n"),
                ("tox.ini", plan),
                ("setup.py", ""),
            ],
            "was not read",
        ),
        (
            "conftest",
            &[("conftest.py", skip), ("test_mine.py", "def test_mine(): pass\n"), ("tests/conftest.py", skip)],
            "",
        ),
    ];
    for (number, suite) in suites.iter().enumerate() {
        let mut names = None;
        for (at, (name, more, said)) in submissions.into_iter().enumerate() {
            // Each with an honest one; of the others each is tried with two suites, and each suite with two or more.
            if at > 0 && (at + number) % 2 == 0 {
                continue;
            }
            let graded = grade(&place, name, more, suite);
            let shown = suite.file_name();
            assert_eq!(outcomes(&graded), ["test_easy passed", "test_hard failed"], "{shown:?} {name}: {graded:?}");
            assert!(graded.error().contains(said), "{shown:?} {name}: {}", graded.error());
            // It is nobody's fault to have one, and changes no name.
            assert_eq!((graded.code(), graded.error().contains("tampering")), (1, false), "{shown:?} {name}");
            let cases: Vec<String> = graded.cases().into_iter().map(|(name, ..)| name).collect();
            assert_eq!(names.get_or_insert_with(|| cases.clone()), &cases, "{shown:?} {name}");
        }
    }
}

#[test]
fn what_a_build_plants_before_pytest_begins_is_not_read() {
    if !need_root("what_a_build_plants_before_pytest_begins_is_not_read") {
        return;
    }
    let place = Place::new();
    let suite = place.tree(
        "suite",
        &[
            (
                "run_tests.py",
                &*STARTER
                    .replace(
                        "pytest\n",
                        "os, subprocess, pytest\nsubprocess.run(['make', '-C', os.environ['OSTEST_PROJECT'], 'all'])\n",
                    )
                    .replace("['tests']", "['.']"),
            ),
            ("tests/conftest.py", CONFTEST),
            ("tests/test_prog.py", TESTS),
        ],
    );
    let plant = "all: prog\n\tcd /task/suite && for name in conftest.py tests/test_evil.py test_evil.txt pytest.ini tox.ini; do cp /task/project/$$name $$name; done\n";
    let skip = "import _pytest.python\n_pytest.python.Function.runtest = lambda self: None\n";
    let doctest = ">>> import _pytest.python\n>>> _pytest.python.Function.runtest = lambda self: None\n";
    let project = place.tree(
        "planting",
        &[
            ("Makefile", &*format!("{plant}{}", PROJECT[0].1)),
            PROJECT[1],
            ("conftest.py", skip),
            ("tests/test_evil.py", skip),
            ("test_evil.txt", doctest),
            ("pytest.ini", "[pytest]\naddopts = --setup-plan\n"),
            ("tox.ini", "[pytest]\naddopts = --setup-plan\n"),
        ],
    );
    let graded = place.grade(&project, &suite, &["--lab", "1"]);
    assert_eq!(outcomes(&graded), ["test_easy failed", "test_hard failed"], "{graded:?}");
    assert_eq!(graded.code(), 1);
    for name in [
        "take the place of its own: conftest.py (for tests/conftest.py)",
        "suite/conftest.py was not read",
        "suite/pytest.ini was not read",
        "test_evil.py was not collected",
        "test_evil.txt was not run",
    ] {
        assert!(graded.error().contains(name), "{name}: {}", graded.error());
    }
}

#[test]
fn what_a_build_puts_in_a_modules_place_is_no_error_of_the_suites() {
    if !need_root("what_a_build_puts_in_a_modules_place_is_no_error_of_the_suites") {
        return;
    }
    let place = Place::new();
    // Both build while the suite is collected. A planted package hides a plugin of fixtures, and makes one of a folder.
    let build = "import os, subprocess\nsubprocess.run(['make', '-C', os.environ['OSTEST_PROJECT'], 'plant'])\n";
    let top = format!("{build}pytest_plugins = ['ours']\n");
    let test = "def test_it(x): assert x == 1\n";
    for (name, files, planted) in [
        (
            "plugin",
            &[
                ("conftest.py", &*top),
                ("ours.py", "import pytest\n@pytest.fixture\ndef x(): return 1\n"),
                ("test_it.py", test),
            ][..],
            "ours/__init__.py",
        ),
        (
            "folder",
            &[
                ("conftest.py", build),
                ("tests/conftest.py", "import pytest\n@pytest.fixture\ndef x(): return 1\n"),
                ("tests/test_it.py", test),
            ],
            "tests/__init__.py",
        ),
    ] {
        let suite = place.tree(name, files);
        let honest =
            place.grade(&place.tree(&format!("{name}-honest"), &[("Makefile", "plant:\n\ttrue\n")]), &suite, &[]);
        assert_eq!(honest.code(), 0, "{name}: {honest:?}");
        let plant =
            format!("plant:\n\tmkdir -p $(dir /task/suite/{planted})\n\techo 'X = 1' > /task/suite/{planted}\n");
        let graded = place.grade(&place.tree(&format!("{name}-planting"), &[("Makefile", &*plant)]), &suite, &[]);
        assert_eq!((graded.code(), &graded.body()["isError"]), (1, &false.into()), "{name}: {graded:?}");
        assert!(graded.cases().iter().any(|(_, status, _)| status == "failed"), "{name}: {graded:?}");
        assert!(
            graded.error().contains("tampering was seen") && graded.error().contains(planted),
            "{}",
            graded.error()
        );
    }
}

#[test]
fn plugins_are_the_suites_or_nobodys() {
    if !need_root("plugins_are_the_suites_or_nobodys") {
        return;
    }
    let place = Place::new();
    // What a starter may put into Python's path, with packages that say what pytest is to load.
    let starter = "import os, site, sys, pytest\n\
                   site.addsitedir(os.environ['OSTEST_PROJECT'])\n\
                   sys.path.insert(0, os.environ['OSTEST_PROJECT'])\n\
                   PLUGINS\n\
                   sys.exit(pytest.main(sys.argv[1:] + ['tests']))\n";
    let suite = |name: &str, imports: &str, plugins: &str| {
        place.tree(
            name,
            &[
                ("ostest.toml", &*format!("[test]\nimports = {imports:?}\n")),
                ("run_tests.py", &*starter.replace("PLUGINS", plugins)),
                ("skipping.py", "def pytest_pyfunc_call(pyfuncitem): return True\n"),
                ("tests/conftest.py", CONFTEST),
                ("tests/test_prog.py", TESTS),
            ],
        )
    };
    let points = "[pytest11]\nevil = skipping\n";
    let metadata = "Metadata-Version: 2.1\nName: evil\nVersion: 1\n";
    let evil: &[(&str, &str)] = &[
        ("evil-1.dist-info/entry_points.txt", points),
        ("evil-1.dist-info/METADATA", metadata),
        ("evil.egg-info/entry_points.txt", points),
        ("evil.egg-info/PKG-INFO", metadata),
        ("evil.pth", "import _pytest.python; _pytest.python.Function.runtest = lambda self: None\n"),
        ("wanted.py", "def pytest_pyfunc_call(pyfuncitem): return True\n"),
    ];
    for imports in ["suite", "anything"] {
        let graded = grade(&place, "evil", evil, &suite(imports, imports, ""));
        assert_eq!(outcomes(&graded), ["test_easy passed", "test_hard failed"], "{graded:?}");
        assert!(graded.error().contains("dist-info was not read"), "{}", graded.error());
        // Where the suite's plugin is found in the submission there is no right one to load.
        let wanted = suite(&format!("{imports}-wanted"), imports, "os.environ['PYTEST_PLUGINS'] = 'wanted'");
        let graded = grade(&place, "wanted", evil, &wanted);
        assert_eq!(graded.code(), 2, "{graded:?}");
        assert!(graded.error().contains("wanted.py, which the submission could have written"), "{}", graded.error());
    }
    let named = place.tree(
        "named",
        &[
            ("ostest.toml", &*command("python -m pytest -c {project}/pytest.ini --junit-xml={report} tests")),
            ("tests/conftest.py", CONFTEST),
            ("tests/test_prog.py", TESTS),
        ],
    );
    let graded = grade(&place, "ini", &[("pytest.ini", "[pytest]\naddopts = --setup-plan\n")], &named);
    assert_eq!(graded.code(), 2, "{graded:?}");
    assert!(graded.error().contains("pytest.ini would configure pytest"), "{}", graded.error());
}

#[test]
fn a_test_that_was_not_called_has_not_passed() {
    if !need_root("a_test_that_was_not_called_has_not_passed") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", &PROJECT);
    let tests = "import unittest\ndef test_a(): pass\nclass TestB(unittest.TestCase):\n    def test_b(self): pass\n";
    let suite = |name: &str, ini: &str, conftest: &str| {
        let suite = place.tree(name, &[("pytest.ini", ini), ("conftest.py", conftest), ("test_it.py", tests)]);
        place.grade(&project, &suite, &[])
    };
    let plain = "[pytest]\n";
    for (name, ini, conftest) in [
        ("plan", "[pytest]\naddopts = --setup-plan\n", ""),
        ("only", "[pytest]\naddopts = --setup-only\n", ""),
        (
            "call",
            plain,
            "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_pyfunc_call(pyfuncitem): return True\n",
        ),
        (
            "runtest",
            plain,
            "import _pytest.python, _pytest.unittest\nfor kind in _pytest.python.Function, _pytest.unittest.TestCaseFunction:\n    kind.runtest = lambda self: None\n",
        ),
        ("protocol", plain, "def pytest_runtest_protocol(item, nextitem): return True\n"),
    ] {
        let graded = suite(name, ini, conftest);
        // Nothing of the submission's could have done it.
        assert_eq!(graded.code(), 2, "{name}: {graded:?}");
        assert!(graded.cases().iter().any(|(_, status, _)| status == "failed"), "{name}: {graded:?}");
        // unittest's own items answer the hook of functions with their own way of running.
        let b = graded.cases().iter().any(|(case, status, _)| case.ends_with("test_b") && status == "passed");
        assert_eq!(b, name == "call", "{name}: {graded:?}");
        let said = if name == "protocol" { "not in the report" } else { "did not run" };
        assert!(graded.error().contains(said), "{name}: {}", graded.error());
    }
    let graded = suite("collect", "[pytest]\naddopts = --collect-only\n", "");
    assert_eq!((graded.code(), outcomes(&graded)[0].as_str()), (2, "test_a not-run"), "{graded:?}");
}

#[test]
fn tests_of_unusual_kinds_pass_as_ever() {
    if !need_root("tests_of_unusual_kinds_pass_as_ever") {
        return;
    }
    let place = Place::new();
    let conftest = r#"
import pytest
def pytest_collect_file(parent, file_path):
    return File.from_parent(parent, path=file_path) if file_path.suffix == ".yaml" else None
class File(pytest.File):
    def collect(self): yield Item.from_parent(self, name="item")
class Item(pytest.Item):
    def runtest(self): assert self.path.read_text() == "a: 1\n"
@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if pyfuncitem.get_closest_marker("mine"):
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames})
        return True
"#;
    let tests = r#"
import functools, pytest, unittest
from unittest import mock
def decorated(function):
    @functools.wraps(function)
    def wrapper(*given, **named): return function(*given, **named)
    return wrapper
@decorated
@decorated
def test_decorated(tmp_path): pass
@mock.patch("os.getcwd", lambda: "/")
def test_patched(): pass
@pytest.mark.parametrize("n", [1, 2])
def test_param(n): pass
@pytest.mark.mine
def test_mine(tmp_path): pass
test_partial = functools.partial(lambda n: None, 1)
class TestClass:
    @staticmethod
    def test_static(): pass
    @classmethod
    def test_class(cls): pass
class TestUnit(unittest.TestCase):
    def test_unit(self):
        with self.subTest(n=1): self.assertEqual(1, 1)
class TestAsync(unittest.IsolatedAsyncioTestCase):
    async def test_async(self): pass
"#;
    let suite = place.tree(
        "suite",
        &[
            ("pytest.ini", "[pytest]\naddopts = --doctest-modules --doctest-glob=*.txt\nmarkers = mine\n"),
            ("conftest.py", conftest),
            ("test_kinds.py", tests),
            ("it.yaml", "a: 1\n"),
            ("text.txt", ">>> 1 + 1\n2\n"),
            ("helper.py", "def f():\n    '''\n    >>> f()\n    1\n    '''\n    return 1\n"),
        ],
    );
    let graded = place.grade(&place.tree("project", &PROJECT), &suite, &[]);
    assert_eq!((graded.code(), graded.error()), (0, ""), "{graded:?}");
    assert_eq!(graded.cases().len(), 13, "{graded:?}");
}

#[test]
fn every_thread_of_a_test_runs_to_its_end() {
    if !need_root("every_thread_of_a_test_runs_to_its_end") {
        return;
    }
    let place = Place::new();
    // Threads change at every chance, so that what one of them is refused while another is at it shows.
    let tests = r#"
import contextlib, multiprocessing, sys, threading
@contextlib.contextmanager
def traced():
    threading.settrace(lambda *given: None)
    threading.setprofile(lambda *given: None)
    yield
    threading.settrace(None)
    threading.setprofile(None)
def lost(rounds=600):
    seen, lost = [], []
    unraisable, sys.unraisablehook = sys.unraisablehook, lambda given: lost.append(repr(given.exc_value))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(rounds):
            threads = [threading.Thread(target=seen.append, args=(1,)) for _ in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
    finally:
        sys.setswitchinterval(before)
        sys.unraisablehook = unraisable
    return lost[:3], 8 * rounds - len(seen)
def lost_traced(_=None):
    with traced(): return lost()
def test_plain(): assert lost() == ([], 0)
def test_traced(): assert lost_traced() == ([], 0)
def test_spawned():
    with multiprocessing.get_context("spawn").Pool(1) as pool: assert pool.map(lost_traced, [0]) == [([], 0)]
def test_still_refused_from_within():
    # A function that sets the next while it is thrown away waits for nobody.
    class Next:
        def __del__(self): sys.settrace(None)
        def __call__(self, *given): return None
    sys.settrace(Next())
    sys.settrace(None)
    assert sys.gettrace() is None
"#;
    let graded =
        place.grade(&place.tree("project", &PROJECT), &place.tree("suite", &[("test_threads.py", tests)]), &[]);
    assert_eq!((graded.code(), graded.error()), (0, ""), "{graded:?}");
    assert_eq!(graded.cases().len(), 4, "{graded:?}");
}
