//! Memory per test, the harness's side: whoever is started comes to the gate under the right leaf, and nothing else changes.

use crate::support::{Ran, Seen, Suite};
use crate::text;
use ostest_sandbox::junit::Outcome::{Error, Passed};

/// Leaves in the order of their tests, each with the processes that came while it was current; without a name who came
/// between tests. Fails where a leaf was not ended before the next.
fn entries(ran: &Ran) -> Vec<(Option<String>, Vec<i64>)> {
    let (mut all, mut current) = (vec![(None, Vec::new())], None);
    for seen in &ran.leaves {
        match seen {
            Seen::Leaf(what, leaf) => {
                assert_eq!(what == "open", current.is_none(), "{:?}", ran.leaves);
                current = (what == "open").then(|| leaf.clone());
                all.push((current.clone(), Vec::new()));
            }
            Seen::Entry(what, leaf, pid) => {
                assert_eq!((what.as_str(), leaf), ("enter", &current));
                all.last_mut().expect("there is a first").1.push(*pid);
            }
        }
    }
    assert_eq!(current, None, "the last leaf was not ended");
    all.retain(|(leaf, pids)| leaf.is_some() || !pids.is_empty());
    all
}

fn counts(ran: &Ran) -> Vec<(Option<String>, usize)> {
    entries(ran).into_iter().map(|(leaf, pids)| (leaf, pids.len())).collect()
}

#[test]
fn what_a_suite_sees_of_the_programs_it_starts_is_the_same_with_the_gate() {
    let files = [("test_starts.py", include_str!("starts.py"))];
    let (plain, gated) = (Suite::new(&files).run(), Suite::new(&files).gate("").run());
    assert_eq!(plain.leaves, []);
    let leaves = entries(&gated);
    for ran in [&plain, &gated] {
        ran.assert_agrees();
        assert!(ran.verdict().is_passed(), "{:?}\n{}", ran.verdict(), ran.output);
    }
    let (plain, gated) = (plain.seen.as_object().expect("cases"), gated.seen.as_object().expect("cases"));
    assert!(gated.len() >= 25 && plain.keys().eq(gated.keys()));
    for (name, case) in gated {
        assert_eq!(plain[name][0], case[0], "{name}");
    }
    // The launcher knew each process as the test that started it did, in the leaf of that test.
    let mut started = 0;
    for (leaf, pids) in &leaves {
        let leaf = leaf.as_ref().expect("nothing is started between tests");
        let index: usize = leaf.strip_prefix('t').and_then(|n| n.parse().ok()).expect("the name of a leaf");
        let (name, case) = gated.iter().find(|(_, case)| case[2] == index).expect("the case of this number");
        for pid in case[1].as_array().expect("processes") {
            assert!(pids.contains(&pid.as_i64().expect("a number")), "{name}: {pid} is not in {pids:?}");
            started += 1;
        }
    }
    assert!(started > 100 && leaves.len() == gated.len(), "{started}");
}

const WHO_PAYS: &str = r#"
import multiprocessing, os, subprocess, sys, threading
import pytest

subprocess.run(["true"])
go, late = threading.Event(), []

@pytest.fixture(scope="session")
def server():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()
        subprocess.run(["true"])

@pytest.fixture(params=[1, 2])
def around(request):
    subprocess.run(["true"])
    yield request.param
    subprocess.run(["true"])

def test_session_fixture_is_born_here(server):
    pass

def test_nothing(server):
    assert server.poll() is None

def test_fixtures_around(around):
    subprocess.run(["true"])

