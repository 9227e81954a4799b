//! `check`: is this host fit to grade?

use super::options::{GradingArgs, HostArgs, LogArgs};
use super::{Failure, For, table};
use crate::canary;
use crate::check::{Finding, Grade, Wanted, look, look_at_backend, worst};
use crate::config::LimitOptions;
use crate::contain::slots::Slot;
use clap::Args;
use std::io::IsTerminal;

const AFTER_HELP: &str = "\
Give it the runner's own flags or its --config: limits, slots and waived layers are judged, too. Below each finding that is
not green stands what mends it. The last one, the canary, is a small task that goes through every stage; it is left out
while anything is red. The backend is asked whether it is there, never for a task, and only if it is named.

Exit codes: 0 green: fit · 1 yellow: degraded, grading works · 2 red: unfit, the runner would not start.

    sudo ostest-sandbox check --config /etc/ostest-sandbox.toml";

/// Flags of `check`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArgs {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Look whether this backend is there, and compare clocks
    #[arg(long, value_name = "URL", env = "OSTEST_BACKEND_URL", help_heading = "Backend")]
    backend_url: Option<String>,
    /// Tasks that will be graded at a time: slots [default: 2]
    #[arg(long, value_name = "N", env = "OSTEST_CONCURRENT")]
    concurrent: Option<usize>,
    /// Each slot is to have cores of its own
    #[arg(long)]
    pin_cores: bool,
    #[command(flatten)]
    grading: GradingArgs,
    #[command(flatten)]
    limits: LimitOptions,
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
    super::log::start(&args.log, &file, false)?;
    let slots = args.concurrent.or(file.concurrent).unwrap_or(2);
    let grading = args.grading.resolve(args.limits, &file, slots)?;
    let host = args.host.resolve(&file);
    let pin_cores = args.pin_cores || file.pin_cores.unwrap_or(false);
    let mut findings = look(&Wanted { host: &host, slots, limits: &grading.limits, pin_cores });
    // A task is tried only where everything it needs was found: its failure would say the same again.
    let fit = worst(&findings) != Grade::Red;
    // Before there are threads: this makes a mount namespace.
    let opened = fit.then(|| super::claim_host(&host, For::Grading)).transpose()?;
    let url = args.backend_url.as_ref().or(file.backend_url.as_ref());
    super::runtime()?.block_on(async {
        if let Some(url) = url {
            findings.extend(look_at_backend(url).await);
        }
        let Some(host) = &opened else { return Ok(()) };
        if std::io::stderr().is_terminal() {
            eprintln!("a task of our own goes through every stage; the first time its environment is built …");
        }
        let slot = Slot::take(0)?;
        findings.push(canary::sing(host, &slot, Some(&grading), &file).await);
        anyhow::Ok(())
    })?;
    if let Some(host) = &opened {
        host.release();
    }
    let worst = worst(&findings);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "verdict": worst, "findings": findings }))?);
    } else {
        show(&findings, std::io::stdout().is_terminal());
    }
    Ok(match worst {
        Grade::Green => 0,
        Grade::Yellow => 1,
        Grade::Red => 2,
    })
}

fn show(findings: &[Finding], coloured: bool) {
    let word = |grade| match grade {
        Grade::Green => "green",
        Grade::Yellow => "yellow",
        Grade::Red => "RED",
    };
    let row = |f: &Finding| vec![word(f.grade).to_string(), f.name.to_string(), f.found.replace('\n', " ")];
    let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
    for (line, finding) in table::columns(&rows).into_iter().zip(findings) {
        let on = match finding.grade {
            _ if !coloured => "",
            Grade::Green => "\x1b[32m",
            Grade::Yellow => "\x1b[33m",
            Grade::Red => "\x1b[31m",
        };
        println!("{on}{line}{}", if on.is_empty() { "" } else { "\x1b[0m" });
        if !finding.remedy.is_empty() {
            println!("        to mend it: {}", finding.remedy);
        }
    }
}
