//! `check`: is this host fit to grade?

use super::fitness::{Fitness, show};
use super::options::RunArgs;
use super::signals::Signals;
use super::waiting::Waiting;
use super::{Failure, attacks, out, run};
use crate::attacks::Off;
use crate::canary::When;
use crate::check::{self, Grade, runner};
use clap::Args;
use sandbox::groups::Group;
use std::io::IsTerminal;
use tokio_util::sync::CancellationToken;

/// Exit code of a host that is unfit, or that could not be looked at.
const UNFIT: u8 = 2;

const AFTER_HELP: &str = "\
One line for each finding: green, yellow (grading works, something is weaker or missing) or red (grading does not work, or \
would not be contained), its name and what was found; below a yellow or red one the command or boot parameter that mends it. \
At the end, where nothing is red, a tiny submission (the canary) is graded through every stage.

It takes the runner's flags, and looks at what a runner with these flags needs. Of the backend only its address is asked, with \
HEAD, and only where --backend-url names one; with --auth it is also logged in to, as the runner would be. No task is taken.

    sudo ostest-sandbox check --backend-url https://backend.example --tests /srv/course --concurrent 4

Exit codes: 0 fit (all green), 1 degraded (some yellow), 2 unfit (some red).

With --attacks programs are tried instead that want to get out: at the host's files, memory, processes, network; one line for each with what came of it and what stops it. They harm nothing: what they aim at is made for them, and their limits are small. It takes a minute or two, and a gcc.

    sudo ostest-sandbox check --attacks
    sudo ostest-sandbox check --attacks --only memory --json
    sudo ostest-sandbox check --attacks --allow io_uring

Exit codes of --attacks: 0 all were contained, 2 one was not, or could not be tried.";

/// Flags of `check`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArgs {
    /// Print the findings as JSON: {"verdict", "findings": [{"name", "grade", "found", "remedy"}]}
    #[arg(long)]
    json: bool,
    /// Try the attack suite on this host: what is contained, and by what
    #[arg(long)]
    attacks: bool,
    /// Of the attacks only those whose name has this word in it (repeatable)
    #[arg(long, value_name = "WORD", requires = "attacks")]
    only: Vec<String>,
    /// Try the attacks with this group of system calls allowed, as in a laboratory that has it; `policy groups` has them (repeatable)
    #[arg(long, value_name = "GROUP", requires = "attacks")]
    allow: Vec<Group>,
    /// Layers that are off, to show that the others hold: only where nothing can be harmed
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "WHICH", requires = "attacks", value_enum, hide = true)]
    off: Option<OffName>,
    #[command(flatten)]
    run: RunArgs,
}

#[cfg(debug_assertions)]
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OffName {
    First,
    Second,
    Everything,
}

impl CheckArgs {
    /// Which layers are off: in a release build none can be.
    fn off(&self) -> Off {
        #[cfg(debug_assertions)]
        match self.off {
            Some(OffName::First) => return Off::First,
            Some(OffName::Second) => return Off::Second,
            Some(OffName::Everything) => return Off::Everything,
            None => {}
        }
        Off::Nothing
    }
}

/// Looks at the host; the number is the exit code.
pub fn main(args: &CheckArgs, signals: Signals) -> Result<u8, Failure> {
    go(args, signals).map_err(Failure::with(UNFIT))
}

fn go(args: &CheckArgs, signals: Signals) -> anyhow::Result<u8> {
    let settings = run::Settings::resolve(&args.run)?;
    super::log::start(&args.run.log, &settings.file, false)?;
    if args.attacks {
        let wanted = attacks::Wanted {
            only: &args.only,
            off: args.off(),
            allow: args.allow.iter().copied().collect(),
            json: args.json,
        };
        return attacks::run(&settings, &wanted, signals);
    }
    // Whoever wants to log in means the default one, too.
    let logs_in = settings.backend.auth.is_some();
    let named = logs_in || args.run.backend_url.is_some() || settings.file.backend_url.is_some();
    let mut fitness = Fitness::begin(&settings, false)?;
    let cancel = CancellationToken::new();
    super::runtime()?.block_on(async {
        tokio::spawn(signals.cancel(cancel.clone()));
        let mut waiting = Waiting::begin("grading the canary");
        waiting.show("looking for the backend");
        let mut progress = |event| waiting.hear(event);
        fitness.finish(&settings, named.then_some(&settings.backend), When::Always, &cancel, &mut progress).await;
        waiting.show("logging in to the backend");
        fitness.findings.extend(check::backend::log_in(&settings.backend).await);
    });
    fitness.release();
    fitness.findings.extend(runner::look(&settings.host.state_dir));
    anyhow::ensure!(!cancel.is_cancelled(), "interrupted before everything was looked at");
    let findings = &fitness.findings;
    if args.json {
        out::json(serde_json::to_string_pretty(&findings.report())?)?;
    } else {
        out::coloured(show(&findings.all, std::io::stdout().is_terminal()))?;
        if !fitness.canary {
            out::line("The canary was not graded, because something above is red.")?;
        }
    }
    Ok(match findings.worst() {
        Grade::Green => 0,
        Grade::Yellow => 1,
        Grade::Red => UNFIT,
    })
}
