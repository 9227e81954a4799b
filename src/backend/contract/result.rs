//! What the backend is told: a verdict in the dialect of its task.

use super::shape::{self, Shape};
use super::{Key, Value};
use crate::backend::text::{shorten, shorten_reason};
use crate::text::visible;
use crate::verdict::{Case, Verdict, memory_of, remarks_on};
use serde_json::{Map, json};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest text of one case and of the whole's error, in bytes.
const TEXT_CAP: usize = 64 * 1024;
/// Longest name of a case, in bytes.
const NAME_CAP: usize = 4096;
/// What all cases' texts may have together: backends refuse bodies that are too large, and a refused result is lost.
const TEXTS_TOGETHER: usize = 8 * 1024 * 1024;
/// Even among many cases each keeps this much, in bytes.
const TEXT_FLOOR: usize = 1024;

/// The unit of `memoryUsed`. Figures are always rounded up: a test that used memory never shows 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryUnit {
    /// Bytes, as the kernel measures.
    Bytes,
    /// 1024 bytes, as the backend expects it.
    #[default]
    KiB,
    /// 1024 KiB.
    MiB,
}

impl MemoryUnit {
    fn of(self, bytes: u64) -> u64 {
        match self {
            MemoryUnit::Bytes => bytes,
            MemoryUnit::KiB => bytes.div_ceil(1 << 10),
            MemoryUnit::MiB => bytes.div_ceil(1 << 20),
        }
    }
}

impl FromStr for MemoryUnit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "bytes" | "b" => Ok(MemoryUnit::Bytes),
            "kib" => Ok(MemoryUnit::KiB),
            "mib" => Ok(MemoryUnit::MiB),
            _ => Err(format!("{text:?} is no unit of memory: write bytes, KiB or MiB")),
        }
    }
}

impl fmt::Display for MemoryUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemoryUnit::Bytes => "bytes",
            MemoryUnit::KiB => "KiB",
            MemoryUnit::MiB => "MiB",
        })
    }
}

/// The body that answers the task with this key, in its dialect.
///
/// Texts have their control characters escaped, and are cut in the middle where they are too long.
pub fn render(key: &Key, verdict: &Verdict, shape: Shape) -> Value {
    let cap = text_cap(verdict);
    let own = shape.error_limit.and_then(|_| shape::told_by_a_case(verdict));
    let cases = own.iter().map(|case| (case, TEXT_CAP)).chain(verdict.cases.iter().map(|case| (case, cap)));
    match key {
        Key::Attempt(token) => {
            let cases = cases.map(|(case, cap)| first_case(case, shape.unit, cap)).collect();
            json!({"testResults": first(verdict, shape, cases), "attempt": token.as_value()})
        }
        Key::Id(token) => {
            let cases = cases.map(|(case, cap)| second_case(case, shape.unit, cap)).collect();
            let mut whole = whole(verdict, shape, Value::from(milliseconds(verdict.duration)));
            whole.insert("id".to_owned(), token.as_value().clone());
            whole.insert("testResults".to_owned(), Value::Array(cases));
            Value::Object(whole)
        }
    }
}

/// A result of either dialect in a few words, for people: what it says, and of how many cases.
pub fn summary(result: &Value) -> String {
    let (whole, cases) = match &result["testResults"] {
        Value::Array(cases) => (result, Some(cases)),
        first => (first, first["testCases"].as_array()),
    };
    let cases = cases.map_or(0, Vec::len);
    let error = whole["errorDetails"].as_str().and_then(|text| text.lines().next()).unwrap_or_default();
    match (whole["isPassed"].as_bool(), whole["isError"].as_bool()) {
        (_, Some(true)) => format!("error: {error}"),
        (Some(true), _) => format!("passed, {cases} tests"),
        (Some(false), _) => format!("not passed, {cases} tests"),
        (None, _) => "a result of another form".into(),
    }
}

