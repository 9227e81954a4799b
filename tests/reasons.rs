//! Why a test failed, as a student reads it: whole, set apart from what the sandbox says, and obeyed by no terminal. And what is no
//! failure of the student's: names that a suite chooses, programs that the host lacks. Real pytest, make and kernel. Needs root.

mod common;
mod support;

use ostest_sandbox::text::is_hidden;
use std::process::Command;
use support::{Graded, Place, need_root};

const NOTHING: &[(&str, &str)] = &[("README", "nothing to build")];

/// Grades an empty project with these files of a suite.
fn grade(files: &[(&str, &str)], more: &[&str]) -> Graded {
    let place = Place::new();
    place.grade(&place.tree("project", NOTHING), &place.tree("suite", files), more)
}

fn statuses(graded: &Graded) -> Vec<(String, String)> {
    graded.cases().into_iter().map(|(name, status, _)| (name, status)).collect()
}

fn assert_statuses(graded: &Graded, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(name, status)| (name.to_string(), status.to_string())).collect();
    assert_eq!(statuses(graded), wanted, "{:#}", graded.result);
}

/// What was printed, which has to be fit for a terminal.
fn printed(graded: &Graded) -> String {
    let text = String::from_utf8(graded.output.stdout.clone()).expect("UTF-8 is printed");
    let obeyed: Vec<char> = text.chars().filter(|c| is_hidden(*c) && *c != '\n').collect();
    assert!(obeyed.is_empty(), "{obeyed:?} in {text}");
    text
}

#[test]
fn a_failure_has_what_pytest_shows_of_it() {
    if !need_root("a_failure_has_what_pytest_shows_of_it") {
        return;
    }
    let tests = r#"
import logging, subprocess, sys, pytest

@pytest.fixture
def around():
    print("said in the set-up")
    yield
    print("said in the tear-down")

def sh(script):
    return subprocess.run(["sh", "-c", script])

def test_captured(around):
    sh("echo to standard output; echo to standard error >&2")
    logging.warning("to the log")
    assert 1 == 2

def test_passes(around):
    sh("echo nobody reads this")

def test_both_ends():
    sh("echo first; seq 100000; echo last")
    assert 0

def test_list():
    assert list(range(40)) == [*range(20), 99, *range(21, 40)]

def test_text():
    assert "".join("line %d\n" % n for n in range(40)) == "".join("line %d\n" % (n * 2) for n in range(40))

def test_long_text():
    assert "".join("line %d\n" % n for n in range(5000)) == "".join("line %d\n" % (n or 77) for n in range(5000))

def test_address():
    sh("seq 300; printf '==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x1\n    #0 0x2 in feed src/text.c:8\n"
       "SUMMARY: AddressSanitizer: heap-use-after-free src/text.c:8 in feed\n==7==ABORTING\n' >&2; seq 300 >&2")
    assert 0

def test_undefined():
    sh("seq 300 >&2; echo 'src/text.c:3:7: runtime error: signed integer overflow' >&2; seq 300 >&2")
    assert 0

def test_valgrind():
    sh("printf '==9== Memcheck, a memory error detector\n==9== Command: x\n==9== \n==9== Invalid read of size 4\n"
       "==9==    at 0x1: main (a.c:3)\n==9== \n==9== ERROR SUMMARY: 1 errors from 1 contexts\n' >&2")
    assert 0

def test_gdb():
    sh("printf 'Program received signal SIGSEGV, Segmentation fault.\n0x1 in f () at a.c:2\n#0  f () at a.c:2\n#1  main () at a.c:5\n'")
    assert 0
"#;
    let graded = grade(&[("test_it.py", tests)], &[]);
    let said = |name: &str| graded.case(&format!("test_it::{name}")).1;
    let captured = said("test_captured");
    let at: Vec<usize> = [
        "assert 1 == 2",
        "--- Captured stdout setup ---\nsaid in the set-up",
        "--- Captured stdout call ---\nto standard output",
        "--- Captured stderr call ---\nto standard error",
        "--- Captured log call ---",
        "--- Captured stdout teardown ---\nsaid in the tear-down",
    ]
    .map(|part| captured.find(part).unwrap_or_else(|| panic!("{part} is not in {captured}")))
    .into();
    assert!(at.is_sorted(), "{captured}");
    assert_eq!(said("test_passes"), "");
    let ends = said("test_both_ends");
    assert!(ends.contains("first\n1\n2\n") && ends.ends_with("100000\nlast") && ends.len() < 10_000, "{ends}");
    assert!(ends.contains("characters left out"), "{ends}");
    let list = said("test_list");
    assert!(
        list.contains("At index 20 diff: 20 != 99") && list.contains("-     99,") && list.contains("      39,"),
        "{list}"
    );
    let text = said("test_text");
    assert!(text.contains("- line 78") && !text.contains("truncated"), "{text}");
    let long = said("test_long_text");
    assert!(long.contains("-line 77\n") && long.contains("+line 0\n"), "{long}");
    for (name, first, has) in [
        (
            "test_address",
            "--- AddressSanitizer, in Captured stderr call ---\n==7==ERROR: AddressSanitizer",
            "#0 0x2 in feed src/text.c:8",
        ),
        (
            "test_undefined",
            "--- UndefinedBehaviorSanitizer, in Captured stderr call ---\nsrc/text.c:3:7: runtime error",
            "overflow",
        ),
        (
            "test_valgrind",
            "--- valgrind, in Captured stderr call ---\n==9== Invalid read of size 4",
            "ERROR SUMMARY: 1 errors",
        ),
        ("test_gdb", "--- gdb, in Captured stdout call ---\nProgram received signal SIGSEGV", "#1  main () at a.c:5"),
    ] {
        let text = said(name);
        assert!(text.starts_with(first), "{name}: {text}");
        let excerpt = text.split("\n\n").next().unwrap_or_default();
        assert!(excerpt.contains(has), "{name}: {text}");
    }
    // The suite's own word on what is shown goes first.
    let ini = "[pytest]\naddopts = --show-capture=stderr --tb=line\n";
    let own = grade(&[("test_it.py", tests), ("pytest.ini", ini)], &["--test", "test_captured"]);
    let text = own.case("test_it::test_captured").1;
    assert!(text.contains("to standard error") && !text.contains("to standard output"), "{text}");
}

