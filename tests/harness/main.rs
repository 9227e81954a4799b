//! The pytest plugin with the real pytest: what it says has to be what pytest's own report says.

mod gate;
mod support;

use ostest_sandbox::junit::Outcome::{self, Error, Failed, Passed, Skipped};
use ostest_sandbox::verdict::Status;
use support::{Ran, Suite};

fn ends(ran: &Ran) -> Vec<(&str, Option<Outcome>)> {
    let tests = ran.log.tests().iter();
    tests.map(|t| (&*t.name, t.end.as_ref().map(|e| e.status))).collect()
}

fn text<'a>(ran: &'a Ran, name: &str) -> &'a str {
    let test = ran.log.tests().iter().find(|t| t.name == name);
    let test = test.unwrap_or_else(|| panic!("no {name} in {:?}", ran.names()));
    &test.end.as_ref().expect("an end").text
}

const OUTCOMES: &str = r#"
import os
import pytest

@pytest.fixture
def bad_setup():
    assert False, "set-up"

@pytest.fixture
def bad_teardown():
    yield
    assert False, "tear-down"

@pytest.fixture
def skipping():
    pytest.skip("not here")

def test_pass(): print("noise")
def test_fail(): assert 1 == 2, "привет <&> ]]> \x1b[31m \r\n \udc80 \x00"
def test_setup(bad_setup): pass
def test_teardown(bad_teardown): pass
def test_both(bad_teardown): assert False, "call"
def test_skip(): pytest.skip("reason")
@pytest.mark.skip
def test_mark(): pass
def test_skip_setup(skipping): pass
def test_skip_teardown(bad_teardown): pytest.skip("first")
@pytest.mark.xfail(reason="bug <3>")
def test_xfail(): assert False
@pytest.mark.xfail
def test_xfail_bare(): assert False
@pytest.mark.xfail
def test_xpass(): pass
@pytest.mark.xfail(strict=True, reason="fixed?")
def test_xpass_strict(): pass
@pytest.mark.xfail(reason="conftest fails it")
def test_xfail_forced(): pass
@pytest.mark.parametrize("x", [1, "a b", "é", "[::]", "\n"])
def test_param(x): assert x != 1
class TestClass:
    class TestInner:
        def test_deep(self): pass
    def test_method(self): pytest.fail("plain\ttext")
"#;

/// As the course's suite does it for core files: a report is changed after the fact.
const CONFTEST: &str = r#"
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if item.name == "test_xfail_forced" and call.when == "call":
        outcome.get_result().outcome = "failed"
        outcome.get_result().longrepr = "--- core file ---"
"#;

#[test]
fn every_outcome_is_what_the_report_says() {
    let files = [("tests/test_all.py", OUTCOMES), ("tests/conftest.py", CONFTEST)];
    for family in ["xunit1", "xunit2"] {
        let ran = Suite::new(&files).arg("-o").arg(&format!("junit_family={family}")).run();
        ran.assert_agrees();
        assert_eq!(
            ends(&ran),
            [
                ("test_all::test_pass", Some(Passed)),
                ("test_all::test_fail", Some(Failed)),
                ("test_all::test_setup", Some(Error)),
                ("test_all::test_teardown", Some(Error)),
                ("test_all::test_both", Some(Error)),
                ("test_all::test_skip", Some(Skipped)),
                ("test_all::test_mark", Some(Skipped)),
                ("test_all::test_skip_setup", Some(Skipped)),
                ("test_all::test_skip_teardown", Some(Error)),
                ("test_all::test_xfail", Some(Skipped)),
                ("test_all::test_xfail_bare", Some(Skipped)),
                ("test_all::test_xpass", Some(Passed)),
                ("test_all::test_xpass_strict", Some(Failed)),
                ("test_all::test_xfail_forced", Some(Failed)),
                ("test_all::test_param[1]", Some(Failed)),
                ("test_all::test_param[a b]", Some(Passed)),
                ("test_all::test_param[\\xe9]", Some(Passed)),
                ("test_all::test_param[[::]]", Some(Passed)),
                ("test_all::test_param[\\n]", Some(Passed)),
                ("test_all.TestClass.TestInner::test_deep", Some(Passed)),
                ("test_all.TestClass::test_method", Some(Failed)),
            ]
        );
        assert!(text(&ran, "test_all::test_fail").contains("привет <&> ]]>"));
        assert!(text(&ran, "test_all::test_both").contains("call"));
        assert!(text(&ran, "test_all::test_both").contains("tear-down"));
        assert!(text(&ran, "test_all::test_skip").ends_with(": reason"));
        assert_eq!(text(&ran, "test_all::test_xfail"), "expected failure: bug <3>");
        assert_eq!(text(&ran, "test_all::test_xfail_bare"), "expected failure");
        assert_eq!(ran.log.exit_status(), Some(1));
        let error = ran.verdict().error.expect("errors are told");
        assert!(error.starts_with("pytest reported errors") && error.contains("4 of 21"), "{error}");
    }
}

