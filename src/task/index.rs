//! Where pip takes packages from, as its settings and a suite's requirements say. Pure.

use crate::proxy::{Place, Reach};
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// What pip was told of indexes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Hosts of the addresses that were named.
    places: BTreeSet<Place>,
    /// Whether its default index is out of use, whose hosts only pip knows.
    replaced: bool,
    /// Whether it asks no index at all, and takes files of the operator's.
    files_alone: bool,
}

impl Told {
    fn url(&mut self, text: &str) {
        // pip writes a repository's address as git+https://….
        let text = text
            .split_once('+')
            .filter(|(kind, _)| kind.chars().all(|c| c.is_ascii_lowercase()))
            .map_or(text, |(_, url)| url);
        self.places.extend(Url::parse(text).ok().as_ref().and_then(Place::of_url));
    }

    /// A setting of pip's by its name in a file, its environment or a requirement's option.
    fn setting(&mut self, name: &str, value: &str) {
        match name.trim_start_matches('-').replace('_', "-").to_ascii_lowercase().as_str() {
            "index-url" | "i" => self.replaced = !value.trim().is_empty() || self.replaced,
            "no-index" => {
                self.files_alone |= !matches!(value.trim().to_ascii_lowercase().as_str(), "0" | "no" | "false" | "off");
                self.replaced |= self.files_alone;
            }
            "extra-index-url" | "find-links" | "f" => {}
            _ => return,
        }
        value.split_whitespace().for_each(|word| self.url(word));
    }

    fn environment(&mut self, env: &BTreeMap<String, String>) {
        for (name, value) in env {
            if let Some(name) = name.strip_prefix("PIP_") {
                self.setting(name, value);
            }
        }
    }

    /// A file of settings: sections of `name = value`, and lines further in that go on with the value.
    fn file(&mut self, text: &str) {
        let mut name = String::new();
        for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
            if line.starts_with([' ', '\t']) {
                self.setting(&name, line);
            } else if let Some((left, value)) = line.split_once(['=', ':']) {
                name = left.trim().to_string();
                self.setting(&name, value);
            }
        }
    }

    /// A suite's requirements: options for pip, and addresses of single packages.
    fn requirements(&mut self, text: &str) {
        for line in text.replace("\\\n", " ").lines() {
            let line = line.split(" #").next().unwrap_or_default().trim();
            if line.starts_with('#') {
                continue;
            }
            let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            if line.starts_with('-') {
                let name = words.next().unwrap_or_default();
                self.setting(name, line.trim_start_matches(name).trim_start_matches(['=', ' ', '\t']));
            } else {
                line.split_whitespace().filter(|word| word.contains("://")).for_each(|word| self.url(word));
            }
        }
    }
}

/// Where prepare may go: to `hosts`, if the operator names any, and to the indexes of his settings; else to what settings and the
/// suite's requirements name; and where pip's default index is in use, to any public host, since where that one has its files
/// only itself can say. The suite is trusted, and so are its requirements.
pub fn reach(hosts: Option<&[Place]>, env: &BTreeMap<String, String>, files: &[String], requirements: &str) -> Reach {
    let mut told = Told::default();
    told.environment(env);
    files.iter().for_each(|text| told.file(text));
    if let Some(hosts) = hosts {
        told.places.extend(hosts.iter().cloned());
        return Reach::Listed(told.places);
    }
    told.requirements(requirements);
    if told.replaced { Reach::Listed(told.places) } else { Reach::Public(told.places) }
}

/// Whether the operator's settings have pip ask no index: then what there is depends on his files alone.
pub fn is_files_alone(env: &BTreeMap<String, String>, files: &[String]) -> bool {
    let mut told = Told::default();
    told.environment(env);
    files.iter().for_each(|text| told.file(text));
    told.files_alone
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(env: &[(&str, &str)], file: &str, requirements: &str) -> (bool, String) {
        let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (open, places) = match reach(None, &env, &[file.to_string()], requirements) {
            Reach::Public(places) => (true, places),
            Reach::Listed(places) => (false, places),
        };
        (open, places.iter().map(Place::to_string).collect::<Vec<_>>().join(" "))
    }

    fn listed(texts: &str) -> (bool, String) {
        (false, texts.to_string())
    }

    #[test]
    fn an_index_of_the_operators_is_the_only_one() {
        let index = [("PIP_INDEX_URL", "https://user:pw@Index.example:8443/simple")];
        assert_eq!(found(&index, "", "pytest\n"), listed("index.example:8443"));
        let file = "[global]\nindex-url = http://a.example/simple\nextra_index_url =\n    https://b.example/simple\n    https://c.example\n";
        assert_eq!(found(&[], file, ""), listed("a.example:80 b.example:443 c.example:443"));
        assert_eq!(found(&[("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", "/srv/wheels")], "", ""), listed(""));
    }

    #[test]
    fn whether_any_index_is_asked_the_operator_says() {
        let alone = |value: &str| is_files_alone(&[("PIP_NO_INDEX".to_string(), value.to_string())].into(), &[]);
        assert!(alone("1") && alone("true") && !alone("0") && !alone("off"));
        assert!(is_files_alone(&BTreeMap::new(), &["[install]\nno-index = yes\n".into()]));
        assert!(!is_files_alone(&BTreeMap::new(), &["[global]\nindex-url = https://a.example\n".into()]));
    }

    #[test]
    fn the_default_index_leaves_the_list_open() {
        assert_eq!(found(&[], "", "pytest\n"), (true, String::new()));
        assert_eq!(
            found(&[("PIP_NO_INDEX", "0")], "# index-url = https://a.example\n[global]\ncert = /etc/ssl/x\n", ""),
            (true, String::new())
        );
        let extra =
            [("PIP_EXTRA_INDEX_URL", "https://a.example:1 https://b.example"), ("PIP_CERT", "https://no.example")];
        assert_eq!(found(&extra, "", ""), (true, "a.example:1 b.example:443".into()));
    }

    #[test]
    fn requirements_name_indexes_and_packages() {
        let text = "--index-url https://a.example/simple\n--extra-index-url=https://b.example/simple  # https://no.example\n\
                    pytest==8\nx @ https://c.example/x.whl\ngit+https://d.example/r.git@main\n# https://no.example\n\
                    -f https://e.example/links\nhttps://f.example:8443/y.whl --hash=sha256:00\n";
        let all = "a.example:443 b.example:443 c.example:443 d.example:443 e.example:443 f.example:8443";
        assert_eq!(found(&[], "", text), listed(all));
        assert_eq!(found(&[], "", "-i \\\n https://a.example\n"), listed("a.example:443"));
    }

    #[test]
    fn the_operators_word_goes_before_the_suites() {
        let env = [("PIP_EXTRA_INDEX_URL".to_string(), "https://own.example/x".to_string())].into();
        let hosts = [Place::parse("b.example:443").unwrap()];
        let all = reach(Some(&hosts), &env, &[], "-i https://suite.example/simple\n");
        assert_eq!(all, Reach::Listed(["b.example:443", "own.example:443"].map(|t| Place::parse(t).unwrap()).into()));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(file in "(.|\\n){0,80}", text in "(.|\\n){0,80}", value in ".{0,20}") {
            let _ = found(&[("PIP_INDEX_URL", &value)], &file, &text);
        }
    }
}
