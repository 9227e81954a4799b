//! `spool`: what was taken and has no confirmed answer, for people to see and to decide on.

use super::options::STATE_DIR;
use super::{Failure, WRONG, out, table};
use crate::config::{BackendUrl, FileOptions};
use crate::spool::{Entry, Lying, Shelf, Stage};
use crate::text::visible_json;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
The spool is a directory of files in JSON, one for each attempt (docs/operators.md has the format). An attempt is taken while it is \
graded, waiting while the backend has not confirmed its result, rejected when the backend has refused it for good.

    ostest-sandbox spool list
    ostest-sandbox spool show attempt-21
    ostest-sandbox spool retry attempt-21@20261125T225031Z
    ostest-sandbox spool drop attempt-21@20261125T225031Z
    ostest-sandbox spool retry --all --status 500

A NAME is what `list` shows, or the backend's own name for the attempt. A running runner sees what is changed here within half a \
minute. Exit codes: 0 done, 1 not.";

/// Flags of `spool`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct SpoolArgs {
    #[command(subcommand)]
    what: What,
    /// Configuration file, for its state-dir
    #[arg(long, value_name = "FILE.toml", env = "OSTEST_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The runner's state directory [default: /var/lib/ostest-sandbox]
    #[arg(long, value_name = "DIR", env = "OSTEST_STATE_DIR", global = true)]
    state_dir: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum What {
    /// Show all entries, a line each
    List {
        /// As JSON: a list of entries with "name" and "file"
        #[arg(long)]
        json: bool,
    },
    /// Show one whole, as it is written
    Show {
        /// Name of the entry
        name: String,
    },
    /// Send a result again that was refused, or that was to go to another backend
    Retry {
        #[command(flatten)]
        which: Which,
        /// Send them to this backend instead of the one that handed them out
        #[arg(long, value_name = "URL")]
        backend_url: Option<BackendUrl>,
    },
    /// Throw results away: the backend gets no answer to these attempts
    Drop {
        #[command(flatten)]
        which: Which,
    },
}

/// Which entries are meant.
#[derive(Debug, Args)]
struct Which {
    /// Names of the entries
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// All that the backend has refused. What waits, and what is another backend's, has to be named
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Of these only those that were refused with this HTTP status
    #[arg(long, value_name = "CODE", requires = "all")]
    status: Option<u16>,
}

/// Does it; the number is the exit code.
pub fn main(args: &SpoolArgs) -> Result<u8, Failure> {
    let file = args.config.as_deref().map_or_else(|| Ok(FileOptions::default()), FileOptions::read);
    go(args, file.map_err(Failure::with(WRONG))?).map_err(Failure::with(1))
}

fn go(args: &SpoolArgs, file: FileOptions) -> anyhow::Result<u8> {
    let state_dir = args.state_dir.clone().or(file.state_dir).unwrap_or_else(|| STATE_DIR.into());
    let shelf = Shelf::of(&state_dir);
    match &args.what {
        What::List { json: true } => {
            // One at a time: a thousand of them can be longer than the memory.
            let mut sign = '[';
            for lying in shelf.list()? {
                out::print(format_args!("{sign}\n"))?;
                out::coloured(visible_json(&serde_json::to_string_pretty(&as_json(&lying))?))?;
                sign = ',';
            }
            out::line(if sign == '[' { "[]" } else { "\n]" })?;
        }
        What::List { json: false } => {
            let mut rows = vec![["NAME", "STATE", "SINCE", "BACKEND", "SAID"].map(String::from).to_vec()];
            rows.extend(shelf.list()?.iter().map(row));
            table::columns(&rows).iter().try_for_each(out::line)?;
        }
        What::Show { name } => {
            for lying in shelf.find(name)? {
                match lying.read() {
                    Ok(entry) => out::json(serde_json::to_string_pretty(&entry)?)?,
                    Err(_) => out::print(String::from_utf8_lossy(&std::fs::read(&lying.path)?))?,
                }
            }
        }
        What::Retry { which, backend_url } => {
            let backend = backend_url.as_deref().map(crate::backend::address_of).transpose()?;
            return each(which, &shelf, "waits for the backend", |lying| shelf.retry(lying, backend.as_deref()));
        }
        What::Drop { which } => return each(which, &shelf, "dropped", |lying| shelf.drop_entry(lying)),
    }
    Ok(0)
}

