//! Suites in ten common styles, each with an honest submission and one that cheats: what is honest gets the verdict that it gets
//! outside of any sandbox, test by test, and no cheat passes without a word.

#[path = "../common/mod.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Graded, Place, need_root};

/// What all of them need: one environment.
const REQUIREMENTS: &str = "pytest\npexpect\ncffi\n";

struct Style {
    place: Place,
    name: String,
}

impl Style {
    fn new(name: &str) -> Style {
        let place = Place::new();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/battery/styles").join(name);
        for part in ["suite", "honest", "cheat"] {
            let copied = Command::new("cp").args(["-r"]).arg(from.join(part)).arg(place.path(part)).status();
            assert!(copied.expect("cp starts").success(), "{name} has no {part}");
        }
        std::fs::write(place.path("suite/requirements.txt"), REQUIREMENTS).expect("a file");
        Style { place, name: name.into() }
    }

    fn inside(&self, submission: &str) -> Graded {
        self.place.grade(&self.place.path(submission), &self.place.path("suite"), &[])
    }

    /// The outcome of each test where nothing is contained, by pytest's own report.
    fn outside(&self, submission: &str) -> BTreeMap<String, String> {
        let report = self.place.path("outside.xml");
        // What the environment is made of stays as it is: other tests use it, and one that has changed is built anew.
        let mut pytest = Command::new(self.python());
        pytest.env("PYTHONDONTWRITEBYTECODE", "1");
        pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml"]).arg(&report);
        pytest.env("OSTEST_PROJECT", self.place.path(submission));
        // A dialogue with a program has its Ctrl-C.
        let output = common::on_a_terminal(&pytest)
            .current_dir(self.place.path("suite"))
            .stdin(Stdio::null())
            .output()
            .expect("pytest starts");
        let xml = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        outcomes(&xml)
    }

    /// The interpreter of the environment that grading has made.
    fn python(&self) -> PathBuf {
        let cache = std::fs::read_dir(self.place.path("state/cache")).expect("a cache").flatten();
        let is_ours = |dir: &PathBuf| {
            let manifest = std::fs::read_to_string(dir.join("ostest-manifest.json")).unwrap_or_default();
            ["/cffi/__init__.py", "/pexpect/__init__.py"].iter().all(|name| manifest.contains(name))
        };
        cache.map(|entry| entry.path()).find(is_ours).expect("an environment").join("bin/python")
    }
}

/// Names without their modules, which outside have no folder before them.
fn outcomes(xml: &str) -> BTreeMap<String, String> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let (mut found, mut name) = (BTreeMap::new(), String::new());
    loop {
        use quick_xml::events::Event;
        match reader.read_event().expect("pytest writes XML") {
            Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == "testcase" => {
                let attribute = tag.try_get_attribute("name").expect("XML").expect("a name");
                name = attribute.value.into_owned();
                found.insert(name.clone(), "passed".into());
            }
            Event::Start(tag) | Event::Empty(tag) if ["failure", "error"].contains(&tag.name().as_ref()) => {
                found.insert(name.clone(), "failed".into());
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

fn graded(graded: &Graded) -> BTreeMap<String, String> {
    let cases = graded.cases().into_iter();
    cases
        .filter(|(name, ..)| !name.starts_with("ostest::"))
        .map(|(name, status, _)| (name.rsplit("::").next().expect("a part").to_string(), status))
        .collect()
}

fn holds(name: &str) {
    if !need_root(&format!("style_{name}")) {
        return;
    }
    let style = Style::new(name);
    let honest = style.inside("honest");
    let outside = style.outside("honest");
    assert_eq!(graded(&honest), outside, "{name}: {}", String::from_utf8_lossy(&honest.output.stdout));
    let cheat = style.inside("cheat");
    let passed = cheat.body()["isPassed"] == true;
    let told = cheat.error();
    println!(
        "{:<12} honest: {} of {} passed, inside as outside; cheat: {}{}",
        style.name,
        outside.values().filter(|outcome| *outcome == "passed").count(),
        outside.len(),
        if passed { "passed, told: " } else { "not passed; told: " },
        if told.is_empty() { "-" } else { told.lines().next().unwrap_or_default() }
    );
    assert!(!passed || !told.is_empty(), "{name}: {}", String::from_utf8_lossy(&cheat.output.stdout));
}

macro_rules! styles {
    ($($test:ident $name:literal)*) => {
        $(#[test]
        fn $test() {
            holds($name);
        })*
    };
}

styles! {
    style_stdout "stdout"
    style_ctypes "ctypes"
    style_cffi "cffi"
    style_driver "driver"
    style_gdb "gdb"
    style_valgrind "valgrind"
    style_sanitizers "sanitizers"
    style_pexpect "pexpect"
    style_loopback "loopback"
    style_concurrency "concurrency"
}