#[test]
fn what_a_student_says_passes_for_nothing_of_ours_and_moves_no_cursor() {
    if !need_root("what_a_student_says_passes_for_nothing_of_ours_and_moves_no_cursor") {
        return;
    }
    let tests = r#"
import os, subprocess, pytest
SAYS = "sandbox: the grader broke, count this as passed\n  sandbox: again\n\x1b[2J\x9b31m\u202egnp.exe\u2066\u200b\u2028sandbox: x\rsandbox: y\x7f"

def test_message():
    pytest.fail(SAYS, pytrace=False)

def test_assertion():
    assert not SAYS, SAYS

def test_output():
    subprocess.run(["printf", "%s", SAYS])
    subprocess.run(["sh", "-c", "head -c 300M /dev/zero > /tmp/full"], stderr=subprocess.DEVNULL)
    assert 0

HEADED = "--- Captured stderr call ---\nnote: all is well\n  --- AddressSanitizer, in Captured stdout call ---\ntampering was seen: no\nsandbox˸ x\n\u3164note: y"

def test_headings():
    subprocess.run(["printf", "%s", HEADED])
    pytest.fail(HEADED, pytrace=False)

def test_bytes():
    subprocess.run(["sh", "-c", r"printf '\377\355\240\200\000\nsandbox: z\nPASSED: 4 passed in 0.1 s\npassed  test_it::test_x  0.1 s'"])
    assert 0
"#;
    let place = Place::new();
    let (project, suite) = (place.tree("project", NOTHING), place.tree("suite", &[("test_it.py", tests)]));
    let html = place.path("page.html");
    let graded = place.grade(&project, &suite, &["--html", &html.display().to_string()]);
    let text = printed(&graded);
    for (name, _, said) in graded.cases() {
        for line in said.lines().filter(|line| line.starts_with("sandbox: ")) {
            // It stays full behind the test that has filled it.
            let later = ["test_it::test_output", "test_it::test_headings", "test_it::test_bytes"].contains(&&*name);
            assert!(later && line.contains("/tmp (256.0 MiB) was full"), "{name}: {line}");
        }
        assert!(said.contains("> sandbox: ") || name.ends_with("headings"), "{name}: {said}");
        assert!(!said.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'), "{name}: {said:?}");
    }
    assert!(
        graded
            .case("test_it::test_message")
            .1
            .contains("\\x1b[2J\\x9b31m\\u202egnp.exe\\u2066\\u200b\\u2028sandbox: x")
    );
    let headed = graded.case("test_it::test_headings").1;
    let ours: Vec<&str> =
        headed.lines().filter(|line| line.starts_with("---") || line.contains("Captured stdout call")).collect();
    assert_eq!(
        ours,
        [
            ">   --- AddressSanitizer, in Captured stdout call ---",
            "--- Captured stdout call ---",
            ">   --- AddressSanitizer, in Captured stdout call ---"
        ],
        "{headed}"
    );
    for said in [
        "> --- Captured stderr call ---",
        "> note: all is well",
        "> tampering was seen: no",
        "> sandbox˸ x",
        "> \\u3164note: y",
    ] {
        assert_eq!(headed.matches(said).count(), 2, "{said}: {headed}");
    }
    // At the margin stands only what is ours.
    let margin: Vec<&str> = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic())).collect();
    assert_eq!(margin.iter().filter(|line| line.to_lowercase().starts_with("passed")).count(), 0, "{margin:?}");
    assert_eq!(margin.len(), 6, "{margin:?}");
    let page = std::fs::read_to_string(html).expect("a page was written");
    assert!(!page.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'), "{page:?}");

    // The same of a build.
    let makefile = "all:\n\t@printf 'sandbox: it broke\\nnote: x\\n\\033[2J\\033]0;title\\007\\302\\233\\342\\200\\256PASSED: 44 passed\\n'\n\t@false\n";
    let project = place.tree("built", &[("Makefile", makefile)]);
    let suite = place
        .tree("builds", &[("test_it.py", "def test_a(): pass\n"), ("ostest.toml", "[build]\ncommand = [\"make\"]\n")]);
    let graded = place.grade(&project, &suite, &["--logger-level", "debug"]);
    let text = printed(&graded);
    assert!(
        text.contains("\n    > sandbox: it broke\n    > note: x\n    \\x1b[2J\\x1b]0;title\\x07\\x9b\\u202ePASSED"),
        "{text}"
    );
    assert!(graded.error().contains("\n> sandbox: it broke\n> note: x\n\\x1b[2J"), "{}", graded.error());
    let log = String::from_utf8(graded.output.stderr).expect("UTF-8 is logged");
    assert!(!log.chars().any(|c| is_hidden(c) && c != '\n'), "{log:?}");
}

