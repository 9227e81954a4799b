//! Flags that several commands share, and how they become settings.

use crate::backend::allow::DEFAULT_ALLOWED;
use crate::config::{
    BackendUrl, Characters, FileOptions, FormatName, Grading, HostOptions, InternalName, LayerName, LevelName,
    LimitOptions, Limits, Mirror, Patience, Slots, Span, UnitName, UrlPrefix,
};
use anyhow::Context;
use clap::Args;
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// The course's own suite, which the old runner knew alone.
const COURSE_SUITE: &str = "https://github.com/os-nsu/tests.git";

/// Where the runner keeps everything unless told otherwise.
pub const STATE_DIR: &str = "/var/lib/ostest-sandbox";

/// Flags of the runner.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Where the backend is [default: http://localhost:5000]
    #[arg(long, value_name = "URL", env = "OSTEST_BACKEND_URL", help_heading = "Backend")]
    pub backend_url: Option<BackendUrl>,
    /// Log in first (also written -auth)
    #[arg(long, help_heading = "Backend")]
    pub auth: bool,
    /// Name to log in with [default: dora_explorer]
    #[arg(long, env = "OSTEST_LOGIN", help_heading = "Backend")]
    pub login: Option<String>,
    /// Password to log in with; on a shared host give it by OSTEST_PASSWORD or --password-file, argv is public [default: dora_explorer]
    #[arg(long, env = "OSTEST_PASSWORD", hide_env_values = true, help_heading = "Backend")]
    pub password: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", env = "OSTEST_PASSWORD_FILE", help_heading = "Backend")]
    pub password_file: Option<PathBuf>,
    /// Path that hands out tasks [default: /api/task/available]
    #[arg(long, value_name = "PATH", help_heading = "Backend")]
    pub get_api: Option<String>,
    /// Path that takes results [default: /api/task/result]
    #[arg(long, value_name = "PATH", help_heading = "Backend")]
    pub post_api: Option<String>,
    /// Path that logs in [default: /api/v1/login]
    #[arg(long, value_name = "PATH", help_heading = "Backend")]
    pub login_api: Option<String>,
    /// Path that renews a token [default: /api/v1/auth/refresh]
    #[arg(long, value_name = "PATH", help_heading = "Backend")]
    pub token_refresh_api: Option<String>,
    /// Age at which a token is renewed [default: 60]
    #[arg(long, value_name = "TIME", help_heading = "Backend")]
    pub refresh_time: Option<Span>,
    /// Pause between questions for a task when there is none, at least 0.1 [default: 5]
    #[arg(long, value_name = "TIME", help_heading = "Backend")]
    pub check_interval: Option<Span>,
    /// How long connecting to the backend may take [default: 10]
    #[arg(long, value_name = "TIME", help_heading = "Backend")]
    pub connect_timeout: Option<Patience>,
    /// How long the backend may send nothing, before and within an answer [default: 30]
    #[arg(long, value_name = "TIME", help_heading = "Backend")]
    pub idle_timeout: Option<Patience>,
    /// How long a whole call of the backend may take [default: 60]
    #[arg(long, value_name = "TIME", help_heading = "Backend")]
    pub request_timeout: Option<Patience>,
    /// File with the certificates (PEM) that an https backend is to be known by, instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Backend")]
    pub ca_file: Option<PathBuf>,
    /// Accepted and without effect: this runner is told of a process's end, it does not look for it
    #[arg(long, value_name = "TIME", help_heading = "Backend")]
    pub check_proc_interval: Option<Span>,
    /// Refused: predefined results must not reach a backend; `ostest-sandbox mock-backend` is for trying out
    #[arg(long, hide = true)]
    pub mock: bool,
    /// Unit of memoryUsed: B, KiB or MiB [default: KiB]
    #[arg(long, value_name = "UNIT", help_heading = "Backend")]
    pub memory_unit: Option<UnitName>,
    /// Most characters of errorDetails, for a backend that keeps no more; a case named ostest::error says the whole [default: no such limit]
    #[arg(long, value_name = "N", help_heading = "Backend")]
    pub error_limit: Option<Characters>,
    /// Take what the backend has, then exit with 0
    #[arg(long)]
    pub once: bool,
    /// Grade tasks again that an earlier run was killed over, instead of answering them as interrupted
    #[arg(long)]
    pub resume: bool,
    /// How long running tasks may go on after the first SIGTERM or SIGINT [default: as long as --timeout]
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<Span>,
    /// Answer each task within this time of its hand-out, before the backend gives it up [default: no limit]
    #[arg(long, value_name = "TIME", help_heading = "Backend")]
    pub answer_within: Option<Patience>,
    /// Ignored; kept for compatibility
    #[arg(long, value_name = "N", hide = true)]
    pub quarantine_after: Option<u32>,
    /// Tasks that are graded at a time: slots [default: 2]
    #[arg(long, value_name = "N", env = "OSTEST_CONCURRENT")]
    pub concurrent: Option<Slots>,
    /// Give each slot cores of its own, so that tasks do not slow each other down (cgroup v2 only)
    #[arg(long)]
    pub pin_cores: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a flattened group would show its doc as help")]
    pub grading: GradingArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a flattened group would show its doc as help")]
    pub limits: LimitOptions,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a flattened group would show its doc as help")]
    pub host: HostArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a flattened group would show its doc as help")]
    pub log: LogArgs,
}

