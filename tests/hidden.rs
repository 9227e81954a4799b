//! Hidden files are read by pytest, and by nobody through it: whichever way a suite opens what a submission has left.

mod common;
mod support;

use std::os::unix::fs::symlink;
use support::{Place, need_root};

/// The ways in which a suite opens files. Each of these takes a path and gives what it holds, or raises an OSError.
const OPENERS: &str = r#"
import codecs, contextlib, filecmp, ctypes, io, linecache, mmap, os, pathlib, runpy, shutil, sqlite3, subprocess, threading
P = os.environ["OSTEST_PROJECT"]
HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = "the hidden " + "answer"

def by_c(path):
    fd = ctypes.CDLL(None, use_errno=True).open(path.encode(), 0)
    if fd < 0: raise OSError(ctypes.get_errno(), "open")
    with open(fd) as file: return file.read()
def by_folder(path):
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try: fd = os.open(os.path.basename(path), os.O_RDONLY, dir_fd=folder)
    finally: os.close(folder)
    with open(fd) as file: return file.read()
def by_chdir(path):
    before = os.getcwd()
    os.chdir(os.path.dirname(path))
    try: return open(os.path.basename(path)).read()
    finally: os.chdir(before)
def by_copy(path):
    shutil.copyfile(path, "/tmp/copied")
    return open("/tmp/copied").read()
def by_thread(path):
    said = []
    def run():
        try: said.append(open(path).read())
        except OSError as error: said.append(error)
    thread = threading.Thread(target=run); thread.start(); thread.join()
    if isinstance(said[0], OSError): raise said[0]
    return said[0]
def by_database(path):
    with contextlib.closing(sqlite3.connect(path)) as base:
        try: return str(base.execute("select * from sqlite_master").fetchall())
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error): return SECRET
            raise OSError(error)
def by_program(path):
    with open(path) as file: return subprocess.run(["cat"], stdin=file, capture_output=True, text=True).stdout
def by_map(path):
    with open(path) as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as text: return text[:].decode()
OPENERS = [
    lambda path: open(path).read(), lambda path: open(os.fsencode(path)).read(), lambda path: pathlib.Path(path).read_text(),
    lambda path: io.FileIO(path).read().decode(), lambda path: io.open_code(path).read().decode(),
    lambda path: codecs.open(path).read(), lambda path: os.read(os.open(path, os.O_RDONLY), 999).decode(),
    lambda path: open(path, opener=os.open).read(),
    by_c, by_folder, by_chdir, by_copy, by_thread, by_database, by_program, by_map,
]
def opened(path):
    said = []
    for opener in OPENERS:
        try: said.append(opener(path))
        except (OSError, sqlite3.Error) as error: said.append(error)
    return said
"#;

const HIDDEN_TESTS: &str = r#"
from openers import *
def test_links_are_not_followed():
    os.system("cd %s && sh links.sh" % P)
    for name in "out.txt", "lib/expected/1.txt", "there/1.txt", "again":
        for number, text in enumerate(opened(os.path.join(P, name))):
            assert isinstance(text, OSError), (name, number, text)
    # One that lies in a folder of the suite's, and one that goes up out of it again.
    for name in "planted.txt", "planted/1.txt", "up/../expected/1.txt":
        for number, text in enumerate(opened(os.path.join(HERE, name))):
            assert isinstance(text, OSError), (name, number, text)
def test_copied_trees_have_nothing_hidden(tmp_path):
    try: shutil.copytree(P, tmp_path / "copy")
    except shutil.Error as error: assert "hides" in str(error)
    else: assert 0
    for folder, _, names in os.walk(tmp_path):
        for name in names: assert SECRET not in open(os.path.join(folder, name), errors="replace").read()
def test_own_files_are_read():
    mine = os.path.join(HERE, "expected", "1.txt")
    assert all(SECRET in open(path).read() for path in (mine, os.path.join(HERE, "lab", "..", "expected", "1.txt"), "expected/1.txt"))
    texts = [str(text) for text in opened(mine)]
    # A C library opens by itself, and nobody knows how a folder was opened.
    assert [number for number, text in enumerate(texts) if SECRET not in text] == [8, 9]
    assert SECRET in open(os.path.join(HERE, "shown.txt")).read()
    # Nor is it open to anybody in the moment after.
    by_c, leads = ctypes.CDLL(None).open, os.path.join(P, "out.txt").encode()
    for _ in range(1000):
        with open(mine) as file: assert by_c(leads, 0) == -1 and by_c(mine.encode(), 0) == -1
    linecache.checkcache()
    assert "test_own_files_are_read" in "".join(linecache.getlines(os.path.join(HERE, "test_hidden.py")))
def test_comparisons_open_what_is_hidden():
    mine, forged = os.path.join(HERE, "expected", "1.txt"), os.path.join(P, "forged")
    for _ in range(2):
        try: assert not filecmp.cmp(os.path.join(P, "out.txt"), mine)
        except PermissionError as error: assert "hides" in str(error)
        else: assert 0
    pathlib.Path(forged).write_text("?" * os.path.getsize(mine))
    shutil.copystat(mine, forged)
    assert not filecmp.cmp(forged, mine)
    # A refusal is not only "funny".
    there, expected = os.path.join(P, "there"), os.path.join(HERE, "expected")
    folders = filecmp.dircmp(there, expected)
    assert (folders.diff_files, folders.funny_files, folders.same_files) == (["1.txt"], [], [])
    assert filecmp.cmpfiles(there, expected, ["1.txt"]) == ([], ["1.txt"], [])
    assert filecmp.cmp(mine, os.path.join(HERE, "shown.txt")) and filecmp.cmp(mine, mine, shallow=False)