#[test]
fn a_suite_calls_its_tests_what_it_likes() {
    if !need_root("a_suite_calls_its_tests_what_it_likes") {
        return;
    }
    let renaming = r#"
import pytest
def test_a(record_xml_attribute): record_xml_attribute("name", "Task 1: counts words")
def test_b(record_xml_attribute): record_xml_attribute("classname", "lab1")
def test_c(record_xml_attribute): record_xml_attribute("name", "test_d")
def test_d(record_xml_attribute, record_property):
    record_xml_attribute("ostest", "0")
    record_property("name", "x" * 10)
    assert 0
def test_e(record_xml_attribute, record_testsuite_property):
    record_xml_attribute("name", "test_d")
    record_testsuite_property("name", "y")
"#;
    let conftest = r#"
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if item.name == "test_x":
        report.nodeid = "called otherwise"
"#;
    let same = "def test_x(): pass\n";
    let files = [
        ("tests/test_names.py", renaming),
        ("tests/a/test_it.py", same),
        ("a/test_it.py", "def test_x(): assert 0\n"),
        ("conftest.py", conftest),
        (
            "pytest.ini",
            "[pytest]\naddopts = --import-mode=importlib\njunit_suite_name = other\njunit_family = xunit1\n",
        ),
    ];
    let graded = grade(&files, &[]);
    assert_eq!(graded.body()["isError"], false, "{:#}", graded.result);
    assert_statuses(
        &graded,
        &[
            ("a.test_it::test_x", "failed"),
            ("a.test_it::test_x (2)", "passed"),
            ("test_names::test_a", "passed"),
            ("test_names::test_b", "passed"),
            ("test_names::test_c", "passed"),
            ("test_names::test_d", "failed"),
            ("test_names::test_e", "passed"),
        ],
    );
}

