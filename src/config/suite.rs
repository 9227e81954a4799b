//! The suite's own `ostest.toml`.

use super::{Cores, Leftovers, LimitOptions, Need, Processes, Size, Skips, Span, StageOptions, check_labs};
use sandbox::groups::Groups;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is wrong with a suite's file, in one line: it stands in a sentence of a result and of the log.
fn in_a_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    format!("line {}: {message}", before.matches('\n').count() + 1)
}

/// The suite's own `ostest.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SuiteOptions {
    /// How the student's project is built before the suite runs.
    pub build: StageOptions,
    /// How the suite is started.
    pub test: SuiteTestOptions,
    /// Limits and needs by laboratory.
    pub lab: BTreeMap<String, SuiteLabOptions>,
    /// Programs of the host without which it cannot judge anybody.
    pub needs: Vec<Need>,
}

/// What a suite says of one laboratory.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "they are those of LimitOptions")]
pub struct SuiteLabOptions {
    pub mem_limit: Option<Size>,
    pub pids_limit: Option<Processes>,
    pub cpu_limit: Option<Cores>,
    pub disk_limit: Option<Size>,
    pub output_limit: Option<Size>,
    pub timeout: Option<Span>,
    pub leftovers: Option<Leftovers>,
    pub allow: Option<Groups>,
    /// Programs that it needs beside the suite's.
    pub needs: Vec<Need>,
}

impl SuiteLabOptions {
    /// Its limits.
    pub fn limits(&self) -> LimitOptions {
        LimitOptions {
            mem_limit: self.mem_limit,
            pids_limit: self.pids_limit,
            cpu_limit: self.cpu_limit,
            disk_limit: self.disk_limit,
            output_limit: self.output_limit,
            timeout: self.timeout,
            leftovers: self.leftovers,
            allow: self.allow,
        }
    }
}

/// How a suite wants to be run, by its own `ostest.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SuiteTestOptions {
    /// What starts it.
    pub command: Option<Vec<String>>,
    /// Wall clock of the whole suite.
    pub timeout: Option<Span>,
    /// Wall clock of each of set-up, call and tear-down of a test; none: only the suite's.
    pub test_timeout: Option<Span>,
    /// Files that a student's program must not read: patterns for a name, or with a slash for a path below the suite's
    /// top. None: [`HIDDEN`].
    pub hidden: Option<Vec<Hidden>>,
    /// What may be loaded into pytest.
    pub imports: Imports,
    /// Whether also code of the submission's may, of whatever kind: then it answers for itself.
    pub load_student_code: bool,
    /// Which tests may be skipped.
    pub skips: Skips,
    /// What becomes of programs that a test leaves running; none: they are ended.
    pub leftovers: Option<Leftovers>,
    /// Files that the suite makes in its own folders although they take the place of one that it has shipped: patterns as
    /// those of `hidden`.
    pub makes: Vec<Hidden>,
    /// Whether HOME can be written to.
    pub home: Home,
    /// Groups of system calls that it needs beside the others, in every laboratory.
    pub allow: Option<Groups>,
}

/// What HOME is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Home {
    /// An empty directory that nobody can write to: tools read their settings there.
    #[default]
    Empty,
    /// A directory that programs can write to, and students with them.
    Writable,
}

/// What may be loaded into pytest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Imports {
    /// What the suite has shipped, its environment and Python have.
    #[default]
    Suite,
    /// Also what was made while it ran, by itself or by the submission.
    Anything,
}

/// What pytest collects, and so holds the answers: hidden from students' programs where a suite says nothing else.
pub const HIDDEN: [&str; 3] = ["test_*.py", "*_test.py", "conftest.py"];

/// A pattern of hidden files, as a shell's: `*` and `?` match no slash, `**` matches folders.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hidden(glob::Pattern);

impl TryFrom<String> for Hidden {
    type Error = String;

    fn try_from(text: String) -> Result<Hidden, String> {
        glob::Pattern::new(&text).map(Hidden).map_err(|e| format!("{text:?} is no pattern of file names: {e}"))
    }
}

impl Hidden {
    /// Whether the file at this path below the suite's top is one of them.
    pub fn matches(&self, path: &str) -> bool {
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        let whole = self.0.as_str().contains('/');
        let shown = if whole { path } else { path.rsplit('/').next().unwrap_or(path) };
        self.0.matches_with(shown, options)
    }
}

impl SuiteTestOptions {
    /// Whether the file at this path below the suite's top is hidden from students' programs.
    pub fn hides(&self, path: &str) -> bool {
        match &self.hidden {
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(path)),
            None => HIDDEN.iter().any(|text| Hidden::try_from(text.to_string()).is_ok_and(|p| p.matches(path))),
        }
    }
}

impl SuiteOptions {
    /// Parses the text of an `ostest.toml`.
    pub fn parse(text: &str) -> Result<SuiteOptions, String> {
        let suite: SuiteOptions = toml::from_str(text)
            .map_err(|e| format!("the suite's ostest.toml is not valid: {}", in_a_line(text, &e)))?;
        check_labs(&suite.lab).map_err(|e| format!("the suite's ostest.toml: {e}"))?;
        Ok(suite)
    }

    /// What it says of a laboratory, or nothing.
    pub fn of_lab(&self, lab: Option<u32>) -> SuiteLabOptions {
        lab.and_then(|n| self.lab.get(&n.to_string())).cloned().unwrap_or_default()
    }

    /// The groups of system calls that it asks for in a laboratory; none where its file does not speak of any.
    pub fn asks_for(&self, lab: Option<u32>) -> Option<Groups> {
        let speaks = self.test.allow.is_some() || self.lab.values().any(|lab| lab.allow.is_some());
        speaks.then(|| self.test.allow.unwrap_or_default().and(self.of_lab(lab).allow.unwrap_or_default()))
    }

    /// What it needs for a laboratory.
    pub fn needs_of(&self, lab: Option<u32>) -> Vec<Need> {
        self.needs.iter().cloned().chain(self.of_lab(lab).needs).collect()
    }
}