#[test]
fn a_good_suite_passes_and_a_collection_that_breaks_does_not() {
    let good = ("test_good.py", "def test_a(): pass\ndef test_b(): pass\n");
    let ran = Suite::new(&[good]).run();
    ran.assert_agrees();
    assert!(ran.verdict().is_passed(), "{:?}", ran.verdict());
    assert!(ran.log.tests()[0].end.as_ref().unwrap().duration.is_some());

    let ran = Suite::new(&[good, ("test_bad.py", "import nothing_of_this_name\n")]).run();
    assert_eq!(ran.log.collect_errors()[0].nodeid, "test_bad.py");
    assert!(ran.log.collect_errors()[0].text.contains("nothing_of_this_name"));
    let verdict = ran.verdict();
    assert!(verdict.error.unwrap().contains("could not be collected"));
    assert_eq!(verdict.cases.len(), 2);
    assert!(verdict.cases.iter().all(|c| c.status == Status::NotRun));

    let skipped = ("test_skip.py", "import pytest\npytest.skip('no', allow_module_level=True)\n");
    let ran = Suite::new(&[good, skipped]).run();
    ran.assert_agrees();
    let verdict = ran.verdict();
    assert!(!verdict.is_passed() && verdict.error.is_none(), "{verdict:?}");
    let part = &verdict.cases[2];
    assert_eq!((&*part.name, part.status), ("test_skip", Status::Skipped));
    assert!(part.description.ends_with("test_skip.py:2: no"), "{part:?}");
}

#[test]
fn a_suite_that_cannot_start_says_why() {
    let ran = Suite::new(&[("conftest.py", "raise SystemError('broken conftest')\n")]).run();
    let error = ran.verdict().error.expect("an error");
    assert!(error.contains("did not start") && error.contains("broken conftest"), "{error}");
    let ran = Suite::new(&[("test_a.py", "")]).arg("--no-such-option").run();
    let error = ran.verdict().error.expect("an error");
    assert!(error.contains("exit code 4") && error.contains("--no-such-option"), "{error}");
    let ran = Suite::new(&[("test_a.py", "")]).run();
    assert!(ran.verdict().error.expect("an error").contains("no tests"));
    for broken in ["[1]", "{", "{}"] {
        let ran = Suite::new(&[("test_a.py", "def test_a(): pass\n")]).select(broken).run();
        let error = ran.verdict().error.expect("an error");
        assert!(error.contains("list of selected tests"), "{error}");
        assert!(ran.log.tests().is_empty());
    }
}

