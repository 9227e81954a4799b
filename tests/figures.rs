//! To whom memory goes: what fixtures start, what pytest captures, what the host's cache holds, and what was charged to somebody
//! else. Real pytest, real programs, the kernel's figures. Needs root.

mod common;
mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use support::{Graded, Place, need_root};

const MIB: u64 = 1 << 20;

/// [`common::TOUCH`], and a program that maps a file that is there already.
const PROJECT: &[(&str, &str)] = &[
    ("Makefile", "all:\n\tcc -O1 -static -o touch touch.c\n\tcc -O1 -o mapper mapper.c\n\tcc -O1 -o ring ring.c\n"),
    ("touch.c", common::TOUCH),
    (
        "mapper.c",
        "#include <fcntl.h>\n#include <stdlib.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\
         int main(int c, char **v) { size_t n = strtoul(v[2], 0, 10) << 20; int fd = open(v[1], O_RDWR | O_CREAT, 0600);\n\
         if (fd < 0 || ftruncate(fd, n)) return 2; volatile char *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);\n\
         for (size_t i = 0; i < n; i += 4096) p[i] = 1; usleep(300000); return c < 0; }\n",
    ),
    // A ring buffer: the same memory twice in a row.
    (
        "ring.c",
        "#define _GNU_SOURCE\n#include <stdlib.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\
         int main(int c, char **v) { size_t n = strtoul(v[1], 0, 10) << 20; int fd = memfd_create(\"ring\", 0);\n\
         if (fd < 0 || ftruncate(fd, n)) return 2; char *p = mmap(0, 2 * n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n\
         for (int k = 0; k < 2; k++) if (mmap(p + k * n, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) return 3;\n\
         for (size_t i = 0; i < 2 * n; i += 4096) ((volatile char *)p)[i] = 1; usleep(300000); return c < 0; }\n",
    ),
];

const BUILD: &str = "[build]\ncommand = [\"make\"]\n";

/// Bytes by which two figures of the same may differ: a batch for each CPU.
fn batches() -> u64 {
    256 * 1024 * std::thread::available_parallelism().expect("CPUs").get() as u64
}

fn cases(graded: &Graded) -> BTreeMap<String, Value> {
    let cases = graded.body()["testCases"].as_array().expect("cases").iter();
    let name = |case: &Value| case["name"].as_str().expect("a name").rsplit("::").next().unwrap_or_default().to_owned();
    cases.map(|case| (name(case), case.clone())).collect()
}

fn bytes(case: &Value) -> u64 {
    case["memoryBytes"].as_u64().expect("bytes")
}

