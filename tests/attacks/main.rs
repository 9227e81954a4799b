//! Attacks, one a file: what each tries, what stops it, and what the result has to say stand at its head.
//!
//! `grades/` has submissions that want a result which they have not earned. Each is a program that prints a wrong answer
//! and attacks beside it; where its attack gets anywhere it prints the right one. What it gets has to be what
//! `honest_failing.c` gets. `slots/` has what two submissions try that are graded at the same time.

#[path = "../common/mod.rs"]
mod common;
mod repositories;
mod slots;
mod suite;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use support::{Graded, Place, need_root, traces};

/// Asks the program three times, and writes a file of the project's in between, as a suite does that tests a server.
const TESTS: &str = r#"
import os, subprocess

PROJECT = os.environ["OSTEST_PROJECT"]
EXPECTED = "42\n"

def answer():
    program = [os.path.join(PROJECT, "prog")]
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    done = subprocess.run(program, stdin=null, stdout=pipe, stderr=null, cwd=PROJECT, timeout=60)
    return done.stdout[:65536].decode("utf-8", "replace")

def test_alone():
    pass

def test_first():
    assert answer() == EXPECTED

def test_config():
    for name in ["config.conf"] + ["config-%d.conf" % number for number in range(5)]:
        try:
            with open(os.path.join(PROJECT, name), "w") as file:
                file.write("<testsuites><testsuite><testcase classname='test_all' name='test_first'/></testsuite></testsuites>")
        except OSError:
            pass
    assert answer() == EXPECTED

def test_second():
    import colorsys
    assert colorsys.rgb_to_hls(0, 0, 0) == (0.0, 0.0, 0.0)
    assert answer() == EXPECTED

def test_last():
    assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
"#;

/// What all of them get.
const DESERVED: [(&str, &str); 5] = [
    ("test_all::test_alone", "passed"),
    ("test_all::test_first", "failed"),
    ("test_all::test_config", "failed"),
    ("test_all::test_second", "failed"),
    ("test_all::test_last", "passed"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks/grades")
}

/// What stands behind `key: ` in the attack's head.
fn said<'a>(source: &'a str, key: &str) -> Vec<&'a str> {
    let head = source.split("*/").next().unwrap_or_default();
    let marker = format!(" * {key}: ");
    head.lines().filter_map(|line| line.strip_prefix(&*marker)).map(str::trim).filter(|text| *text != "-").collect()
}

/// The same for a script, in whose head it stands once.
fn said_by_shell(source: &str, key: &str) -> String {
    let marker = format!("# {key}: ");
    source.lines().find_map(|line| line.strip_prefix(&*marker)).unwrap_or_default().trim().to_string()
}

fn attack(name: &str) {
    if !need_root(name) {
        return;
    }
    let source = std::fs::read_to_string(folder().join(format!("{name}.c"))).expect("the attack's source");
    let place = Place::new();
    let extra: String = said(&source, "build").iter().map(|line| format!("\t{line}\n")).collect();
    let makefile = format!("all: prog\n{extra}prog: prog.c\n\tcc -O1 -o $@ prog.c\n");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the host's name");
    let files = [("Makefile", &*makefile), ("prog.c", &*source), ("config.conf", ""), ("host.txt", &*host)];
    let project = place.tree("project", &files);
    let settings = format!("[build]\ncommand = ['make']\n[test]\n{}\n", said(&source, "suite").join("\n"));
    let suite = place.tree(
        "suite",
        &[
            ("ostest.toml", &settings),
            ("test_all.py", TESTS),
            ("answers.txt", "42\n"),
            ("lab/helper.py", "VALUE = 1\n"),
        ],
    );
    // Where a host lacks a layer of containment the other one has to hold alone.
    let without = std::env::var("OSTEST_TEST_WITHOUT").unwrap_or_default();
    let mut flags = vec!["--timeout", "600", "--mem-limit", "160M", "--pids-limit", "64"];
    flags.extend(without.split_whitespace().flat_map(|layer| ["--allow-degraded", layer]));
    // What an operator may allow a laboratory must not earn anybody a grade.
    let allowed = std::env::var("OSTEST_TEST_ALLOW").unwrap_or_default();
    let groups: Vec<_> = allowed.split_whitespace().collect();
    let operator =
        place.tree("operator", &[("ostest.toml", &*format!("[test]\nallow = {groups:?}\n"))]).join("ostest.toml");
    let operator = operator.display().to_string();
    flags.extend(["--config", &*operator]);
    let graded = place.grade(&project, &suite, &flags);
    println!("{name:18} {:34} {}", summary(&graded), graded.error().replace('\n', " "));
    let cases: Vec<_> = graded.cases().into_iter().map(|(name, status, _)| (name, status)).collect();
    // Where files take the place of the suite's own nothing shows which test was deceived, and none passes.
    let none = said(&source, "passes").contains(&"none");
    let deserved: Vec<_> = DESERVED
        .iter()
        .map(|(name, status)| (name.to_string(), if none { "failed" } else { status }.to_string()))
        .collect();
    assert_eq!(cases, deserved, "{}", String::from_utf8_lossy(&graded.output.stdout));
    assert_eq!(
        (graded.code(), &graded.body()["isError"], &graded.body()["isPassed"]),
        (1, &false.into(), &false.into())
    );
    let says = said(&source, "says");
    for text in &says {
        assert!(graded.error().contains(text), "{text:?} is not said: {:?}", graded.error());
    }
    if says.is_empty() {
        assert_eq!(graded.error(), "");
    }
    for mib in said(&source, "memory") {
        let least = mib.parse::<u64>().expect("a number of MiB") << 20;
        let cases = graded.body()["testCases"].as_array().expect("a list");
        let first = cases.iter().find(|case| case["name"] == "test_all::test_first").expect("it is there");
        assert!(first["memoryBytes"].as_u64().is_some_and(|bytes| bytes >= least), "{first:#}");
    }
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}

