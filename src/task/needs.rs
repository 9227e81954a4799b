//! Programs that a suite needs of this host, looked for where its tests will look: inside a sandbox, by its PATH.
//!
//! It is looked before there is a submission. A program that is missing would fail tests of everybody, and look like their fault.

use super::{Context, TaskError};
use crate::config::{Need, Version};
use crate::contain::tree::{self, inside};
use crate::contain::{ContainError, PATH, Stage};
use crate::fault::{Cause, Fault};
use sandbox::outcome::Verdict;
use sandbox::plan::Policy;
use std::path::Path;
use std::time::Duration;

/// For all programs together, on a host that is busy.
const TIME: Duration = Duration::from_secs(120);

/// Says a line for each program: whether it is there, and the beginning of what it says of itself if that is asked for. Its arguments
/// are names and `1` or `0`, by turns.
const SCRIPT: &str = r#"
while [ $# -gt 1 ]; do
    if command -v "$1" >/dev/null 2>&1; then
        said=
        [ "$2" = 1 ] && said=$(timeout 60 "$1" --version </dev/null 2>&1 | head -c 2000 | tr '\n\t' '  ')
        printf 'there\t%s\n' "$said"
    else
        printf 'missing\n'
    fi
    shift 2
done
"#;

/// Shows that this host has what the suite needs, with its environment at `venv`.
///
/// # Errors
/// The host's fault, where something is missing or too old.
pub async fn are_met(context: &Context<'_>, needs: &[Need], venv: &Path) -> Result<(), TaskError> {
    if needs.is_empty() {
        return Ok(());
    }
    let mut stage = Stage::new("needs", Policy::Test, &context.limits);
    stage.argv = ["sh", "-c", SCRIPT, "sh"].map(str::to_owned).to_vec();
    stage.argv.extend(needs.iter().flat_map(|need| {
        let asked = if need.least.is_some() { "1" } else { "0" };
        [need.program.clone(), asked.to_owned()]
    }));
    stage.wall = TIME;
    stage.env.insert("PATH".into(), format!("{}/bin:{PATH}", inside::VENV));
    stage.mounts.push(tree::bind(venv, inside::VENV, false));
    let plan = context.host.plan(context.slot, &stage);
    let finished = context.host.run("needs", &plan, context.cancel, &mut |_, _| {}).await;
    let finished = finished.map_err(ContainError::of_own_command)?;
    match finished.outcome.verdict {
        Verdict::Ok => {}
        Verdict::Interrupted => return Err(TaskError::Interrupted),
        _ => {
            let detail = format!("{}\n{}", finished.outcome.message, finished.stderr.lines(10));
            return Err(Fault::host(Cause::Programs, "the programs that the test suite needs could not be looked for")
                .with_detail(detail)
                .into());
        }
    }
    let lacks = lacking(needs, &finished.stdout.text());
    if lacks.is_empty() { Ok(()) } else { Err(fault(&lacks).into()) }
}

/// What is not met, in words.
fn lacking(needs: &[Need], said: &str) -> Vec<String> {
    let mut lines = said.lines();
    let look = |need: &Need| {
        let line = lines.next().unwrap_or("missing");
        let Some(said) = line.strip_prefix("there\t") else { return Some(format!("{need}, which is not there")) };
        let least = need.least.as_ref()?;
        match Version::found_in(said) {
            None => Some(format!("{need}, whose version `{} --version` does not say", need.program)),
            Some(found) if found.is_at_least(least) => None,
            Some(found) => Some(format!("{need}, of which it has {found}")),
        }
    };
    needs.iter().filter_map(look).collect()
}

fn fault(lacks: &[String]) -> Fault {
    Fault::host(Cause::Programs, format!("the grading machine lacks what the test suite needs: {}", lacks.join("; ")))
        .with_detail(
            "install the packages that have these programs, or newer ones (on Debian: `apt-get install NAME`); they are looked for in the \
             PATH of a sandbox, which sees /usr, the suite's environment and what `toolchain` names",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Blame;

    #[test]
    fn what_is_missing_or_too_old_is_named_with_what_was_found() {
        let needs = ["strace", "gdb>=13", "make>=4", "odd>=1"].map(|text| Need::try_from(text.to_owned()).unwrap());
        let said =
            "missing\nthere\tGNU gdb (Debian 12.1-4) 12.1 Copyright\nthere\tGNU Make 4.3 Built\nthere\tUsage: odd\n";
        let lacks = lacking(&needs, said);
        assert_eq!(
            lacks,
            [
                "strace, which is not there",
                "gdb 13 or newer, of which it has 12.1",
                "odd 1 or newer, whose version `odd --version` does not say"
            ]
        );
        // Whoever says nothing has nothing.
        assert_eq!(lacking(&needs[..1], ""), ["strace, which is not there"]);
        let fault = fault(&lacks);
        assert!(fault.blame == Blame::Host && fault.is_worth_another_try(), "{fault:?}");
        assert!(fault.message.contains("strace") && fault.detail.contains("apt-get install"), "{fault:?}");
    }
}
