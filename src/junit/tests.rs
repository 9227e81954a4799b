use super::state::{XPASS, believable};
use super::*;
use crate::text::boundary_before;
use proptest::prelude::*;

fn read(text: &str) -> Result<Report, JunitError> {
    parse(text.as_bytes(), &Caps::default())
}

fn one(inside: &str) -> ReportCase {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><testsuites><testsuite name=\"pytest\">\
         <testcase classname=\"tests.test_a\" name=\"test_x[1]\" time=\"0.125\">{inside}</testcase></testsuite></testsuites>"
    );
    let mut cases = read(&text).unwrap().cases;
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}

#[test]
fn a_pass_has_no_text() {
    let case = one("<properties><property name=\"a\" value=\"b\"/></properties><system-out>noise</system-out>");
    assert_eq!(case.contract_name(), "test_a::test_x[1]");
    assert_eq!(case.time, Duration::from_millis(125));
    assert_eq!((case.outcome, &*case.text), (Outcome::Passed, ""));
    assert_eq!(case.about, About::Test);
}

#[test]
fn text_is_the_element_and_else_the_message() {
    let case = one("<failure message=\"m\">a &lt;b&gt; &amp;amp; &#65;&#x42;<![CDATA[<c>&amp;]]>\r\nd</failure>");
    assert_eq!(case.outcome, Outcome::Failed);
    assert_eq!(case.text, "a <b> &amp; AB<c>&amp;\nd");
    assert_eq!(one("<failure message=\"a&#10;b\"/>").text, "a\nb");
    let skip = one("<skipped type=\"pytest.skip\" message=\"m\">f.py:3: m</skipped>");
    assert_eq!((skip.outcome, &*skip.text), (Outcome::Skipped, "f.py:3: m"));
}

#[test]
fn expected_failures_are_skips_and_unexpected_passes_fail() {
    let case = one("<skipped type=\"pytest.xfail\" message=\"bug 3\"/>");
    assert_eq!((case.outcome, &*case.text), (Outcome::Skipped, "expected failure: bug 3"));
    let case = one(&format!("<skipped message=\"{XPASS}\">None</skipped>"));
    assert_eq!((case.outcome, &*case.text), (Outcome::Failed, XPASS));
}

#[test]
fn two_elements_of_one_test_are_one_case() {
    let both = read(
        "<testsuite><testcase classname=\"a\" name=\"t\" time=\"1\"><failure>f</failure></testcase>\
         <testcase classname=\"a\" name=\"u\"/>\
         <testcase classname=\"a\" name=\"t\" time=\"2\"><error>e</error></testcase></testsuite>",
    )
    .unwrap();
    assert_eq!(both.cases.len(), 2);
    assert_eq!(both.cases[0].outcome, Outcome::Error);
    assert_eq!(both.cases[0].text, "f\n\ne");
    assert_eq!(both.cases[0].time, Duration::from_secs(3));
    let within = one("<skipped>s</skipped><error>e</error>");
    assert_eq!((within.outcome, &*within.text), (Outcome::Error, "s\n\ne"));
}

#[test]
fn cases_that_are_no_tests_are_told_apart() {
    assert_eq!(one("<error message=\"collection failure\">e</error>").about, About::Collection);
    assert_eq!(one("<skipped message=\"collection skipped\">('a', 1, 'b')</skipped>").about, About::Collection);
    let internal = read(
        "<testsuite><testcase classname=\"pytest\" name=\"internal\"><error message=\"internal error\">e</error></testcase></testsuite>",
    );
    assert_eq!(internal.unwrap().cases[0].about, About::Internal);
    assert_eq!(read("<testsuite><testcase time=\"0.1\"/></testsuite>").unwrap(), Report::default());
}

#[test]
fn times_that_cannot_be_are_zero() {
    for time in ["nan", "inf", "-1", "1e300", "1,000.5", "", "x"] {
        assert_eq!(believable(Some(time)), Duration::ZERO, "{time}");
    }
    assert_eq!(believable(None), Duration::ZERO);
    assert_eq!(believable(Some("1.5")), Duration::from_millis(1500));
}