/// Flags on how a submission is graded.
#[derive(Debug, Clone, Args)]
pub struct GradingArgs {
    /// The test suite: a directory or a git URL [default: https://github.com/os-nsu/tests.git]
    #[arg(long, value_name = "DIR-or-URL", env = "OSTEST_TESTS", help_heading = "Grading")]
    pub tests: Option<String>,
    /// Branch of a suite that is a git URL [default: the repository's own]
    #[arg(long, value_name = "NAME", help_heading = "Grading")]
    pub tests_branch: Option<String>,
    /// Seconds that the suite gives to the program under test [default: 10]
    #[arg(long, value_name = "TIME", help_heading = "Grading")]
    pub proxy_timeout: Option<Span>,
    /// Take repositories under this prefix from a local directory of git repositories (repeatable)
    #[arg(long, value_name = "URLPREFIX=DIR", help_heading = "Grading")]
    pub git_mirror: Vec<Mirror>,
    /// Prefix that a repository's URL may have (repeatable) [default: https://github.com/ and the mirrors]
    #[arg(long, value_name = "PREFIX", help_heading = "Grading")]
    pub allow_url: Vec<UrlPrefix>,
    /// A host or network of your own that git and pip may reach, such as git.example.internal:443 or 10.1.0.0/16 (repeatable)
    #[arg(
        long,
        value_name = "HOST-or-NETWORK",
        env = "OSTEST_ALLOW_INTERNAL",
        value_delimiter = ',',
        help_heading = "Grading"
    )]
    pub allow_internal: Vec<InternalName>,
}

/// Flags on the host.
#[derive(Debug, Clone, Args)]
pub struct HostArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE.toml", env = "OSTEST_CONFIG", help_heading = "Host")]
    pub config: Option<PathBuf>,
    /// Directory for everything that the runner keeps; two runners use two [default: /var/lib/ostest-sandbox]
    #[arg(long, value_name = "DIR", env = "OSTEST_STATE_DIR", help_heading = "Host")]
    pub state_dir: Option<PathBuf>,
    /// Go on without this layer of containment where the host lacks it: landlock, seccomp, swap-limit or cpu-limit (repeatable)
    #[arg(long, value_name = "LAYER", help_heading = "Host")]
    pub allow_degraded: Vec<LayerName>,
}

/// Flags on the log.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// debug, info, warning, error or critical [default: error]
    #[arg(long, value_name = "LEVEL", env = "OSTEST_LOGGER_LEVEL", help_heading = "Log")]
    pub logger_level: Option<LevelName>,
    /// File for the log; empty: standard output (standard error for grade, exec and check)
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    pub logger_output: Option<String>,
    /// text, json (an object a line) or journal (a priority before each line) [default: journal where the journal reads it, else text]
    #[arg(long, value_name = "FORMAT", env = "OSTEST_LOG_FORMAT", help_heading = "Log")]
    pub log_format: Option<FormatName>,
}

impl HostArgs {
    /// The configuration file's content, or nothing.
    pub fn file(&self) -> anyhow::Result<FileOptions> {
        self.config.as_deref().map_or_else(|| Ok(FileOptions::default()), FileOptions::read)
    }

