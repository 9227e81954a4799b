//! Code of the submission's inside pytest: refused and told, or let in by the suite's own word; and children of multiprocessing.

mod common;
mod support;

use support::{Graded, Place, need_root};

/// A library whose functions are wrong, and whose constructor changes the Python that loads it, so that they seem right.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
int add(int a, int b) { return 0; }
__attribute__((constructor)) static void begin(void) {
    int (*run)(const char *) = (int (*)(const char *))dlsym(RTLD_DEFAULT, "PyRun_SimpleString");
    int (*ensure)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
    if (run && ensure) { ensure(); run(
      "import ctypes\n"
      "class Yes(int):\n"
      "    def __eq__(s, o): return True\n"
      "ctypes.CDLL.__getattr__ = lambda s, n: (lambda *a: Yes())\n"); }
}
"#;

const PROJECT: [(&str, &str); 4] = [
    ("Makefile", "all: libx.so liby.so\nlib%.so: %.c\n\tcc -shared -fPIC -o $@ $<\n"),
    ("x.c", LIBRARY),
    ("y.c", "int two(void) { return 2; }\n"),
    ("mine.py", "def add(a, b): return 42\n"),
];

/// Ways in which a suite calls it.
const TESTS: &str = r#"
import ctypes, multiprocessing, os, sys
LIB = os.environ["OSTEST_PROJECT"] + "/libx.so"
def add(): return ctypes.CDLL(LIB).add(2, 40)
def test_ctypes(): assert add() == 42
def test_bytes(): assert ctypes.CDLL(os.fsencode(LIB)).add(2, 40) == 42
def test_relative(monkeypatch):
    monkeypatch.chdir(os.path.dirname(LIB))
    assert ctypes.CDLL("./libx.so").add(2, 40) == 42
def test_link(tmp_path):
    os.symlink(LIB, tmp_path / "libc.so.6")
    assert ctypes.CDLL(str(tmp_path / "libc.so.6")).add(2, 40) == 42
def child(pipe):
    try: pipe.send(add())
    except BaseException as error: pipe.send(str(error))
def test_forked():
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,)); process.start()
    answer = ours.recv(); process.join()
    assert answer == 42
def test_spawned():
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=child, args=(theirs,)); process.start()
    answer = ours.recv(); process.join()
    assert answer == 42
def test_imported():
    sys.path.insert(0, os.path.dirname(LIB))
    try: from mine import add
    finally: del sys.path[0]
    assert add(2, 40) == 42
def test_made(tmp_path, monkeypatch):
    (tmp_path / "just_made.py").write_text("two = 2")
    monkeypatch.syspath_prepend(str(tmp_path))
    import just_made
    assert just_made.two == 2
def test_others():
    assert ctypes.CDLL(None).getpid() == os.getpid() and ctypes.CDLL("libc.so.6").getpid() == os.getpid()
"#;

const BUILD: &str = "[build]\ncommand = [\"make\"]\n";

fn outcomes(graded: &Graded) -> Vec<String> {
    let short = |name: &str| name.rsplit("::").next().unwrap_or_default().to_owned();
    graded.cases().into_iter().map(|(name, status, _)| format!("{} {status}", short(&name))).collect()
}

