//! What the operator wants: the command line, the environment and the configuration file, put together.
//!
//! The command line wins over the environment, that over the file, that over the defaults. Keys of the file are the
//! flags without their dashes; unknown keys are errors. The suite's own `ostest.toml` may say how it is built and
//! started, and may lower limits, never raise them.

mod needs;
mod skips;

use crate::backend::contract::{ErrorLimit, MemoryUnit};
use crate::proxy::{Internal, Place};
use crate::units::{parse_duration, parse_size};
use sandbox::groups::Groups;
use sandbox::plan::Layer;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

pub use needs::{Need, Version};
pub use skips::Skips;

/// A size in bytes, written `512M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_size(text).map(Size)
    }
}

/// A duration, written `600` (seconds) or `10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Span)
    }
}

/// Cores, written `2` or `0.5`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cores(pub f64);

impl FromStr for Cores {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<f64>() {
            Ok(cores) if (0.01..=4096.0).contains(&cores) => Ok(Cores(cores)),
            _ => Err(format!("{text:?} is no number of cores: write 2 or 0.5")),
        }
    }
}

/// A number of processes and threads, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processes(pub u64);

impl FromStr for Processes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<u64>() {
            Ok(0) => Err(format!("{text:?} is no number of processes: a limit of zero would let nothing start")),
            Ok(number) => Ok(Processes(number)),
            Err(_) => Err(format!("{text:?} is no number of processes: write a whole number such as 256")),
        }
    }
}

/// Most characters of an error's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Characters(pub ErrorLimit);

impl FromStr for Characters {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Characters)
    }
}

/// A layer that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerName(pub Layer);

impl FromStr for LayerName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Layer::ALL.into_iter().find(|l| l.name() == text).map(LayerName).ok_or_else(|| {
            let known: Vec<_> = Layer::ALL.iter().map(|l| l.name()).collect();
            format!("{text:?} is no layer that can be waived; there are: {}", known.join(", "))
        })
    }
}

/// A host or a network of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalName(pub Internal);

impl FromStr for InternalName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(InternalName)
    }
}

/// Slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots(pub usize);

impl FromStr for Slots {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse() {
            Ok(number) if (1..=512).contains(&number) => Ok(Slots(number)),
            _ => Err(format!("{text:?} is no number of slots: write a whole number from 1 to 512")),
        }
    }
}

/// How long something may take: never 0, with which nothing could succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

impl FromStr for Patience {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match parse_duration(text)? {
            Duration::ZERO => Err(format!("{text:?} is a time in which nothing could succeed: write more than 0")),
            time => Ok(Patience(time)),
        }
    }
}

/// A unit of `memoryUsed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitName(pub MemoryUnit);

impl FromStr for UnitName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(UnitName)
    }
}

/// Makes a kind of text of which it is known that it is valid: by a function that says what is wrong with it.
macro_rules! checked_text {
    ($($(#[$about:meta])* $name:ident: $check:expr;)*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(text).map(|()| $name(text.into()))
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
    )*};
}
checked_text! {
    /// Where a backend is. One with a password in it is refused later, by who does not quote it as the parsers of flags and files do.
    BackendUrl: |text| match crate::backend::address_of(text) {
        Err(error) if !text.contains('@') => Err(error.to_string()),
        _ => Ok(()),
    };
    /// What URLs of repositories may begin with.
    UrlPrefix: crate::backend::allow::check_prefix;
    /// A level of the log.
    LevelName: |text| one_of(text, &["debug", "info", "warning", "warn", "error", "critical"]);
    /// A form of the log's lines.
    FormatName: |text| one_of(text, &["text", "json", "journal"]);
}

/// Whether it is one of these words, however it is written.
fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    match words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        true => Ok(()),
        false => Err(format!("{text:?} is none of {}", words.join(", "))),
    }
}

/// A place where repositories under a URL prefix are taken from, written `URLPREFIX=DIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// URLs that begin so.
    pub prefix: String,
    /// Directory that holds their rest.
    pub dir: PathBuf,
}

impl FromStr for Mirror {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('=') {
            Some((prefix, dir)) if prefix.contains("://") && !dir.is_empty() => {
                Ok(Mirror { prefix: prefix.into(), dir: dir.into() })
            }
            _ => Err(format!("{text:?} is no mirror: write URLPREFIX=DIR, such as https://github.com/=/srv/git")),
        }
    }
}