#[test]
fn names_select_whole_names() {
    let files = [
        (
            "tests/lab1/test_one.py",
            "import pytest\ndef test1(): pass\ndef test10(): pass\n\
             @pytest.mark.parametrize('x', [1, 2])\ndef test_p(x): pass\n\
             class TestC:\n  def test_m(self): pass\n  class TestD:\n    def test_m(self): pass\n",
        ),
        ("tests/lab2/test_two.py", "def test1(): pass\ndef test_only(): pass\n"),
    ];
    let one = "lab1.test_one";
    let all: &[&str] = &["::test1", "::test10", "::test_p[1]", "::test_p[2]", ".TestC::test_m", ".TestC.TestD::test_m"];
    let p: &[&str] = &["::test_p[1]", "::test_p[2]"];
    for (name, kept) in [
        ("test10", &["::test10"][..]),
        ("test_p", p),
        ("test_p[2]", &["::test_p[2]"]),
        ("lab1.test_one::test1", &["::test1"]),
        ("tests.lab1.test_one::test1", &["::test1"]),
        ("test_one::test1", &["::test1"]),
        ("test_one.py::test1", &["::test1"]),
        ("test_one::test_p", p),
        ("test_one::test_p[1]", &["::test_p[1]"]),
        ("tests/lab1/test_one.py::test1", &["::test1"]),
        ("tests/lab1/test_one.py::test_p", p),
        ("tests/lab1/test_one.py::test_p[1]", &["::test_p[1]"]),
        ("tests/lab1/test_one.py::TestC::test_m", &[".TestC::test_m"]),
        ("TestC::test_m", &[".TestC::test_m"]),
        ("test_one::TestC::test_m", &[".TestC::test_m"]),
        ("lab1.test_one.TestC::test_m", &[".TestC::test_m"]),
        ("TestD::test_m", &[".TestC.TestD::test_m"]),
        ("TestC::TestD::test_m", &[".TestC.TestD::test_m"]),
        ("test_m", &[".TestC::test_m", ".TestC.TestD::test_m"]),
    ] {
        let ran = Suite::new(&files).select(&format!("[{name:?}]")).run();
        ran.assert_agrees();
        let kept: Vec<String> = kept.iter().map(|k| format!("{one}{k}")).collect();
        assert_eq!(ran.names(), kept, "{name}");
        assert!(ran.verdict().is_passed(), "{name}: {:?}", ran.verdict());
    }
    let ran = Suite::new(&files).select("[]").run();
    assert_eq!(ran.names().len(), all.len() + 2);
    // A bare function name means the function wherever it is.
    let ran = Suite::new(&files).select(r#"["test1"]"#).run();
    assert_eq!(ran.names(), ["lab1.test_one::test1", "lab2.test_two::test1"]);
}

#[test]
fn names_that_match_nothing_are_told() {
    let files = [
        ("test_a.py", "import pytest\ndef test_10(): pass\n@pytest.mark.slow\ndef test_slow(): pass\n"),
        ("pytest.ini", "[pytest]\nmarkers = slow\n"),
    ];
    let ran = Suite::new(&files).select(r#"["test_1", "test_10", "test_", "test_1"]"#).run();
    ran.assert_agrees();
    assert_eq!(ran.names(), ["test_a::test_10"]);
    let unknown: Vec<&str> = ran.log.unknown().iter().map(|u| &*u.test).collect();
    assert_eq!(unknown, ["test_1", "test_"]);
    let verdict = ran.verdict();
    assert_eq!((verdict.error.as_deref(), verdict.cases.len()), (None, 3));
    assert!(!verdict.is_passed());

    let ran = Suite::new(&files).arg("-mnot slow").select(r#"["test_slow"]"#).run();
    assert_eq!(ran.log.exit_status(), Some(5));
    let verdict = ran.verdict();
    assert_eq!(verdict.error, None);
    assert!(verdict.cases[0].description.contains("leave it out"), "{verdict:?}");
}

#[test]
fn order_and_dependencies_are_the_suites_own() {
    let files = [(
        "test_a.py",
        "import pytest\n\
         @pytest.mark.order(3)\n@pytest.mark.dependency(depends=['base'])\ndef test_top(): pass\n\
         @pytest.mark.order(1)\n@pytest.mark.dependency(name='base')\ndef test_base(): pass\n\
         @pytest.mark.order(2)\ndef test_middle(): pass\n",
    )];
    let ran = Suite::new(&files).run();
    ran.assert_agrees();
    assert_eq!(ran.names(), ["test_a::test_base", "test_a::test_middle", "test_a::test_top"]);
    assert!(ran.verdict().is_passed(), "{:?}", ran.verdict());
    let ran = Suite::new(&files).select(r#"["test_top"]"#).run();
    ran.assert_agrees();
    assert_eq!(ends(&ran), [("test_a::test_top", Some(Skipped))]);
    assert!(text(&ran, "test_a::test_top").contains("depends on base"));
}

#[test]
fn a_pytest_that_dies_leaves_the_rest_without_an_end() {
    for (how, says) in [
        ("os.kill(os.getpid(), 9)", "signal 9 (SIGKILL)"),
        ("os._exit(3)", "exit code 3"),
        ("os._exit(0)", "exit code 0"),
        ("pytest.exit('enough', 0)", "exit status 0"),
        ("raise KeyboardInterrupt", "interrupted"),
    ] {
        let code = format!("import os, pytest\ndef test_a(): pass\ndef test_b(): {how}\ndef test_c(): pass\n");
        let ran = Suite::new(&[("test_x.py", &code)]).run();
        assert_eq!(ran.log.problems(), [""; 0]);
        assert_eq!(ran.log.running(), Some(1), "{how}");
        let verdict = ran.verdict();
        let statuses: Vec<Status> = verdict.cases.iter().map(|c| c.status).collect();
        assert_eq!(statuses, [Status::Passed, Status::Stopped, Status::NotRun], "{how}");
        assert!(verdict.cases[1].description.contains(says), "{how}: {verdict:?}");
        assert!(verdict.error.is_some() && !verdict.is_passed(), "{how}");
    }
    let stop = [("test_x.py", "def test_a(): assert False\ndef test_b(): pass\n")];
    let verdict = Suite::new(&stop).arg("-x").run().verdict();
    assert_eq!((verdict.error.as_deref(), verdict.cases[1].status), (None, Status::NotRun));
}

const TRACES: &str = r#"
import os, subprocess, sys, pytest

def visible():
    # Only what is of interest: a failure shows this text, and the rest of the environment is nobody's business.
    code = """
import os
print([name for name in os.environ if name.startswith("OSTEST_")])
print([os.environ.get(name) for name in ("PYTHONPATH", "PYTEST_ADDOPTS")])
for fd in os.listdir("/proc/self/fd"):
    try: print(os.readlink("/proc/self/fd/" + fd))
    except OSError: pass
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, close_fds=False).stdout

def test_no_traces():
    seen = visible()
    assert "OSTEST_" not in seen and "ostest_harness" not in seen
    assert "memfd:report" not in seen and "socket:" not in seen
    assert not [name for name in os.environ if name.startswith("OSTEST_")]
    assert os.environ.get("PYTEST_ADDOPTS") == os.environ.get("WANT_ADDOPTS")
    assert os.environ.get("PYTHONPATH") == os.environ.get("WANT_PATH")

def test_pytest_in_a_subprocess(tmp_path):
    (tmp_path / "test_inner.py").write_text("def test_inner(): assert False\n")
    inner = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "."], cwd=tmp_path, capture_output=True, text=True)
    assert inner.returncode == 1 and "1 failed" in inner.stdout, inner.stdout + inner.stderr

def test_pytest_in_this_process(tmp_path):
    (tmp_path / "test_inner2.py").write_text("def test_inner(): assert False\n")
    assert pytest.main(["-p", "no:cacheprovider", "-p", "ostest_harness", str(tmp_path / "test_inner2.py")]) == 1
"#;

#[test]
fn student_programs_see_no_traces() {
    let ran = Suite::new(&[("test_t.py", TRACES)]).run();
    ran.assert_agrees();
    assert!(ran.verdict().is_passed(), "{:?}", ran.verdict());
    let ran = Suite::new(&[("test_t.py", TRACES)])
        .env("PYTEST_ADDOPTS", "-q")
        .env("WANT_ADDOPTS", "-q")
        .env("PYTHONPATH", "/nowhere")
        .env("WANT_PATH", "/nowhere")
        .run();
    ran.assert_agrees();
    assert!(ran.verdict().is_passed(), "{:?}", ran.verdict());
    let ran = Suite::new(&[("test_t.py", TRACES)]).gate("").run();
    ran.assert_agrees();
    assert!(ran.verdict().is_passed(), "{:?}", ran.verdict());
}

#[test]
fn forked_children_do_not_speak() {
    // The first child runs on as a pytest of its own, the second outlives everything and must not hold the channel.
    let code = "import os, time, subprocess\n\
        def test_fork():\n  child = os.fork()\n  if child: assert os.waitpid(child, 0)[1] != 0\n  else: assert False\n\
        def test_daemon():\n  if os.fork() == 0:\n    os.close(1); os.close(2); time.sleep(40); os._exit(0)\n\
        def test_preexec():\n  subprocess.run(['true'], check=True, preexec_fn=lambda: None)\n";
    // The child that runs on would run the daemon test too: it stops at its first failure.
    for suite in [Suite::new(&[("test_f.py", code)]), Suite::new(&[("test_f.py", code)]).gate("")] {
        let ran = suite.arg("-x").run();
        ran.assert_agrees();
        assert!(ran.verdict().is_passed(), "{:?}\n{}", ran.verdict(), ran.output);
    }
}

#[test]
fn long_texts_are_cut_in_the_middle() {
    let code = "import pytest\n\
        def test_ascii(): pytest.fail('begin ' + 'x' * 500000 + ' end', pytrace=False)\n\
        def test_wide(): pytest.fail('begin ' + 'ж\\n' * 100000 + ' end', pytrace=False)\n\
        def test_mixed(): pytest.fail('begin ' + '\"' * 90000 + 'a' * 90000 + ' end', pytrace=False)\n\
        @pytest.mark.parametrize('x', ['y' * 20000])\ndef test_name(x): assert False\n";
    let ran = Suite::new(&[("test_l.py", code)]).run();
    assert_eq!(ran.log.problems(), [""; 0]);
    assert!(ran.sizes.iter().all(|size| *size <= 60_000), "{:?}", ran.sizes);
    for test in &ran.log.tests()[..3] {
        let text = &test.end.as_ref().expect("an end").text;
        assert!(text.starts_with("begin") && text.ends_with("end"), "{}", test.name);
        assert!(text.contains("characters left out") && text.len() > 20_000, "{}", text.len());
    }
    assert_eq!(ran.verdict().error, None);
}

#[test]
fn other_channels_and_none_do() {
    let files = [("test_a.py", "def test_a(): pass\ndef test_b(): assert False, 'no'\n")];
    let ran = Suite::new(&files).mode("pipe").run();
    ran.assert_agrees();
    assert_eq!(ran.verdict().error, None);
    // Nobody listens: the suite does not notice, and the runner takes nothing for a pass.
    let ran = Suite::new(&files).mode("hangup").run();
    assert_eq!(ran.code, 1);
    assert!(ran.output.contains("1 failed, 1 passed"), "{}", ran.output);
    assert!(!ran.verdict().is_passed());
    // Without a channel the plugin is not there.
    let ran = Suite::new(&files).mode("absent").run();
    assert_eq!((ran.code, ran.sizes.len()), (1, 0));
    assert!(ran.output.contains("1 failed, 1 passed"), "{}", ran.output);
}

#[test]
fn a_suite_with_a_starter_of_its_own() {
    // Like the course's: pytest is loaded by hand, called as a function, and its exit status made 0 or 1.
    let starter = "import importlib.util, sys\n\
        spec = importlib.util.find_spec('pytest')\nmodule = importlib.util.module_from_spec(spec)\n\
        sys.modules['pytest'] = module\nspec.loader.exec_module(module)\n\
        sys.exit(0 if module.main(['tests', '--tb=short', '-v', '--order-dependencies'] + sys.argv[1:]) == 0 else 1)\n";
    let files = [
        ("run_tests.py", starter),
        ("tests/__init__.py", ""),
        ("tests/lab1/__init__.py", ""),
        ("tests/lab1/test_a.py", "def test_a(): pass\ndef test_b(): assert 0\n"),
    ];
    let ran = Suite::new(&files).command(&["run_tests.py", "--junit-xml={report}"]).run();
    ran.assert_agrees();
    assert_eq!(ends(&ran), [("lab1.test_a::test_a", Some(Passed)), ("lab1.test_a::test_b", Some(Failed))]);
    assert_eq!(ran.verdict().error, None);
}

#[test]
fn a_test_that_waits_too_long_fails_and_the_rest_is_run() {
    let tests = r#"
import os, pytest, subprocess, threading, time

@pytest.fixture
def slow():
    time.sleep(60)

@pytest.fixture
def slow_after():
    yield
    time.sleep(60)

def test_fast(): pass
def test_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    open(tmp_path / "pipe", "w")
def test_program():
    subprocess.run(["sleep", "60"])
def test_caught():
    try:
        time.sleep(60)
    except BaseException:
        pass
    threading.Event().wait()
def test_setup(slow): pass
def test_teardown(slow_after): pass
def test_forks():
    child = os.fork()
    if child == 0:
        time.sleep(2.6)
        os._exit(7)
    with pytest.raises(pytest.fail.Exception):
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
def test_last(): assert "OSTEST_TEST_TIMEOUT" not in os.environ
"#;
    let ran = Suite::new(&[("test_all.py", tests)]).env("OSTEST_TEST_TIMEOUT", "2").run();
    ran.assert_agrees();
    assert_eq!(
        ends(&ran),
        [
            ("test_all::test_fast", Some(Passed)),
            ("test_all::test_pipe", Some(Failed)),
            ("test_all::test_program", Some(Failed)),
            ("test_all::test_caught", Some(Failed)),
            ("test_all::test_setup", Some(Error)),
            ("test_all::test_teardown", Some(Error)),
            ("test_all::test_forks", Some(Passed)),
            ("test_all::test_last", Some(Passed)),
        ]
    );
    let said = text(&ran, "test_all::test_pipe");
    assert!(
        said.contains("the call of this test took longer than the 2 s that the suite allows (test-timeout)"),
        "{said}"
    );
    assert!(said.contains(r#"open(tmp_path / "pipe", "w")"#), "{said}");
    assert!(text(&ran, "test_all::test_teardown").contains("the tear-down of this test"));
}

#[test]
fn a_limit_for_tests_that_cannot_be_kept_ends_the_run() {
    let ran = Suite::new(&[("test_all.py", "def test_it(): pass\n")]).env("OSTEST_TEST_TIMEOUT", "soon").run();
    assert!(ran.output.contains("the suite's test-timeout cannot be kept"), "{}", ran.output);
    assert_eq!((ran.code, ran.names()), (4, Vec::new()));
}
