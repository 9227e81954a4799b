//! Builds an environment: in a sandbox with the network of the fetch stage, aside, and put in its place when all of it is on the disk.

use super::blame::{self, Failed};
use super::cache::{self, LIST, Place, make_dir};
use super::manifest::Manifest;
use super::{DEFAULT_TIME, Environment, blocking, check, unkept};
use crate::contain::python::Python;
use crate::contain::tree::{self, inside};
use crate::contain::{ContainError, Stage};
use crate::fault::{Cause, Fault};
use crate::proxy::Reach;
use crate::task::fetch::TOOL_MEMORY;
use crate::task::{Context, TaskError, index, outward, suite};
use anyhow::Context as _;
use sandbox::inventory::Inventory;
use sandbox::outcome::Verdict;
use sandbox::plan::{Policy, STUDENT_ID};
use sandbox::visit::sync_file_system;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Bytes that pip may move where the configuration says nothing: the largest frameworks are below a gigabyte.
const TRAFFIC: u64 = 4 << 30;

/// Runs pytest on nothing. It needs all of it that a suite needs.
const TRIAL: &str = r#"
cd /tmp
echo 'def test_nothing(): pass' > test_nothing.py
/venv/bin/python -m pytest --quiet --junit-xml=/tmp/report.xml -p no:cacheprovider test_nothing.py || exit 93
"#;

/// `$1` is the interpreter. pip need not compile what it installs, since byte code beside a source is not read. What pip says of an index that answers with errors stands in its log alone; what follows it on its
/// standard error is that there is no such package. The trial compiles what every run imports into a place that is read-only
/// afterwards: byte code is never written, or taken from where a student could have put it.
const SCRIPT: &str = r#"
"$1" -m venv /venv || exit 91
/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile --log /tmp/pip.log \
    -r /run/ostest/requirements.txt || {
    grep -e 'Could not fetch URL' /tmp/pip.log | tail -n 20 >&2
    exit 92
}
export PYTHONPYCACHEPREFIX=/venv/pycache
"#;

/// Builds the environment in its place. Only with its lock.
pub async fn build(context: &Context<'_>, python: &Python, requirements: &str, place: &Place) -> Result<(), TaskError> {
    // What an earlier try left, if it was killed: we hold the lock, so nobody uses it.
    let building = place.building();
    cache::remove(&building).with_context(|| format!("{} cannot be removed", building.display())).map_err(unkept)?;
    make_dir(&building)?;
    // Opened before anything is written to it, so that every error of the disk is told to it.
    let open = File::open(&building);
    let open = open.with_context(|| format!("{} cannot be opened", building.display())).map_err(unkept)?;
    let owner = context.slot.ids.base + STUDENT_ID;
    std::os::unix::fs::chown(&building, Some(owner), Some(owner))
        .context("the environment's directory has no owner")
        .map_err(unkept)?;
    tracing::info!(environment = %place.dir().display(), "building the suite's Python environment");
    install(context, python, requirements, &building).await?;
    let (place, requirements) = (place.clone(), requirements.to_string());
    Ok(blocking(move || finish(&place, &requirements, &open)).await?)
}

/// Runs the tools.
async fn install(context: &Context<'_>, python: &Python, requirements: &str, building: &Path) -> Result<(), TaskError> {
    let options = &context.grading.prepare;
    let mut stage = stage(context);
    let env = pip_env(outward::environment(&options.env));
    let files = settings(&env);
    let files_alone = index::is_files_alone(&env, &files);
    let reach = index::reach(options.hosts.as_deref(), &env, &files, requirements);
    if matches!(reach, Reach::Public(_)) {
        tracing::info!(
            "pip's default index is in use, so prepare may reach any public host; [prepare] hosts narrows that"
        );
    }
    let bytes = options.traffic_limit.map_or(TRAFFIC, |size| size.0);
    let rules = outward::open(context, &mut stage, env, reach, bytes)?;
    stage.mounts.push(tree::file("/run/ostest/requirements.txt", requirements));
    stage.mounts.push(tree::bind(building, inside::VENV, true));
    let script = format!("{SCRIPT}{TRIAL}");
    stage.argv = ["sh", "-euc", &script, "prepare", &python.program.display().to_string()].map(str::to_string).to_vec();
    let plan = context.host.plan(context.slot, &stage);
    let finished = context.host.run_with("prepare", &plan, Some(rules), context.cancel, &mut |_, _| {}).await;
    let finished = finished.map_err(ContainError::of_own_command)?;
    match finished.outcome.verdict {
        Verdict::Ok => Ok(()),
        Verdict::Interrupted => Err(TaskError::Interrupted),
        _ => Err(blame::fault(&Failed {
            outcome: &finished.outcome,
            said: &format!("{}\n{}", finished.stdout.lines(10), finished.stderr.text()),
            refused: &finished.refused,
            own_requirements: requirements == suite::DEFAULT_REQUIREMENTS,
            hashes: requirements.contains("--hash"),
            files_alone,
            memory: stage.memory,
            disk: stage.disk,
        })
        .into()),
    }
}

