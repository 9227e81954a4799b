//! Whether this host is fit to grade: a finding for each thing that is required, green, yellow or red, with what mends it.
//!
//! Each probe has two parts: one reads (files of /proc, a system call, a program's version), the other is a pure function that
//! judges what was read. The second is what tests call, with texts of hosts that are not at hand.

pub mod allowed;
pub mod backend;
mod cgroups;
mod confinement;
pub mod descriptors;
mod facts;
pub mod groups;
mod kernel;
pub mod needs;
pub mod runner;
mod state;
mod suites;
mod tools;

use crate::config::{HostOptions, Limits};
use crate::contain::Host;
use sandbox::plan::Layer;
use serde::Serialize;
use std::collections::BTreeSet;

pub use confinement::LEDGER;
pub use facts::version as kernel_version;
pub use tools::{PYTHON, find_tool};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Green,
    /// Grading works, something is weaker or missing.
    Yellow,
    /// Grading does not work, or would not be contained.
    Red,
}

impl Grade {
    /// The word that people and programs read.
    pub fn word(self) -> &'static str {
        match self {
            Grade::Green => "green",
            Grade::Yellow => "yellow",
            Grade::Red => "red",
        }
    }
}

/// One requirement of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is required, in one word or two.
    pub name: &'static str,
    /// How it is here.
    pub grade: Grade,
    /// What was found, in one line.
    pub found: String,
    /// The command or boot parameter that mends it; empty where nothing is to be mended.
    pub remedy: String,
    /// The layer of containment that is missing, where the operator can waive it.
    #[serde(skip)]
    pub layer: Option<Layer>,
}

impl Finding {
    /// As it should be.
    pub fn green(name: &'static str, found: impl Into<String>) -> Finding {
        Finding::of(Grade::Green, name, found.into(), String::new())
    }

    /// Something is weaker or missing.
    pub fn yellow(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::of(Grade::Yellow, name, found.into(), remedy.into())
    }

    /// Grading does not work.
    pub fn red(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::of(Grade::Red, name, found.into(), remedy.into())
    }

    /// For want of this layer, which the operator may waive.
    pub fn lacking(self, layer: Layer) -> Finding {
        let remedy = format!("{}; or accept it with --allow-degraded {}", self.remedy, layer.name());
        Finding { layer: Some(layer), remedy, ..self }
    }

    fn of(grade: Grade, name: &'static str, found: String, remedy: String) -> Finding {
        // What programs say has several lines, and a finding is one.
        let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
        Finding { name, grade, found, remedy, layer: None }
    }

    /// With the operator's word for layers that may be missing: it turns exactly their red into yellow.
    fn with_waived(self, waived: &BTreeSet<Layer>) -> Finding {
        match self.layer {
            Some(layer) if self.grade == Grade::Red && waived.contains(&layer) => Finding {
                grade: Grade::Yellow,
                found: format!("{}; accepted by --allow-degraded {}", self.found, layer.name()),
                ..self
            },
            _ => self,
        }
    }
}

/// Findings, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Findings {
    /// All of them.
    pub all: Vec<Finding>,
    waived: BTreeSet<Layer>,
}

impl Findings {
    /// None yet; `waived` are the layers whose want is accepted.
    pub fn new(waived: impl IntoIterator<Item = Layer>) -> Findings {
        Findings { all: Vec::new(), waived: waived.into_iter().collect() }
    }

    /// Adds some.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Finding>) {
        let waived = &self.waived;
        self.all.extend(more.into_iter().map(|finding| finding.with_waived(waived)));
    }

    /// For programs: `{"verdict": …, "findings": [{"name", "grade", "found", "remedy"}]}`.
    pub fn report(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Report<'a> {
            verdict: Grade,
            findings: &'a [Finding],
        }
        Report { verdict: self.worst(), findings: &self.all }
    }

    /// The worst grade. Where nothing was looked at, nothing is known to be fit.
    pub fn worst(&self) -> Grade {
        self.all.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Red)
    }

    /// Those of a grade.
    pub fn of(&self, grade: Grade) -> impl Iterator<Item = &Finding> {
        self.all.iter().filter(move |finding| finding.grade == grade)
    }

    /// Whether there is a red finding of this name.
    pub fn is_red(&self, name: &str) -> bool {
        self.of(Grade::Red).any(|finding| finding.name == name)
    }

    /// Whether there is a green finding of this name.
    pub fn is_green(&self, name: &str) -> bool {
        self.of(Grade::Green).any(|finding| finding.name == name)
    }

    /// Whether a sandbox can be tried at all: what it stands on was found.
    pub fn foundations_hold(&self) -> bool {
        !FOUNDATIONS.iter().any(|name| self.is_red(name))
    }
}

