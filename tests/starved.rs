//! A submission whose program writes, waits, removes or takes without end has failed; that is no error of the suite's.
//! Real pytest, real programs. Needs root.

mod common;
mod support;

use support::{Graded, Place, need_root};

/// Writes 40 MiB in lines of two bytes, or all into one line; removes or bars what pytest has made; waits.
const PROGRAM: &str = r#"#!/bin/sh
case $1 in
    lines) yes | head -c 40M ;;
    line) head -c 2G /dev/zero ;;
    remove) rm -rf /tmp/* ;;
    link) rm -rf /tmp/pytest-of-*; ln -s /task/project /tmp/pytest-of-student ;;
    bar) chmod 0 /tmp/pytest-of-student/pytest-0 && chmod 0 /tmp/pytest-of-student ;;
    many) for up in /tmp/pytest-of-student pytest-0; do chmod 700 $up; cd $up; done; for n in 0 1 2 3 4 5 6 7 8 9 $(head -c 245 /dev/zero | tr '\0' 9); do mkdir test_named$n; done ;;
    lose) rm -f /task/project/data ;;
    pipe) rm -f /task/project/out.txt; mkfifo /task/project/out.txt ;;
    spin) while :; do :; done ;;
esac
"#;

const HELPERS: &str = r#"
import os, pathlib, subprocess
import pytest
P = os.environ["OSTEST_PROJECT"]
def run(what, **named): return subprocess.run(["sh", P + "/prog", what], timeout=100, **named)
"#;

fn graded(place: &Place, test: &str, more: &[&str]) -> Graded {
    let suite = place.tree("suite", &[("test_it.py", &format!("{HELPERS}\n{test}"))]);
    place.grade(&place.tree("project", &[("prog", PROGRAM), ("data", "x")]), &suite, more)
}

#[track_caller]
fn outcomes(graded: &Graded) -> Vec<String> {
    assert_eq!((graded.code(), graded.error()), (1, ""), "failed, and no error: {graded:?}");
    let short = |name: &str| name.trim_start_matches("test_it::test_").to_owned();
    graded.cases().into_iter().map(|(name, status, _)| format!("{} {status}", short(&name))).collect()
}

#[test]
fn output_that_a_test_reads_and_memory_does_not_hold_is_a_failed_test() {
    if !need_root("output_that_a_test_reads_and_memory_does_not_hold_is_a_failed_test") {
        return;
    }
    let place = Place::new();
    // Of 40 MiB pytest's own difference would take gigabytes, for the lines alone.
    let test = r#"
def test_lines(): assert run("lines", stdout=subprocess.PIPE, text=True).stdout == "42\n"
def test_bytes(): assert run("lines", stdout=subprocess.PIPE).stdout == b"42\n"
def test_list(): assert list(run("lines", stdout=subprocess.PIPE).stdout[:2000000]) == [1] * 2000000
def test_not_in(): assert "y\ny" not in run("lines", stdout=subprocess.PIPE, text=True).stdout
def test_line():
    program = subprocess.Popen(["sh", P + "/prog", "line"], stdout=subprocess.PIPE, text=True)
    try: assert program.stdout.readline() == "42\n"
    finally: program.kill()
def test_last(): pass
"#;
    let graded = graded(&place, test, &["--mem-limit", "400M"]);
    let wanted = ["lines failed", "bytes failed", "list failed", "not_in failed", "line failed", "last not-run"];
    assert_eq!(outcomes(&graded), wanted, "{graded:?}");
    for (name, said) in [
        ("lines", "E     - 42"),
        ("bytes", "assert b'y\\ny\\n"),
        ("list", "At index 0 diff: 121 != 1"),
        ("not_in", "'y\\ny' is contained here"),
        ("line", "stopped: memory limit of 400.0 MiB reached"),
        ("last", "not run: the run ended before this test began: memory limit of 400.0 MiB reached"),
    ] {
        let (_, text) = graded.case(&format!("test_it::test_{name}"));
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn what_a_program_does_to_pytests_folder_fails_its_own_test_alone() {
    if !need_root("what_a_program_does_to_pytests_folder_fails_its_own_test_alone") {
        return;
    }
    let place = Place::new();
    let test = r#"
@pytest.mark.parametrize("what", ["remove", "link", "bar"])
def test_does(what): assert run(what).returncode == 7
@pytest.mark.parametrize("what", ["remove", "link", "bar"])
def test_has_a_folder(tmp_path, what):
    (tmp_path / "in").write_text("x")
    assert (tmp_path / "in").read_text() == "x" and str(tmp_path).startswith("/tmp/pytest-of-")
    run(what)
@pytest.fixture
def data(): return pathlib.Path(P, "data").read_text()
def test_loses(data): assert run("lose").returncode == 7
def test_needs(data): assert data == "x"
def test_takes_all_names(): assert run("many").returncode == 7
def test_named(tmp_path): pass
def test_bars_last(): run("bar")
"#;
    let graded = graded(&place, test, &[]);
    let said = outcomes(&graded);
    let wanted = [
        "does[remove] failed",
        "does[link] failed",
        "does[bar] failed",
        "has_a_folder[remove] passed",
        "has_a_folder[link] passed",
        "has_a_folder[bar] passed",
        "loses failed",
        "needs failed",
        "takes_all_names failed",
        "named failed",
        "bars_last passed",
    ];
    assert_eq!(said, wanted, "{graded:?}");
}

#[test]
fn who_waits_for_a_program_until_the_runs_limit_has_failed() {
    if !need_root("who_waits_for_a_program_until_the_runs_limit_has_failed") {
        return;
    }
    let place = Place::new();
    let spin = "def test_spin(): subprocess.run(['sh', P + '/prog', 'spin'])\ndef test_last(): pass\n";
    let graded_spin = graded(&place, spin, &["--timeout", "8"]);
    assert_eq!(outcomes(&graded_spin), ["spin failed", "last not-run"], "{graded_spin:?}");
    let (_, text) = graded_spin.case("test_it::test_spin");
    assert!(text.starts_with("stopped: time limit of 8 s reached"), "{text}");

    let pipe = "def test_pipe():\n    run('pipe')\n    open(P + '/out.txt').read()\ndef test_last(): pass\n";
    let graded_pipe = graded(&Place::new(), pipe, &["--timeout", "8"]);
    assert_eq!(outcomes(&graded_pipe), ["pipe failed", "last not-run"], "{graded_pipe:?}");
    let (_, text) = graded_pipe.case("test_it::test_pipe");
    assert!(text.contains("the other end of a pipe: /task/project/out.txt"), "{text}");

    // One that hangs by itself is the suite's.
    let hangs = "def test_hangs():\n    run('none')\n    import time; time.sleep(100)\n";
    let graded_hangs = graded(&Place::new(), hangs, &["--timeout", "8"]);
    assert_eq!((graded_hangs.code(), graded_hangs.body()["isError"].as_bool()), (2, Some(true)), "{graded_hangs:?}");
}

#[test]
fn a_failure_that_the_suite_expects_is_none() {
    if !need_root("a_failure_that_the_suite_expects_is_none") {
        return;
    }
    let place = Place::new();
    let test = r#"
def test_good(): assert run("none").returncode == 0
@pytest.mark.xfail(reason="known")
def test_known(): assert run("none").returncode == 7
@pytest.mark.xfail(strict=True)
def test_strict(): assert run("none").returncode == 7
@pytest.mark.xfail
def test_better_than_expected(): pass
"#;
    let good = graded(&place, test, &[]);
    let statuses: Vec<_> = good.cases().into_iter().map(|case| (case.1, case.2)).collect();
    let case = |status: &str, text: &str| (status.to_owned(), text.to_owned());
    let expected = [
        case("passed", ""),
        case("skip-allowed", "expected failure: known"),
        case("skip-allowed", "expected failure"),
        case("passed", ""),
    ];
    assert_eq!((statuses, good.code(), good.error()), (expected.to_vec(), 0, ""), "{good:?}");
    let strict = "def test_good(): pass\n@pytest.mark.xfail(strict=True)\ndef test_strict(): pass\n";
    let strict = graded(&Place::new(), strict, &[]);
    assert_eq!(outcomes(&strict), ["good passed", "strict failed"], "as pytest has it");
}
