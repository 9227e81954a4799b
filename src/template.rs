//! The command that starts a suite: a template, filled in for one task. Pure.

/// What is put into a template. `None` and the empty list mean absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// Path of the project inside.
    pub project: String,
    /// Laboratory number; of a list the highest, because labs build on each other.
    pub lab: Option<u32>,
    /// All laboratory numbers.
    pub labs: Vec<u32>,
    /// Seconds.
    pub proxy_timeout: Option<u64>,
    /// Path of the report inside.
    pub report: String,
}

/// Names that may stand in braces.
const NAMES: [&str; 5] = ["project", "lab", "labs", "proxy_timeout", "report"];

/// Fills a template in. `{labs}` becomes one argument each; an argument whose value is absent is left out, together
/// with the option before it if the argument is nothing but that value.
///
/// # Errors
/// A name in braces that does not exist, as a sentence.
pub fn fill(template: &[String], values: &Values) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    for word in template {
        check_names(word)?;
        if word == "{labs}" {
            if values.labs.is_empty() {
                drop_option(&mut words);
            }
            words.extend(values.labs.iter().map(u32::to_string));
            continue;
        }
        match fill_word(word, values) {
            Some(filled) => words.push(filled),
            None if word.starts_with('{') => drop_option(&mut words),
            None => {}
        }
    }
    Ok(words)
}

fn drop_option(words: &mut Vec<String>) {
    if words.last().is_some_and(|w| w.starts_with('-')) {
        words.pop();
    }
}

/// One word with its values, or `None` where one of them is absent.
fn fill_word(word: &str, values: &Values) -> Option<String> {
    let labs = values.labs.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let all = [
        ("{project}", Some(values.project.clone())),
        ("{lab}", values.lab.map(|n| n.to_string())),
        ("{labs}", (!labs.is_empty()).then_some(labs)),
        ("{proxy_timeout}", values.proxy_timeout.map(|n| n.to_string())),
        ("{report}", Some(values.report.clone())),
    ];
    // Once from left to right: what a value holds is no name.
    let (mut filled, mut rest) = (String::new(), word);
    while let Some((before, from)) = rest.find('{').map(|at| rest.split_at(at)) {
        filled.push_str(before);
        match all.iter().find(|(name, _)| from.starts_with(name)) {
            Some((name, value)) => {
                filled.push_str(value.as_ref()?);
                rest = &from[name.len()..];
            }
            None => {
                filled.push('{');
                rest = &from[1..];
            }
        }
    }
    filled.push_str(rest);
    Some(filled)
}

/// Braces around a word of small letters must hold a known name; any other braces (of a shell, of JSON) are left alone.
fn check_names(word: &str) -> Result<(), String> {
    for part in word.split('{').skip(1) {
        let Some((name, _)) = part.split_once('}') else { continue };
        let like_a_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if like_a_name && !NAMES.contains(&name) {
            return Err(format!("the test command holds {{{name}}}, which is none of {{{}}}", NAMES.join("}, {")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> Values {
        Values {
            project: "/task/project".into(),
            lab: Some(2),
            labs: vec![1, 2],
            proxy_timeout: Some(10),
            report: "/proc/self/fd/4".into(),
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_string).collect()
    }

    #[test]
    fn values_are_filled_in() {
        let template = words("python run_tests.py --src {project} --lab {lab} --labs {labs} --junit-xml={report}");
        let expected = words("python run_tests.py --src /task/project --lab 2 --labs 1 2 --junit-xml=/proc/self/fd/4");
        assert_eq!(fill(&template, &values()), Ok(expected));
    }

    #[test]
    fn what_is_absent_takes_its_option_with_it() {
        let template = words("run --src {project} --lab {lab} --labs {labs} -t={proxy_timeout} -v x");
        let absent = Values { lab: None, labs: vec![], proxy_timeout: None, ..values() };
        assert_eq!(fill(&template, &absent), Ok(words("run --src /task/project -v x")));
        assert_eq!(fill(&words("run {lab}"), &absent), Ok(words("run")));
    }

    #[test]
    fn what_a_value_holds_is_not_filled_in_again() {
        let odd = Values { project: "/p/{report}{lab}".into(), report: "r".into(), ..values() };
        assert_eq!(fill(&words("{project}/{lab} {la{lab}b}"), &odd), Ok(words("/p/{report}{lab}/2 {la2b}")));
    }

    #[test]
    fn unknown_names_are_errors_and_other_braces_are_not() {
        assert!(fill(&words("run {laboratory}"), &values()).is_err_and(|e| e.contains("{laboratory}")));
        assert_eq!(fill(&words("sh -c ${X} {1}"), &values()), Ok(words("sh -c ${X} {1}")));
    }

    fn any_word() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            prop::sample::select(vec![
                "{project}",
                "{lab}",
                "{labs}",
                "{proxy_timeout}",
                "{report}",
                "{",
                "}",
                "--x",
                "-",
                "="
            ])
            .prop_map(str::to_owned),
            "[a-zA-Z0-9{}$_ -]{0,4}",
        ];
        prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn no_name_of_a_value_is_left(template in prop::collection::vec(any_word(), 0..6), absent: bool) {
            let values = if absent { Values { project: "/p".into(), report: "/r".into(), ..Values::default() } } else { values() };
            if let Ok(words) = fill(&template, &values) {
                for name in NAMES {
                    prop_assert!(!words.iter().any(|word| word.contains(&format!("{{{name}}}"))), "{:?}", words);
                }
            }
        }

        #[test]
        fn words_without_braces_stay_as_they_are(template in prop::collection::vec("[^{}]{0,8}", 0..6)) {
            prop_assert_eq!(fill(&template, &values()), Ok(template));
        }
    }
}