/// The result of a submission that no backend asked for: the first dialect without `attempt`.
///
/// Each case also has `status` (one of `passed`, `failed`, `error`, `skipped`, `skip-allowed`, `stopped`, `not-run`) and `memoryBytes`,
/// the exact figure behind `memoryUsed`; and of a test that ran `memorySource` ([`crate::verdict::MemorySource`]), `programs`
/// (that it started), `wallSeconds`, and `cpuSeconds`, `peakPids`, `oomKills` of those programs; `memoryAlso`, in the unit of `memoryUsed`: what it held
/// and is not in that figure, because somebody else was charged for it or because it is counted apart; `memoryParts`, that and
/// what was taken off the figure, in bytes; `remarks`, sentences that change nothing. `extras` are put beside `testResults`, which they cannot replace.
pub fn render_local(verdict: &Verdict, unit: MemoryUnit, extras: Map<String, Value>) -> Value {
    let cap = text_cap(verdict);
    let cases = verdict
        .cases
        .iter()
        .map(|case| {
            let mut told = first_case(case, unit, cap);
            told["status"] = json!(case.status);
            told["memoryBytes"] = json!(case.memory);
            if let Some(leaf) = &case.measured {
                let value = |figure: &Option<sandbox::outcome::Figure>| figure.as_ref().map(|f| f.value);
                told["memorySource"] = json!(memory_of(leaf).1);
                told["memoryAlso"] = json!(unit.of(leaf.memory.also()));
                told["memoryParts"] = json!({
                    "mappedBytes": leaf.memory.mapped,
                    "tcpBytes": leaf.memory.tcp,
                    "fixturesBytes": leaf.memory.missing,
                    "pageCacheBytes": leaf.memory.cache,
                    "capturedOutputBytes": leaf.memory.captured,
                });
                told["remarks"] = json!(remarks_on(leaf));
                told["programs"] = json!(leaf.entered);
                told["wallSeconds"] = json!(leaf.wall_ms as f64 / 1000.0);
                told["cpuSeconds"] = json!(value(&leaf.usage.cpu_us).map(|us| us as f64 / 1e6));
                told["peakPids"] = json!(value(&leaf.usage.pids_peak));
                told["oomKills"] = json!(value(&leaf.usage.oom_kills));
            }
            told
        })
        .collect();
    let mut local = extras;
    local.insert("testResults".to_owned(), first(verdict, unit.into(), cases));
    Value::Object(local)
}

fn first(verdict: &Verdict, shape: Shape, cases: Vec<Value>) -> Value {
    let mut whole = whole(verdict, shape, Value::from(seconds(verdict.duration)));
    whole.insert("testCases".to_owned(), Value::Array(cases));
    Value::Object(whole)
}

/// What both dialects say of the whole.
fn whole(verdict: &Verdict, shape: Shape, duration: Value) -> Map<String, Value> {
    let details = match shape.error_limit {
        Some(limit) => shape::details(verdict, limit),
        None => told(&verdict.details(), TEXT_CAP),
    };
    let mut whole = Map::new();
    whole.insert("isPassed".to_owned(), Value::from(verdict.is_passed()));
    whole.insert("isError".to_owned(), Value::from(verdict.error.is_some()));
    whole.insert("errorDetails".to_owned(), Value::from(details));
    whole.insert("duration".to_owned(), duration);
    whole
}

fn first_case(case: &Case, unit: MemoryUnit, cap: usize) -> Value {
    tell(case, unit, cap, Value::from(seconds(case.duration)))
}

fn second_case(case: &Case, unit: MemoryUnit, cap: usize) -> Value {
    tell(case, unit, cap, Value::from(milliseconds(case.duration)))
}

/// What both dialects say of a case.
fn tell(case: &Case, unit: MemoryUnit, cap: usize, duration: Value) -> Value {
    json!({
        "name": told(&case.name, NAME_CAP),
        "isPassed": case.status == crate::verdict::Status::Passed,
        "description": shorten_reason(visible(&case.description), cap),
        "duration": duration,
        "memoryUsed": unit.of(case.memory),
    })
}