/// What no sandbox can do: code that a suite links into the program that judges answers for itself. Shown as it is, and
/// with the pattern of docs/suites.md that holds.
#[test]
fn linked_code_answers_for_itself_unless_a_nonce_is_asked_for() {
    if !need_root("linked_code_answers_for_itself_unless_a_nonce_is_asked_for") {
        return;
    }
    let place = Place::new();
    // Never does what it should, and says PASS and leaves before anybody can ask.
    let library = "#include <stdio.h>\n#include <unistd.h>\nint answer(void) { return 17; }\n\
        __attribute__((constructor)) static void early(void) { puts(\"PASS\"); fflush(stdout); _exit(0); }\n";
    let project = place.tree("project", &[("answer.c", library)]);
    let tests = r#"
import os, secrets, subprocess

def check(program, *words):
    source = os.path.join(os.environ["OSTEST_PROJECT"], "answer.c")
    subprocess.run(["cc", "-o", "/tmp/" + program, program + ".c", source], check=True)
    return subprocess.run(["/tmp/" + program], input=" ".join(words), stdout=subprocess.PIPE, text=True, timeout=60)

def test_naive():
    done = check("naive")
    assert (done.returncode, done.stdout) == (0, "PASS\n")

def test_nonce():
    nonce = secrets.token_hex()
    done = check("nonce", nonce)
    assert (done.returncode, done.stdout) == (0, "PASS %s\n" % nonce)
"#;
    let suite = place.tree(
        "suite",
        &[
            ("test_linked.py", tests),
            ("naive.c", "#include <stdio.h>\nint answer(void);\nint main(void) { puts(answer() == 42 ? \"PASS\" : \"FAIL\"); }\n"),
            (
                "nonce.c",
                "#include <stdio.h>\nint answer(void);\nint main(void) { char nonce[100]; if (answer() != 42 || \
                 scanf(\"%99s\", nonce) != 1) return 1; printf(\"PASS %s\\n\", nonce); }\n",
            ),
        ],
    );
    let graded = place.grade(&project, &suite, &[]);
    let statuses: Vec<_> = graded.cases().into_iter().map(|(name, status, _)| (name, status)).collect();
    let expected = [("test_linked::test_naive", "passed"), ("test_linked::test_nonce", "failed")];
    assert_eq!(statuses, expected.map(|(name, status)| (name.to_string(), status.to_string())), "{:#}", graded.result);
}

fn summary(graded: &Graded) -> String {
    let count = |wanted: &str| graded.cases().iter().filter(|(_, status, _)| status == wanted).count();
    format!("{} passed, {} failed, {} in all", count("passed"), count("failed"), graded.cases().len())
}

macro_rules! attacks {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            attack(stringify!($name));
        })*

        #[test]
        fn every_attack_in_the_folder_is_a_test() {
            let files = std::fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").path());
            let mut names: Vec<String> =
                files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
            names.sort();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

attacks! {
    become_pytest,
    change_suite,
    detect_grader,
    enter_namespaces,
    forge_events,
    hide_memory,
    honest_failing,
    include_tests,
    kill_by_memory,
    kill_pytest,
    leave_links,
    limit_pytest,
    plant_bytecode,
    plant_libraries,
    plant_links,
    plant_modules,
    plant_pipe,
    print_passed,
    read_tests,
    shadow_tools,
    starve_tests,
    trace_pytest,
    wait_from_build,
    write_report,
}