/// Reads a value of a configuration file through its `FromStr`: strings as on the command line, and bare numbers.
macro_rules! from_text_or_number {
    ($($kind:ty),*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Value { Text(String), Whole(i64), Real(f64) }
                let text = match Value::deserialize(input)? {
                    Value::Text(text) => text,
                    Value::Whole(number) => number.to_string(),
                    Value::Real(number) => number.to_string(),
                };
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
from_text_or_number!(Size, Span, Cores, Processes, Characters, LayerName, InternalName, Slots, Patience);
from_text_or_number!(UnitName, BackendUrl, UrlPrefix, LevelName, FormatName);

/// Limits of a task, as the operator or a suite gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitOptions {
    /// Memory of one task, without swap: a number with K, M or G (powers of 1024) [default: 512M]
    #[arg(long, value_name = "SIZE", env = "OSTEST_MEM_LIMIT", help_heading = "Limits")]
    pub mem_limit: Option<Size>,
    /// Processes and threads of one task [default: 256]
    #[arg(long, value_name = "N", env = "OSTEST_PIDS_LIMIT", help_heading = "Limits")]
    pub pids_limit: Option<Processes>,
    /// Cores of one task, such as 2 or 0.5 [default: the host's cores divided by --concurrent, at least 1]
    #[arg(long, value_name = "CORES", env = "OSTEST_CPU_LIMIT", help_heading = "Limits")]
    pub cpu_limit: Option<Cores>,
    /// Files of one task, in its work tree and in /tmp, each; they are held in memory and count as such [default: 256M]
    #[arg(long, value_name = "SIZE", env = "OSTEST_DISK_LIMIT", help_heading = "Limits")]
    pub disk_limit: Option<Size>,
    /// Output of one stage; more than that ends a build and is cut off a test run [default: 16M]
    #[arg(long, value_name = "SIZE", env = "OSTEST_OUTPUT_LIMIT", help_heading = "Limits")]
    pub output_limit: Option<Size>,
    /// Wall clock of one task's test stage: seconds, or 10m; 0 means a day [default: 600]
    #[arg(long, value_name = "TIME", env = "OSTEST_TIMEOUT", help_heading = "Limits")]
    pub timeout: Option<Span>,
    /// What a test leaves running. In files only.
    #[arg(skip)]
    pub leftovers: Option<Leftovers>,
    /// Groups of system calls that its tests may make beside the others. In files only.
    #[arg(skip)]
    pub allow: Option<Groups>,
}

/// What becomes of programs that still run at the end of the test that started them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leftovers {
    /// They are ended.
    End,
    /// They go on, until the run's end.
    Keep,
}

impl LimitOptions {
    /// Takes from `other` what is not set here.
    pub fn or(self, other: LimitOptions) -> LimitOptions {
        LimitOptions {
            mem_limit: self.mem_limit.or(other.mem_limit),
            pids_limit: self.pids_limit.or(other.pids_limit),
            cpu_limit: self.cpu_limit.or(other.cpu_limit),
            disk_limit: self.disk_limit.or(other.disk_limit),
            output_limit: self.output_limit.or(other.output_limit),
            timeout: self.timeout.or(other.timeout),
            leftovers: self.leftovers.or(other.leftovers),
            allow: self.allow.or(other.allow),
        }
    }
}

/// To the old runner 0 meant no limit. A task that never ends would hold its slot for ever, so here it is a day.
fn wall_clock(span: Span) -> Duration {
    if span.0.is_zero() { Duration::from_secs(24 * 3600) } else { span.0 }
}

/// Limits of a task, complete.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes, of the work tree and of /tmp each.
    pub disk: u64,
    /// Bytes.
    pub output: u64,
    /// Wall clock of the test stage.
    pub timeout: Duration,
}

impl Limits {
    /// The defaults, with the options over them.
    pub fn from_options(options: LimitOptions, concurrent: usize) -> Limits {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = (cores as f64 / concurrent.max(1) as f64).max(1.0);
        Limits {
            memory: options.mem_limit.map_or(512 << 20, |s| s.0),
            pids: options.pids_limit.map_or(256, |n| n.0),
            cpu_millis: (options.cpu_limit.map_or(share, |c| c.0) * 1000.0).round() as u64,
            disk: options.disk_limit.map_or(256 << 20, |s| s.0),
            output: options.output_limit.map_or(16 << 20, |s| s.0),
            timeout: options.timeout.map_or(Duration::from_secs(600), wall_clock),
        }
    }

