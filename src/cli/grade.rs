//! `grade`: one local submission, without a backend.

use super::options::{GradingArgs, HostArgs, LogArgs};
use super::signals::Signals;
use super::waiting::Waiting;
use super::{Failure, out, table};
use crate::backend::contract::{MemoryUnit, render_local};
use crate::config::LimitOptions;
use crate::contain::slots::Slot;
use crate::task::{Assignment, Graded, Source};
use crate::text::visible_json;
use anyhow::Context;
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Exit code where nothing could be graded.
const COULD_NOT: u8 = 2;

const AFTER_HELP: &str = "\
PROJECT is copied and never written to. Exit codes: 0 all tests passed, 1 some did not, 2 it could not be graded.

    sudo ostest-sandbox grade ~/proxy --tests ~/course-tests --lab 1 --html report.html";

/// Flags of `grade`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct GradeArgs {
    /// Directory of the submission
    project: PathBuf,
    /// Laboratory number (repeatable)
    #[arg(long, value_name = "N")]
    lab: Vec<u32>,
    /// Run only this test: function, module::function or node id (repeatable)
    #[arg(long, value_name = "TEST")]
    test: Vec<String>,
    /// Write the result as JSON, as the backend would get it and more
    #[arg(long, value_name = "F")]
    json: Option<PathBuf>,
    /// Write the result as a page for a browser
    #[arg(long, value_name = "F")]
    html: Option<PathBuf>,
    #[command(flatten)]
    grading: GradingArgs,
    #[command(flatten)]
    limits: LimitOptions,
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Grades the submission; the number is the exit code.
pub fn main(args: &GradeArgs, signals: Signals) -> Result<u8, Failure> {
    go(args, signals).map_err(Failure::with(COULD_NOT))
}

fn go(args: &GradeArgs, signals: Signals) -> anyhow::Result<u8> {
    let file = args.host.file()?;
    let project = args.project.canonicalize();
    let project = project.with_context(|| format!("the project {} cannot be found", args.project.display()))?;
    anyhow::ensure!(project.is_dir(), "the project {} is no directory", project.display());
    let grading = args.grading.resolve(args.limits, &file, 1)?;
    let host = super::open_host(&args.host, &args.log, &file, super::For::Grading)?;
    let slot = Slot::take(0)?;
    let assignment = Assignment {
        attempt: "local".into(),
        source: Source::Directory(project.clone()),
        labs: args.lab.clone(),
        connected_tests: args.test.clone(),
    };
    let cancel = CancellationToken::new();
    let graded = super::runtime()?.block_on(async {
        tokio::spawn(signals.cancel(cancel.clone()));
        let mut waiting = Waiting::begin("");
        let mut progress = |event| waiting.hear(event);
        crate::task::grade(&host, &grading, &slot, &assignment, None, &cancel, &mut progress).await
    });
    host.release();
    // The files are written in any case.
    let printed = out::coloured(table::show(&graded, std::io::stdout().is_terminal()));
    write_files(args, &graded, &project.display().to_string())?;
    printed?;
    Ok(match (graded.verdict.is_passed(), &graded.verdict.error) {
        (true, _) => 0,
        (false, Some(_)) => COULD_NOT,
        (false, None) => 1,
    })
}

fn write_files(args: &GradeArgs, graded: &Graded, title: &str) -> anyhow::Result<()> {
    if let Some(path) = &args.json {
        let mut extra = serde_json::Map::new();
        if let Some(outcome) = &graded.outcome {
            extra.insert("policy".into(), outcome.allowed.on("test").into());
            extra.insert("outcome".into(), serde_json::to_value(outcome)?);
            let source = outcome.usage.memory_peak.as_ref().map(|f| f.source.as_str());
            extra.insert("memorySource".into(), source.into());
            extra.insert("memoryScope".into(), "test".into());
        }
        let text = serde_json::to_string_pretty(&render_local(&graded.verdict, MemoryUnit::KiB, extra))?;
        let text = visible_json(&text);
        std::fs::write(path, text + "\n")
            .with_context(|| format!("the result {} cannot be written", path.display()))?;
    }
    if let Some(path) = &args.html {
        std::fs::write(path, table::html(graded, title))
            .with_context(|| format!("the page {} cannot be written", path.display()))?;
    }
    Ok(())
}
