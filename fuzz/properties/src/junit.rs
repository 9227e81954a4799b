//! The report of a suite.

use ostest_sandbox::junit::{About, Caps, Outcome, Report, ReportCase, parse};
use std::fmt::Write as _;

/// Caps that small inputs reach.
const TIGHT: Caps = Caps { bytes: 2048, depth: 6, cases: 4, text: 40 };

/// What the reader writes behind a text that it has cut.
const NOTE: usize = 48;

/// The bytes are a report.
pub fn check(bytes: &[u8]) -> &'static str {
    let whole = parse(bytes, &Caps::default());
    if let Ok(tight) = parse(bytes, &TIGHT) {
        assert!(bytes.len() <= TIGHT.bytes && tight.cases.len() <= TIGHT.cases);
        assert!(tight.cases.iter().all(|case| case.text.len() <= TIGHT.text + NOTE));
        // Caps leave text out; they never change what is said of a test.
        let whole = whole.as_ref().expect("what fits narrow bounds fits wide ones");
        assert!(whole.cases.iter().map(told).eq(tight.cases.iter().map(told)));
    }
    let report = match whole {
        Ok(report) => report,
        Err(error) => {
            assert!(error.to_string().len() < 1000, "{error}");
            return "refused";
        }
    };
    let mut names: Vec<_> = report.cases.iter().map(|c| (&c.classname, &c.name, format!("{:?}", c.about))).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), report.cases.len(), "a case is told twice");
    assert!(report.cases.iter().all(|case| case.outcome != Outcome::Passed || case.text.is_empty()));
    // Half a report is none.
    let text = String::from_utf8_lossy(bytes);
    if let Some(end) = text.rfind("</testsuite") {
        assert!(parse(&text.as_bytes()[..end], &Caps::default()).is_err(), "a report that was cut off was read");
    }
    comes_back(&report);
    "report"
}

fn told(case: &ReportCase) -> (&String, &String, Outcome, About) {
    (&case.classname, &case.name, case.outcome, case.about)
}

/// The report, written down again in the plainest way, is the same report.
fn comes_back(report: &Report) {
    let plain: Vec<&ReportCase> = report
        .cases
        .iter()
        .filter(|c| c.about == About::Test && (c.text.is_empty() || !c.text.trim().is_empty()))
        .collect();
    let mut xml = String::from("<testsuite>");
    for case in &plain {
        let _ = write!(xml, "<testcase classname=\"{}\" name=\"{}\">", escaped(&case.classname), escaped(&case.name));
        let element = match case.outcome {
            Outcome::Passed => "",
            Outcome::Skipped => "skipped",
            Outcome::Failed => "failure",
            Outcome::Error => "error",
        };
        if !element.is_empty() {
            let _ = write!(xml, "<{element}>{}</{element}>", escaped(&case.text));
        }
        xml += "</testcase>";
    }
    xml += "</testsuite>";
    let again = parse(xml.as_bytes(), &Caps::default()).expect("a plain report can be read");
    assert!(again.cases.iter().map(|c| (told(c), &c.text)).eq(plain.iter().map(|c| (told(c), &c.text))), "{xml}");
}

/// Everything but letters and digits by its number.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        let _ = if c.is_ascii_alphanumeric() { write!(out, "{c}") } else { write!(out, "&#x{:x};", u32::from(c)) };
        out
    })
}