    /// With the operator's word for one laboratory, which counts whichever way it goes.
    pub fn with(self, lab: LimitOptions) -> Limits {
        Limits {
            memory: lab.mem_limit.map_or(self.memory, |s| s.0),
            pids: lab.pids_limit.map_or(self.pids, |n| n.0),
            cpu_millis: lab.cpu_limit.map_or(self.cpu_millis, |c| (c.0 * 1000.0).round() as u64),
            disk: lab.disk_limit.map_or(self.disk, |s| s.0),
            output: lab.output_limit.map_or(self.output, |s| s.0),
            timeout: lab.timeout.map_or(self.timeout, wall_clock),
        }
    }

    /// With a suite's wishes, which may lower a limit and not raise it.
    pub fn lowered_by(self, wish: LimitOptions) -> Limits {
        let asked = self.with(wish);
        Limits {
            memory: asked.memory.min(self.memory),
            pids: asked.pids.min(self.pids),
            cpu_millis: asked.cpu_millis.min(self.cpu_millis),
            disk: asked.disk.min(self.disk),
            output: asked.output.min(self.output),
            timeout: asked.timeout.min(self.timeout),
        }
    }
}

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

/// How `[build]` is run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StageOptions {
    /// The command.
    pub command: Option<Vec<String>>,
    /// Wall clock.
    pub timeout: Option<Span>,
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
type Labs = BTreeMap<String, LimitOptions>;

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

fn check_labs<T>(labs: &BTreeMap<String, T>) -> Result<(), String> {
    // A section of another spelling, such as 01, would be valid and never found.
    let plain = |key: &str| key.parse::<u32>().is_ok_and(|number| number.to_string() == key);
    match labs.keys().find(|key| !plain(key)) {
        Some(wrong) => Err(format!("[lab.{wrong}] names no laboratory: write its number, such as [lab.1]")),
        None => Ok(()),
    }
}

/// The section of a laboratory, or nothing.
pub fn lab_section(labs: &Labs, lab: Option<u32>) -> LimitOptions {
    lab.and_then(|n| labs.get(&n.to_string())).copied().unwrap_or_default()
}

/// How tasks are graded: everything but the backend.
#[derive(Debug, Clone)]
pub struct Grading {
    /// The suite: a directory or a git URL.
    pub tests: String,
    /// Branch of a suite that is a git repository; none: its default branch.
    pub tests_branch: Option<String>,
    /// Limits without a laboratory's.
    pub limits: Limits,
    /// Handed to the suite.
    pub proxy_timeout: Duration,
    /// URL prefixes that repositories may have.
    pub allow_url: Vec<String>,
    /// Local places of repositories.
    pub mirrors: Vec<Mirror>,
    /// Parts of the operator's network that fetch and prepare may reach.
    pub allow_internal: Vec<Internal>,
    /// The backend, which they may not.
    pub backend: Option<Place>,
    /// Within what time of its hand-out a task is answered; none: whenever.
    pub answer_within: Option<Duration>,
    /// By URL prefix: who git is to servers with private repositories.
    pub credentials: BTreeMap<String, CredentialOptions>,
    /// The operator's sections.
    pub fetch: FetchOptions,
    /// The operator's sections.
    pub prepare: PrepareOptions,
    /// The operator's sections.
    pub build: StageOptions,
    /// The operator's sections.
    pub test: TestOptions,
    /// The operator's sections.
    pub labs: Labs,
}

impl Grading {
    /// The groups of system calls that the operator allows in a laboratory.
    pub fn allowed(&self, lab: Option<u32>) -> Groups {
        self.test.allow.unwrap_or_default().and(lab_section(&self.labs, lab).allow.unwrap_or_default())
    }

    /// The longest time that a build may take where an answer is due: two eighths of the whole. A build or a suite that ends by
    /// its own limit is the submission's; one that ends because the answer is due is nobody's. So these limits come first.
    pub fn longest_build(&self) -> Duration {
        self.answer_within.map_or(Duration::MAX, |within| within / 8 * 2)
    }

    /// The same for the suite: five eighths. The last eighth is for fetch and for what lies between.
    pub fn longest_test(&self) -> Duration {
        self.answer_within.map_or(Duration::MAX, |within| within / 8 * 5)
    }
}

/// What a host gives to every sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOptions {
    /// Everything that the runner keeps.
    pub state_dir: PathBuf,
    /// Waived layers.
    pub waived: Vec<Layer>,
    /// The interpreter for suites; none: `python3` from PATH.
    pub python: Option<PathBuf>,
    /// More host directories that are visible inside, read-only, at their own path.
    pub toolchain: Vec<PathBuf>,
}

#[cfg(test)]
mod tests;