#[test]
fn broken_reports_are_errors_with_a_sentence() {
    let case = "<testcase classname=\"a\" name=\"b\">";
    for (text, says) in [
        (String::new(), "empty"),
        ("  \n".into(), "empty"),
        ("hello".into(), "empty"),
        ("<html/>".into(), "<html>"),
        ("<testsuites><testsuite>".into(), "breaks off"),
        (format!("<testsuite>{case}<failure>half"), "breaks off"),
        ("<testsuite></testsuite".into(), "well-formed"),
        ("<testsuite></testsuites>".into(), "well-formed"),
        ("<testsuite><testcase name=\"a\0\"/></testsuite>".into(), "the character 0x00"),
        ("<testsuite>\u{1b}[31m</testsuite>".into(), "the character 0x1b"),
        ("<testsuite/><testsuite/>".into(), "after its end"),
        ("<testsuite/>x".into(), "after its end"),
        ("<testsuite/>&#65;".into(), "after its end"),
        ("<!DOCTYPE a [<!ENTITY b \"c\">]><testsuite/>".into(), "DOCTYPE"),
        (format!("<testsuite>{case}<failure>&b;</failure></testcase></testsuite>"), "entity"),
        (format!("<testsuite>{case}<failure>&#0;</failure></testcase></testsuite>"), "entity"),
        (format!("<testsuite>{case}{case}</testcase></testcase></testsuite>"), "inside"),
        (format!("<testsuite><properties>{case}</testcase></properties></testsuite>"), "inside"),
        ("<testsuite><testcase classname=\"a\"/></testsuite>".into(), "without a name"),
        ("<testsuite><testcase><failure/></testcase></testsuite>".into(), "without a name"),
        ("<testsuite><testcase name=\"a\" name=\"b\"/></testsuite>".into(), "twice"),
        ("<testsuite><testcase name=\"&x;\"/></testsuite>".into(), "well-formed"),
        ("<?xml version=\"1.0\" encoding=\"koi8-r\"?><testsuite/>".into(), "koi8-r"),
    ] {
        let error = read(&text).expect_err(&text).to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
    let error = parse(b"<testsuite>\xff</testsuite>", &Caps::default()).unwrap_err();
    assert_eq!(error, JunitError::NotUtf8 { position: 11 });
}

#[test]
fn caps_hold() {
    let caps = Caps { bytes: 1000, depth: 4, cases: 2, text: 10 };
    let with = |text: &str| parse(text.as_bytes(), &caps);
    assert!(matches!(with(&" ".repeat(1001)), Err(JunitError::TooLarge { .. })));
    let deep = "<testsuite>".repeat(5);
    assert_eq!(with(&deep), Err(JunitError::TooDeep { limit: 4 }));
    let case = "<testcase classname=\"a\" name=\"b\"/>";
    assert_eq!(with(&format!("<testsuite>{}</testsuite>", case.repeat(3))), Err(JunitError::TooManyCases { limit: 2 }));
    let long =
        with("<testsuite><testcase name=\"b\"><failure>123456789äabc</failure><error>x</error></testcase></testsuite>");
    assert_eq!(long.unwrap().cases[0].text, "123456789\n[... 8 bytes left out]");
    // Far beyond any stack if this were recursive.
    let bomb = "<testsuite>".repeat(200_000);
    assert_eq!(read(&bomb), Err(JunitError::TooDeep { limit: 32 }));
}

/// What may stand in XML 1.0 at all.
fn legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn odd_text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        any::<char>(),
        prop::sample::select("<>&\"'];[\n\t\r\u{85}\u{2028}\u{feff}\u{fffd}ж🦀".chars().collect::<Vec<_>>()),
    ];
    prop::collection::vec(odd.prop_filter("legal in XML", |c| legal(*c)), 0..40)
        .prop_map(|chars| chars.into_iter().collect())
}