def test_threads():
    threads = [threading.Thread(target=subprocess.run, args=(["true"],)) for _ in range(5)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

def test_forks():
    for _ in range(3):
        pid = os.fork()
        if pid == 0: os._exit(0)
        os.waitpid(pid, 0)
    child = multiprocessing.get_context("fork").Process(target=len, args=("",))
    child.start()
    child.join()

def test_a_daemon_is_started():
    def waits():
        go.wait(60)
        subprocess.run(["true"])
    late.append(threading.Thread(target=waits))
    late[0].start()
    subprocess.run(["sh", "-c", "(while ! test -e go; do sleep 0.01; done; true; touch gone) > /dev/null 2>&1 &"])

def test_after_it():
    open("go", "w").close()
    go.set()
    late[0].join()
    while not os.path.exists("gone"): pass

def test_pool():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(os.system, ["true", "exit 1"]) == [0, 256]
"#;

#[test]
fn each_process_is_counted_where_it_was_born() {
    let ran = Suite::new(&[("test_who.py", WHO_PAYS)]).gate("").run();
    ran.assert_agrees();
    assert!(ran.verdict().is_passed(), "{:?}\n{}", ran.verdict(), ran.output);
    let leaf = |index: usize| Some(format!("t{index}"));
    let expected = [
        // While tests are collected no leaf is current.
        (None, 1),
        (leaf(0), 1),
        (leaf(1), 0),
        (leaf(2), 3),
        (leaf(3), 3),
        (leaf(4), 5),
        // A fork is pytest's own memory.
        (leaf(5), 0),
        // What a program starts by itself is born in its leaf, also when the test is over.
        (leaf(6), 1),
        // A thread of pytest's is in no leaf: what it starts belongs to the test of that moment.
        (leaf(7), 1),
        // Two workers and multiprocessing's own helper; the last test also takes the session's fixtures down.
        (leaf(8), 4),
    ];
    assert_eq!(counts(&ran), expected);
}

#[test]
fn a_test_without_a_leaf_is_an_error_and_does_not_run() {
    let code = "import pytest, subprocess\n\
        @pytest.fixture(autouse=True)\ndef ran(request): open('ran-' + request.node.name, 'w').close()\n\
        def test_a(): subprocess.run(['true'], check=True)\n\
        def test_b(): subprocess.run(['true'], check=True)\n\
        def test_c():\n  import os\n  assert os.path.exists('ran-test_a') and not os.path.exists('ran-test_b')\n  os.system('true')\n";
    let ran = Suite::new(&[("test_x.py", code)]).gate("t1").run();
    ran.assert_agrees();
    assert_eq!(
        crate::ends(&ran),
        [("test_x::test_a", Some(Passed)), ("test_x::test_b", Some(Error)), ("test_x::test_c", Some(Passed))]
    );
    assert_eq!(text(&ran, "test_x::test_b"), "the test's memory cannot be counted: no room for t1");
    assert_eq!(counts(&ran), [(Some("t0".into()), 1), (Some("t2".into()), 1)]);

    // Whose figures cannot be had is the launcher's to say. The next test would be counted to this one.
    let ran = Suite::new(&[("test_x.py", code)]).gate("close").run();
    ran.assert_agrees();
    assert_eq!(crate::ends(&ran).iter().map(|e| e.1).collect::<Vec<_>>(), [Some(Passed), Some(Error), Some(Error)]);
    assert!(text(&ran, "test_x::test_c").ends_with("no figures to be had"));
}

const NOBODY: &str = r#"
import asyncio, os, pickle, posix, pty, subprocess, _posixsubprocess
import pytest

def refused(function, *given, kind=OSError, **named):
    with pytest.raises(kind, match="the process (could not|cannot) be counted"):
        function(*given, **named)
    assert not os.path.exists("started")

EITHER = (OSError, subprocess.SubprocessError)
touch = ["/usr/bin/touch", "started"]

def test_subprocess():
    for named in ({}, {"close_fds": False}, {"preexec_fn": lambda: None}):
        refused(subprocess.run, touch, kind=EITHER, **named)
    refused(subprocess.run, "touch started", shell=True, kind=EITHER)
    refused(os.popen, "touch started", kind=EITHER)
    refused(asyncio.run, start(), kind=EITHER)

async def start():
    await asyncio.create_subprocess_exec(*touch)

def test_others():
    refused(os.posix_spawn, touch[0], touch, os.environ)
    refused(posix.posix_spawn, touch[0], touch, os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, 0)])
    refused(os.posix_spawnp, "touch", touch, os.environ)
    refused(os.system, "touch started")
    assert os.spawnv(os.P_WAIT, touch[0], touch) == 127
    for execute in (os.execv, posix.execv, os.execvp):
        pid = os.fork()
        if pid == 0:
            try: execute(touch[0], touch)
            except OSError as error: os._exit(error.errno)
            finally: os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert not os.path.exists("started")

def test_calls_that_are_not_understood():
    r, w = os.pipe()
    rest = (-1, -1, -1, -1, -1, -1, r, w)
    for given in ((touch,), (touch, [touch[0].encode()], True, (), None, None, *rest), (touch, [touch[0].encode()]) * 20):
        with pytest.raises(TypeError):
            _posixsubprocess.fork_exec(*given)
        with pytest.raises(TypeError):
            _posixsubprocess.fork_exec(*given, more=1)
    for given in ((), touch[:1], (touch[0], touch), (touch[0], touch, {}, 1), (touch[0], 1, {}), (touch[0], [], {})):
        with pytest.raises((TypeError, ValueError)):
            os.posix_spawn(*given)
    assert not os.path.exists("started")
