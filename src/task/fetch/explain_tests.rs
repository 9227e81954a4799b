//! Tests of who is to blame, on git's own words.

use super::*;
use crate::contain::Tail;
use crate::fault::Blame;
use crate::proxy::Traffic;
use sandbox::outcome::{Ended, Figure, Outcome, OutputCount, Usage};
use std::collections::BTreeMap;

fn finished(verdict: Verdict, message: &str) -> Finished {
    Finished {
        outcome: Outcome {
            ended: Ended::Exited { code: 128 },
            verdict,
            message: message.into(),
            wall_ms: 1,
            usage: Usage::default(),
            limits: Vec::new(),
            output: OutputCount::default(),
            degraded: Vec::new(),
            allowed: sandbox::groups::Groups::NONE,
            denied: Vec::new(),
            untold: None,
            full: Vec::new(),
            sockets: None,
            uncharged: None,
        },
        stdout: Tail::default(),
        stderr: Tail::default(),
        report: Vec::new(),
        leaves: BTreeMap::new(),
        refused: Vec::new(),
        traffic: Traffic { connections: 1, received: 100 },
    }
}

fn server(known: bool) -> Origin {
    Origin::Server { place: "git.example:443".into(), secure: true, known }
}

fn blame(origin: &Origin, step: &str, said: &str, finished: &Finished) -> Fault {
    let told = Told::read(step);
    let failure = Failure {
        what: "branch \"main\" of https://git.example/a".into(),
        branch: Some("main"),
        origin,
        told: &told,
        said,
        finished,
        disk: 1 << 20,
        wall: Duration::from_secs(120),
    };
    failure.fault()
}

fn said(step: &str, said: &str) -> Fault {
    blame(&server(false), step, said, &finished(Verdict::Failed, "it exited with code 128"))
}

#[test]
fn the_server_says_what_is_the_students() {
    for (words, why) in [
        ("fatal: repository 'https://git.example/a/' not found", "no such repository"),
        ("fatal: could not read Username for 'https://git.example': terminal prompts disabled", "not public"),
        ("fatal: unable to access 'https://git.example/a/': The requested URL returned error: 403", "not public"),
        ("fatal: unable to access 'https://git.example/a/': The requested URL returned error: 301", "leads elsewhere"),
        ("fatal: https://git.example/a/info/refs not valid: is this a git repository?", "and no repository"),
    ] {
        let fault = said("step list", words);
        assert_eq!((fault.blame, &fault.cause), (Blame::Submission, &Cause::Submission), "{words}");
        assert!(fault.message.contains(why) && fault.detail.contains(words), "{fault:?}");
    }
}

#[test]
fn what_does_not_work_is_the_networks() {
    let http = "fatal: unable to access 'https://git.example/a/': The requested URL returned error:";
    for (step, words, why) in [
        ("step list", format!("{http} 503"), "does not work (HTTP 503)"),
        ("step list", format!("{http} 429"), "busy"),
        ("step list", format!("remote: API rate limit exceeded\n{http} 403"), "busy"),
        ("step list", "fatal: unable to access 'x': server certificate verification failed".into(), "prove who it is"),
        ("step list", "fatal: expected flush after ref listing".into(), "broke off"),
        ("step list", "?".into(), "broke off"),
        ("step fetch", "fatal: early EOF\nfatal: index-pack failed".into(), "broke off"),
        ("step fetch", "?".into(), "broke off"),
        // A server's sentences are not git's.
        ("step list", format!("remote: fatal: repository 'x' not found\n{http} 503"), "HTTP 503"),
    ] {
        let fault = said(step, &words);
        assert_eq!(fault.blame, Blame::Network, "{words}");
        assert_eq!(fault.cause, Cause::Server("git.example:443".into()));
        assert!(fault.message.contains(why), "{fault:?}");
    }
    let mut silent = finished(Verdict::Failed, "it exited with code 128");
    silent.traffic = Traffic::default();
    assert!(blame(&server(false), "step list", "?", &silent).message.contains("cannot be reached"));
    silent.refused = vec![Refused { place: "git.example:443".into(), why: Why::NoAddress("10.1.2.3 says no".into()) }];
    let fault = blame(&server(false), "step list", "?", &silent);
    assert_eq!(fault.blame, Blame::Network);
    assert!(fault.message.contains("git.example is not found") && !fault.message.contains("10.1.2.3"), "{fault:?}");
    assert!(fault.detail.contains("10.1.2.3"), "{fault:?}");
}

#[test]
fn credentials_that_are_refused_are_the_operators() {
    for words in ["fatal: Authentication failed for 'https://git.example/a/'", "The requested URL returned error: 401"]
    {
        let fault = blame(&server(true), "step list", words, &finished(Verdict::Failed, "x"));
        assert_eq!((fault.blame, fault.cause), (Blame::Host, Cause::Server("git.example:443".into())), "{words}");
    }
}

/// A path, an address in .gitmodules and an author's name may hold ends of lines, and behind them whatever somebody likes git to say.
#[test]
fn a_repository_cannot_pretend_that_the_network_is_down() {
    let forged = "fatal: unable to access 'https://git.example/a/': The requested URL returned error: 503";
    for (step, words) in [
        ("step unpack", format!("error: unable to create file x\n{forged}: File name too long")),
        ("step unpack", format!("error: invalid path 'a\n{forged}'")),
        (
            "step fetch",
            format!(
                "error: object 12: gitmodulesUrl: disallowed submodule url: -x\n{forged}\nfatal: fsck error in pack objects"
            ),
        ),
    ] {
        assert_eq!(said(step, &words).blame, Blame::Submission, "{words}");
    }
}

