//! Is this host fit? `check` asks to tell a person, the runner asks before it takes a task: the same findings, the same sentences.

use super::run::Settings;
use super::table;
use crate::backend::BackendSettings;
use crate::canary::{self, When};
use crate::check::{self, Finding, Findings, Grade, Subject};
use crate::contain::Host;
use crate::contain::slots::{self, Slot};
use crate::task::Progress;
use crate::text::visible;
use std::fmt::Write;
use tokio_util::sync::CancellationToken;

/// What was found, and what was opened on the way.
pub struct Fitness {
    /// The findings.
    pub findings: Findings,
    /// The host with its slots, where it could be opened.
    pub open: Option<Open>,
    /// Whether the canary's findings are among the others.
    pub canary: bool,
}

/// A host that can be worked on.
pub struct Open {
    /// The host.
    pub host: Host,
    /// As many as were asked for.
    pub slots: Vec<Slot>,
}

impl Fitness {
    /// Everything that needs no runtime, and the opening of the host. Until then the program has one thread, which the mount
    /// namespace needs. `runner`: whether this process is to be the state directory's one runner.
    pub fn begin(settings: &Settings, runner: bool) -> anyhow::Result<Fitness> {
        let subject = Subject {
            host: settings.host.clone(),
            limits: settings.grading.limits,
            concurrent: settings.concurrent,
            pin_cores: settings.pin_cores,
        };
        let mut findings = Findings::new(settings.host.waived.iter().copied());
        findings.extend(check::look(&subject));
        let mut fitness = Fitness { findings, open: None, canary: false };
        if fitness.findings.foundations_hold() {
            fitness.open(settings, &subject, runner)?;
        }
        Ok(fitness)
    }

    /// Opens the host, and looks at what can be seen only from there. That another runner works in the state directory is no
    /// finding on the host: only that is an error here.
    fn open(&mut self, settings: &Settings, subject: &Subject, runner: bool) -> anyhow::Result<()> {
        // One that is not there is red already, and the rest can be looked at without.
        let python = !self.findings.is_red(check::PYTHON);
        let mut host = match super::open(&subject.host, python) {
            Ok(host) => host,
            Err(error) => {
                let remedy = "fix the error above; a start sweeps what a crash left";
                self.findings.extend([Finding::red("host", format!("it cannot be opened: {error:#}"), remedy)]);
                return Ok(());
            }
        };
        if runner {
            host.become_runner()?;
        }
        self.findings.extend(check::look_at_groups(&host, subject));
        match take_slots(&host, settings, if runner { settings.concurrent } else { 1 }) {
            Ok(slots) => self.open = Some(Open { host, slots }),
            Err(error) => {
                host.release();
                self.findings.extend([Finding::red("slots", format!("{error:#}"), "fix the error above")]);
            }
        }
        Ok(())
    }

    /// The rest: the backend, if there is one to look for, and the canary, where nothing is red before it. Its failure would say
    /// the same again, less clearly.
    pub async fn finish(
        &mut self,
        settings: &Settings,
        backend: Option<&BackendSettings>,
        when: When,
        cancel: &CancellationToken,
        progress: Progress<'_>,
    ) {
        self.findings.extend(check::allowed::look(&settings.grading));
        self.findings.extend(check::groups::look(&settings.grading, self.findings.is_green(check::LEDGER)));
        self.findings.extend(check::backend::look(backend).await);
        if self.findings.worst() == Grade::Red {
            return;
        }
        if let Some(Open { host, slots }) = &self.open
            && let Some(slot) = slots.first()
        {
            self.findings.extend(canary::run_with(host, &settings.grading, slot, when, cancel, progress).await);
            self.canary = true;
            if self.findings.worst() != Grade::Red && !cancel.is_cancelled() {
                self.findings.extend(check::needs::look(host, &settings.grading, slot, cancel).await);
            }
            if self.findings.worst() != Grade::Red && !cancel.is_cancelled() {
                self.findings.extend(canary::try_limits(host, &settings.grading, slot, when, cancel).await);
            }
        }
    }

    /// Takes the host's groups away.
    pub fn release(&self) {
        if let Some(open) = &self.open {
            open.host.release();
        }
    }
}

/// Slots, on cores of their own where that was asked for and is possible; where it is not, a finding has said so.
fn take_slots(host: &Host, settings: &Settings, count: usize) -> anyhow::Result<Vec<Slot>> {
    let slots = (0..count).map(Slot::take).collect::<anyhow::Result<Vec<_>>>()?;
    let shares = match settings.pin_cores {
        true => host.cores().and_then(|cores| slots::share(&cores, settings.concurrent)).ok(),
        false => None,
    };
    Ok(match shares {
        Some(shares) => slots.into_iter().zip(shares).map(|(slot, cores)| slot.on(cores)).collect(),
        None => slots,
    })
}

/// A line for each finding, and below it what mends it.
pub fn show<'a>(findings: impl IntoIterator<Item = &'a Finding>, coloured: bool) -> String {
    let findings: Vec<&Finding> = findings.into_iter().collect();
    let row = |f: &&Finding| vec![f.grade.word().to_string(), f.name.to_string(), f.found.clone()];
    let lines = table::columns(&findings.iter().map(row).collect::<Vec<_>>());
    let mut text = String::new();
    for (line, finding) in lines.into_iter().zip(findings) {
        let (on, off) = match finding.grade {
            _ if !coloured => ("", ""),
            Grade::Green => ("\x1b[32m", "\x1b[0m"),
            Grade::Yellow => ("\x1b[33m", "\x1b[0m"),
            Grade::Red => ("\x1b[31m", "\x1b[0m"),
        };
        let _ = writeln!(text, "{on}{line}{off}");
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "        to fix it: {}", visible(&finding.remedy));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_below_its_line_and_colours_only_where_they_are_seen() {
        let findings = [Finding::green("git", "there"), Finding::red("gcc", "missing", "install it")];
        let plain = show(&findings, false);
        assert_eq!(plain, "green  git  there\nred    gcc  missing\n        to fix it: install it\n");
        assert!(show(&findings, true).contains("\x1b[31mred    gcc  missing\x1b[0m\n"));
    }
}