fn told(text: &str, cap: usize) -> String {
    shorten(visible(text), cap)
}

/// How long each case's text may be, so that all of them together stay within bounds.
fn text_cap(verdict: &Verdict) -> usize {
    let texts = verdict.cases.iter().filter(|case| !case.description.is_empty()).count();
    (TEXTS_TOGETHER / texts.max(1)).clamp(TEXT_FLOOR, TEXT_CAP)
}

/// Whole milliseconds, to the nearest; both dialects say the same figure.
fn milliseconds(duration: Duration) -> u64 {
    let rounded = (duration.as_nanos() + 500_000) / 1_000_000;
    // Databases' integers have a sign.
    i64::try_from(rounded).map_or(i64::MAX as u64, i64::unsigned_abs)
}

/// Seconds with three decimals.
fn seconds(duration: Duration) -> String {
    let milliseconds = milliseconds(duration);
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::super::Token;
    use super::*;
    use crate::verdict::Status;
    use proptest::prelude::*;

    fn verdict() -> Verdict {
        Verdict {
            cases: vec![
                Case {
                    name: "test_build::test_successful_make_clean".into(),
                    status: Status::Passed,
                    description: String::new(),
                    duration: Duration::from_millis(487),
                    memory: 1772 * 1024 - 1,
                    measured: None,
                },
                Case {
                    name: "test_start::test_port[80-\"x\"]".into(),
                    status: Status::Failed,
                    description: "assert 1 == 2\n\u{1b}[31mfoo\0 – ой".into(),
                    duration: Duration::from_micros(15_379_500),
                    memory: 0,
                    measured: None,
                },
            ],
            error: None,
            tampering: Vec::new(),
            remarks: Vec::new(),
            duration: Duration::from_millis(15_866),
        }
    }

    fn key(dialect: fn(Token) -> Key, value: Value) -> Key {
        dialect(Token::from_value(&value).unwrap())
    }

    #[test]
    fn the_first_dialect() {
        assert_eq!(
            render(&key(Key::Attempt, json!(21)), &verdict(), MemoryUnit::KiB.into()),
            json!({"testResults": {"isPassed": false, "isError": false, "errorDetails": "", "duration": "15.866",
                "testCases": [
                    {"name": "test_build::test_successful_make_clean", "isPassed": true, "description": "",
                     "duration": "0.487", "memoryUsed": 1772},
                    {"name": "test_start::test_port[80-\"x\"]", "isPassed": false,
                     "description": "assert 1 == 2\n\\x1b[31mfoo\\x00 – ой", "duration": "15.380", "memoryUsed": 0},
                ]},
                "attempt": 21})
        );
    }

    #[test]
    fn the_second_dialect() {
        assert_eq!(
            render(&key(Key::Id, json!("3fa8")), &verdict(), MemoryUnit::Bytes.into()),
            json!({"id": "3fa8", "isPassed": false, "isError": false, "errorDetails": "", "duration": 15866,
            "testResults": [
                {"name": "test_build::test_successful_make_clean", "isPassed": true, "description": "",
                 "duration": 487, "memoryUsed": 1772 * 1024 - 1},
                {"name": "test_start::test_port[80-\"x\"]", "isPassed": false,
                 "description": "assert 1 == 2\n\\x1b[31mfoo\\x00 – ой", "duration": 15380, "memoryUsed": 0},
            ]})
        );
    }

    #[test]
    fn a_broken_run_says_so() {
        let broken = Verdict::broken("the repository could not be cloned");
        let first = render(&key(Key::Attempt, json!("a")), &broken, MemoryUnit::KiB.into());
        assert_eq!(
            first,
            json!({"testResults": {"isPassed": false, "isError": true, "errorDetails": "the repository could not be cloned",
                "duration": "0.000", "testCases": []}, "attempt": "a"})
        );
        let second = render(&key(Key::Id, json!(u64::MAX)), &broken, MemoryUnit::KiB.into());
        assert_eq!(
            second,
            json!({"id": u64::MAX, "isPassed": false, "isError": true, "errorDetails": "the repository could not be cloned",
                "duration": 0, "testResults": []})
        );
    }

    #[test]
    fn the_local_result_adds_and_replaces_nothing() {
        let mut extras = Map::new();
        extras.insert("project".into(), json!("p"));
        extras.insert("testResults".into(), json!("mine"));
        let local = render_local(&verdict(), MemoryUnit::MiB, extras);
        assert_eq!(local["project"], "p");
        assert_eq!(local.get("attempt"), None);
        assert_eq!(local["testResults"]["duration"], "15.866");
        let case = &local["testResults"]["testCases"][0];
        assert_eq!(case["status"], "passed");
        assert_eq!(case["memoryUsed"], 2);
        assert_eq!(case["memoryBytes"], 1772 * 1024 - 1);
    }

    #[test]
    fn only_a_whole_of_passed_cases_is_passed() {
        let mut verdict = verdict();
        verdict.cases[1].status = Status::Skipped;
        let passed = |v: &Verdict| render(&key(Key::Id, json!(1)), v, MemoryUnit::KiB.into())["isPassed"].clone();
        assert_eq!(passed(&verdict), false);
        verdict.cases[1].status = Status::Passed;
        assert_eq!(passed(&verdict), true);
        verdict.cases.clear();
        assert_eq!(passed(&verdict), false);
    }

    #[test]
    fn memory_is_rounded_up() {
        assert_eq!(MemoryUnit::KiB.of(1), 1);
        assert_eq!(MemoryUnit::KiB.of(1024), 1);
        assert_eq!(MemoryUnit::KiB.of(1025), 2);
        assert_eq!(MemoryUnit::MiB.of(u64::MAX), 1 << 44);
        for unit in [MemoryUnit::Bytes, MemoryUnit::KiB, MemoryUnit::MiB] {
            assert_eq!(unit.to_string().parse(), Ok(unit));
        }
        assert!("kB".parse::<MemoryUnit>().is_err());
    }

    #[test]
    fn long_texts_are_cut_one_by_one_and_together() {
        let mut verdict = verdict();
        verdict.cases[1].description = "я".repeat(100_000);
        let length = |v: &Verdict| {
            let body = render(&key(Key::Id, json!(1)), v, MemoryUnit::KiB.into());
            body["testResults"][1]["description"].as_str().unwrap().len()
        };
        assert!((60_000..=TEXT_CAP).contains(&length(&verdict)));
        verdict.cases[1].description = "я".repeat(2000);
        let case = verdict.cases[1].clone();
        verdict.cases.extend(vec![case; 4000]);
        assert!((TEXT_FLOOR..2200).contains(&length(&verdict)));
    }

    proptest! {
        #[test]
        fn durations_agree_between_the_dialects(seconds_ in any::<u64>(), nanos in 0u32..1_000_000_000) {
            let duration = Duration::new(seconds_, nanos);
            let text = seconds(duration);
            prop_assert_eq!(text.replace('.', "").parse::<u64>().unwrap(), milliseconds(duration));
            prop_assert_eq!(text.split_once('.').unwrap().1.len(), 3);
        }

        #[test]
        fn any_text_survives_the_wire(name in ".*", description in "(?s).*") {
            let mut verdict = verdict();
            verdict.cases[0].name = name;
            verdict.cases[0].description = description;
            let body = render(&key(Key::Attempt, json!(1)), &verdict, MemoryUnit::KiB.into());
            prop_assert_eq!(serde_json::from_str::<Value>(&body.to_string()).unwrap(), body);
        }
    }
}