#[test]
fn the_order_of_tests_does_not_matter() {
    if !need_root("the_order_of_tests_does_not_matter") {
        return;
    }
    let test = r#"import os, subprocess, unittest
import pytest
TOUCH = os.environ["OSTEST_PROJECT"] + "/touch"
def touch(*args):
    assert subprocess.run([TOUCH, *map(str, args)]).returncode == 0
@pytest.fixture(scope="session")
def built():
    touch(90)
    subprocess.run("head -c 20M /dev/zero > /tmp/built", shell=True, check=True)
@pytest.fixture(scope="session")
def server(built):
    process = subprocess.Popen([TOUCH, "30", "1", "6000"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    yield process
    process.kill()
    process.wait()
@pytest.fixture(scope="module")
def by_way_of(request):
    return request.getfixturevalue("server")
def test_alone(): touch(5)
def test_with_a_build(built): touch(7)
def test_with_a_server(server): touch(10)
def test_with_a_server_and_nothing_else(server): pass
def test_by_way_of(by_way_of): touch(3)
class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls): touch(70)
    @classmethod
    def tearDownClass(cls): touch(60)
    def test_unittest(self): touch(2)
class TestXunit:
    def setup_class(self): touch(80)
    def teardown_class(self): touch(80)
    def test_xunit(self): touch(4)
"#;
    let conftest = "import pathlib, random\n\
                    def pytest_collection_modifyitems(items):\n    \
                    random.Random(pathlib.Path(__file__).with_name('seed').read_text()).shuffle(items)\n";
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    // Each takes a minute where the machine is emulated.
    let emulated = std::env::var_os("OSTEST_EMULATED").is_some();
    for seed in ["1", "2", "3", "4", "5"].into_iter().take(if emulated { 2 } else { 5 }) {
        let place = Place::new();
        let files = [("test_order.py", test), ("conftest.py", conftest), ("seed", seed), ("ostest.toml", BUILD)];
        let graded = place.grade(&place.tree("project", PROJECT), &place.tree("suite", &files), &[]);
        assert_eq!(graded.code(), 0, "{:#?}", graded.cases());
        for (name, case) in cases(&graded) {
            assert!(case["remarks"].as_array().is_some_and(|all| all.len() <= 1), "{case:#}");
            seen.entry(name.clone()).or_default().push(bytes(&case));
            // Where the kernel cannot begin a peak anew, what the server holds is said apart.
            let whole = (bytes(&case) + case["memoryAlso"].as_u64().expect("a figure") * 1024) / MIB;
            let asked = match name.as_str() {
                "test_alone" => 5,
                "test_with_a_build" => 7,
                "test_with_a_server" => 40,
                "test_with_a_server_and_nothing_else" => 30,
                "test_by_way_of" => 33,
                "test_unittest" => 2,
                "test_xunit" => 4,
                other => panic!("{other}"),
            };
            assert!(
                (asked..=asked + 2).contains(&whole),
                "seed {seed}: {whole} MiB where {asked} were asked for: {case:#}"
            );
        }
    }
    for (name, figures) in &seen {
        let (least, most) = (figures.iter().min().expect("five"), figures.iter().max().expect("five"));
        println!("{name:40} {:.2} to {:.2} MiB", *least as f64 / MIB as f64, *most as f64 / MIB as f64);
        assert!(most - least <= 2 * batches(), "{name}: {figures:?}");
    }
}

#[test]
fn neither_captured_output_nor_the_hosts_cache_is_a_programs_memory() {
    if !need_root("neither_captured_output_nor_the_hosts_cache_is_a_programs_memory") {
        return;
    }
    let test = r#"import os, subprocess
TOUCH = os.environ["OSTEST_PROJECT"] + "/touch"
def test_prints(): assert subprocess.call("yes hello | head -c 60000000", shell=True) == 0
def test_prints_for_itself(capfd): assert subprocess.call("yes hello | head -c 60000000 >&2", shell=True) == 0
def test_holds_and_prints(): assert subprocess.call(TOUCH + " 30 1 3; yes hello | head -c 60000000", shell=True) == 0
def test_prints_and_holds(): assert subprocess.call("yes hello | head -c 60000000; " + TOUCH + " 30 1 3", shell=True) == 0
def test_reads(): subprocess.run("cat $(gcc -print-prog-name=cc1) | wc -c", shell=True, check=True)
def test_reads_again(): subprocess.run("cat $(gcc -print-prog-name=cc1) | wc -c", shell=True, check=True)
"#;
    let place = Place::new();
    let suite = place.tree("suite", &[("test_whose.py", test), ("ostest.toml", BUILD)]);
    // Best effort: pages that somebody has mapped stay.
    let cold = "import os, subprocess\np = subprocess.check_output(['gcc', '-print-prog-name=cc1'], text=True).strip()\n\
                f = os.open(p, os.O_RDONLY)\nos.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)\n";
    assert!(std::process::Command::new("python3").args(["-c", cold]).status().expect("python3 starts").success());
    let graded = place.grade(&place.tree("project", PROJECT), &suite, &[]);
    assert_eq!(graded.code(), 0, "{:#?}", graded.cases());
    let cases = cases(&graded);
    for (name, mib) in [
        ("test_prints", 0),
        ("test_prints_for_itself", 0),
        ("test_holds_and_prints", 30),
        ("test_prints_and_holds", 30),
        ("test_reads", 0),
        ("test_reads_again", 0),
    ] {
        let case = &cases[name];
        println!("{name:28} {:.2} MiB, {}", bytes(case) as f64 / MIB as f64, case["memoryParts"]);
        let most = (mib + 2) * MIB + batches();
        assert!((mib * MIB..=most).contains(&bytes(case)), "{name}: {} bytes, {mib} MiB expected", bytes(case));
    }
    assert!(
        cases["test_prints"]["memoryParts"]["capturedOutputBytes"].as_u64() >= Some(57 * MIB),
        "{:#}",
        cases["test_prints"]
    );
}

#[test]
fn what_was_charged_to_somebody_else_is_said_and_held_to_the_limit() {
    if !need_root("what_was_charged_to_somebody_else_is_said_and_held_to_the_limit") {
        return;
    }
    let test = r#"import os, subprocess
P = os.environ["OSTEST_PROJECT"]
def mapper(*args): return subprocess.run([P + "/mapper", *map(str, args)]).returncode
def test_committed(): assert mapper(P + "/heap", 48) == 0
def test_own(): assert mapper("/dev/shm/heap", 40) == 0
def test_anothers(): assert mapper("/dev/shm/heap", 40) == 0
def test_ring(): assert subprocess.run([P + "/ring", "30"]).returncode == 0
"#;
    let place = Place::new();
    let suite = place.tree("suite", &[("test_whose.py", test), ("ostest.toml", BUILD)]);
    let project = place.tree("project", PROJECT);
    std::fs::write(project.join("heap"), vec![7u8; 48 << 20]).expect("a file");
    let graded = place.grade(&project, &suite, &[]);
    assert_eq!(graded.code(), 0, "{:#?}", graded.cases());
    let all = cases(&graded);
    for (name, own, also) in
        [("test_committed", 0, 48), ("test_own", 40, 0), ("test_anothers", 0, 40), ("test_ring", 30, 0)]
    {
        let case = &all[name];
        let told = case["memoryParts"]["mappedBytes"].as_u64().expect("bytes") / MIB;
        println!("{name:16} {:.2} MiB and {told} MiB", bytes(case) as f64 / MIB as f64);
        assert!((own..=own + 1).contains(&(bytes(case) / MIB)), "{case:#}");
        assert!((also..=also + 1).contains(&told), "{case:#}");
        assert_eq!(case["remarks"].as_array().map(Vec::len), Some(usize::from(also > 0)), "{case:#}");
    }
    // What is mapped twice is no more than the limit because of that.
    let graded = place.grade(&project, &suite, &["--mem-limit", "96M", "--test", "test_ring"]);
    assert_eq!(graded.code(), 0, "{:#?}", graded.cases());
    // The limit is for all of it, whoever was charged first.
    let graded = place.grade(&project, &suite, &["--mem-limit", "64M", "--test", "test_committed"]);
    let (_, status, said) = &graded.cases()[0];
    assert_eq!((graded.code(), &**status), (1, "failed"), "{said}");
    assert!(
        said.contains("sandbox: ") && said.contains("memory limit of 64.0 MiB") && said.contains("mapped"),
        "{said}"
    );
}