def test_folders_by_descriptors(tmp_path):
    fd = os.open(".", os.O_RDONLY); os.chdir(tmp_path); os.fchdir(fd)
    assert SECRET in open("expected/1.txt").read()
    os.chdir(tmp_path); os.chdir(fd); os.close(fd)
    try: os.chdir("/nowhere")
    except FileNotFoundError: pass
    assert SECRET in open("expected/1.txt").read()
    # The number is another folder's now: that of a link of the student's to the same place.
    again = os.open(P + "/lib", os.O_RDONLY)
    assert again == fd
    os.fchdir(again); os.close(again)
    try: text = open("expected/1.txt").read()
    except PermissionError as error: assert "descriptor" in str(error)
    else: assert 0
    os.chdir(HERE)
    assert SECRET in open("expected/1.txt").read()
def test_a_link_that_changes_is_refused_in_every_moment():
    turn = subprocess.Popen(["sh", "-c", "cd %s; while :; do ln -sfn prog.c race; ln -sfn /task/suite/expected/1.txt race; done" % P])
    try:
        for _ in range(4000):
            try: assert SECRET not in open(os.path.join(P, "race")).read()
            except OSError: pass
    finally: turn.kill(); turn.wait()
"#;

#[test]
fn hidden_stays_hidden() {
    if !need_root("hidden_stays_hidden") {
        return;
    }
    let place = Place::new();
    let suite = place.tree(
        "suite",
        &[
            ("ostest.toml", "[test]\nhidden = ['test_*.py', 'expected/**']\n"),
            ("openers.py", OPENERS),
            ("test_hidden.py", HIDDEN_TESTS),
            ("expected/1.txt", "the hidden answer\n"),
            ("lab/README", ""),
        ],
    );
    symlink("expected/1.txt", suite.join("shown.txt")).expect("a link");
    let links = "ln -sf /task/suite/expected/1.txt out.txt\nln -sfn /task/suite/expected there\nln -sf out.txt again\n\
                 ln -sf /task/project/out.txt /task/suite/planted.txt\nln -sfn /task/project/there /task/suite/planted\n\
                 ln -sfn /task/project/lib/lab /task/suite/up\n";
    let project = place.tree("project", &[("prog.c", ""), ("links.sh", links)]);
    symlink("/task/suite", project.join("lib")).expect("a link");
    let graded = place.grade(&project, &suite, &[]);
    assert_eq!(graded.code(), 0, "{graded:?}");
    assert!(graded.error().contains("out.txt leads to a file that the suite hides"), "{}", graded.error());
    // What came by a descriptor nobody is accused of.
    let (accused, noted) = graded.error().split_once('\n').expect("two kinds of words");
    assert!(
        !accused.contains("descriptor") && noted.contains("note: /task/suite/expected/1.txt leads to"),
        "{}",
        graded.error()
    );
}

#[test]
fn a_link_to_what_is_expected_is_no_output() {
    if !need_root("a_link_to_what_is_expected_is_no_output") {
        return;
    }
    let place = Place::new();
    // diff and cmp open neither of two names of one file, so that it does not matter who may read it.
    let tests = r#"
import os, subprocess
P, HERE = os.environ["OSTEST_PROJECT"], os.path.dirname(os.path.abspath(__file__))
def test_it():
    subprocess.run(["sh", "run.sh"], cwd=P, check=True)
    command = COMMAND
    assert subprocess.call(command, cwd=P, shell=isinstance(command, str)) == 0
"#;
    let linked = place.tree(
        "linked",
        &[("run.sh", "mkdir -p all; ln -sf /task/suite/expected.txt out.txt; ln -sf ../out.txt all/expected.txt\n")],
    );
    let honest =
        place.tree("honest", &[("run.sh", "mkdir -p all; echo right >out.txt; cp out.txt all/expected.txt\n")]);
    for (number, command) in [
        "['diff', 'out.txt', HERE + '/expected.txt']",
        "['env', 'LC_ALL=C', 'cmp', P + '/out.txt', HERE + '/expected.txt']",
        "'true && diff -u out.txt %s/expected.txt' % HERE",
        "['diff', '-r', '--exclude=test_*', '--exclude=ostest.toml', '--exclude=__pycache__', '--exclude=.pytest_cache', 'all', HERE]",
    ]
    .iter()
    .enumerate()
    {
        let suite = |name: String, hidden: &str| {
            let tests = tests.replace("COMMAND", command);
            let toml = format!("[test]\nhidden = ['test_*.py'{hidden}]\n");
            place.tree(&name, &[("ostest.toml", &*toml), ("test_it.py", &*tests), ("expected.txt", "right\n")])
        };
        let graded = place.grade(&linked, &suite(format!("hidden{number}"), ", 'expected.txt'"), &[]);
        assert_eq!(graded.code(), 1, "{graded:?}");
        assert!(graded.error().contains(".txt, which leads to a file that the suite hides"), "{}", graded.error());
        let graded = place.grade(&honest, &suite(format!("shown{number}"), ""), &[]);
        assert_eq!((graded.code(), graded.error()), (0, ""), "{graded:?}");
    }
}
