//! What can go wrong with a task becomes an answer: suites that break in every way, and what is said then.

mod common;
mod support;

use support::{Graded, Place, need_root};

const NOTHING: &[(&str, &str)] = &[("README", "nothing to build")];

/// Grades an empty project with one file of tests.
fn grade_tests(tests: &str, more: &[&str]) -> Graded {
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    let suite = place.tree("suite", &[("test_it.py", tests)]);
    place.grade(&project, &suite, more)
}

fn status(graded: &Graded, name: &str) -> String {
    graded.case(name).0
}

#[test]
fn outcomes_of_all_kinds_are_told_apart() {
    if !need_root("outcomes_of_all_kinds_are_told_apart") {
        return;
    }
    let graded = grade_tests(
        "import pytest\n\
         def test_pass(): pass\n\
         def test_fail(): assert 1 == 2\n\
         @pytest.mark.skip(reason='not today')\n\
         def test_skip(): pass\n\
         @pytest.mark.xfail(reason='known')\n\
         def test_xfail(): assert False\n\
         @pytest.mark.parametrize('n', [1, 2])\n\
         def test_param(n): assert n == 1\n\
         class TestClass:\n    def test_in(self): pass\n",
        &[],
    );
    assert_eq!(graded.code(), 1);
    let names: Vec<_> = graded.cases().into_iter().map(|(n, s, _)| format!("{n} {s}")).collect();
    assert_eq!(
        names,
        [
            "test_it::test_pass passed",
            "test_it::test_fail failed",
            "test_it::test_skip skipped",
            "test_it::test_xfail skip-allowed",
            "test_it::test_param[1] passed",
            "test_it::test_param[2] failed",
            "test_it.TestClass::test_in passed",
        ]
    );
    assert!(graded.case("test_it::test_fail").1.contains("assert 1 == 2"));
    assert!(graded.case("test_it::test_skip").1.contains("not today"));
    assert_eq!(graded.case("test_it::test_pass").1, "");
    assert_eq!(graded.body()["isError"], false);
}

#[test]
fn a_time_limit_leaves_finished_running_and_unstarted_tests_apart() {
    if !need_root("a_time_limit_leaves_finished_running_and_unstarted_tests_apart") {
        return;
    }
    // How long pytest takes to reach its second test is the machine's business: seconds where it is emulated. What is
    // tested is how the limit divides the tests once it falls into the second.
    let (limit, graded) = ["4", "16", "64"]
        .into_iter()
        .map(|limit| {
            let tests = "import time\ndef test_a(): pass\ndef test_b(): time.sleep(600)\ndef test_c(): pass\n";
            (limit, grade_tests(tests, &["--timeout", limit]))
        })
        .find(|(_, graded)| graded.cases().first().is_some_and(|(_, status, _)| status == "passed"))
        .expect("a minute is enough for a test that does nothing");
    let said = format!("time limit of {limit} s");
    assert_eq!(graded.code(), 2);
    let (status_b, text) = graded.case("test_it::test_b");
    assert_eq!(status_b, "stopped");
    assert!(text.contains(&said), "{text}");
    let (status_c, text) = graded.case("test_it::test_c");
    assert_eq!(status_c, "not-run");
    assert!(text.starts_with("not run"), "{text}");
    assert!(graded.error().contains(&said), "{}", graded.error());
}

#[test]
fn a_memory_limit_says_peak_and_limit() {
    if !need_root("a_memory_limit_says_peak_and_limit") {
        return;
    }
    let graded = grade_tests("def test_a(): pass\ndef test_b(): x = bytearray(400 << 20)\n", &["--mem-limit", "128M"]);
    assert_eq!(graded.code(), 2);
    let (status_b, text) = graded.case("test_it::test_b");
    assert_eq!((status(&graded, "test_it::test_a").as_str(), status_b.as_str()), ("passed", "stopped"));
    assert!(text.contains("memory limit of 128.0 MiB") && text.contains("peak 12"), "{text}");
}