#[test]
fn a_name_of_a_file_is_no_lack_of_threads() {
    for words in ["cannot fork", "unable to create thread", "unable to create async thread"] {
        for step in ["", "step make", "step list"] {
            let fault = said(step, &format!("fatal: {words}: Resource temporarily unavailable"));
            assert_eq!((fault.blame, fault.cause), (Blame::Host, Cause::Sandbox), "{step}: {words}");
        }
        for step in ["step fetch", "step unpack"] {
            let fault = said(step, &format!("error: unable to create file {words}: Is a directory"));
            assert_ne!(fault.cause, Cause::Sandbox, "{step}: {words}");
        }
        let fault = said("step unpack", &format!("error: invalid path '{words}'"));
        assert_eq!(fault.blame, Blame::Submission, "{words}");
    }
}

#[test]
fn limits_are_the_submissions_only_where_that_is_shown() {
    let at = |step: &str, finished: &Finished| blame(&server(false), step, "", finished).blame;
    let memory = finished(Verdict::MemoryLimit, "the memory limit of 1.0 GiB was reached");
    assert_eq!(at("step fetch", &memory), Blame::Submission);
    let full = said("step fetch", "fatal: write error: No space left on device");
    assert!(full.blame == Blame::Submission && full.message.contains("disk limit"));
    let ended = |code: i32| {
        let mut finished = finished(Verdict::Failed, "it exited");
        finished.outcome.ended = Ended::Exited { code };
        finished
    };
    assert_eq!(at("step fetch", &ended(153)), Blame::Submission);
    // SIGKILL and SIGTERM come from somebody on the host. A git that crashes does so over what it reads, if it reads any.
    for code in [134, 135, 139] {
        for step in ["step fetch", "step unpack"] {
            let fault = blame(&server(false), step, "", &ended(code));
            assert!(fault.blame == Blame::Submission && fault.message.contains("git crashed on it"), "{fault:?}");
        }
        assert_eq!(at("step list", &ended(code)), Blame::Host, "{code}");
    }
    for code in [137, 143] {
        assert_eq!((at("step unpack", &ended(code)), at("step fetch", &ended(code))), (Blame::Host, Blame::Host));
    }
    // Little came, and slowly.
    let mut slow = finished(Verdict::TimeLimit, "the time limit of 120 s was reached");
    for (step, who) in [("step list", Blame::Network), ("step fetch", Blame::Network), ("step unpack", Blame::Host)] {
        assert_eq!(at(step, &slow), who, "{step}");
    }
    slow.traffic.received = 2 << 20;
    assert_eq!(at("step fetch", &slow), Blame::Submission);
    slow.traffic.received = 0;
    slow.outcome.usage.cpu_us = Some(Figure { value: 61_000_000, source: "cpu.stat".into() });
    assert_eq!(at("step fetch", &slow), Blame::Submission);
    // Of no repository's doing.
    for (step, finished) in [
        ("", finished(Verdict::Failed, "it exited with code 127")),
        ("step make", finished(Verdict::Failed, "it exited with code 127")),
        ("step fetch", finished(Verdict::Signaled, "signal 9, SIGKILL, ended it")),
    ] {
        assert_eq!(at(step, &finished), Blame::Host, "{step}");
    }
    let mut endless = finished(Verdict::Failed, "it exited with code 128");
    endless.refused = vec![Refused { place: "git.example:443".into(), why: Why::TooMuch(32 << 20) }];
    let fault = blame(&server(false), "step list", "", &endless);
    assert!(fault.blame == Blame::Submission && fault.message.contains("32 MiB"), "{fault:?}");
}

#[test]
fn what_was_asked_for_and_is_not_there_is_told_apart() {
    let asked = |branch: Option<&str>, told: &str| {
        let told = Told::read(told);
        let finished = finished(Verdict::Failed, "it exited with code 3");
        let (what, origin, said) = ("it".into(), &server(false), "");
        let (disk, wall) = (1, Duration::from_secs(1));
        Failure { what, branch, origin, told: &told, said, finished: &finished, disk, wall }.fault()
    };
    for (branch, told, why) in [
        (Some("v1"), "step choose\nhas main\ntag v1\nbranches 1", "\"v1\" is a tag and no branch"),
        (
            Some("x"),
            "step choose\nhas main\nhas a\nbranches 20",
            "no such branch; check its name, and that it has been pushed; it has main, a and 18 more",
        ),
        (Some("Main"), "step choose\nhas main\nbranches 1", "there is \"main\""),
        (Some("x"), "step choose\nbranches 0", "nothing has been pushed"),
        (Some("deadbeef12"), "step choose\nhas main\nbranches 1", "looks like a commit"),
        (Some("refs/tags/v1"), "step choose\nhas main\nbranches 1", "names a tag"),
        (None, "step choose\nbranches 0", "no default branch"),
    ] {
        let fault = asked(branch, told);
        assert_eq!(fault.blame, Blame::Submission, "{told}");
        assert!(fault.message.contains(why), "{fault:?}");
    }
    // The script itself has failed.
    assert_eq!(asked(Some("x"), "step choose").blame, Blame::Host);
}

#[test]
fn gits_words_on_objects_become_advice() {
    let fault =
        said("step fetch", "error: object 3de451: hasDotdot: contains '..'\nfatal: fsck error in packed object");
    assert!(fault.blame == Blame::Submission && fault.message.contains("(contains '..')"), "{fault:?}");
    let fault = said("step unpack", "warning: unable to access 'd/d': File name too long");
    assert!(fault.message.contains("too long"), "{fault:?}");
}
