//! The log's lines: what an event says, with what its spans say of the task that it belongs to, in one of three forms.
//!
//! A field that a span and an event have both stands there once, so a line names its task in one way however deep in the pipeline
//! it was written.

use super::journal;
use crate::text::{visible, visible_json, visible_line};
use serde_json::Value;
use std::fmt::{self, Write};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, message, fields.
    Text,
    /// For programs: an object.
    Json,
    /// For the journal: priority, level, message, fields.
    Journal,
}

/// Where lines go, a whole one at a time. It gives a sentence that is to stand in the log as well, where there is one.
pub type Sink = Box<dyn Fn(&[u8]) -> Option<String> + Send + Sync>;

/// What turns events into lines.
pub struct Lines {
    format: LogFormat,
    coloured: bool,
    sink: Sink,
}

impl Lines {
    /// Lines of this form, into this sink. `coloured` counts for text alone.
    pub fn new(format: LogFormat, coloured: bool, sink: Sink) -> Lines {
        Lines { format, coloured, sink }
    }

    fn write(&self, level: Level, fields: &Fields) -> Option<String> {
        let line = match self.format {
            LogFormat::Text => text(SystemTime::now(), level, fields, self.coloured),
            LogFormat::Json => json(SystemTime::now(), level, fields),
            LogFormat::Journal => journal::prefixed(level, &body(level, fields)),
        };
        (self.sink)(line.as_bytes())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                of_span.fields.iter().for_each(|(name, value)| fields.set(name, value.clone()));
            }
        }
        event.record(&mut fields);
        if let Some(more) = self.write(*event.metadata().level(), &fields) {
            self.write(Level::WARN, &Fields { message: more, fields: Vec::new() });
        }
    }
}

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
enum Shown {
    /// As its type prints it.
    Plain(String),
    /// A string, which text puts into quotes.
    Quoted(String),
    /// A number or a truth.
    Json(Value),
}

/// What an event or a span has.
#[derive(Debug, Clone, Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, Shown)>,
}