#[test]
fn student_code_does_not_come_into_pytest() {
    if !need_root("student_code_does_not_come_into_pytest") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", &PROJECT);
    let suite = |options: &str| {
        let name = format!("suite-{}", options.len());
        place.tree(&name, &[("ostest.toml", &*format!("{BUILD}{options}")), ("test_add.py", TESTS)])
    };
    let graded = place.grade(&project, &suite(""), &[]);
    let kinds = ["ctypes", "bytes", "relative", "link", "forked", "spawned", "imported", "made"];
    let mut wanted: Vec<String> = kinds.iter().map(|kind| format!("test_{kind} failed")).collect();
    wanted.push("test_others passed".into());
    assert_eq!(outcomes(&graded), wanted, "{graded:?}");
    // It is the suite that does it: no student has failed by that.
    assert_eq!(graded.code(), 2);
    for said in ["the suite loads code into pytest", "libx.so", "in a process of its own", "load-student-code = true"] {
        assert!(graded.error().contains(said), "{said}: {}", graded.error());
    }
    // And no student is accused of it.
    assert!(graded.error().contains("/task/project/mine.py"), "{}", graded.error());
    assert!(graded.error().contains("just_made.py. Have them made"), "{}", graded.error());
    assert!(!graded.error().contains("tampering"), "{}", graded.error());
    for kind in ["ctypes", "link", "forked", "spawned"] {
        let (_, text) = graded.case(&format!("test_add::test_{kind}"));
        assert!(text.contains("was not loaded into pytest") && !text.contains("ostest_guard.py"), "{text}");
    }

    // What is made while the suite runs is modules.
    let graded = place.grade(&project, &suite("[test]\nimports = \"anything\"\n"), &[]);
    wanted[6] = "test_imported passed".into();
    wanted[7] = "test_made passed".into();
    assert_eq!(outcomes(&graded), wanted, "{graded:?}");

    let graded = place.grade(&project, &suite("[test]\nload-student-code = true\n"), &[]);
    assert_eq!(graded.cases().len(), 9);
    assert!(graded.cases().iter().all(|(_, status, _)| status == "passed"), "{graded:?}");
    assert_eq!((graded.code(), graded.body()["isError"].as_bool()), (0, Some(false)), "{graded:?}");
    assert!(graded.error().contains("note: /task/project/libx.so was loaded into pytest"), "{}", graded.error());
}

#[test]
fn a_library_that_is_gone_again_is_told_and_a_module_in_the_place_of_another_is_tampering() {
    if !need_root("a_library_that_is_gone_again_is_told_and_a_module_in_the_place_of_another_is_tampering") {
        return;
    }
    let place = Place::new();
    let tests = r#"
import ctypes, os, sys
P = os.environ["OSTEST_PROJECT"]
def test_unloads():
    c = ctypes.CDLL(None); c.dlopen.restype = ctypes.c_void_p; c.dlclose.argtypes = [ctypes.c_void_p]
    c.dlclose(c.dlopen((P + "/liby.so").encode(), 2))
def test_planted():
    os.system("echo 'planted = 1' > /task/suite/colorsys.py")
    try: import colorsys
    except ImportError as error: assert "was not loaded" in str(error)
    else: assert 0
"#;
    let suite = place.tree("suite", &[("ostest.toml", BUILD), ("test_gone.py", tests)]);
    let graded = place.grade(&place.tree("project", &PROJECT), &suite, &[]);
    // What takes the place of Python's own may have been read by anything.
    assert_eq!(outcomes(&graded), ["test_unloads failed", "test_planted failed"], "{graded:?}");
    assert!(
        graded.error().starts_with("tampering was seen: /task/suite/colorsys.py was not loaded"),
        "{}",
        graded.error()
    );
    assert!(
        graded.error().contains("\nnote: a library was loaded into pytest and unloaded again"),
        "{}",
        graded.error()
    );
}

#[test]
fn a_child_that_loads_student_code_is_a_students_process() {
    if !need_root("a_child_that_loads_student_code_is_a_students_process") {
        return;
    }
    let place = Place::new();
    let tests = r#"
import ctypes, os, signal, subprocess
def test_child():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = []
        def attempt(do):
            try: do(); said.append("done")
            except OSError as error: said.append(type(error).__name__)
        ctypes.CDLL(os.environ["OSTEST_PROJECT"] + "/libx.so")
        attempt(lambda: open(__file__).read())
        attempt(lambda: os.kill(os.getppid(), signal.SIGUSR1))
        said += [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapPrm", "CapEff"))]
        attempt(lambda: subprocess.run(["true"], check=True))
        os.write(writer, " ".join(said).encode()); os._exit(0)
    os.close(writer)
    said = os.read(reader, 999).decode(); os.waitpid(pid, 0)
    assert said == "PermissionError PermissionError %016x %016x done" % (0, 0)
    assert "test_child" in open(__file__).read()
"#;
    let options = format!("{BUILD}[test]\nload-student-code = true\n");
    let suite = place.tree("suite", &[("ostest.toml", &*options), ("test_child.py", tests)]);
    let graded = place.grade(&place.tree("project", &PROJECT), &suite, &[]);
    assert_eq!(outcomes(&graded), ["test_child passed"], "{graded:?}");
    assert!(graded.error().contains("was loaded into a process that pytest forked"), "{}", graded.error());
}

#[test]
fn cffi_is_held_as_ctypes_is() {
    if !need_root("cffi_is_held_as_ctypes_is") {
        return;
    }
    let place = Place::new();
    let tests = r#"
import multiprocessing, os, cffi, _cffi_backend
LIB = os.environ["OSTEST_PROJECT"] + "/libx.so"
def test_inline():
    ffi = cffi.FFI(); ffi.cdef("int add(int, int);")
    assert ffi.dlopen(LIB).add(2, 40) == 42
def test_compiled():
    _cffi_backend.FFI().dlopen(LIB)
def child(pipe):
    try: pipe.send(_cffi_backend.FFI().dlopen(LIB) is not None)
    except OSError as error: pipe.send(str(error))
def test_spawned():
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs,)); process.start()
    answer = ours.recv(); process.join()
    assert answer is True
