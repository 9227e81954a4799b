//! The log: one line per event, to standard output, standard error or a file.

use super::journal::{self, JournalFormat};
use super::options::LogArgs;
use crate::config::FileOptions;
use anyhow::Context;
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::registry::LookupSpan;

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogFormat {
    /// For people: time, level, message, fields.
    Text,
    /// For programs: an object.
    Json,
    /// For the journal: priority, level, message, fields.
    Journal,
}

/// Starts the log, once. `to_stdout`: where it goes without a file; commands that print results say no.
pub fn start(args: &LogArgs, file: &FileOptions, to_stdout: bool) -> anyhow::Result<()> {
    let level = args.logger_level.as_deref().or(file.logger_level.as_deref()).unwrap_or("error");
    let level = parse_level(level)?;
    let format = args.log_format.as_deref().or(file.log_format.as_deref()).map(parse_format).transpose()?;
    let output = args.logger_output.as_deref().or(file.logger_output.as_deref()).unwrap_or("");
    let (writer, colour, journal) = match output {
        "" if to_stdout => {
            let out = std::io::stdout();
            (BoxMakeWriter::new(std::io::stdout), out.is_terminal(), journal::reads(out))
        }
        "" => {
            let out = std::io::stderr();
            (BoxMakeWriter::new(std::io::stderr), out.is_terminal(), journal::reads(out))
        }
        path => {
            let log = std::fs::File::options().create(true).append(true).open(path);
            let log = log.with_context(|| format!("the log file {path} cannot be opened"))?;
            (BoxMakeWriter::new(std::sync::Mutex::new(log)), false, false)
        }
    };
    let format = format.unwrap_or(if journal { LogFormat::Journal } else { LogFormat::Text });
    // Libraries speak only of what is wrong; at debug level this project's own steps are wanted, not theirs.
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("ostest_sandbox", level)
        .with_default(level.min(LevelFilter::WARN));
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let lines = lines(format, writer, colour);
    tracing_subscriber::registry().with(filter).with(lines).try_init().context("the log cannot be started")
}

/// What turns events into lines.
fn lines<S, W>(format: LogFormat, writer: W, colour: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A line that cannot be written is lost. To say so on standard error, which may be as closed, would be a panic.
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false).log_internal_errors(false);
    match format {
        LogFormat::Text => layer.with_ansi(colour).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Journal => layer.with_ansi(false).event_format(JournalFormat::default()).boxed(),
    }
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

    /// What these two events look like, with a secret among their fields.
    fn written(format: LogFormat) -> String {
        #[derive(Clone, Default)]
        struct Buffer(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Buffer {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry().with(lines(format, move || writer.clone(), false));
        tracing::subscriber::with_default(subscriber, || {
            let password = SecretString::from("swordfish");
            tracing::info!(task = %"attempt 7", slot = 1, ?password, "taken");
            tracing::error!("the backend gave no task:\nit said \"no\"");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_format_says_level_message_and_fields_and_no_secret() {
        for format in [LogFormat::Text, LogFormat::Json, LogFormat::Journal] {
            let text = written(format);
            for said in ["INFO", "taken", "attempt 7", "ERROR", "no task", "REDACTED"] {
                assert!(text.contains(said), "{format:?}, {said}: {text}");
            }
            assert!(!text.contains("swordfish") && !text.contains('\x1b'), "{format:?}: {text}");
        }
    }

    #[test]
    fn json_is_an_object_a_line() {
        let text = written(LogFormat::Json);
        let all: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(all.len(), 2, "{text}");
        let first = (&all[0]["level"], &all[0]["message"], &all[0]["task"], &all[0]["slot"]);
        assert_eq!(format!("{first:?}"), r#"(String("INFO"), String("taken"), String("attempt 7"), Number(1))"#);
        assert!(all[0]["timestamp"].as_str().is_some_and(|t| t.ends_with('Z')), "{text}");
        assert_eq!(all[1]["message"], "the backend gave no task:\nit said \"no\"");
    }

    #[test]
    fn the_journal_gets_a_priority_on_each_line_and_no_time() {
        let text = written(LogFormat::Journal);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("<6>INFO taken task=attempt 7 slot=1"), "{text}");
        assert_eq!(lines[1..], ["<3>ERROR the backend gave no task:", "<3>it said \"no\""]);
    }

    #[test]
    fn a_format_that_is_none_is_named() {
        assert_eq!(parse_format("JSON").unwrap(), LogFormat::Json);
        assert!(parse_format("xml").is_err_and(|e| e.to_string().contains("xml")));
    }
}