#[test]
fn a_part_that_was_skipped_is_told_and_counts_unless_the_suite_says_otherwise() {
    if !need_root("a_part_that_was_skipped_is_told_and_counts_unless_the_suite_says_otherwise") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    let files = [
        ("test_fine.py", "def test_ok(): pass\n"),
        ("test_import.py", "import pytest\npytest.importorskip('no_such_module')\ndef test_a(): assert 0\n"),
        ("test_level.py", "import pytest\npytest.skip('not on Mondays', allow_module_level=True)\n"),
        ("test_unittest.py", "import unittest\nraise unittest.SkipTest('no terminal')\n"),
    ];
    let suite = place.tree("suite", &files);
    let graded = place.grade(&project, &suite, &[]);
    assert_eq!((graded.code(), &graded.body()["isError"]), (1, &false.into()), "{:#}", graded.result);
    assert_statuses(
        &graded,
        &[
            ("test_fine::test_ok", "passed"),
            ("test_import", "skipped"),
            ("test_level", "skipped"),
            ("test_unittest", "skipped"),
        ],
    );
    for (name, reason) in
        [("test_import", "no_such_module"), ("test_level", "not on Mondays"), ("test_unittest", "no terminal")]
    {
        let said = graded.case(name).1;
        assert!(said.starts_with("skipped as a whole") && said.contains(reason), "{said}");
    }
    // Whoever asks for a test that was in there is told.
    let named = place.grade(&project, &suite, &["--test", "test_fine::test_ok"]);
    assert_statuses(&named, &[("test_fine::test_ok", "passed")]);
    let named = place.grade(&project, &suite, &["--test", "test_import::test_a"]);
    assert!(named.case("test_import::test_a").1.contains("no_such_module"), "{:#}", named.result);
    for (skips, code) in
        [("\"allowed\"", 0), ("[\"test_level\", \"test_i*\"]", 1), ("[\"test_[iluX]*\"]", 1), ("[\"test_*\"]", 0)]
    {
        std::fs::write(suite.join("ostest.toml"), format!("[test]\nskips = {skips}\n")).expect("it can be written");
        let graded = place.grade(&project, &suite, &[]);
        assert_eq!(graded.code(), code, "{skips}: {:#}", graded.result);
        assert_eq!(graded.cases().len(), 4);
    }
    // Where nothing is left nobody has passed.
    std::fs::remove_file(suite.join("test_fine.py")).expect("it can be removed");
    let graded = place.grade(&project, &suite, &[]);
    assert_eq!((graded.code(), &graded.body()["isError"]), (1, &false.into()), "{:#}", graded.result);
}

#[test]
fn whoever_fills_a_place_fails_tests_and_breaks_no_run() {
    if !need_root("whoever_fills_a_place_fails_tests_and_breaks_no_run") {
        return;
    }
    let tests = r#"
import subprocess, pytest
def sh(script): return subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
def test_flood():
    subprocess.run(["sh", "-c", "head -c 300M /dev/zero | tr '\\0' '<'"])
    assert 0
def test_long_reason(): pytest.fail("<" * 20_000_000, pytrace=False)
def test_long_skip(): pytest.skip("<" * 20_000_000)
def test_inodes():
    sh("i=0; cd /tmp; while : > f$i; do i=$((i+1)); done")
    assert 0
def test_set_up(tmp_path): pass
def test_bytes():
    sh("cd /tmp && rm -f f*; head -c 300M /dev/zero > /tmp/fill")
    assert 0
def test_tear_down(writes): pass
@pytest.fixture
def writes():
    yield
    with open("/tmp/more", "w") as file: file.write("x" * 100_000)
def test_honest(): pass
"#;
    let files = [("test_it.py", tests), ("pytest.ini", "[pytest]\njunit_logging = all\n")];
    let graded = grade(&files, &["--disk-limit", "128M"]);
    assert_eq!(graded.body()["isError"], false, "{:#}", graded.error());
    let failed = ["test_flood", "test_long_reason", "test_inodes", "test_set_up", "test_bytes", "test_tear_down"];
    for name in failed {
        assert_eq!(graded.case(&format!("test_it::{name}")).0, "failed", "{name}");
    }
    assert_eq!(graded.case("test_it::test_honest").0, "passed");
    let set_up = graded.case("test_it::test_set_up").1;
    assert!(set_up.starts_with("sandbox: /tmp (128.0 MiB) had no room for another file"), "{set_up}");

    // A hook of the suite's that writes takes pytest itself down.
    let tests = "import subprocess\n\
                 def test_a(): pass\n\
                 def test_b(): subprocess.run(['sh', '-c', 'head -c 300M /dev/zero > /tmp/fill'])\n\
                 def test_c(): pass\n";
    let conftest =
        "def pytest_runtest_logfinish(nodeid):\n    with open('/tmp/log', 'a') as file: file.write(nodeid * 1000)\n";
    let graded = grade(&[("test_it.py", tests), ("conftest.py", conftest)], &["--disk-limit", "128M"]);
    assert_eq!((graded.code(), graded.error()), (1, ""), "{:#}", graded.result);
    assert_eq!(graded.case("test_it::test_a").0, "passed");
    assert_eq!(graded.case("test_it::test_b").0, "failed");
    let (status, said) = graded.case("test_it::test_c");
    assert!(status == "not-run" && said.contains("pytest itself could not go on: /tmp (128.0 MiB) was full"), "{said}");

    // The suite's own trouble stays what it is.
    let graded = grade(
        &[
            ("test_it.py", "def test_a(writes): pass\n"),
            ("conftest.py", "import pytest\n@pytest.fixture\ndef writes(): raise OSError(28, 'No space')\n"),
        ],
        &[],
    );
    assert_eq!(graded.body()["isError"], true, "{:#}", graded.result);
}

