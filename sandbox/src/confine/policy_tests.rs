//! Mistakes in a policy's files, and the arithmetic of rules.

use super::policy::{Policy, PolicyError};
use super::rules::{Condition, Width, complement, lower};
use super::seccomp::{SeccompError, compile_policy};
use super::verdict::holds;
use proptest::prelude::*;
use seccompiler::TargetArch;

/// Loads a policy from files that are given here.
fn written(files: &[(&str, &str)]) -> Result<Policy, PolicyError> {
    Policy::from_sources(files[0].0, TargetArch::x86_64, &|name| {
        let (_, text) = files.iter().find(|(file, _)| *file == name)?;
        Some((*text).to_owned())
    })
}

/// The same of one file with these rules, and the message of the error that must come of it.
fn mistake(allow: &str, refuse: &str) -> String {
    let text = format!(r#"{{"about": "a", "allow": [{allow}], "refuse": [{refuse}]}}"#);
    written(&[("p", &text)]).unwrap_err().to_string()
}

#[test]
fn mistakes_in_a_policy_are_errors() {
    let arg = |condition: &str| {
        let rule = format!(r#"{{"why": "w", "syscalls": ["ioctl"], "otherwise": "EPERM", "args": [[{condition}]]}}"#);
        mistake(&rule, "")
    };
    let cases = [
        (arg(r#"{"index": 1, "width": "dword", "op": "eq", "value": "TIOCSIT"}"#), "TIOCSIT"),
        (arg(r#"{"index": 6, "width": "dword", "op": "eq", "value": 1}"#), "no argument 6"),
        (arg(r#"{"index": 1, "width": "dword", "op": "eq", "value": 4294967296}"#), "not looked at"),
        (arg(r#"{"index": 1, "width": "dword", "mask": 2, "op": "eq", "value": 1}"#), "not looked at"),
        (arg(r#"{"index": 1, "width": "dword", "mask": 31, "op": "in", "values": [1, 2]}"#), "cannot be negated"),
        (arg(r#"{"index": 1, "width": "dword", "op": "in", "values": []}"#), "no value"),
        (arg(r#"{"index": 1, "width": "dword", "op": "in", "value": 1}"#), "take values"),
        (arg(r#"{"index": 1, "width": "word", "op": "eq", "value": 1}"#), "word"),
        (mistake(r#"{"syscalls": ["read"]}"#, ""), "why"),
        (mistake(r#"{"why": " ", "syscalls": ["read"]}"#, ""), "say why"),
        (mistake(r#"{"why": "w", "syscalls": []}"#, ""), "no system call"),
        (mistake(r#"{"why": "w", "syscalls": ["read"], "errno": "EPERM"}"#, ""), "no errno"),
        (mistake(r#"{"why": "w", "syscalls": ["read", "read"]}"#, ""), "another rule"),
        (mistake(r#"{"why": "w", "syscalls": ["read"], "arch": ["vax"]}"#, ""), "vax"),
        (mistake(r#"{"why": "w", "syscalls": ["read"], "args": [[]]}"#, ""), "empty list"),
        (mistake(r#"{"why": "w", "syscalls": ["read"], "for": {"me": ["raed"]}}"#, ""), "none of its calls"),
        (mistake(r#"{"why": "w", "syscalls": ["read"], "for": {"me": ["read"], "you": ["read"]}}"#, ""), "twice"),
        (mistake(r#"{"why": "w", "syscalls": ["read"], "instead": "write"}"#, ""), "refuses nothing"),
        (
            mistake("", r#"{"why": "w", "syscalls": ["bpf"], "errno": "EPERM", "for": {"me": ["bpf"]}}"#),
            "has no \"for\"",
        ),
        (mistake("", r#"{"why": "w", "syscalls": ["bpf"]}"#), "errno"),
        (mistake("", r#"{"why": "w", "syscalls": ["bpf"], "errno": "EPREM"}"#), "EPREM"),
        (
            mistake(r#"{"why": "w", "syscalls": ["bpf"]}"#, r#"{"why": "w", "syscalls": ["bpf"], "errno": "ENOSYS"}"#),
            "in both",
        ),
    ];
    for (message, part) in cases {
        assert!(message.contains("policies/p.json"), "{message}");
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn an_unknown_system_call_is_an_error_that_names_it() {
    let policy = written(&[("p", r#"{"about": "a", "allow": [{"why": "w", "syscalls": ["raed"]}]}"#)]);
    let error = compile_policy(&policy.unwrap(), TargetArch::x86_64).unwrap_err();
    assert!(matches!(error, SeccompError::Compile { .. }));
    assert!(error.to_string().contains("raed"), "{error}");
}

#[test]
fn includes_are_taken_once_and_never_in_a_circle() {
    let file = |include: &str, syscall: &str| {
        format!(r#"{{"about": "a", "include": [{include}], "allow": [{{"why": "w", "syscalls": ["{syscall}"]}}]}}"#)
    };
    let (a, b) = (file(r#""b", "c""#, "read"), file(r#""c""#, "write"));
    let (c, back) = (file("", "close"), file(r#""a""#, "close"));
    let diamond = written(&[("a", &a), ("b", &b), ("c", &c)]).unwrap();
    assert_eq!(diamond.allow.len(), 3);
    let circle = written(&[("a", &a), ("b", &b), ("c", &back)]).unwrap_err();
    assert!(matches!(circle, PolicyError::Cycle { .. }), "{circle}");
    let missing = written(&[("a", &a)]).unwrap_err();
    assert!(matches!(missing, PolicyError::Missing { .. }), "{missing}");
}

fn condition() -> impl Strategy<Value = Condition> {
    let values = prop::collection::vec(0u64..8, 1..3);
    let width = prop_oneof![Just(Width::Dword), Just(Width::Qword)];
    (0u8..2, width, prop::option::of(1u64..8), values, any::<bool>()).prop_map(
        |(index, width, mask, values, negated)| Condition {
            index,
            width,
            mask,
            values: values.into_iter().map(|v| v & mask.unwrap_or(u64::MAX)).collect(),
            negated,
        },
    )
}

proptest! {
    /// A rule and its complement never agree, and their comparisons mean what they say.
    #[test]
    fn complement_and_comparisons_are_exact(
        rule in prop::collection::vec(prop::collection::vec(condition(), 1..3), 1..3),
        low in prop::array::uniform2(0u64..9),
        high in prop::array::uniform2(0u64..2),
    ) {
        use super::rules::Test::{Eq, MaskedEq, Ne};
        let args = [low[0] | high[0] << 32, low[1] | high[1] << 32, 0, 0, 0, 0];
        let compared = |rule| lower(rule).iter().any(|all| all.iter().all(|atom| {
            let seen = args[usize::from(atom.index)] & atom.width.max();
            match atom.test {
                Eq(value) => seen == value,
                Ne(value) => seen != value,
                MaskedEq(mask, value) => seen & mask == value,
            }
        }));
        let opposite = complement(&rule);
        prop_assert_eq!(compared(&rule), holds(&rule, &args));
        prop_assert_eq!(holds(&opposite, &args), !holds(&rule, &args));
        prop_assert_eq!(compared(&opposite), !holds(&rule, &args));
    }
}
