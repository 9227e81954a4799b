//! Why a sandbox ended: facts in, one word and one sentence out. Pure.

use crate::outcome::{Denied, Ended, Full, Usage, Verdict};
use crate::plan::Limits;
use crate::words::{self, bytes as show};

/// What made the launcher kill the sandbox, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The wall clock.
    Clock,
    /// Output or a channel beyond its limit: its name, and the limit in bytes.
    Output(&'static str, u64),
    /// Sockets that hold more than the memory limit, in bytes that no control group counts.
    Sockets(u64),
    /// Memory of the kernel's beyond the memory limit, in bytes that no control group counts.
    Uncharged(u64),
    /// The runner's order, or its death.
    Runner,
}

/// Everything that is known at the end.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What the launcher did.
    pub stop: Option<Stop>,
    /// What the command did.
    pub ended: &'a Ended,
    /// What the kernel counted.
    pub usage: &'a Usage,
    /// The plan's limits.
    pub limits: &'a Limits,
    /// System calls that were refused.
    pub denied: &'a [Denied],
    /// Places to write to that were full at the end.
    pub full: &'a [Full],
}

/// The verdict and its sentence. What was refused and what was full is a part of it only where the command did not succeed.
pub fn judge(facts: &Facts<'_>) -> (Verdict, String) {
    let (verdict, mut text) = why(facts);
    if !matches!(verdict, Verdict::Ok | Verdict::Interrupted) {
        for clause in facts.full.iter().map(words::full).chain(words::all_denied(facts.denied)) {
            text.push_str("; ");
            text.push_str(&clause);
        }
    }
    (verdict, text)
}

/// What ended it.
fn why(facts: &Facts<'_>) -> (Verdict, String) {
    let figure = |f: &Option<crate::outcome::Figure>| f.as_ref().map_or(0, |f| f.value);
    let oom_kills = figure(&facts.usage.oom_kills);
    match facts.stop {
        Some(Stop::Runner) => return (Verdict::Interrupted, "the run was interrupted".into()),
        Some(Stop::Output(what, limit)) => {
            let text = format!("more than the limit of {} of {what} was written: print less", show(limit));
            return (Verdict::OutputLimit, text);
        }
        Some(Stop::Sockets(bytes)) => {
            return (Verdict::MemoryLimit, words::sockets(bytes, facts.limits.memory));
        }
        Some(Stop::Uncharged(bytes)) => {
            return (Verdict::MemoryLimit, words::uncharged(bytes, facts.limits.memory));
        }
        Some(Stop::Clock) => {
            let mut text = format!("the time limit of {} s was reached", facts.limits.wall_ms as f64 / 1000.0);
            let held_back = figure(&facts.usage.throttled_us);
            // A little of it is everyday. A tenth of the time is what somebody who looks for the reason should know.
            if held_back / 100 >= facts.limits.wall_ms {
                text.push_str(&format!(
                    "; its limit of {} cores held it back for {:.1} s, summed over cores",
                    facts.limits.cpu_millis as f64 / 1000.0,
                    held_back as f64 / 1e6
                ));
            }
            return (Verdict::TimeLimit, text);
        }
        None => {}
    }
    let memory = || {
        let peak = facts.usage.memory_peak.as_ref().map_or(String::new(), |f| format!(", peak {}", show(f.value)));
        format!("the memory limit of {} was reached{peak}", show(facts.limits.memory))
    };
    // 137 is what a shell makes of a child that SIGKILL ended.
    let killed =
        matches!(facts.ended, Ended::Killed | Ended::Signaled { signal: libc::SIGKILL } | Ended::Exited { code: 137 });
    if oom_kills > 0 && killed {
        return (Verdict::MemoryLimit, memory());
    }
    let mut notes = Vec::new();
    if oom_kills > 0 {
        let text = format!("the kernel ended {oom_kills} of its processes because {}", memory());
        notes.push(text);
    }
    let denied = figure(&facts.usage.pids_denied);
    if denied > 0 {
        notes.push(format!(
            "{denied} attempts to start a process or a thread failed because the limit of {} processes and threads was reached",
            facts.limits.pids
        ));
    }
    let (verdict, text) = match facts.ended {
        Ended::Exited { code: 0 } => (Verdict::Ok, String::new()),
        Ended::Exited { code } => (Verdict::Failed, format!("it exited with code {code}")),
        Ended::Signaled { signal } => (Verdict::Signaled, format!("signal {} ended it", name(*signal))),
        Ended::Killed => (Verdict::Signaled, "it was killed from outside the sandbox".into()),
    };
    notes.insert(0, text);
    notes.retain(|n| !n.is_empty());
    (verdict, notes.join("; "))
}

