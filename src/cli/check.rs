//! `check`: is this host fit to grade?

use super::fitness::{Fitness, show};
use super::options::RunArgs;
use super::{Failure, run};
use crate::canary::When;
use crate::check::{Grade, runner};
use clap::Args;
use std::io::IsTerminal;
use tokio_util::sync::CancellationToken;

/// Exit code of a host that is unfit, or that could not be looked at.
const UNFIT: u8 = 2;

const AFTER_HELP: &str = "\
One line for each finding: green, yellow (grading works, something is weaker or missing) or red (grading does not work, or \
would not be contained), its name and what was found; below a yellow or red one the command or boot parameter that mends it. \
At the end, where nothing is red, a tiny submission (the canary) is graded through every stage.

It takes the runner's flags, and looks at what a runner with these flags needs. Of the backend only its address is asked, with \
HEAD, and only where --backend-url names one: no task is taken.

    sudo ostest-sandbox check --backend-url https://backend.example --tests /srv/course --concurrent 4

Exit codes: 0 fit (all green), 1 degraded (some yellow), 2 unfit (some red).";

/// Flags of `check`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArgs {
    /// Print the findings as JSON: {"verdict", "findings": [{"name", "grade", "found", "remedy"}]}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Looks at the host; the number is the exit code.
pub fn main(args: &CheckArgs) -> Result<u8, Failure> {
    go(args).map_err(Failure::with(UNFIT))
}

fn go(args: &CheckArgs) -> anyhow::Result<u8> {
    let settings = run::Settings::resolve(&args.run)?;
    super::log::start(&args.run.log, &settings.file, false)?;
    let named = args.run.backend_url.is_some() || settings.file.backend_url.is_some();
    let mut fitness = Fitness::begin(&settings, false)?;
    let cancel = CancellationToken::new();
    super::runtime()?.block_on(async {
        tokio::spawn(run::cancel_on_signal(cancel.clone()));
        fitness.finish(&settings, named.then_some(&settings.backend), When::Always, &cancel).await;
    });
    fitness.release();
    fitness.findings.extend(runner::look(&settings.host.state_dir));
    anyhow::ensure!(!cancel.is_cancelled(), "interrupted before everything was looked at");
    let findings = &fitness.findings;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings.report())?);
    } else {
        print!("{}", show(&findings.all, std::io::stdout().is_terminal()));
        if !fitness.canary {
            println!("The canary was not tried: it would fail for what is red above.");
        }
    }
    Ok(match findings.worst() {
        Grade::Green => 0,
        Grade::Yellow => 1,
        Grade::Red => UNFIT,
    })
}