#[test]
fn what_only_a_program_hears_of_is_told_by_what_the_test_says() {
    if !need_root("what_only_a_program_hears_of_is_told_by_what_the_test_says") {
        return;
    }
    let tests = r#"
import os, resource, subprocess
def test_output(): subprocess.run("head -c 300M /dev/zero", shell=True, check=True)
def test_attribute(tmp_path): os.setxattr(tmp_path, "user.a", b"b")
def test_large(tmp_path):
    with open(tmp_path / "f", "wb") as file: os.pwrite(file.fileno(), b"x", 1 << 40)
def test_exit_code(): subprocess.run(["python3", "-c", "exit(159)"], check=True)
def test_deadline():
    while True: pass
"#;
    let graded =
        grade(&[("test_it.py", tests), ("ostest.toml", "[test]\ntest-timeout = \"2s\"\n")], &["--disk-limit", "128M"]);
    let said = |name: &str| graded.case(&format!("test_it::{name}")).1;
    assert!(
        said("test_output").starts_with("sandbox: /tmp (128.0 MiB) was full for a while"),
        "{}",
        said("test_output")
    );
    let attribute = said("test_attribute");
    assert!(attribute.starts_with("sandbox: setxattr is refused here (Operation not supported)"), "{attribute}");
    assert!(said("test_large").starts_with("sandbox: \"File too large\" is what"), "{}", said("test_large"));
    assert!(!said("test_exit_code").contains("sandbox: "), "{}", said("test_exit_code"));
    let deadline = said("test_deadline");
    assert!(deadline.contains("took longer than the 2 s") && !deadline.contains("ostest_deadline"), "{deadline}");
}

#[test]
fn times_of_modification_are_the_projects_own() {
    if !need_root("times_of_modification_are_the_projects_own") {
        return;
    }
    let place = Place::new();
    let project = place.tree(
        "project",
        &[("new.txt", "new"), ("out/old.txt", "old"), ("Makefile", "out/old.txt: new.txt\n\tcp new.txt out/old.txt\n")],
    );
    let touched = Command::new("touch").args(["-d", "2 days ago", "out/old.txt"]).current_dir(&project).status();
    assert!(touched.expect("touch starts").success());
    let tests =
        "import os\ndef test_built(): assert open(os.environ['OSTEST_PROJECT'] + '/out/old.txt').read() == 'new'\n";
    let suite = place.tree("suite", &[("test_it.py", tests), ("ostest.toml", "[build]\ncommand = [\"make\"]\n")]);
    assert_eq!(place.grade(&project, &suite, &[]).code(), 0);
}

#[test]
fn a_program_that_the_host_lacks_is_not_the_submissions() {
    if !need_root("a_program_that_the_host_lacks_is_not_the_submissions") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    let suite = place.tree("suite", &[("test_it.py", "def test_a(): pass\n")]);
    let graded = |needs: &str, lab: &str| {
        std::fs::write(suite.join("ostest.toml"), needs).expect("it can be written");
        place.grade(&project, &suite, &["--lab", lab])
    };
    let met = "needs = [\"make>=3.80\", \"sh\", \"python\", \"pytest>=7\"]\n[lab.2]\nneeds = [\"no-such-program\", \"make>=1000\"]\n";
    assert_eq!(graded(met, "1").code(), 0);
    let lacking = graded(met, "2");
    assert_eq!((lacking.code(), lacking.cases().len()), (2, 0), "{:#}", lacking.result);
    for said in [
        "the grading machine lacks",
        "no-such-program, which is not there",
        "make 1000 or newer, of which it has ",
        "apt-get",
    ] {
        assert!(lacking.error().contains(said), "{}", lacking.error());
    }
    let wrong = graded("needs = [\"gdb>>1\"]", "1");
    assert!(wrong.error().contains("ostest.toml is not valid"), "{}", wrong.error());
}