/// As Python's ElementTree escapes: `\r` of a text by reference, since a reader unifies line ends.
fn escaped(text: &str, style: u8) -> String {
    if style == 1 && !text.contains("]]>") && !text.contains('\r') {
        return format!("<![CDATA[{text}]]>");
    }
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' | '\n' | '\t' => out.push_str(&format!("&#{};", c as u32)),
            c if style == 2 => out.push_str(&format!("&#x{:X};", c as u32)),
            c => out.push(c),
        }
    }
    out
}

#[test]
fn what_is_quoted_of_a_broken_report_is_short() {
    let long = "x".repeat(100_000);
    for broken in [
        format!("<testsuite></{long}>"),
        format!("<{long}/>"),
        format!("<testsuite>&{long};</testsuite>"),
        format!("<testsuite><testcase name=\"&{long};\"/></testsuite>"),
        format!("<testsuite {long}"),
        format!("<?xml version=\"1.0\" encoding=\"{long}\"?><testsuite/>"),
        format!("<testsuite><testcase name={long}/></testsuite>"),
        format!("<testsuite><testcase><{long}><testcase/></{long}></testcase></testsuite>"),
    ] {
        let said = read(&broken).unwrap_err().to_string();
        assert!(said.len() < 600, "{} bytes: {}", said.len(), &said[..300]);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes, &Caps::default());
    }

    #[test]
    fn arbitrary_markup_never_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "<testsuites>", "</testsuites>", "<testsuite>", "</testsuite>", "<testsuite/>", "</testcase>", "<testcase>", "&", ";", "#",
        "<testcase classname='a' name='b'>", "<failure message='", "'>", "</failure>", "<error>", "</error>", "<skipped/>", "x", "ж",
        "<![CDATA[", "]]>", "<!--", "-->", "<?", "?>", "<!DOCTYPE a>", "&lt;", "&#x41;", "&#0;", "&nope;", "\u{feff}", "<", ">", "=", "\"",
    ]), 0..25)) {
        let text = parts.concat();
        if let Ok(report) = read(&text) {
            prop_assert!(report.cases.len() <= text.matches("<testcase").count());
        }
    }

    #[test]
    fn generated_reports_come_back(cases in prop::collection::vec(
        (odd_text(), odd_text(), 0u32..100_000_000, prop::sample::select(vec!["", "failure", "error", "skipped"]), odd_text(), 0u8..3), 0..8
    )) {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><testsuites name=\"pytest tests\"><testsuite>");
        let mut expected = Vec::new();
        for (i, (classname, name, time, kind, text, style)) in cases.iter().enumerate() {
            let (classname, attribute_style) = (format!("{classname}{i}"), if *style == 1 { 0 } else { *style });
            let seconds = f64::from(*time) / 1000.0;
            xml += &format!("<testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\">",
                escaped(&classname, attribute_style), escaped(name, attribute_style));
            if !kind.is_empty() {
                xml += &format!("<{kind} message=\"m\">{}</{kind}>", escaped(text, *style));
            }
            xml += "</testcase>";
            expected.push(ReportCase {
                number: None,
                classname,
                name: name.clone(),
                time: Duration::from_secs_f64(seconds),
                outcome: match *kind { "" => Outcome::Passed, "failure" => Outcome::Failed, "error" => Outcome::Error, _ => Outcome::Skipped },
                text: match (*kind, text.trim()) { ("", _) => String::new(), (_, "") => "m".into(), _ => text.clone() },
                about: About::Test,
            });
        }
        xml += "</testsuite></testsuites>";
        prop_assert_eq!(read(&xml).map(|r| r.cases), Ok(expected));
        // A report that was cut off anywhere is never taken for a whole one.
        let cut = boundary_before(&xml, xml.len() * 2 / 3);
        prop_assert!(read(&xml[..cut]).is_err());
    }
}