"#;

#[test]
fn who_is_not_let_in_is_not_started() {
    let ran = Suite::new(&[("test_n.py", NOBODY)]).gate("entry").run();
    ran.assert_agrees();
    assert!(ran.verdict().is_passed(), "{:?}\n{}", ran.verdict(), ran.output);
    // One for each call that the launcher could have let in.
    assert_eq!(counts(&ran), [(Some("t0".into()), 6), (Some("t1".into()), 8), (Some("t2".into()), 0)]);
}

#[test]
fn functions_that_were_taken_before_the_plugin_came_are_no_way_past_it() {
    let starter = "import os, sys\nfrom os import system, posix_spawn as spawn\nfrom subprocess import *\n\
        from _posixsubprocess import fork_exec\nimport pytest\nsys.exit(pytest.main(sys.argv[1:]))\n";
    let code = "import os, sys, __main__ as early\nimport pytest\n\
        def test_early():\n\
        \x20 for call in (lambda: early.system('touch started'), lambda: early.spawn('/usr/bin/touch', ['touch', 'started'], {})):\n\
        \x20   with pytest.raises(OSError, match='be counted'): call()\n\
        \x20 with pytest.raises(early.SubprocessError, match='be counted'): early.call(['touch', 'started'])\n\
        \x20 assert early.fork_exec is sys.modules['_posixsubprocess'].fork_exec and not os.path.exists('started')\n";
    let files = [("starter.py", starter), ("test_e.py", code)];
    let ran = Suite::new(&files).gate("entry").command(&["starter.py", "--junit-xml={report}"]).run();
    ran.assert_agrees();
    assert!(ran.verdict().is_passed(), "{:?}\n{}", ran.verdict(), ran.output);
}

const UNKNOWN: &str = r#"
import sys
import pytest, ostest_call, _posixsubprocess

class Other:
    def __init__(self, signature, text):
        self.__text_signature__, self.text = signature, text
    def __call__(self):
        raise TypeError(self.text)

NAMES = "$module, args, executable_list, close_fds, pass_fds, cwd, env, p2cread, p2cwrite, c2pread, c2pwrite, " \
    "errread, errwrite, errpipe_read, errpipe_write"
IDS = "gid, extra_groups, uid, child_umask, preexec_fn"

@pytest.mark.parametrize("version, signature, text, count", [
    ((3, 15), "(%s, %s, a, /)" % (NAMES, IDS), "", 20),
    ((3, 15), "(%s, a,\n  %s, b, c, /)" % (NAMES, IDS), "", 22),
    ((3, 15), "(%s, a, b, c, d, e, /)" % NAMES, "", None),
    ((3, 15), "(%s, %s, b=None, /)" % (NAMES, IDS), "", None),
    ((3, 15), "(%s, %s, *, a)" % (NAMES, IDS), "", None),
    ((3, 15), "($module, executable_list, args, /)", "", None),
    ((3, 15), None, "fork_exec() takes exactly 23 arguments (0 given)", None),
    ((3, 11), None, "fork_exec() takes exactly 24 arguments (0 given)", None),
    ((3, 11), None, "fork_exec() takes exactly 23 arguments (0 given)", 23),
    ((3, 9), None, "fork_exec() takes exactly 21 arguments (0 given)", 21),
    ((3, 9), None, "", None),
])
def test_layout(monkeypatch, version, signature, text, count):
    monkeypatch.setattr(_posixsubprocess, "fork_exec", Other(signature, text))
    monkeypatch.setattr(sys, "version_info", version)
    if count is not None:
        positions, size = ostest_call.layout()
        assert size == count and positions["preexec_fn"] - positions["gid"] == 4
    else:
        with pytest.raises(ostest_call.Unfit, match="starts programs in a way that the harness does not know"):
            ostest_call.layout()
"#;

#[test]
fn where_programs_could_be_started_past_the_gate_the_suite_does_not_start() {
    let ran = Suite::new(&[("test_u.py", UNKNOWN)]).gate("").run();
    ran.assert_agrees();
    assert!(ran.verdict().is_passed(), "{:?}\n{}", ran.verdict(), ran.output);
    let good = [("test_a.py", "def test_a(): pass\n")];
    let ran = Suite::new(&good).env("OSTEST_GATE", "/no/such/gate").run();
    let error = ran.verdict().error.expect("an error");
    assert!(error.contains("the gate /no/such/gate cannot be executed"), "{error}");
    assert!(ran.log.tests().is_empty());
}