/// Findings without which the host cannot be opened: trying would say the same again, in other words.
const FOUNDATIONS: [&str; 7] = [
    kernel::ROOT,
    descriptors::NAME,
    kernel::FILE_SYSTEMS,
    cgroups::DRIVER,
    state::DIRECTORY,
    tools::LAUNCHER,
    tools::TOOLCHAIN,
];

/// What the host is looked at for.
#[derive(Debug)]
pub struct Subject {
    /// The host's own options.
    pub host: HostOptions,
    /// Limits of a task.
    pub limits: Limits,
    /// Slots.
    pub concurrent: usize,
    /// Whether each slot is to have cores of its own.
    pub pin_cores: bool,
}

/// Everything that can be looked at before the host is opened.
pub fn look(subject: &Subject) -> Vec<Finding> {
    let host = &subject.host;
    vec![
        kernel::version(),
        kernel::root(),
        descriptors::look(subject.concurrent),
        kernel::namespaces(),
        kernel::user_namespaces(),
        kernel::file_systems(),
        confinement::proc_in_sight(),
        confinement::landlock(),
        confinement::seccomp(),
        confinement::ledger(),
        cgroups::driver(&host.state_dir),
        suites::core_pattern(),
        suites::ptrace(),
        suites::links(),
        tools::launcher(),
        tools::toolchain(&host.toolchain),
        tools::git(),
        tools::gcc(),
        tools::make(),
        tools::python(host.python.as_deref()),
        state::directory(&host.state_dir),
        state::memory(subject.concurrent, &subject.limits),
        state::clock(std::env::current_exe().ok()),
    ]
}

/// What can be looked at only in the groups of an open host.
pub fn look_at_groups(host: &Host, subject: &Subject) -> Vec<Finding> {
    let mut found = cgroups::offers(host, subject.pin_cores.then_some(subject.concurrent));
    found.extend(cgroups::left(host.left()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_waived_layers_red_becomes_yellow_and_says_so() {
        let mut findings = Findings::new([Layer::Landlock]);
        findings.extend([
            Finding::red("landlock", "none", "boot").lacking(Layer::Landlock),
            Finding::red("seccomp", "none", "rebuild").lacking(Layer::Seccomp),
            Finding::red("git", "none", "install"),
        ]);
        let grades: Vec<_> = findings.all.iter().map(|f| f.grade).collect();
        assert_eq!(grades, [Grade::Yellow, Grade::Red, Grade::Red]);
        assert!(findings.all[0].found.ends_with("accepted by --allow-degraded landlock"), "{:?}", findings.all[0]);
        assert!(findings.all[1].remedy.ends_with("--allow-degraded seccomp"));
    }

    #[test]
    fn the_verdict_is_the_worst_finding_and_nothing_is_not_fit() {
        let mut findings = Findings::new([]);
        assert_eq!(findings.worst(), Grade::Red);
        findings.extend([Finding::green("a", "")]);
        assert_eq!(findings.worst(), Grade::Green);
        findings.extend([Finding::yellow("b", "", ""), Finding::green("c", "")]);
        assert_eq!(findings.worst(), Grade::Yellow);
        assert!(findings.foundations_hold());
        findings.extend([Finding::red(kernel::ROOT, "", "")]);
        assert!(!findings.foundations_hold());
    }

    #[test]
    fn a_finding_is_one_line_and_its_json_has_four_fields() {
        let finding = Finding::red("git", "it said:\n  fatal\n", "install");
        let json = serde_json::to_value(finding.lacking(Layer::Seccomp)).unwrap();
        let expected = serde_json::json!({
            "name": "git", "grade": "red", "found": "it said: fatal",
            "remedy": "install; or accept it with --allow-degraded seccomp",
        });
        assert_eq!(json, expected);
    }
}
