//! Every wrong result of the canary is found out.

use super::*;
use crate::check::Grade;
use crate::verdict::Verdict;
use sandbox::outcome::{Ended, Figure, Outcome, OutputCount, Usage};
use std::time::Duration;

fn case(name: &str, status: Status) -> Case {
    let memory = USED;
    Case { name: name.into(), status, description: String::new(), duration: Duration::ZERO, memory, measured: None }
}

fn good() -> Graded {
    Graded {
        verdict: Verdict {
            cases: EXPECTED.iter().map(|(name, status)| case(name, *status)).collect(),
            error: None,
            tampering: Vec::new(),
            remarks: Vec::new(),
            duration: Duration::ZERO,
        },
        commit: None,
        fault: None,
        suite_does_not_start: false,
        outcome: Some(Outcome {
            ended: Ended::Exited { code: 1 },
            verdict: sandbox::outcome::Verdict::Failed,
            message: String::new(),
            wall_ms: 1,
            usage: Usage {
                memory_peak: Some(Figure { value: LIMIT, source: "memory.peak".into() }),
                ..Usage::default()
            },
            limits: Vec::new(),
            output: OutputCount::default(),
            degraded: Vec::new(),
            allowed: sandbox::groups::Groups::NONE,
            denied: Vec::new(),
            untold: None,
            sockets: None,
            uncharged: None,
            full: Vec::new(),
        }),
        reached: Step::Test,
    }
}

fn reds(graded: &Graded, untouched: bool) -> Vec<&'static str> {
    judge(graded, untouched).iter().filter(|f| f.grade == Grade::Red).map(|f| f.name).collect()
}

#[test]
fn as_it_must_be_is_green() {
    assert!(judge(&good(), true).iter().all(|finding| finding.grade == Grade::Green));
}

#[test]
fn a_verdict_that_is_wrong_either_way_is_red() {
    let mut graded = good();
    graded.verdict.cases[0].status = Status::Failed;
    graded.verdict.cases[0].description = "def test_passes():\n>   assert x\nE   assert 'a' == 'b'\n".into();
    assert_eq!(reds(&graded, true), [VERDICTS]);
    assert!(judge(&graded, true)[1].found.ends_with("ended as Failed: assert 'a' == 'b'"));
    let mut graded = good();
    graded.verdict.cases[1].status = Status::Passed;
    assert_eq!(reds(&graded, true), [VERDICTS], "what must fail passed");
    let mut graded = good();
    graded.verdict.cases.remove(1);
    assert_eq!(reds(&graded, true), [VERDICTS], "a test is missing");
    let mut graded = good();
    graded.verdict.cases.push(case("test_canary::test_other", Status::Passed));
    assert_eq!(reds(&graded, true), [VERDICTS], "a test too many");
    let mut graded = good();
    graded.verdict.cases.clear();
    assert_eq!(reds(&graded, true), [VERDICTS, FIGURES, WALLS]);
}

#[test]
fn a_figure_outside_the_margin_is_red_and_none_is_yellow() {
    for (told, peak, grade) in [
        (0, LIMIT, Grade::Red),
        (USED - 1, LIMIT, Grade::Red),
        (USED, LIMIT, Grade::Green),
        (USED + SLACK, LIMIT, Grade::Green),
        (USED + 2 * SLACK, LIMIT, Grade::Red),
        (USED, LIMIT - SLACK - 1, Grade::Red),
        (USED, LIMIT + SLACK + 1, Grade::Red),
    ] {
        let mut graded = good();
        graded.verdict.cases[2].memory = told;
        graded.outcome.as_mut().expect("an outcome").usage.memory_peak =
            Some(Figure { value: peak, source: "memory.peak".into() });
        assert_eq!(figures(&graded, &graded.verdict.cases).grade, grade, "{told} {peak}");
    }
    let mut graded = good();
    graded.outcome.as_mut().expect("an outcome").usage.memory_peak = None;
    assert_eq!(figures(&graded, &graded.verdict.cases).grade, Grade::Yellow);
}

#[test]
fn an_open_wall_is_red_whoever_notices() {
    assert_eq!(reds(&good(), false), [WALLS]);
    for at in [4, 5] {
        let mut graded = good();
        graded.verdict.cases[at].status = Status::Failed;
        assert_eq!(reds(&graded, true), [VERDICTS, WALLS]);
    }
}

#[test]
fn the_stage_that_broke_is_named_with_its_sentence_and_a_remedy() {
    let mut graded = good();
    graded.reached = Step::Prepare;
    graded.verdict = Verdict::broken(
        "the suite's Python environment could not be built, it exited with code 1\n  Looking in indexes\nERROR: No matching \
         distribution found for pytest\n",
    );
    let found = judge(&graded, true);
    assert_eq!((found.len(), found[0].grade), (1, Grade::Red));
    assert!(found[0].found.starts_with("the prepare stage broke: the suite's Python environment"), "{found:?}");
    assert!(found[0].found.ends_with("ERROR: No matching distribution found for pytest"), "{found:?}");
    assert!(found[0].remedy.contains("PIP_FIND_LINKS"), "{found:?}");
    graded.reached = Step::Build;
    assert!(judge(&graded, true)[0].remedy.contains("build-essential"));
}