impl Fields {
    /// A name stands once, where it stood first.
    fn set(&mut self, name: &'static str, value: Shown) {
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.fields.push((name, value)),
        }
    }

    fn json(&mut self, field: &Field, value: impl Into<Value>) {
        self.set(field.name(), Shown::Json(value.into()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            // Of events that come from the crate `log`: where in the source that was.
            name if name.starts_with("log.") => {}
            name => self.set(name, Shown::Plain(format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name if name.starts_with("log.") => {}
            name => self.set(name, Shown::Quoted(value.to_owned())),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.json(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.json(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.json(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.json(field, value);
    }
}

fn text(time: SystemTime, level: Level, fields: &Fields, coloured: bool) -> String {
    let time = humantime::format_rfc3339_micros(time);
    let (dim, colour, off) = match (coloured, level) {
        (false, _) => ("", "", ""),
        (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
        (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
        (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
        (true, _) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
    };
    let body = body(level, fields);
    let (level, rest) = body.split_once(' ').unwrap_or((&body, ""));
    format!("{dim}{time}{off} {colour}{level:>5}{off} {rest}\n")
}

/// Level, the message's first line, the fields; and below, further in, what has more than one line, so that nothing that a tool or a
/// student has printed can pass for a line of the log.
fn body(level: Level, fields: &Fields) -> String {
    let mut message = fields.message.trim_end().lines();
    let mut line = format!("{level} {}", visible(message.next().unwrap_or_default()));
    let mut below = message.map(|more| format!("\n    {}", visible(more))).collect::<String>();
    for (name, value) in &fields.fields {
        // Writing to a string does not fail.
        let _ = match value {
            Shown::Plain(text) if text.trim_end().contains('\n') => {
                text.trim_end().lines().try_for_each(|one| write!(below, "\n    {name}: {}", visible(one)))
            }
            Shown::Plain(text) => write!(line, " {name}={}", visible(text.trim_end())),
            Shown::Quoted(text) => write!(line, " {name}={}", visible_line(&format!("{text:?}"))),
            Shown::Json(value) => write!(line, " {name}={value}"),
        };
    }
    line + &below
}

fn json(time: SystemTime, level: Level, fields: &Fields) -> String {
    let head = [
        ("timestamp", Value::from(humantime::format_rfc3339_micros(time).to_string())),
        ("level", Value::from(level.as_str())),
        ("message", Value::from(fields.message.as_str())),
    ];
    let fields = fields.fields.iter().map(|(name, value)| match value {
        Shown::Plain(text) | Shown::Quoted(text) => (*name, Value::from(text.as_str())),
        Shown::Json(value) => (*name, value.clone()),
    });
    // By hand, because a map would sort them, and people read these, too.
    let parts: Vec<String> =
        head.into_iter().chain(fields).map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
    format!("{{{}}}\n", visible_json(&parts.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::is_hidden;
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    /// What `events` write in this form.
    fn written(format: LogFormat, events: impl FnOnce()) -> String {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let shared = buffer.clone();
        let sink: Sink = Box::new(move |line| {
            shared.lock().unwrap().extend_from_slice(line);
            None
        });
        let subscriber = tracing_subscriber::registry().with(Lines::new(format, false, sink));
        tracing::subscriber::with_default(subscriber, events);
        let bytes = buffer.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn in_a_task() {
        let span = tracing::error_span!("task", task = %"attempt 7", slot = 1);
        span.in_scope(|| {
            tracing::info!(url = %"https://a/", quick = true, "fetched");
            tracing::warn!(task = %"attempt 7", reason = "a \"b\"", "said twice");
            tracing::error_span!("step", step = %"build").in_scope(|| tracing::error!("it failed:\nno such file\n"));
        });
        tracing::info!("ended");
    }

    #[test]
    fn a_line_in_a_task_names_it_once_and_others_name_none() {
        let text = written(LogFormat::Journal, in_a_task);
        let expected = [
            "<6>INFO fetched task=attempt 7 slot=1 url=https://a/ quick=true",
            "<4>WARN said twice task=attempt 7 slot=1 reason=\"a \\\"b\\\"\"",
            "<3>ERROR it failed: task=attempt 7 slot=1 step=build",
            "<3>    no such file",
            "<6>INFO ended",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        let text = written(LogFormat::Text, in_a_task);
        assert_eq!(text.matches("task=").count(), 3, "{text}");
        assert!(
            text.lines().next().unwrap().ends_with("Z  INFO fetched task=attempt 7 slot=1 url=https://a/ quick=true")
        );
    }

    #[test]
    fn json_has_the_tasks_fields_beside_the_events() {
        let text = written(LogFormat::Json, in_a_task);
        let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&all[0]["task"], &all[0]["slot"], &all[0]["quick"]),
            (&"attempt 7".into(), &1.into(), &true.into())
        );
        assert_eq!(text.lines().nth(1).unwrap().matches("\"task\"").count(), 1, "{text}");
        assert_eq!((&all[2]["message"], &all[2]["step"]), (&"it failed:\nno such file\n".into(), &"build".into()));
        assert!(text.starts_with("{\"timestamp\":\"") && all[3].get("task").is_none(), "{text}");
    }

    #[test]
    fn what_a_student_prints_is_no_line_of_the_log() {
        let said = "a\n2026-11-29T00:00:00Z ERROR forged task=attempt 1\x1b[2J\r\n<0>panic";
        let text =
            written(LogFormat::Text, || tracing::info!(stdout = %said, task = %"attempt 2", "what the suite printed"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("INFO what the suite printed task=attempt 2"), "{text}");
        assert_eq!(lines[2], "    stdout: 2026-11-29T00:00:00Z ERROR forged task=attempt 1\\x1b[2J");
        assert!(lines[1..].iter().all(|line| line.starts_with("    stdout: ")), "{text}");
    }

    #[test]
    fn what_the_sink_has_to_say_stands_in_the_log() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shared = lines.clone();
        let sink: Sink = Box::new(move |line| {
            let mut lines = shared.lock().unwrap();
            lines.push(String::from_utf8_lossy(line).into_owned());
            (lines.len() == 1).then(|| "some lines are elsewhere".into())
        });
        let subscriber = tracing_subscriber::registry().with(Lines::new(LogFormat::Journal, false, sink));
        tracing::subscriber::with_default(subscriber, || tracing::info!("a"));
        assert_eq!(*lines.lock().unwrap(), ["<6>INFO a\n", "<4>WARN some lines are elsewhere\n"]);
    }

    proptest! {
        #[test]
        fn whatever_is_said_only_its_first_line_begins_at_the_margin(message in "(\\PC|[\\n\\r\\t\\x1b\\u{9b}\\u{202e}]){0,60}", value in "(\\PC|[\\n\\r\\x1b\\u{85}\\u{2066}]){0,60}") {
            let fields = Fields { message, fields: vec![("a", Shown::Plain(value.clone())), ("b", Shown::Quoted(value))] };
            let text = text(SystemTime::UNIX_EPOCH, Level::INFO, &fields, false);
            let lines: Vec<&str> = text.lines().collect();
            prop_assert!(lines[0].starts_with("1970-01-01T00:00:00.000000Z  INFO "));
            prop_assert!(lines[1..].iter().all(|line| line.starts_with("    ")), "{:?}", lines);
            let obeyed = |text: &str| text.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t');
            prop_assert!(!obeyed(&text) && text.ends_with('\n'));
            let json = json(SystemTime::UNIX_EPOCH, Level::INFO, &fields);
            prop_assert_eq!(json.lines().count(), 1);
            prop_assert!(!obeyed(&json));
            let read: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read["message"].as_str(), Some(&*fields.message));
        }
    }
}
