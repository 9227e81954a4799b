//! Whether this host is fit to grade: each requirement, how it is met here, and what mends it if it is not.
//!
//! A check reads (files of the kernel, a tool's own words) and judges what it read. The judging functions are pure, so
//! that hosts which nobody has at hand are tested by what they would say.

mod backend;
mod groups;
mod kernel;
mod room;
mod tools;

pub use backend::look as look_at_backend;

use crate::config::{HostOptions, Limits};
use sandbox::plan::Layer;
use serde::Serialize;
use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As it should be.
    Green,
    /// Grading works; something is weaker, or could soon be in the way.
    Yellow,
    /// Grading does not work, or not safely.
    Red,
}

/// One requirement of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is required, in one word or two.
    pub name: &'static str,
    /// How it is here.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What mends it: a command, a boot parameter; empty where nothing is to be mended.
    pub remedy: String,
}

impl Finding {
    fn green(name: &'static str, found: impl Into<String>) -> Finding {
        Finding { name, grade: Grade::Green, found: found.into(), remedy: String::new() }
    }

    fn yellow(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { name, grade: Grade::Yellow, found: found.into(), remedy: remedy.into() }
    }

    /// What does not work, with what mends it.
    pub fn red(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { name, grade: Grade::Red, found: found.into(), remedy: remedy.into() }
    }

    /// A finding of another module's.
    pub(crate) fn new(name: &'static str, grade: Grade, found: String, remedy: String) -> Finding {
        Finding { name, grade, found, remedy }
    }

    /// A missing layer that the operator has waived by its name is a weakness, and no reason to stop.
    fn unless_waived(self, wanted: &Wanted<'_>, layer: Layer) -> Finding {
        if self.grade != Grade::Red || !wanted.host.waived.contains(&layer) {
            return self;
        }
        let found = format!("{} (waived: --allow-degraded {})", self.found, layer.name());
        Finding { grade: Grade::Yellow, found, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.found)?;
        match self.remedy.as_str() {
            "" => Ok(()),
            remedy => write!(f, "; to mend it: {remedy}"),
        }
    }
}

/// What the host is to be fit for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The operator's word on the host.
    pub host: &'a HostOptions,
    /// Tasks at a time.
    pub slots: usize,
    /// Limits of each.
    pub limits: &'a Limits,
    /// Whether each slot is to have cores of its own.
    pub pin_cores: bool,
}

/// Everything that can be looked at without a network and without making a sandbox. Started by hand where systemd runs
/// the machine, this process is in a scope of its own afterwards, as the runner's is.
pub fn look(wanted: &Wanted<'_>) -> Vec<Finding> {
    [kernel::look(wanted), groups::look(wanted), tools::look(wanted), room::look(wanted)].concat()
}

/// The worst of all.
pub fn worst(findings: &[Finding]) -> Grade {
    findings.iter().map(|f| f.grade).max().unwrap_or(Grade::Green)
}

/// A file of the kernel's, trimmed; `None` where it is not there.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

/// A value on the kernel's command line, the last one as the kernel has it.
fn parameter<'a>(command_line: &'a str, name: &str) -> Option<&'a str> {
    command_line.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// What adds a parameter to the kernel's command line, for good.
fn boot_with(parameters: &str) -> String {
    format!("add `{parameters}` to GRUB_CMDLINE_LINUX in /etc/default/grub, run `update-grub`, and boot again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_a_waived_layer_is_no_reason_to_stop() {
        let red = Finding::red("landlock", "off", "mend it");
        assert_eq!(worst(&[Finding::green("a", ""), red.clone()]), Grade::Red);
        assert_eq!(worst(&[]), Grade::Green);
        let limits = Limits::from_options(crate::config::LimitOptions::default(), 1);
        let host = |waived: &[Layer]| HostOptions {
            state_dir: "/x".into(),
            waived: waived.to_vec(),
            python: None,
            toolchain: Vec::new(),
        };
        let judged = |waived: &[Layer]| {
            let host = host(waived);
            let wanted = Wanted { host: &host, slots: 1, limits: &limits, pin_cores: false };
            red.clone().unless_waived(&wanted, Layer::Landlock)
        };
        assert_eq!(judged(&[]), red);
        assert_eq!(judged(&[Layer::SwapLimit]), red);
        let waived = judged(&[Layer::Landlock]);
        assert_eq!(waived.grade, Grade::Yellow);
        assert!(waived.found.contains("--allow-degraded landlock"), "{waived}");
        assert_eq!(waived.remedy, "mend it");
    }

    #[test]
    fn the_last_word_on_the_command_line_counts() {
        let line = "ro quiet lsm=yama lsm=landlock,yama cgroup_disable=memory";
        assert_eq!(parameter(line, "lsm"), Some("landlock,yama"));
        assert_eq!(parameter(line, "cgroup_disable"), Some("memory"));
        assert_eq!(parameter(line, "cgroup"), None);
        assert_eq!(parameter("", "lsm"), None);
    }
}
