//! Files that take the place of what a suite has shipped, and settings that a tool of the suite reads. Real make, real tools.
//! Needs root.

mod common;
mod support;

use support::{Place, need_root};

/// A suite that has a checker, which a Makefile of its own builds.
const SUITE: &[(&str, &str)] = &[
    ("lab1/Makefile", "check: check.c\n\tcc -o check check.c\n"),
    ("lab1/check.c", "int main(void) { return 3; }\n"),
    (
        "test_check.py",
        r#"import os, subprocess
HERE = os.path.dirname(os.path.abspath(__file__)) + "/lab1"
def test_builds():
    assert subprocess.run(["make", "-C", os.environ["OSTEST_PROJECT"]]).returncode == 0
def test_check():
    assert subprocess.run(["make", "-C", HERE, "check"]).returncode == 0
    assert subprocess.run([HERE + "/check"]).returncode == 0
"#,
    ),
];

#[test]
fn no_test_passes_by_a_file_beside_a_shipped_one_even_one_that_is_gone_again() {
    if !need_root("no_test_passes_by_a_file_beside_a_shipped_one_even_one_that_is_gone_again") {
        return;
    }
    for (last, name) in [(": kept", "GNUmakefile"), ("rm makefile", "makefile")] {
        let place = Place::new();
        let makefile =
            format!("all:\n\tprintf 'check:\\n\\tln -s /bin/true check; {last}\\n' > /task/suite/lab1/{name}\n");
        let project = place.tree("project", &[("Makefile", &makefile)]);
        let graded = place.grade(&project, &place.tree("suite", SUITE), &[]);
        assert_eq!(graded.code(), 1, "{:#?}", graded.output);
        assert!(graded.error().contains(&format!("lab1/{name} (for Makefile)")), "{}", graded.error());
        assert!(graded.cases().iter().all(|case| case.1 == "failed"), "{:#?}", graded.cases());
    }
}

#[test]
fn what_a_suite_makes_itself_it_can_say() {
    if !need_root("what_a_suite_makes_itself_it_can_say") {
        return;
    }
    let test = "import os, shutil\n\
                def test_makes():\n    os.mkdir('build'); shutil.copytree(os.environ['OSTEST_PROJECT'], 'build/copy')\n    \
                open('lab1/GNUmakefile', 'w').close()\n";
    let files = [("lab1/Makefile", "all:\n"), ("test_makes.py", test), ("ostest.toml", "")];
    let place = Place::new();
    // What it copies elsewhere is no file beside its own.
    let project = place.tree("project", &[("GNUmakefile", "all:\n"), ("stdio.h", ""), (".gdbinit", "")]);
    let suite = place.tree("suite", &files);
    assert_eq!(place.grade(&project, &suite, &[]).code(), 1);
    place.tree("suite", &[("ostest.toml", "[test]\nmakes = [\"lab1/GNUmakefile\"]\n")]);
    let graded = place.grade(&project, &suite, &[]);
    assert_eq!((graded.code(), graded.error()), (0, ""), "{:#?}", graded.cases());
}

#[test]
fn home_is_empty_and_nobodys_unless_the_suite_says_otherwise() {
    if !need_root("home_is_empty_and_nobodys_unless_the_suite_says_otherwise") {
        return;
    }
    let test = r#"import os, pwd, subprocess
import pytest
HOME = os.environ["HOME"]
def writable():
    return subprocess.run("echo x > ~/.gdbinit && cat ~/.gdbinit", shell=True, capture_output=True, text=True).stdout == "x\n"
def test_home():
    assert HOME == pwd.getpwuid(os.getuid()).pw_dir == os.path.expanduser("~") and os.listdir(HOME) == []
    assert not any(name.startswith("XDG_") for name in os.environ)
def test_empty():
    assert not writable() and os.listdir(HOME) == []
    for call in (lambda: os.rename(HOME, HOME + "x"), lambda: os.chmod(HOME, 0o777), lambda: os.mkdir(HOME + "/x")):
        with pytest.raises(OSError):
            call()
def test_writable():
    assert writable()
"#;
    for (options, failing) in [("", "test_writable"), ("[test]\nhome = \"writable\"\n", "test_empty")] {
        let place = Place::new();
        let suite = place.tree("suite", &[("test_home.py", test), ("ostest.toml", options)]);
        let graded = place.grade(&place.tree("project", &[("README", "")]), &suite, &[]);
        let failed: Vec<_> = graded.cases().into_iter().filter(|case| case.1 != "passed").collect();
        assert!(failed.len() == 1 && failed[0].0.ends_with(failing), "{options}: {failed:#?}");
    }
}
