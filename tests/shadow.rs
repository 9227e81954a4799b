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
    let test = "import os, shutil, subprocess\n\
                def test_makes():\n    os.mkdir('build'); shutil.copytree(os.environ['OSTEST_PROJECT'], 'build/copy')\n    \
                subprocess.run(['touch', 'lab1/GNUmakefile'])\n";
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

/// What a suite's own Makefile builds of what it has shipped, and of what the submission has handed in.
const HONEST: &[(&str, &str)] = &[
    (
        "lab1/Makefile",
        "main: main.o sched.o check.h config.h stdbool-of-ours.h\n\tcc -o $@ main.o sched.o\n%.o: %.c\n\tcc -I. -MMD -MP -c -o $@ $<\n\
         main.o: check.h config.h\ncheck.h: ../common/check.h\n\tcp $< $@\nconfig.h: config.h.in\n\tsed s/@A@/40/ $< > $@\n\
         stdbool-of-ours.h:\n\techo > $@\n-include main.d $(wildcard *.d)\n",
    ),
    (
        "lab1/main.c",
        "#include \"sched.h\"\n#include \"check.h\"\n#include \"config.h\"\nint main(void) { return tick() + A + B; }\n",
    ),
    ("lab1/config.h.in", "#define A @A@\n"),
    ("common/check.h", "#define B 2\n"),
    ("lab2/config.h", "#define A 0\n"),
    ("lab2/sub/Makefile", "all:\n\ttrue\n"),
    ("tools/want.py", "WANT = 42\n"),
    ("tools/compare.py", "import json, sys, want\nsys.exit(int(sys.argv[1]) != want.WANT)\n"),
    (
        "test_honest.py",
        r#"import os, shutil, subprocess, sys
P = os.environ["OSTEST_PROJECT"]
S = os.path.dirname(os.path.abspath(__file__))
def run(*words, **more):
    return subprocess.run(words, timeout=100, **more).returncode
def test_drop_in():
    for name in ("sched.c", "sched.h", "memory.h"):
        shutil.copy(P + "/" + name, S + "/lab1")
    for _ in range(2):
        assert run("make", "-f", "Makefile", "-C", S + "/lab1", "--always-make") == 0
    assert run(S + "/lab1/main") == 42
    assert run(sys.executable, S + "/tools/compare.py", "42", env={"PATH": os.environ["PATH"]}) == 0
def test_makes():
    with open(S + "/lab2/sub/GNUmakefile", "w") as file:
        file.write("all:\n\tfalse\n")
    assert run("make", cwd=S + "/lab2/sub") == 2
def test_copies(tmp_path):
    shutil.copytree(P, tmp_path / "w")
    for name in ("Makefile", "main.c", "config.h.in"):
        shutil.copy(S + "/lab1/" + name, tmp_path / "w")
    os.mkdir(tmp_path / "common")
    shutil.copy(S + "/common/check.h", tmp_path / "common")
    assert run("make", cwd=tmp_path / "w") == 0
    assert run("sh", "-c", "cd w && make && true", cwd=tmp_path) == 0
"#,
    ),
];

#[test]
fn what_an_honest_suite_makes_beside_its_files_is_no_tampering() {
    if !need_root("what_an_honest_suite_makes_beside_its_files_is_no_tampering") {
        return;
    }
    let place = Place::new();
    let files = [("sched.c", "#include \"sched.h\"\nint tick(void) { return 0; }\n"), ("sched.h", "int tick(void);\n")];
    let project = place.tree("project", &[&files[..], &[("memory.h", "")]].concat());
    let suite = place.tree("suite", HONEST);
    let graded = place.grade(&project, &suite, &[]);
    assert_eq!((graded.code(), graded.error()), (0, ""), "{:#?}", graded.cases());
    // Of what it copies by a program nobody knows whose it is: that is said, and a copy of its own, too.
    let copies = "import os, subprocess\ndef test_copies():\n    \
                  subprocess.run(['cp', os.environ['OSTEST_PROJECT'] + '/sched.h', 'common/check.h', 'lab1'], check=True)\n";
    let suite =
        place.tree("copying", &[("lab1/main.c", ""), ("common/check.h", "#define B 2\n"), ("test_cp.py", copies)]);
    let graded = place.grade(&project, &suite, &[]);
    assert_eq!(graded.code(), 0, "{} {:#?}", graded.error(), graded.cases());
    let lines: Vec<&str> = graded.error().lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("lab1/check.h (as common/check.h)"), "{lines:#?}");
    assert!(lines[1].contains("lab1/sched.h (for /usr/include/"), "{lines:#?}");
}

