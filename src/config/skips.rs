//! `skips`: which tests may be skipped without keeping a submission from passing.

use serde::Deserialize;

/// What a skip means for the whole.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub enum Skips {
    /// A skipped test has not passed, and so has not the whole.
    #[default]
    Refused,
    /// Any may be skipped.
    Allowed,
    /// Those may whose name one of these matches.
    Some(Vec<glob::Pattern>),
}

/// As it stands in a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Names(Vec<String>),
}

impl TryFrom<Written> for Skips {
    type Error = String;

    fn try_from(written: Written) -> Result<Skips, String> {
        match written {
            Written::Word(word) if word == "allowed" => Ok(Skips::Allowed),
            Written::Word(word) if word == "refused" => Ok(Skips::Refused),
            Written::Word(word) => {
                Err(format!("skips = {word:?} is neither \"allowed\" nor \"refused\" nor a list of names of tests"))
            }
            Written::Names(names) => {
                // Parameters of a test stand in brackets, which are no pattern.
                let pattern = |name: &String| {
                    let plain = name.replace('[', "[[]");
                    glob::Pattern::new(&plain).map_err(|e| format!("{name:?} is no pattern of names of tests: {e}"))
                };
                names.iter().map(pattern).collect::<Result<_, _>>().map(Skips::Some)
            }
        }
    }
}

impl Skips {
    /// Whether the test or the module of this name may be skipped: `module::test[params]`, where a pattern may stand for the
    /// module, the function, either with the other, and each with or without parameters.
    pub fn allow(&self, name: &str) -> bool {
        let patterns = match self {
            Skips::Refused => return false,
            Skips::Allowed => return true,
            Skips::Some(patterns) => patterns,
        };
        let bare = name.split('[').next().unwrap_or(name);
        let module = bare.split("::").next().unwrap_or(bare);
        let function = |name: &str| name.split_once("::").map_or(name, |(_, rest)| rest).to_owned();
        let forms = [name.to_owned(), bare.to_owned(), module.to_owned(), function(name), function(bare)];
        patterns.iter().any(|pattern| forms.iter().any(|form| pattern.matches(form)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        skips: Skips,
    }

    fn read(text: &str) -> Result<Skips, String> {
        toml::from_str::<File>(&format!("skips = {text}")).map(|file| file.skips).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn words_and_names_are_read() {
        assert_eq!(read("\"allowed\""), Ok(Skips::Allowed));
        assert_eq!(read("\"refused\""), Ok(Skips::Refused));
        assert!(read("\"yes\"").is_err_and(|e| e.contains("allowed")));
        assert!(read("[\"a\", 1]").is_err());
        assert!(read("[\"***\"]").is_err_and(|e| e.contains("no pattern")));
    }

    #[test]
    fn a_pattern_names_a_module_a_function_or_both() {
        let some = read("[\"test_gdb\", \"test_io_*\", \"lab2.test_x::test_one\", \"test_p[a-1]\"]").unwrap();
        for allowed in
            ["test_gdb", "test_gdb::test_any[x]", "m::test_io_uring", "lab2.test_x::test_one[3]", "m::test_p[a-1]"]
        {
            assert!(some.allow(allowed), "{allowed}");
        }
        for refused in ["test_gdb2::test_a", "m::test_gdbx", "lab2.test_x::test_two", "m::test_p[a-2]", "m::test_p"] {
            assert!(!some.allow(refused), "{refused}");
        }
        assert!(Skips::Allowed.allow("a") && !Skips::default().allow("a"));
    }
}