#[test]
fn a_pytest_that_is_killed_or_leaves_early_passes_nothing_that_did_not_end() {
    if !need_root("a_pytest_that_is_killed_or_leaves_early_passes_nothing_that_did_not_end") {
        return;
    }
    for (end, said) in [
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("os._exit(0)", "exit code 0"),
        ("os.kill(os.getpid(), 11)", "signal 11"),
    ] {
        let graded =
            grade_tests(&format!("import os\ndef test_a(): pass\ndef test_b(): {end}\ndef test_c(): pass\n"), &[]);
        assert_eq!(graded.code(), 2, "{end}");
        assert_eq!(status(&graded, "test_it::test_a"), "passed");
        let (status_b, text) = graded.case("test_it::test_b");
        assert_eq!(status_b, "stopped");
        assert!(text.contains(said), "{end}: {text}");
        assert_eq!(status(&graded, "test_it::test_c"), "not-run");
        assert_eq!(graded.body()["isPassed"], false);
        assert_eq!(graded.body()["isError"], true);
    }
}

#[test]
fn a_suite_that_does_not_start_says_why() {
    if !need_root("a_suite_that_does_not_start_says_why") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    type Files<'a> = &'a [(&'a str, &'a str)];
    let broken: [(&str, Files<'_>, &str); 5] = [
        ("syntax", &[("conftest.py", "def (:\n"), ("test_a.py", "def test_a(): pass\n")], "SyntaxError"),
        ("collect", &[("test_a.py", "import nothing_of_this_name\n")], "nothing_of_this_name"),
        ("empty", &[("README", "no tests")], "no test"),
        ("program", &[("ostest.toml", "[test]\ncommand = ['no-such-program']\n")], "no-such-program"),
        ("key", &[("ostest.toml", "[test]\ncomand = ['x']\n")], "comand"),
    ];
    for (name, files, said) in broken {
        let graded = place.grade(&project, &place.tree(name, files), &[]);
        assert_eq!(graded.code(), 2, "{name}");
        assert_eq!(graded.body()["isError"], true, "{name}");
        assert!(graded.error().contains(said), "{name}: {}", graded.error());
    }
}

#[test]
fn a_report_that_is_missing_broken_or_disagrees_is_an_error_and_passes_nothing() {
    if !need_root("a_report_that_is_missing_broken_or_disagrees_is_an_error_and_passes_nothing") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    let cases = [
        ("missing", "pytest.main([])"),
        ("broken", "run(report); write(b'<testsuites><testsuite>')"),
        ("garbage", "run(report); write(os.urandom(3000))"),
        ("oversized", "run(report); write(bytes(70_000_000))"),
        (
            "lying",
            "run('/tmp/r.xml'); write(re.sub('(?s)<failure.*?</failure>', '', open('/tmp/r.xml').read()).encode())",
        ),
    ];
    for (name, code) in cases {
        let tests = "def test_a(): pass\ndef test_b(): assert False\n";
        let starter = format!(
            "import os, re, sys\nimport pytest\nreport = sys.argv[1]\n\
             def run(path): pytest.main(['--junit-xml=' + path])\n\
             def write(data): open(report, 'wb').write(data)\n{code}\n"
        );
        let command = "[test]\ncommand = ['python', 'starter.py', '{report}']\n";
        let suite = place.tree(name, &[("ostest.toml", command), ("test_it.py", tests), ("starter.py", &starter)]);
        let graded = place.grade(&project, &suite, &[]);
        assert_eq!(graded.body()["isError"], true, "{name}: {:#}", graded.result);
        assert_eq!(graded.body()["isPassed"], false, "{name}");
        assert_eq!(status(&graded, "test_it::test_b"), "failed", "{name}");
        assert!(!graded.error().is_empty());
    }
}

#[test]
fn a_build_fails_with_the_compilers_last_lines_or_is_stopped_when_it_floods() {
    if !need_root("a_build_fails_with_the_compilers_last_lines_or_is_stopped_when_it_floods") {
        return;
    }
    let place = Place::new();
    let suite =
        place.tree("suite", &[("ostest.toml", "[build]\ncommand = ['make']\n"), ("test_a.py", "def test_a(): pass\n")]);
    let build = |name: &str, makefile: &str, more: &[&str]| {
        place.grade(
            &place.tree(name, &[("Makefile", makefile), ("a.c", "int main(void) { return x; }\n")]),
            &suite,
            more,
        )
    };
    let lines = build("lines", "all:\n\t@seq 1 500; cc a.c\n", &[]);
    assert!(lines.error().contains("‘x’ undeclared") || lines.error().contains("'x' undeclared"), "{}", lines.error());
    assert!(lines.error().contains("\n450\n") && !lines.error().contains("\n300\n"), "{}", lines.error());
    let flood = build("flood", "all:\n\tyes\n", &["--output-limit", "1M"]);
    assert!(flood.error().contains("1.0 MiB of standard output"), "{}", flood.error());
    let hang = build("hang", "all:\n\tsleep 100\n", &["--timeout", "2"]);
    assert!(hang.error().contains("time limit of 2 s"), "{}", hang.error());
    let hungry = build("hungry", "all:\n\tpython3 -c 'bytearray(300 << 20)'\n", &["--mem-limit", "64M"]);
    assert!(hungry.error().contains("memory limit of 64.0 MiB"), "{}", hungry.error());
    let network = build(
        "network",
        "all:\n\ttest ! -e /task/suite\n\ttest ! -e /venv\n\ttest $$(wc -l < /proc/net/route) -le 1\n",
        &[],
    );
    assert_eq!(network.code(), 0, "{:#}", network.result);
}

#[test]
fn names_of_tests_are_whole_names() {
    if !need_root("names_of_tests_are_whole_names") {
        return;
    }
    let tests = "import pytest\ndef test1(): pass\ndef test10(): pass\n\
                 @pytest.mark.parametrize('n', [1, 2])\ndef test_p(n): pass\n";
    let names = |more: &[&str]| -> Vec<String> {
        grade_tests(tests, more).cases().into_iter().map(|(n, s, _)| format!("{n} {s}")).collect()
    };
    assert_eq!(names(&["--test", "test1"]), ["test_it::test1 passed"]);
    assert_eq!(names(&["--test", "test_it::test10"]), ["test_it::test10 passed"]);
    assert_eq!(names(&["--test", "test_p"]), ["test_it::test_p[1] passed", "test_it::test_p[2] passed"]);
    assert_eq!(names(&["--test", "test_it.py::test_p[2]"]), ["test_it::test_p[2] passed"]);
    let graded = grade_tests(tests, &["--test", "test1", "--test", "test2"]);
    assert_eq!(graded.cases().len(), 2);
    assert_eq!(graded.code(), 1, "{:#}", graded.result);
    let (status, text) = graded.case("test2");
    assert_eq!(status, "not-run");
    assert!(text.contains("no test"), "{text}");
}

#[test]
fn the_project_is_never_written_to_and_git_never_seen() {
    if !need_root("the_project_is_never_written_to_and_git_never_seen") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", &[("Makefile", "all:\n\techo x > made\n"), (".git/config", "[core]\n")]);
    let suite = place.tree(
        "suite",
        &[(
            "test_a.py",
            "import os, subprocess\nP = os.environ['OSTEST_PROJECT']\n\
             def test_make(): subprocess.run(['make', '-C', P], check=True); assert os.path.exists(P + '/made')\n\
             def test_git(): assert not os.path.exists(P + '/.git')\n\
             def test_env():\n    assert os.environ['OSTEST_ATTEMPT'] == 'local' and os.environ['OSTEST_LAB'] == '3'\n    \
             assert os.environ['OSTEST_PROXY_TIMEOUT'] == '10'\n    \
             assert not [k for k in os.environ if k.startswith(('OSTEST_EVENTS', 'OSTEST_REPORT', 'PYTEST_ADDOPTS'))]\n\
             def test_suite_cannot_be_changed():\n    \
             r = subprocess.run('echo x >> test_a.py; rm -f test_a.py; mv test_a.py b; echo new > bin', shell=True, capture_output=True, text=True)\n    \
             assert os.path.exists('test_a.py') and 'x' != open('test_a.py').read()[-2:-1] and os.path.exists('bin'), r\n",
        )],
    );
    let graded = place.grade(&project, &suite, &["--lab", "1", "--lab", "3"]);
    assert_eq!(graded.code(), 0, "{:#}", graded.result);
    assert!(!project.join("made").exists());
}

#[test]
fn requirements_that_cannot_be_installed_are_the_hosts_business_and_said() {
    if !need_root("requirements_that_cannot_be_installed_are_the_hosts_business_and_said") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    let suite =
        place.tree("suite", &[("requirements.txt", "/no/such/wheel.whl\n"), ("test_a.py", "def test_a(): pass\n")]);
    let graded = place.grade(&project, &suite, &[]);
    assert_eq!(graded.code(), 2);
    assert!(graded.error().contains("requirements.txt") && graded.error().contains("wheel"), "{}", graded.error());
}

#[test]
fn a_suite_says_what_it_hides_and_what_it_loads() {
    if !need_root("a_suite_says_what_it_hides_and_what_it_loads") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    let tests = "import importlib, os, subprocess, sys\nimport pytest\n\
        def test_program_reads_the_tests():\n    assert subprocess.call(['grep', '-q', 'def', 'test_it.py']) == 0\n\
        def test_program_reads_the_key():\n    assert subprocess.call(['grep', '-q', 'x', 'lab/answer.key']) == 0\n\
        def test_pytest_reads_the_key():\n    assert open('lab/answer.key').read() == 'x'\n\
        def test_made_while_it_ran():\n\
        \x20   with open('made_now.py', 'w') as file: file.write('VALUE = 5')\n\
        \x20   importlib.invalidate_caches()\n\
        \x20   assert importlib.import_module('made_now').VALUE == 5\n";
    let grade = |toml: &str| {
        let files = [("test_it.py", tests), ("lab/answer.key", "x"), ("ostest.toml", toml)];
        let graded = place.grade(&project, &place.tree(&format!("suite-{}", toml.len()), &files), &[]);
        let passed = graded.cases().iter().map(|(_, status, _)| status == "passed").collect::<Vec<_>>();
        (passed, graded.error().to_string())
    };
    let (passed, error) = grade("");
    assert_eq!(passed, [false, true, true, false]);
    assert!(
        error.contains("while it ran, which is refused") && error.contains(": /task/suite/made_now.py. "),
        "{error}"
    );
    assert!(!error.contains("tampering"), "{error}");
    let own = "[test]\nhidden = ['lab/*.key']\nimports = 'anything'\n";
    let (passed, error) = grade(own);
    assert_eq!(passed, [true, false, true, true]);
    assert!(error.starts_with("note: /task/suite/made_now.py was loaded into pytest"), "{error}");
}

#[test]
fn a_suite_is_started_by_the_python_that_the_harness_comes_before() {
    if !need_root("a_suite_is_started_by_the_python_that_the_harness_comes_before") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    let starter =
        "import os, subprocess, sys\nsys.exit(subprocess.call([sys.executable, '-m', 'pytest', *sys.argv[1:]]))\n";
    for (name, command, says) in [
        ("shell", "['sh', '-c', 'python -m pytest']", "has to start with `python`"),
        ("alone", "['python', '-S', 'starter.py']", "starts Python with -S"),
        (
            "twice",
            "['python', 'starter.py', '--junit-xml={report}']",
            "has to run in the process that the suite's command starts",
        ),
    ] {
        let toml = format!("[test]\ncommand = {command}\n");
        let files = [("test_a.py", "def test_a(): pass\n"), ("starter.py", starter), ("ostest.toml", toml.as_str())];
        let graded = place.grade(&project, &place.tree(name, &files), &[]);
        assert_eq!((graded.code(), graded.cases().len()), (2, 0), "{name}: {:#}", graded.result);
        assert!(graded.error().contains(says), "{name}: {}", graded.error());
    }
}

#[test]
fn what_a_starter_starts_before_pytest_is_the_students() {
    if !need_root("what_a_starter_starts_before_pytest_is_the_students") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    // As a starter does that builds the project first.
    let starter = "import os, subprocess, sys\nimport pytest\n\
        who = ['sed', '-nE', '/^(Uid|Gid|Groups|Cap)/p', '/proc/self/status']\n\
        os.environ['SEEN'] = subprocess.check_output(who, text=True)\n\
        os.system('ls -l /proc/self/fd | sed -n \"s/.* ->/->/p\" > /tmp/open')\nsys.exit(pytest.main(sys.argv[1:]))\n";
    let tests = "import os\ndef test_who():\n\
        \x20   lines = [line.split() for line in os.environ['SEEN'].splitlines()]\n\
        \x20   said = {line[0]: line[1:] for line in lines}\n\
        \x20   assert said['Uid:'] == said['Gid:'] == ['1000'] * 4 and said['Groups:'] == []\n\
        \x20   assert all(set(said[name]) == {'0' * 16} for name in said if name.startswith('Cap'))\n\
        \x20   assert len(open('/tmp/open').readlines()) == 4\n\
        def test_pytest_itself():\n\
        \x20   assert (os.getuid(), os.getgid(), os.getgroups(), os.stat('/tmp/open').st_uid) == (1000, 1000, [], 1000)\n\
        \x20   said = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)\n\
        \x20   assert said['Uid'].split() == ['1001', '1000', '1001', '1000']\n";
    let toml = "[test]\ncommand = ['python', 'starter.py', '--junit-xml={report}']\n";
    let files = [("test_a.py", tests), ("starter.py", starter), ("ostest.toml", toml)];
    let graded = place.grade(&project, &place.tree("suite", &files), &[]);
    assert_eq!(graded.code(), 0, "{}", String::from_utf8_lossy(&graded.output.stdout));
}

#[test]
fn pexpect_and_psutil_see_what_they_see_elsewhere() {
    if !need_root("pexpect_and_psutil_see_what_they_see_elsewhere") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    let tests = "import os, signal, sys\nimport pexpect, psutil, pytest\n\
        def test_terminal():\n\
        \x20   child = pexpect.spawn('/bin/sh', ['-c', 'read x; echo got $x; exit 3'], encoding='utf-8', timeout=60)\n\
        \x20   child.sendline('word')\n    child.expect('got word')\n    child.expect(pexpect.EOF)\n    child.close()\n\
        \x20   assert child.exitstatus == 3\n\
        def test_process(tmp_path):\n\
        \x20   with open(tmp_path / 'held', 'w') as held:\n\
        \x20       process = psutil.Popen(['sleep', '600'], stdout=held, cwd=tmp_path)\n\
        \x20       try:\n\
        \x20           assert process.cwd() == str(tmp_path) and process.exe().endswith('/sleep')\n\
        \x20           assert str(tmp_path / 'held') in [file.path for file in process.open_files()]  # or locales, too\n\
        \x20           assert process.uids().real == os.getuid() and process.environ()['HOME'] == '/run/home'\n\
        \x20           assert os.listdir('/proc/%d/fd' % process.pid) and os.readlink('/proc/%d/fd/1' % process.pid)\n\
        \x20           process.suspend(); process.resume(); process.nice(19); process.send_signal(signal.SIGTERM)\n\
        \x20           assert process.wait(60) == -signal.SIGTERM\n\
        \x20       finally:\n\
        \x20           if process.is_running(): process.kill()\n\
        def test_pytest_itself():\n\
        \x20   me = psutil.Process()\n    assert me.memory_info().rss > 0 and me.num_fds() > 3 and me.cpu_times().user >= 0\n";
    let files = [("test_it.py", tests), ("requirements.txt", "pytest\npexpect\npsutil\n")];
    let graded = place.grade(&project, &place.tree("suite", &files), &[]);
    assert_eq!(graded.code(), 0, "{}", String::from_utf8_lossy(&graded.output.stdout));
}

/// Pytest itself makes no two tests of one name; plugins of suites do, and run what they never listed.
#[test]
fn tests_that_are_listed_twice_or_never_are_told() {
    if !need_root("tests_that_are_listed_twice_or_never_are_told") {
        return;
    }
    let place = Place::new();
    let project = place.tree("project", NOTHING);
    let graded = |name: &str, conftest: &str| {
        let tests = "def test_a(): pass\ndef test_b(): pass\n";
        let suite = place.tree(name, &[("test_it.py", tests), ("conftest.py", conftest)]);
        let graded = place.grade(&project, &suite, &[]);
        let cases: Vec<_> = graded.cases().into_iter().map(|(name, status, _)| format!("{name} {status}")).collect();
        (cases, graded.body()["isPassed"].clone(), graded.body()["isError"].clone(), graded.error().to_string())
    };
    let (cases, passed, error, said) =
        graded("twice", "def pytest_collection_modifyitems(items): items.append(items[0])\n");
    assert_eq!(cases, ["test_it::test_a not-run", "test_it::test_b passed", "test_it::test_a (2) passed"]);
    assert_eq!((passed, error), (false.into(), true.into()));
    assert!(said.contains("test_it::test_a began twice"), "{said}");
    let (cases, passed, error, said) = graded(
        "never",
        "late = []\n\
         def pytest_collection_modifyitems(items): late.append(items.pop())\n\
         def pytest_runtestloop(session):\n    \
             for item in session.items + late:\n        \
                 item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)\n    \
             return True\n",
    );
    assert_eq!(cases, ["test_it::test_a passed"]);
    assert_eq!((passed, error), (false.into(), true.into()));
    assert!(said.contains("test_it::test_b (passed in the report, never listed)"), "{said}");
}