/// What could be found earlier, or read because it is there.
const OPEN: &[(&str, &str)] = &[
    (
        "lab1/Makefile",
        "VPATH = ../src\ninclude rules.mk\n-include $(OBJS:.o=.d) local.mk\nSRCS = $(wildcard more/*.c)\nOBJS = check.o\n\
         check: check.o\n\tcc -o $@ check.o\n",
    ),
    ("lab1/check.c", "int main(void) { return 0; }\n"),
    ("lab1/more/one.c", "\n"),
    ("lab1/include/api/check.h", "\n"),
    ("lab1/check.pc", "\n"),
    ("mk/rules.mk", "\n"),
    ("src/same.c", "\n"),
    ("src/cases.def", "\n"),
    ("ref/lib/libans.so", "\n"),
    ("tools/check.sh", "[ -f ./local.conf ] && . ./local.conf\n"),
    ("tools/want.py", "WANT = 42\n"),
    ("tools/compare.py", "import json, sys, want\nsys.exit(int(sys.argv[1]) != want.WANT)\n"),
    (
        "test_open.py",
        r#"import os, subprocess, sys
def test_plants():
    subprocess.run(["make", "-f", "Makefile", "-C", os.environ["OSTEST_PROJECT"]], check=True, timeout=100)
def test_compares():
    assert subprocess.run([sys.executable, "tools/compare.py", "42"], env={}, timeout=100).returncode == 0
def test_refuses():
    assert subprocess.run([sys.executable, "tools/compare.py", "41"], env={}, timeout=100).returncode == 1
"#,
    ),
];

#[test]
fn no_test_passes_by_what_is_found_earlier_or_read_because_it_is_there() {
    if !need_root("no_test_passes_by_what_is_found_earlier_or_read_because_it_is_there") {
        return;
    }
    // A sentence names ten.
    for planted in [
        &[
            "lab1/sys/wait.h",
            "lab1/api/check.h",
            "lab1/stdbool.h",
            "lab1/libgcc.a",
            "lab1/crti.o",
            "lab1/cases.def",
            "ref/lib/tls/libans.so",
            "ref/lib/x86_64/libans.so",
            "tools/want/__init__.py",
            "lab1/net",
        ][..],
        &[
            "lab1/local.mk",
            "lab1/rules.mk",
            "lab1/same.c",
            "lab1/more/two.c",
            "lab1/check-uninstalled.pc",
            ".proverc",
            "tools/Text/Wrap.pm",
            "tools/local.conf",
            "lab1/check.d",
            "tools/colorsys.py",
        ],
    ] {
        let place = Place::new();
        let plant = |path: &&str| {
            let at = format!("/task/suite/{path}");
            let (folder, _) = at.rsplit_once('/').expect("a path");
            let text = if path.ends_with(".d") { "check.o: force\\n\\ttrue\\n" } else { "" };
            match *path {
                // A link to a folder is a way to what is in it.
                "lab1/net" => format!("\tln -s /tmp {at}\n"),
                // The folder is there for a while, and the file goes as soon as it was read.
                _ => format!("\tmkdir -p {folder}; sleep 0.1; printf '{text}' > {at}; sleep 0.1; rm {at}\n"),
            }
        };
        let makefile: String = std::iter::once("all:\n".to_owned()).chain(planted.iter().map(plant)).collect();
        let project = place.tree("project", &[("Makefile", &*makefile)]);
        let graded = place.grade(&project, &place.tree("suite", OPEN), &[]);
        assert!(graded.cases().iter().all(|case| case.1 == "failed"), "{} {:#?}", graded.error(), graded.cases());
        for path in planted {
            assert!(graded.error().contains(&format!("{path} (for ")), "{path}: {}", graded.error());
        }
    }
}