def test_library_of_c():
    ffi = cffi.FFI(); ffi.cdef("int getpid(void);")
    assert ffi.dlopen(None).getpid() == os.getpid()
    _cffi_backend.FFI().dlopen(None)
"#;
    let files = [("ostest.toml", BUILD), ("requirements.txt", "pytest\ncffi\n"), ("test_cffi.py", tests)];
    let graded = place.grade(&place.tree("project", &PROJECT), &place.tree("suite", &files), &[]);
    assert_eq!(
        outcomes(&graded),
        ["test_inline failed", "test_compiled failed", "test_spawned failed", "test_library_of_c passed"],
        "{graded:?}"
    );
    assert!(graded.error().contains("the suite loads code into pytest"), "{}", graded.error());
    let (_, text) = graded.case("test_cffi::test_spawned");
    assert!(text.contains("was not loaded into pytest"), "{text}");
}

/// Targets in a hidden module, with its conftest beside it; and what other programs of the student's see of such a child.
const CHILDREN: &str = r#"
import concurrent.futures, multiprocessing, os, pytest, subprocess
def work(pipe):
    import conftest
    pipe.send((os.getresuid(), os.getresgid(), os.getgroups(), conftest.SECRET)); pipe.recv()
def square(number): return number * number
def late(pipe):
    try: import colorsys; pipe.send("loaded")
    except ImportError as error: pipe.send(str(error))
@pytest.fixture(params=["spawn", "forkserver"])
def context(request): return multiprocessing.get_context(request.param)
def start(context, target):
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs,)); process.start()
    assert ours.poll(60)
    return process, ours
def test_target(context):
    process, pipe = start(context, work)
    users, groups, more, secret = pipe.recv()
    look = "cat /proc/%d/environ /proc/%d/mem; ls /proc/%d/fd; cat test_children.py; id -G" % ((process.pid,) * 3)
    seen = subprocess.run(look, shell=True, capture_output=True, text=True, cwd=os.path.dirname(os.path.abspath(__file__)))
    pipe.send(None); process.join()
    assert (users, groups, more, secret, process.exitcode) == ((1000,) * 3, (1000,) * 3, [], 4711, 0)
    assert (seen.stdout, seen.stderr.count("ermission denied")) == ("1000\n", 4), seen
def test_pool(context):
    with context.Pool(2) as pool: assert pool.map(square, [2, 3]) == [4, 9]
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool: assert list(pool.map(square, [4])) == [16]
def test_planted(context):
    # What lies in the suite's folder shadows what the child imports before it is one of the suite's, and later.
    os.system("for name in pickle socket colorsys; do echo 'print(\"planted\")' > $name.py; done")
    try: process, pipe = start(context, late)
    finally: os.system("rm -f pickle.py socket.py colorsys.py")
    said = pipe.recv(); process.join()
    assert "was not loaded" in said
"#;

#[test]
fn children_of_multiprocessing_find_targets_in_hidden_modules() {
    if !need_root("children_of_multiprocessing_find_targets_in_hidden_modules") {
        return;
    }
    let place = Place::new();
    let files = [("conftest.py", "SECRET = 4711\n"), ("test_children.py", CHILDREN)];
    let graded = place.grade(&place.tree("project", &PROJECT), &place.tree("suite", &files), &[]);
    // Of each what is planted is told, which took the place of Python's own for a while; without it all of them pass.
    let passed = |text: &str| text.starts_with("it passed, but files were put into the suite's folders");
    let cases = graded.cases();
    assert!(cases.len() == 6 && cases.iter().all(|(_, _, text)| passed(text)), "{graded:?}");
}
