//! `check`: is this host fit to grade?

use super::options::{HostArgs, LogArgs};
use super::{Failure, table};
use crate::check::{Finding, Grade, look, smoke};
use clap::Args;
use std::io::IsTerminal;

/// Flags of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 fit, 1 degraded, 2 unfit.")]
pub struct CheckArgs {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Looks at the host; the number is the exit code.
pub fn main(args: &CheckArgs) -> Result<u8, Failure> {
    go(args).map_err(Failure::with(2))
}

fn go(args: &CheckArgs) -> anyhow::Result<u8> {
    let file = args.host.file()?;
    let options = args.host.resolve(&file);
    let mut findings = look(&options);
    let missing = findings.iter().any(|f| f.grade == Grade::Missing);
    // A sandbox is tried only where everything it needs was found: its failure would say the same again.
    if !missing {
        let host = super::open_host(&args.host, &args.log, &file, super::For::Command)?;
        findings.push(super::runtime()?.block_on(smoke(&host)));
        host.release();
    }
    let worst = findings.iter().map(|f| f.grade).max().unwrap_or(Grade::Missing);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "verdict": worst, "findings": findings }))?);
    } else {
        show(&findings, std::io::stdout().is_terminal());
    }
    Ok(match worst {
        Grade::Present => 0,
        Grade::Degraded => 1,
        Grade::Missing => 2,
    })
}

fn show(findings: &[Finding], coloured: bool) {
    let word = |grade| match grade {
        Grade::Present => "present",
        Grade::Degraded => "degraded",
        Grade::Missing => "MISSING",
    };
    let row = |f: &Finding| vec![word(f.grade).to_string(), f.name.to_string(), f.found.replace('\n', " ")];
    let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
    for (line, finding) in table::columns(&rows).into_iter().zip(findings) {
        let on = match finding.grade {
            _ if !coloured => "",
            Grade::Present => "\x1b[32m",
            Grade::Degraded => "\x1b[33m",
            Grade::Missing => "\x1b[31m",
        };
        println!("{on}{line}{}", if on.is_empty() { "" } else { "\x1b[0m" });
        if !finding.remedy.is_empty() {
            println!("          to mend it: {}", finding.remedy);
        }
    }
}