#[test]
fn a_helper_of_pythons_loads_nothing_that_was_put_beside_it() {
    if !need_root("a_helper_of_pythons_loads_nothing_that_was_put_beside_it") {
        return;
    }
    // It goes with the first that loads it.
    let module = "import os\\nos.unlink(__file__)\\nos._exit(0)\\n";
    let byte_code = "import os, py_compile as p\nos.makedirs('/task/suite/tools/__pycache__', exist_ok=True)\n\
                     p.compile('want.py', cfile='/task/suite/tools/__pycache__/want.' + __import__('sys').implementation.cache_tag + '.pyc',\n    \
                     invalidation_mode=p.PycInvalidationMode.UNCHECKED_HASH)\n";
    for (makefile, told) in [
        (format!("all:\n\tprintf '{module}' > /task/suite/tools/json.py\n"), "tools/json.py (for Python's own json)"),
        ("all:\n\t-python3 plant.py\n".into(), ""),
    ] {
        let place = Place::new();
        let files = [("Makefile", &*makefile), ("plant.py", byte_code), ("want.py", "WANT = 41\n")];
        let graded = place.grade(&place.tree("project", &files), &place.tree("suite", OPEN), &[]);
        assert!(graded.error().contains(told) && graded.error().is_empty() == told.is_empty(), "{}", graded.error());
        let passed = graded.cases().iter().filter(|case| case.1 == "passed").count();
        assert_eq!(passed, if told.is_empty() { 3 } else { 0 }, "{:#?}", graded.cases());
    }
}

/// Tools that are started in a copy, in the project and in a folder of the test's.
const TOOLS: &[(&str, &str)] = &[
    ("files/Makefile", "check:\n\tcp /bin/true check\n"),
    ("t/a.t", "print \"1..1\\nok 1\\n\";\n"),
    (
        "test_tools.py",
        r#"import os, shutil, subprocess
import pytest
P = os.environ["OSTEST_PROJECT"]
S = os.path.dirname(os.path.abspath(__file__))
@pytest.fixture(scope="module")
def work(tmp_path_factory):
    work = tmp_path_factory.mktemp("w")
    shutil.copytree(S + "/files", work / "mine")
    shutil.copytree(P, work / "theirs")
    shutil.copy(S + "/files/Makefile", work / "theirs")
    return work
def test_runs(work):
    subprocess.run(["sh", P + "/run.sh"], cwd=work, timeout=100)
def test_copied(work):
    assert subprocess.run(["make", "-B", "-C", work / "theirs"], timeout=100).returncode == 0
def test_shell(work):
    assert subprocess.run("cd mine && FLAGS=1 make -B check", shell=True, cwd=work, timeout=100).returncode == 0
def test_named(work):
    assert os.system("make -f Makefile -B -C %s/theirs" % work) == 0
def test_valgrind(work):
    assert subprocess.run(["timeout", "90", "valgrind", "-q", "true"], cwd=P, timeout=100).returncode == 0
def test_prove(tmp_path, work):
    assert subprocess.run(["prove", S + "/t/a.t"], cwd=work, timeout=100).returncode == 0
"#,
    ),
];

#[test]
fn no_test_passes_by_what_a_tool_obeys_where_it_is_started() {
    if !need_root("no_test_passes_by_what_a_tool_obeys_where_it_is_started") {
        return;
    }
    let place = Place::new();
    let suite = place.tree("suite", TOOLS);
    let honest = [("Makefile", "all:\n\ttrue\n"), ("run.sh", "true\n")];
    let graded = place.grade(&place.tree("honest", &honest), &suite, &[]);
    assert_eq!((graded.code(), graded.error()), (0, ""), "{:#?}", graded.cases());
    let makefile = "check:\n\tcp /bin/true check\n";
    let run = "printf 'check:\\n\\ttrue\\n' > mine/makefile; echo --norc > .proverc\n";
    let cheat = [("GNUmakefile", makefile), (".valgrindrc", "--error-exitcode=0\n"), ("run.sh", run)];
    let graded = place.grade(&place.tree("cheat", &cheat), &suite, &[]);
    assert!(graded.cases().iter().all(|case| case.1 == "failed"), "{} {:#?}", graded.error(), graded.cases());
    for said in [
        "theirs, where GNUmakefile",
        "mine, where makefile",
        "valgrind obeyed /task/project/.valgrindrc",
        "prove obeyed /tmp/",
    ] {
        assert!(graded.error().contains(said), "{said}: {}", graded.error());
    }
    assert!(!graded.error().contains("tampering"), "{}", graded.error());
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
