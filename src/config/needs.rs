//! `needs`: programs of the host without which a suite cannot judge anybody.

use serde::Deserialize;
use std::fmt;

/// A program, and the least version of it that will do: `gdb`, `gdb>=13.1`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Need {
    /// Its name, which is looked for in PATH, or its absolute path.
    pub program: String,
    /// None: any version.
    pub least: Option<Version>,
}

/// Numbers between dots, compared one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(Vec<u64>);

impl TryFrom<String> for Need {
    type Error = String;

    fn try_from(text: String) -> Result<Need, String> {
        let (program, least) = match text.split_once(">=") {
            Some((program, least)) => (program.trim(), Some(least.trim())),
            None => (text.trim(), None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-._/".contains(c);
        let rooted = program.starts_with('/') && !program.ends_with('/');
        if program.is_empty()
            || program.starts_with('-')
            || !program.chars().all(plain)
            || (program.contains('/') && !rooted)
        {
            return Err(format!("{text:?} names no program: write its name, such as \"strace\" or \"gdb>=13\""));
        }
        let version = |least: &str| {
            Version::written(least).ok_or_else(|| format!("{text:?}: {least:?} is no version, such as 13 or 3.19.2"))
        };
        Ok(Need { program: program.to_owned(), least: least.map(version).transpose()? })
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.least {
            Some(least) => write!(f, "{} {least} or newer", self.program),
            None => f.write_str(&self.program),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

impl Version {
    /// One that is written by itself.
    fn written(text: &str) -> Option<Version> {
        text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>().map(Version)
    }

    /// The first in what a program says of itself. A number without a dot counts only where there is no other: years, and what a
    /// name ends with, are none.
    pub fn found_in(text: &str) -> Option<Version> {
        let digit = |c: char| c.is_ascii_digit() || c == '.';
        let words =
            || text.split(|c: char| !digit(c)).map(|word| word.trim_matches('.')).filter(|word| !word.is_empty());
        let dotted = words().filter(|word| word.contains('.')).find_map(Version::written);
        dotted.or_else(|| words().find_map(Version::written))
    }

    /// Whether it is that one or a later one: `13` is `13.0`.
    pub fn is_at_least(&self, least: &Version) -> bool {
        let length = self.0.len().max(least.0.len());
        let whole = |version: &Version| {
            let mut parts = version.0.clone();
            parts.resize(length, 0);
            parts
        };
        whole(self) >= whole(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn need(text: &str) -> Result<Need, String> {
        Need::try_from(text.to_owned())
    }

    #[test]
    fn a_need_is_a_program_and_perhaps_a_version() {
        assert_eq!(need("strace").unwrap(), Need { program: "strace".into(), least: None });
        assert_eq!(need(" gdb >= 13.1 ").unwrap().to_string(), "gdb 13.1 or newer");
        assert_eq!(need("g++-12").unwrap().program, "g++-12");
        assert_eq!(need("/usr/lib/valgrind/x").unwrap().program, "/usr/lib/valgrind/x");
        for wrong in ["", ">=3", "-v", "a b", "gdb>=", "gdb>=x", "gdb>=1..2", "gdb=13", "./x", "a/b", "a;b", "/x/"] {
            assert!(need(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, version) in [
            ("GNU gdb (Debian 13.1-3) 13.1\nCopyright (C) 2023", "13.1"),
            ("strace -- version 6.1\nCopyright (c) 1991-2022", "6.1"),
            ("valgrind-3.19.0\n", "3.19.0"),
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0"),
            ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", "4.3"),
            ("less 590 (GNU regular expressions)", "590"),
            ("OpenJDK 17.0.9 2023-10-17", "17.0.9"),
        ] {
            assert_eq!(Version::found_in(said).unwrap().to_string(), version, "{said}");
        }
        assert_eq!(Version::found_in("no number"), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |text: &str| Version::written(text).unwrap();
        for (one, least) in [("13.1", "13"), ("13", "13.0"), ("4.10", "4.9"), ("10", "9.9.9")] {
            assert!(version(one).is_at_least(&version(least)), "{one} {least}");
        }
        assert!(!version("12.9").is_at_least(&version("13")));
    }

    proptest! {
        #[test]
        fn anything_is_survived(text in "\\PC{0,40}|[0-9.]{0,60}") {
            let _ = Version::found_in(&text);
            if let Ok(need) = need(&text) {
                prop_assert!(!need.program.starts_with('-'));
            }
        }
    }
}