/// Makes it root's, writes down what it is, and puts it in its place: all of it, or nothing after a loss of power.
fn finish(place: &Place, requirements: &str, open: &File) -> Result<(), Fault> {
    let building = place.building();
    std::fs::write(building.join(LIST), requirements)
        .context("the environment's list of requirements cannot be written")
        .map_err(unkept)?;
    // From now on nobody but the host's root may change it, in or out of a sandbox.
    sandbox::copy::chown_tree(&building, 0, 0).context("the environment cannot be given to root").map_err(unkept)?;
    let manifest = Manifest::take(&building).context("the environment cannot be looked through").map_err(unkept)?;
    manifest.write(&building).map_err(unkept)?;
    // All of it at once: thousands of files, of which each would wait for the disk by itself.
    sync_file_system(open).context("the environment cannot be written to the disk").map_err(unkept)?;
    let now = Inventory::take(&building).context("the environment cannot be looked through").map_err(unkept)?;
    std::fs::rename(&building, place.dir()).context("the environment cannot be put in its place").map_err(unkept)?;
    File::open(place.cache())
        .and_then(|cache| cache.sync_all())
        .context("the directory of environments cannot be written to the disk")
        .map_err(unkept)?;
    check::remember(place, &Arc::new(now));
    Ok(())
}

/// Whether pytest runs in this environment.
///
/// # Errors
/// The host's fault, where it does not: it did when the environment was built, of which every byte is as it was.
pub async fn try_pytest(context: &Context<'_>, environment: &Environment) -> Result<(), TaskError> {
    let mut stage = stage(context);
    stage.policy = Policy::Test;
    stage.mounts.push(tree::bind(&**environment, inside::VENV, false));
    stage.env.insert("PYTHONPYCACHEPREFIX".into(), format!("{}/pycache", inside::VENV));
    stage.env.insert("PYTHONDONTWRITEBYTECODE".into(), "1".into());
    stage.argv = ["sh", "-euc", TRIAL].map(str::to_string).to_vec();
    let plan = context.host.plan(context.slot, &stage);
    let finished = context.host.run("prepare", &plan, context.cancel, &mut |_, _| {}).await;
    let finished = finished.map_err(ContainError::of_own_command)?;
    match finished.outcome.verdict {
        Verdict::Ok => Ok(()),
        Verdict::Interrupted => Err(TaskError::Interrupted),
        _ => {
            let said = format!("{}\n{}", finished.stdout.lines(10), finished.stderr.lines(20));
            Err(Fault::host(Cause::Environment, "pytest does not run on the grading machine any more")
                .with_detail(format!("{}\n{}", finished.outcome.message, said.trim()))
                .into())
        }
    }
}

/// What building and trying have in common.
fn stage(context: &Context<'_>) -> Stage {
    let mut stage = Stage::new("prepare", Policy::Fetch, &context.limits);
    stage.memory = stage.memory.max(TOOL_MEMORY);
    stage.pids = stage.pids.max(64);
    stage.disk = stage.disk.max(256 << 20);
    stage.wall = context.grading.prepare.timeout.map_or(DEFAULT_TIME, |t| t.0);
    stage
}

/// The texts of pip's files of settings that it sees inside.
fn settings(env: &BTreeMap<String, String>) -> Vec<String> {
    let own = env.get("PIP_CONFIG_FILE").map(String::as_str);
    let files = ["/etc/pip.conf"].into_iter().chain(own);
    files.filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}

/// pip's own settings in the runner's environment are the operator's.
fn pip_env(base: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let pip = std::env::vars().filter(|(name, _)| name.starts_with("PIP_"));
    pip.chain(base).collect()
}

#[cfg(test)]
mod tests {
    use super::super::blame::{NO_PACKAGES, NO_PYTEST, NO_VENV};
    use super::*;

    #[test]
    fn the_scripts_end_as_it_is_read() {
        for (code, script) in [(NO_VENV, SCRIPT), (NO_PACKAGES, SCRIPT), (NO_PYTEST, TRIAL)] {
            assert!(script.contains(&format!("exit {code}")), "{code}");
        }
    }
}
