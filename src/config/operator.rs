//! The operator's configuration file.

use super::{
    BackendUrl, Characters, Cores, FormatName, InternalName, LayerName, LevelName, LimitOptions, Patience, Processes,
    Size, Skips, Slots, Span, StageOptions, UnitName, UrlPrefix, check_labs,
};
use crate::proxy::Place;
use sandbox::groups::Groups;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How the test stage is run: the operator's `[test]`, which goes before the suite's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TestOptions {
    /// What starts the suite: a template with `{project} {lab} {labs} {proxy_timeout} {report}`.
    pub command: Option<Vec<String>>,
    /// Wall clock of the whole suite.
    pub timeout: Option<Span>,
    /// Wall clock of each of set-up, call and tear-down of a test; none: only the suite's.
    pub test_timeout: Option<Span>,
    /// Which tests may be skipped; none: the suite's word.
    pub skips: Option<Skips>,
    /// Groups of system calls that tests of every laboratory may make beside the others.
    pub allow: Option<Groups>,
}

/// `[fetch]`: git.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FetchOptions {
    /// More environment, for example proxy variables.
    pub env: BTreeMap<String, String>,
    /// Wall clock.
    pub timeout: Option<Span>,
    /// Bytes that go through its proxy, in both directions; none: what the disk limit makes of it.
    pub traffic_limit: Option<Size>,
}

/// `[prepare]`: venv and pip.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PrepareOptions {
    /// More environment, for example proxy variables or PIP_INDEX_URL.
    pub env: BTreeMap<String, String>,
    /// Wall clock.
    pub timeout: Option<Span>,
    /// Bytes that go through its proxy, in both directions.
    pub traffic_limit: Option<Size>,
    /// Hosts that packages may come from, beside the indexes of `env`; none: what those and the suite's requirements name, and
    /// without an index any public host.
    pub hosts: Option<Vec<Place>>,
}

/// `[credentials."URLPREFIX"]`: how git shows who it is to a server with private repositories.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CredentialOptions {
    /// The user's name, which many servers ignore.
    pub user: String,
    /// A file whose first line is the token or password.
    pub token_file: Option<PathBuf>,
    /// The same as a credential of systemd's (`LoadCredential=NAME:…`).
    pub token_credential: Option<String>,
}

impl CredentialOptions {
    /// What is wrong with them, as the rest of a sentence.
    pub fn check(&self) -> Result<(), String> {
        let plain = |name: &String| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        // A colon ends the name in the header of Basic authentication (RFC 7617).
        if self.user.contains(|c: char| c == ':' || c.is_control()) {
            return Err("user holds a colon or a control character".into());
        }
        match (&self.token_file, &self.token_credential) {
            (Some(file), None) if file.is_absolute() => Ok(()),
            (Some(_), None) => Err("token-file is no absolute path".into()),
            (None, Some(name)) if plain(name) => Ok(()),
            (None, Some(_)) => Err("token-credential is no name of a credential".into()),
            _ => Err("it needs either token-file or token-credential".into()),
        }
    }
}

/// Laboratory numbers are TOML keys, hence strings.
pub type Labs = BTreeMap<String, LimitOptions>;

/// The operator's file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each key is the flag of its name, described in the command line's help")]
pub struct FileOptions {
    pub backend_url: Option<BackendUrl>,
    pub auth: Option<bool>,
    pub login: Option<String>,
    pub password: Option<String>,
    pub password_file: Option<PathBuf>,
    pub get_api: Option<String>,
    pub post_api: Option<String>,
    pub login_api: Option<String>,
    pub token_refresh_api: Option<String>,
    pub refresh_time: Option<Span>,
    pub connect_timeout: Option<Patience>,
    pub idle_timeout: Option<Patience>,
    pub request_timeout: Option<Patience>,
    pub ca_file: Option<PathBuf>,
    pub resume: Option<bool>,
    pub drain_timeout: Option<Span>,
    pub answer_within: Option<Patience>,
    // Ignored; kept for compatibility.
    pub quarantine_after: Option<u32>,
    pub concurrent: Option<Slots>,
    pub pin_cores: Option<bool>,
    pub check_interval: Option<Span>,
    pub proxy_timeout: Option<Span>,
    pub logger_level: Option<LevelName>,
    pub logger_output: Option<String>,
    pub log_format: Option<FormatName>,
    pub memory_unit: Option<UnitName>,
    pub error_limit: Option<Characters>,
    pub state_dir: Option<PathBuf>,
    pub tests: Option<String>,
    pub tests_branch: Option<String>,
    pub git_mirror: BTreeMap<String, PathBuf>,
    pub allow_url: Option<Vec<UrlPrefix>>,
    pub allow_internal: Vec<InternalName>,
    pub allow_degraded: Vec<LayerName>,
    pub python: Option<PathBuf>,
    pub toolchain: Vec<PathBuf>,
    pub mem_limit: Option<Size>,
    pub pids_limit: Option<Processes>,
    pub cpu_limit: Option<Cores>,
    pub disk_limit: Option<Size>,
    pub output_limit: Option<Size>,
    pub timeout: Option<Span>,
    pub credentials: BTreeMap<String, CredentialOptions>,
    pub fetch: FetchOptions,
    pub prepare: PrepareOptions,
    pub build: StageOptions,
    pub test: TestOptions,
    pub lab: Labs,
}

impl FileOptions {
    /// Reads the operator's file.
    pub fn read(path: &Path) -> anyhow::Result<FileOptions> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| anyhow::anyhow!("the configuration {} cannot be read: {e}", path.display()))?;
        FileOptions::parse(&text).map_err(|e| anyhow::anyhow!("the configuration {} {e}", path.display()))
    }

    /// Parses the text of an operator's file.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence.
    pub fn parse(text: &str) -> Result<FileOptions, String> {
        let file: FileOptions = toml::from_str(text).map_err(|e| format!("is not valid: {}", told(text, &e)))?;
        check_labs(&file.lab).map_err(|e| format!("is not valid: {e}"))?;
        Ok(file)
    }

    /// Its limits.
    pub fn limits(&self) -> LimitOptions {
        LimitOptions {
            mem_limit: self.mem_limit,
            pids_limit: self.pids_limit,
            cpu_limit: self.cpu_limit,
            disk_limit: self.disk_limit,
            output_limit: self.output_limit,
            timeout: self.timeout,
            leftovers: None,
            allow: None,
        }
    }
}

/// What is wrong with an operator's file. The parser's own words quote the line, and a value that is of the wrong type: not
/// where a password may stand in the file, because they go into logs. That is wherever the word is: what the parser takes for
/// the beginning of a line is its own affair (a carriage return will do).
fn told(text: &str, error: &toml::de::Error) -> String {
    let names = |word: &str, part: &str| part.split(word).skip(1).any(|rest| !rest.starts_with('-'));
    let names_password = |part: &str| names("password", part);
    // Somebody may write a token itself where its file belongs.
    if !names_password(text) && !names("token", text) {
        return error.to_string();
    }
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = before.matches('\n').count();
    match text.lines().nth(number) {
        Some(line) if names_password(line) => format!("line {}: the password has to be a text in quotes", number + 1),
        _ => format!("line {}: {}", number + 1, error.message()),
    }
}

/// The section of a laboratory, or nothing.
pub fn lab_section(labs: &Labs, lab: Option<u32>) -> LimitOptions {
    lab.and_then(|n| labs.get(&n.to_string())).copied().unwrap_or_default()
}
