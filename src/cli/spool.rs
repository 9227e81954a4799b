//! `spool`: what was taken and has no confirmed answer, for people to see and to decide on.

use super::options::STATE_DIR;
use super::{Failure, WRONG, out, table};
use crate::config::{BackendUrl, FileOptions};
use crate::spool::{Entry, Lying, Shelf, Stage};
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
        /// Names of the entries
        #[arg(required = true)]
        names: Vec<String>,
        /// Send them to this backend instead of the one that handed them out
        #[arg(long, value_name = "URL")]
        backend_url: Option<BackendUrl>,
    },
    /// Throw results away: the backend gets no answer to these attempts
    Drop {
        /// Names of the entries
        #[arg(required = true)]
        names: Vec<String>,
    },
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
            let all: Vec<Value> = shelf.list()?.iter().map(as_json).collect();
            out::line(serde_json::to_string_pretty(&all)?)?;
        }
        What::List { json: false } => {
            let mut rows = vec![["NAME", "STATE", "SINCE", "BACKEND", "SAID"].map(String::from).to_vec()];
            rows.extend(shelf.list()?.iter().map(row));
            table::columns(&rows).iter().try_for_each(out::line)?;
        }
        What::Show { name } => {
            for lying in shelf.find(name)? {
                out::print(std::fs::read_to_string(&lying.path)?)?;
            }
        }
        What::Retry { names, backend_url } => {
            let backend = backend_url.as_deref().map(crate::backend::address_of).transpose()?;
            for name in names {
                for lying in only(&shelf, name)? {
                    shelf.retry(&lying, backend.as_deref())?;
                    out::line(format_args!("{}: waits for the backend", lying.name()))?;
                }
            }
        }
        What::Drop { names } => {
            for name in names {
                for lying in only(&shelf, name)? {
                    shelf.drop_entry(&lying)?;
                    out::line(format_args!("{}: dropped", lying.name()))?;
                }
            }
        }
    }
    Ok(0)
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
    let (state, since, backend, said) = match &lying.entry {
        Err(problem) => ("unreadable", String::new(), String::new(), problem.clone()),
        Ok(entry) => (state(entry), entry.since(), entry.backend.clone(), said(entry)),
    };
    vec![lying.name(), state.to_string(), since, backend, said]
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
    match &entry.stage {
        Stage::Taken => "no result yet".into(),
        Stage::Waiting { result, .. } => crate::backend::contract::summary(result),
        Stage::Rejected { result, status, reason, .. } => {
            let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{}; refused with {status}: {reason}", crate::backend::contract::summary(result))
        }
    }
}

fn as_json(lying: &Lying) -> Value {
    let mut shown = match &lying.entry {
        Ok(entry) => json!(entry),
        Err(problem) => json!({"state": "unreadable", "problem": problem}),
    };
    shown["name"] = json!(lying.name());
    shown["file"] = json!(lying.path);
    shown
}
