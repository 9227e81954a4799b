//! The log: one line per event, to standard output, standard error or a file.

use super::journal::{complain, reads};
use super::lines::{Lines, LogFormat, Sink};
use super::logfile::LogFile;
use super::options::LogArgs;
use super::waiting::beside;
use crate::config::FileOptions;
use anyhow::Context;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;

/// The file, where the log goes to one. There is one log in a process.
static FILE: OnceLock<LogFile> = OnceLock::new();

/// Starts the log, once. `to_stdout`: where it goes without a file; commands that print results say no.
pub fn start(args: &LogArgs, file: &FileOptions, to_stdout: bool) -> anyhow::Result<()> {
    let level = args.logger_level.as_deref().or(file.logger_level.as_deref()).unwrap_or("error");
    let level = parse_level(level)?;
    let format = args.log_format.as_deref().or(file.log_format.as_deref()).map(parse_format).transpose()?;
    let output = args.logger_output.as_deref().or(file.logger_output.as_deref()).unwrap_or("");
    let (sink, coloured, journal): (Sink, bool, bool) = match output {
        "" if to_stdout => {
            let out = std::io::stdout();
            (Box::new(|line| beside(|| write(&mut std::io::stdout().lock(), line))), out.is_terminal(), reads(out))
        }
        "" => {
            let out = std::io::stderr();
            (Box::new(|line| beside(|| write(&mut std::io::stderr().lock(), line))), out.is_terminal(), reads(out))
        }
        path => {
            let log = LogFile::open(Path::new(path))?;
            let log = FILE.get_or_init(|| log);
            (Box::new(|line| log.write(line)), false, false)
        }
    };
    let format = format.unwrap_or(if journal { LogFormat::Journal } else { LogFormat::Text });
    // Libraries speak only of what is wrong; at debug level this project's own steps are wanted, not theirs.
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("ostest_sandbox", level)
        .with_default(level.min(LevelFilter::WARN));
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let lines = Lines::new(format, coloured, sink);
    tracing_subscriber::registry().with(filter).with(lines).try_init().context("the log cannot be started")
}

/// Who does not read the log any more keeps nobody from working.
fn write(out: &mut impl Write, line: &[u8]) -> Option<String> {
    let _ = out.write_all(line).and_then(|()| out.flush());
    None
}

/// Goes on in the file that the log's path names now: somebody has moved the old one away. Without a file nothing is done.
pub fn reopen() {
    let Some(Err(error)) = FILE.get().map(LogFile::reopen) else { return };
    let said = format!("{error:#}; lines go on to the one that was open: mend its directory, and send SIGHUP again");
    tracing::error!("{said}");
    // Nobody may ever read the old one.
    complain(&format!("ostest-sandbox: {said}"));
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

fn parse_format(name: &str) -> anyhow::Result<LogFormat> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        "journal" => LogFormat::Journal,
        _ => anyhow::bail!("--log-format {name:?} is none of text, json, journal"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn each_format_says_level_message_and_fields_and_no_secret() {
        for format in [LogFormat::Text, LogFormat::Json, LogFormat::Journal] {
            let buffer = Arc::new(Mutex::new(Vec::new()));
            let shared = buffer.clone();
            let sink: Sink = Box::new(move |line| write(&mut *shared.lock().unwrap(), line));
            let subscriber = tracing_subscriber::registry().with(Lines::new(format, false, sink));
            tracing::subscriber::with_default(subscriber, || {
                let password = SecretString::from("swordfish");
                tracing::info!(task = %"attempt 7", slot = 1, ?password, "taken");
                tracing::error!("the backend gave no task:\nit said \"no\"");
            });
            let text = String::from_utf8(buffer.lock().unwrap().clone()).unwrap();
            for said in ["INFO", "taken", "attempt 7", "ERROR", "no task", "REDACTED"] {
                assert!(text.contains(said), "{format:?}, {said}: {text}");
            }
            assert!(!text.contains("swordfish") && !text.contains('\x1b'), "{format:?}: {text}");
        }
    }

    #[test]
    fn a_format_that_is_none_is_named() {
        assert_eq!(parse_format("JSON").unwrap(), LogFormat::Json);
        assert!(parse_format("xml").is_err_and(|e| e.to_string().contains("xml")));
    }
}