/// Does something with each entry that is meant. Where all are meant, one that fails does not keep it from the others.
fn each(which: &Which, shelf: &Shelf, done: &str, act: impl Fn(&Lying) -> anyhow::Result<()>) -> anyhow::Result<u8> {
    for name in &which.names {
        for lying in only(shelf, name)? {
            act(&lying)?;
            out::line(format_args!("{}: {done}", lying.name()))?;
        }
    }
    let mut failed = 0;
    for lying in if which.all { shelf.refused()? } else { Vec::new() } {
        if which.status.is_some_and(|wanted| !was_refused_with(&lying, wanted)) {
            continue;
        }
        match act(&lying) {
            Ok(()) => out::line(format_args!("{}: {done}", lying.name()))?,
            Err(error) => {
                failed = 1;
                out::say(format!("ostest-sandbox: {}: {error:#}", lying.name()));
            }
        }
    }
    Ok(failed)
}

fn was_refused_with(lying: &Lying, wanted: u16) -> bool {
    lying.read().is_ok_and(|entry| matches!(entry.stage, Stage::Rejected { status, .. } if status == wanted))
}

/// The one entry of this name. Where several answer to it, the person has to say which.
fn only(shelf: &Shelf, name: &str) -> anyhow::Result<Vec<Lying>> {
    let found = shelf.find(name)?;
    let exact = found.iter().any(|lying| lying.name() == name);
    let chosen: Vec<Lying> = found.into_iter().filter(|lying| !exact || lying.name() == name).collect();
    anyhow::ensure!(
        chosen.len() == 1,
        "{name:?} can be {}; name one of them",
        chosen.iter().map(Lying::name).collect::<Vec<_>>().join(" or ")
    );
    Ok(chosen)
}

fn row(lying: &Lying) -> Vec<String> {
    let (state, since, backend, said) = match lying.read() {
        Err(problem) => ("unreadable", String::new(), String::new(), in_short(lying, &problem)),
        Ok(entry) => (state(&entry), entry.since(), entry.backend.clone(), said(&entry)),
    };
    vec![lying.name(), state.to_string(), since, backend, said]
}

/// What is wrong with it. Where it is stands in its row.
fn in_short(lying: &Lying, problem: &anyhow::Error) -> String {
    lying.entry.as_ref().err().cloned().unwrap_or_else(|| problem.to_string())
}

fn state(entry: &Entry) -> &'static str {
    match entry.stage {
        Stage::Taken => "taken",
        Stage::Waiting { .. } => "waiting",
        Stage::Rejected { .. } => "rejected",
    }
}

/// What is told of an entry in a few words.
fn said(entry: &Entry) -> String {
    let summary = |result, whole: &Option<Value>| match whole {
        None => crate::backend::contract::summary(result),
        Some(_) => format!("{}, in its smallest form", crate::backend::contract::summary(result)),
    };
    match &entry.stage {
        Stage::Taken => "no result yet".into(),
        Stage::Waiting { result, whole, .. } => summary(result, whole),
        Stage::Rejected { result, whole, status, reason, .. } => {
            let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{}; refused with {status}: {reason}", summary(result, whole))
        }
    }
}

fn as_json(lying: &Lying) -> Value {
    let mut shown = match lying.read() {
        Ok(entry) => json!(entry),
        Err(problem) => json!({"state": "unreadable", "problem": in_short(lying, &problem)}),
    };
    shown["name"] = json!(lying.name());
    shown["file"] = json!(lying.path);
    shown
}