/// `9 (SIGKILL)`.
fn name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(known) => format!("{signal} ({})", known.as_str()),
        Err(_) => signal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Figure;

    const LIMITS: Limits = Limits { memory: 512 << 20, pids: 64, cpu_millis: 1000, wall_ms: 2500 };

    fn verdict(stop: Option<Stop>, ended: Ended, oom: u64, denied: u64) -> (Verdict, String) {
        let figure = |value| Some(Figure { value, source: "test".into() });
        let usage = Usage {
            memory_peak: figure(512 << 20),
            oom_kills: figure(oom),
            pids_denied: figure(denied),
            ..Usage::default()
        };
        judge(&Facts { stop, ended: &ended, usage: &usage, limits: &LIMITS, denied: &[], full: &[] })
    }

    #[test]
    fn each_end_has_its_word_and_its_sentence() {
        let exit = |code| Ended::Exited { code };
        assert_eq!(verdict(None, exit(0), 0, 0), (Verdict::Ok, String::new()));
        assert_eq!(verdict(None, exit(3), 0, 0), (Verdict::Failed, "it exited with code 3".into()));
        let (word, text) = verdict(None, Ended::Signaled { signal: 11 }, 0, 0);
        assert_eq!((word, text.as_str()), (Verdict::Signaled, "signal 11 (SIGSEGV) ended it"));
        let (word, text) = verdict(None, Ended::Killed, 1, 0);
        assert_eq!(
            (word, text.as_str()),
            (Verdict::MemoryLimit, "the memory limit of 512.0 MiB was reached, peak 512.0 MiB")
        );
        assert_eq!(verdict(None, exit(137), 1, 0).0, Verdict::MemoryLimit);
        assert_eq!(
            verdict(Some(Stop::Clock), Ended::Killed, 1, 0),
            (Verdict::TimeLimit, "the time limit of 2.5 s was reached".into())
        );
        assert_eq!(
            verdict(Some(Stop::Output("standard output", 1 << 20)), Ended::Killed, 0, 0).0,
            Verdict::OutputLimit
        );
        assert_eq!(verdict(Some(Stop::Runner), Ended::Killed, 0, 0).0, Verdict::Interrupted);
        let (word, text) = verdict(Some(Stop::Sockets(600 << 20)), Ended::Killed, 0, 0);
        assert_eq!(word, Verdict::MemoryLimit);
        assert!(text.starts_with("its sockets took up to 600.0 MiB of the kernel's memory"), "{text}");
        let (word, text) = verdict(Some(Stop::Uncharged(512 << 20)), Ended::Killed, 0, 0);
        assert_eq!(word, Verdict::MemoryLimit);
        assert!(text.starts_with("the kernel held 512.0 MiB of its own memory for it"), "{text}");
    }

    #[test]
    fn a_time_limit_says_when_the_limit_on_cores_had_a_part_in_it() {
        let said = |throttled_us| {
            let figure = Some(Figure { value: throttled_us, source: "cpu.stat".into() });
            let usage = Usage { throttled_us: figure, ..Usage::default() };
            let (stop, ended) = (Some(Stop::Clock), &Ended::Killed);
            judge(&Facts { stop, ended, usage: &usage, limits: &LIMITS, denied: &[], full: &[] }).1
        };
        assert_eq!(said(249_999), "the time limit of 2.5 s was reached");
        assert_eq!(
            said(1_500_000),
            "the time limit of 2.5 s was reached; its limit of 1 cores held it back for 1.5 s, summed over cores"
        );
    }

    #[test]
    fn a_command_that_survived_says_what_its_children_met() {
        let (word, text) = verdict(None, Ended::Exited { code: 2 }, 1, 5);
        assert_eq!(word, Verdict::Failed);
        assert!(text.starts_with("it exited with code 2; the kernel ended 1 of its processes"), "{text}");
        assert!(text.contains("5 attempts to start a process or a thread failed because the limit of 64"), "{text}");
        assert_eq!(verdict(None, Ended::Exited { code: 0 }, 1, 0).0, Verdict::Ok);
    }

    #[test]
    fn what_was_refused_is_said_of_a_command_that_did_not_succeed() {
        let denied = [Denied {
            leaf: "payload".into(),
            program: "prog".into(),
            call: "mount".into(),
            error: "Operation not permitted".into(),
            times: 1,
            instead: None,
        }];
        let full = [Full { place: "/tmp".into(), bytes: 1 << 20, files: false }];
        let said = |stop, code| {
            let (ended, usage) = (&Ended::Exited { code }, &Usage::default());
            judge(&Facts { stop, ended, usage, limits: &LIMITS, denied: &denied, full: &full }).1
        };
        let text = said(None, 1);
        assert!(text.starts_with("it exited with code 1; /tmp (1.0 MiB) was full"), "{text}");
        assert!(text.contains("; prog called mount, which"), "{text}");
        assert!(said(Some(Stop::Clock), 0).contains("prog called mount"));
        assert_eq!(said(None, 0), "");
        assert_eq!(said(Some(Stop::Runner), 0), "the run was interrupted");
    }
}