    /// Together with the file and the defaults.
    pub fn resolve(&self, file: &FileOptions) -> HostOptions {
        let state_dir = self.state_dir.clone().or_else(|| file.state_dir.clone());
        HostOptions {
            state_dir: state_dir.unwrap_or_else(|| STATE_DIR.into()),
            waived: self.allow_degraded.iter().chain(&file.allow_degraded).map(|l| l.0).collect(),
            python: file.python.clone(),
            toolchain: file.toolchain.clone(),
        }
    }
}

impl GradingArgs {
    /// Together with the file and the defaults. `concurrent` shares out the host's cores.
    pub fn resolve(&self, limits: LimitOptions, file: &FileOptions, concurrent: usize) -> anyhow::Result<Grading> {
        let tests = self.tests.clone().or_else(|| file.tests.clone());
        let tests = tests.unwrap_or_else(|| COURSE_SUITE.to_string());
        let tests = if crate::task::suite::is_git(&tests) {
            tests
        } else {
            let path = std::fs::canonicalize(&tests);
            let path = path.with_context(|| {
                format!("--tests {tests}: the test suite cannot be found; name a directory, or a git URL such as {COURSE_SUITE}")
            })?;
            anyhow::ensure!(
                path.is_dir(),
                "--tests {tests}: the test suite is no directory; name one, or a git URL such as {COURSE_SUITE}"
            );
            path.display().to_string()
        };
        let mut mirrors = self.git_mirror.clone();
        mirrors.extend(file.git_mirror.iter().map(|(prefix, dir)| Mirror { prefix: prefix.clone(), dir: dir.clone() }));
        if let Some(wrong) = mirrors.iter().find(|m| !m.dir.is_dir()) {
            anyhow::bail!(
                "--git-mirror {}={}: the mirror is no directory; name one that holds git repositories",
                wrong.prefix,
                wrong.dir.display()
            );
        }
        for (prefix, options) in &file.credentials {
            let wrong = |why: String| anyhow::anyhow!("[credentials.{prefix:?}]: {why}");
            crate::backend::allow::check_prefix(prefix).and_then(|()| options.check()).map_err(wrong)?;
        }
        let given = if self.allow_url.is_empty() { file.allow_url.as_deref() } else { Some(&self.allow_url[..]) };
        let mut allow_url: Vec<String> = match given {
            Some(prefixes) => prefixes.iter().map(|prefix| prefix.to_string()).collect(),
            None => vec![DEFAULT_ALLOWED.into()],
        };
        // A mirror is the operator's word that what it holds may be graded.
        allow_url.extend(mirrors.iter().map(|m| m.prefix.clone()));
        Ok(Grading {
            tests,
            tests_branch: self.tests_branch.clone().or_else(|| file.tests_branch.clone()),
            limits: Limits::from_options(limits.or(file.limits()), concurrent),
            proxy_timeout: self.proxy_timeout.or(file.proxy_timeout).map_or(Duration::from_secs(10), |s| s.0),
            allow_url,
            mirrors,
            allow_internal: self.allow_internal.iter().chain(&file.allow_internal).map(|i| i.0.clone()).collect(),
            backend: None,
            answer_within: None,
            credentials: file.credentials.clone(),
            fetch: file.fetch.clone(),
            prepare: file.prepare.clone(),
            build: file.build.clone(),
            test: file.test.clone(),
            labs: file.lab.clone(),
        })
    }
}

impl RunArgs {
    /// The password, from wherever it stands: command line, environment, file, configuration, default.
    pub fn password(&self, file: &FileOptions) -> anyhow::Result<SecretString> {
        if let Some(password) = &self.password {
            return Ok(password.clone().into());
        }
        if let Some(path) = self.password_file.as_ref().or(file.password_file.as_ref()) {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("--password-file: the password file {} cannot be read", path.display()))?;
            let line = text.lines().next().unwrap_or_default();
            // One that was forgotten: a login with no password would only be refused, again and again.
            anyhow::ensure!(
                !line.is_empty(),
                "--password-file: the password file {} has no first line: write the password there",
                path.display()
            );
            return Ok(line.to_string().into());
        }
        Ok(file.password.clone().unwrap_or_else(|| "dora_explorer".into()).into())
    }
}
