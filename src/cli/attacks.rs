//! `check --attacks`: the attack suite on this host.

use super::out;
use super::run::Settings;
use super::signals::Signals;
use super::table::columns;
use crate::attacks::{self, Off, Report, Verdict};
use crate::contain::slots::Slot;
use crate::text::visible;
use anyhow::Context;
use sandbox::groups::Groups;
use sandbox::groups::host::{Obstacle, obstacle};
use std::fmt::Write;
use std::io::IsTerminal;
use tokio_util::sync::CancellationToken;

/// Exit code where an attack got anywhere, or could not be tried.
const UNFIT: u8 = 2;

/// What is asked for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Words of names; none: all attacks.
    pub only: &'a [String],
    /// Layers that are off.
    pub off: Off,
    /// Groups of calls that they have.
    pub allow: Groups,
    /// For programs.
    pub json: bool,
}

/// Tries the attacks; the number is the exit code.
pub fn run(settings: &Settings, wanted: &Wanted<'_>, signals: Signals) -> anyhow::Result<u8> {
    let cases = attacks::cases(wanted.only)?;
    if let Some(Obstacle { group, found, remedy }) = obstacle(wanted.allow) {
        anyhow::bail!("this host cannot allow {group}: {found}; {remedy}");
    }
    let host = super::open(&settings.host, false)
        .context("the attacks cannot be tried; `ostest-sandbox check` says what is missing")?;
    let count = if wanted.off == Off::Everything { 1 } else { settings.concurrent };
    let slots = (0..count).map(Slot::take).collect::<anyhow::Result<Vec<_>>>()?;
    let cancel = CancellationToken::new();
    let bar = super::waiting::counting("attacks");
    bar.set_length(cases.len() as u64);
    let done = super::runtime()?.block_on(async {
        tokio::spawn(signals.cancel(cancel.clone()));
        attacks::run(&host, &slots, &cases, wanted.off, wanted.allow, &cancel, &mut |report| {
            bar.inc(1);
            if let Verdict::Reached { what } = &report.verdict {
                tracing::error!(
                    attack = report.attack,
                    "an attack got what it wanted; take this host out of service: {}",
                    what.join("; ")
                );
            }
        })
        .await
    });
    bar.finish_and_clear();
    host.release();
    let reports = done?;
    if wanted.json {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let text = serde_json::json!({ "kernel": kernel.trim(), "driver": host.driver(), "allowed": wanted.allow, "attacks": reports });
        out::json(serde_json::to_string_pretty(&text)?)?;
    } else {
        out::coloured(show(&reports, std::io::stdout().is_terminal()))?;
    }
    Ok(if reports.iter().all(is_well) { 0 } else { UNFIT })
}

fn is_well(report: &Report) -> bool {
    matches!(report.verdict, Verdict::Contained | Verdict::Passed { .. })
}

/// A line for each attack, and below it what it got or why it could not be tried; then the sum.
fn show(reports: &[Report], coloured: bool) -> String {
    let row = |report: &Report| {
        let word = match report.verdict {
            Verdict::Contained => "contained",
            Verdict::Reached { .. } => "REACHED",
            Verdict::NotTried { .. } => "NOT TRIED",
            Verdict::Passed { .. } => "not run",
        };
        vec![word.to_string(), report.on.to_string(), report.attack.to_string(), report.stopped_by.clone()]
    };
    let mut text = String::new();
    for (line, report) in columns(&reports.iter().map(row).collect::<Vec<_>>()).into_iter().zip(reports) {
        let (on, off) = match report.verdict {
            _ if !coloured => ("", ""),
            Verdict::Contained => ("\x1b[32m", "\x1b[0m"),
            Verdict::Passed { .. } => ("\x1b[33m", "\x1b[0m"),
            _ => ("\x1b[31m", "\x1b[0m"),
        };
        let _ = writeln!(text, "{on}{line}{off}");
        match &report.verdict {
            Verdict::Contained => {}
            Verdict::Reached { what } => {
                let _ = writeln!(text, "        it wanted {}, and got: {}", report.goal, visible(&what.join("; ")));
            }
            Verdict::NotTried { why } | Verdict::Passed { why } => {
                let _ = writeln!(text, "        {}", visible(why));
            }
        }
    }
    let count = |wanted: fn(&Verdict) -> bool| reports.iter().filter(|report| wanted(&report.verdict)).count();
    let reached = count(|verdict| matches!(verdict, Verdict::Reached { .. }));
    let not_tried = count(|verdict| matches!(verdict, Verdict::NotTried { .. }));
    let contained = count(|verdict| matches!(verdict, Verdict::Contained));
    let _ = writeln!(text, "{contained} contained, {reached} got what they wanted, {not_tried} could not be tried.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict) -> Report {
        Report {
            attack: "read_secret",
            on: "files",
            tries: "Reads.".into(),
            goal: "a word".into(),
            stopped_by: "mounts".into(),
            verdict,
            seconds: 0.1,
        }
    }

    #[test]
    fn what_got_anywhere_is_said_below_its_line_and_is_no_success() {
        let reached = report(Verdict::Reached { what: vec!["the word".into(), "more".into()] });
        let text = show(&[report(Verdict::Contained), reached.clone()], false);
        let expected = "contained  files  read_secret  mounts\nREACHED    files  read_secret  mounts\n        \
            it wanted a word, and got: the word; more\n1 contained, 1 got what they wanted, 0 could not be tried.\n";
        assert_eq!(text, expected);
        assert!(!is_well(&reached) && !is_well(&report(Verdict::NotTried { why: "no".into() })));
        assert!(is_well(&report(Verdict::Contained)));
    }

    #[test]
    fn the_json_of_a_report_is_flat() {
        let json = serde_json::to_value(report(Verdict::NotTried { why: "no gcc".into() })).unwrap();
        assert_eq!(
            (&json["verdict"], &json["why"], &json["attack"]),
            (&"not-tried".into(), &"no gcc".into(), &"read_secret".into())
        );
    }
}
