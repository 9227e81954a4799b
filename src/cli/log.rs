//! The log: one line per event, to standard output, standard error or a file.

use super::options::LogArgs;
use crate::config::FileOptions;
use anyhow::Context;
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Starts the log, once. `to_stdout`: where it goes without a file; commands that print results say no.
pub fn start(args: &LogArgs, file: &FileOptions, to_stdout: bool) -> anyhow::Result<()> {
    let level = args.logger_level.as_deref().or(file.logger_level.as_deref()).unwrap_or("error");
    let level = parse_level(level)?;
    let output = args.logger_output.as_deref().or(file.logger_output.as_deref()).unwrap_or("");
    let (writer, colour) = match output {
        "" if to_stdout => (BoxMakeWriter::new(std::io::stdout), std::io::stdout().is_terminal()),
        "" => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
        path => {
            let log = std::fs::File::options().create(true).append(true).open(path);
            let log = log.with_context(|| format!("the log file {path} cannot be opened"))?;
            (BoxMakeWriter::new(std::sync::Mutex::new(log)), false)
        }
    };
    // Libraries speak only of what is wrong; at debug level this project's own steps are wanted, not theirs.
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("ostest_sandbox", level)
        .with_default(level.min(LevelFilter::WARN));
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colour).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).try_init().context("the log cannot be started")
}

/// The old runner's names. `critical` has no level of its own here: errors are the least that is said.
fn parse_level(name: &str) -> anyhow::Result<LevelFilter> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warning" | "warn" => LevelFilter::WARN,
        "error" | "critical" => LevelFilter::ERROR,
        _ => anyhow::bail!("--logger-level {name:?} is none of debug, info, warning, error, critical"),
    })
}
