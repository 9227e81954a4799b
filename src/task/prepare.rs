//! The prepare stage: a Python environment with the suite's requirements, built once and kept by content.

use super::fetch::TOOL_MEMORY;
use super::outward::{self, Reader};
use super::{Context, Event, Progress, TaskError, index};
use crate::contain::python::Python;
use crate::contain::tree::{self, inside};
use crate::contain::{ContainError, Host, Stage};
use crate::fault::{Cause, Fault};
use crate::proxy::Reach;
use anyhow::Context as _;
use sandbox::outcome::Verdict;
use sandbox::plan::{Policy, STUDENT_ID};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Wall clock where the configuration says nothing.
pub(super) const DEFAULT_TIME: Duration = Duration::from_secs(600);

/// Bytes that pip may move where the configuration says nothing: the largest frameworks are below a gigabyte.
const TRAFFIC: u64 = 4 << 30;

/// Changes when environments are built in another way, so that old ones are not used.
const RECIPE: &str = "3";

/// The file in an environment that says from what it was built.
const LIST: &str = "ostest-requirements.txt";

/// `$1` is the interpreter. The last line compiles what every run imports into a place that is read-only afterwards: byte code is
/// never written, or taken from where a student could have put it.
const SCRIPT: &str = r#"
"$1" -m venv /venv
/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir -r /run/ostest/requirements.txt
cd /tmp
echo 'def test_nothing(): pass' > test_nothing.py
PYTHONPYCACHEPREFIX=/venv/pycache /venv/bin/python -m pytest --quiet --junit-xml=/tmp/report.xml -p no:cacheprovider test_nothing.py
"#;

/// The directory of an environment for these requirements, on the host; built if it is not there yet.
pub async fn environment(
    context: &Context<'_>,
    requirements: &str,
    progress: Progress<'_>,
) -> Result<PathBuf, TaskError> {
    let cache = context.host.state_dir.join("cache");
    make_dir(&cache)?;
    let key = key(context.host.python().map_err(unkept)?, requirements);
    let place = cache.join(format!("venv-{key}"));
    // One at a time builds; the others wait and then find it. The lock is the kernel's, so other runners that share
    // the state directory wait too, and a runner that dies lets go.
    let lock_path = cache.join(format!("venv-{key}.lock"));
    if is_held(&lock_path) {
        let what = "waiting for another task or process that builds the suite's Python environment";
        tracing::info!("{what}");
        progress(Event::Waits(what.into()));
    }
    let lock = tokio::task::spawn_blocking(move || -> std::io::Result<std::fs::File> {
        let file = std::fs::File::options().create(true).append(true).open(lock_path)?;
        file.lock()?;
        Ok(file)
    })
    .await
    .context("waiting for the environment's lock")
    .and_then(|lock| lock.context("the environment's lock cannot be taken"))
    .map_err(unkept)?;
    if !place.is_dir() {
        progress(Event::Waits("building the suite's Python environment".into()));
        build(context, requirements, &cache, &place).await?;
    }
    drop(lock);
    Ok(place)
}

/// The requirements of the environment that was built last, of those in the cache that this host's interpreter can use.
pub fn cached_requirements(host: &Host) -> anyhow::Result<Option<String>> {
    newest(&host.state_dir.join("cache"), host.python()?)
}

fn newest(cache: &Path, python: &Python) -> anyhow::Result<Option<String>> {
    let entries = match std::fs::read_dir(cache) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", cache.display())),
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path().join(LIST)).ok()?;
            // The key holds the interpreter, too; and what lies under another name is still being built, or was put there.
            let named = entry.file_name().to_str()? == format!("venv-{}", key(python, &text));
            Some((entry.metadata().ok()?.modified().ok()?, text)).filter(|_| named)
        })
        .collect();
    found.sort();
    Ok(found.pop().map(|(_, text)| text))
}

async fn build(context: &Context<'_>, requirements: &str, cache: &Path, place: &Path) -> Result<(), TaskError> {
    // What an earlier try left, if it was killed: we hold the lock, so nobody uses it.
    let building = cache.join(format!("{}.building", place.file_name().unwrap_or_default().to_string_lossy()));
    if building.exists() {
        std::fs::remove_dir_all(&building)
            .with_context(|| format!("{} cannot be removed", building.display()))
            .map_err(unkept)?;
    }
    make_dir(&building)?;
    let owner = context.slot.ids.base + STUDENT_ID;
    std::os::unix::fs::chown(&building, Some(owner), Some(owner))
        .context("the environment's directory has no owner")
        .map_err(unkept)?;
    tracing::info!(environment = %place.display(), "building the suite's Python environment");

    let options = &context.grading.prepare;
    let mut stage = Stage::new("prepare", Policy::Fetch, &context.limits);
    stage.memory = stage.memory.max(TOOL_MEMORY);
    stage.pids = stage.pids.max(64);
    stage.disk = stage.disk.max(256 << 20);
    stage.wall = options.timeout.map_or(DEFAULT_TIME, |t| t.0);
    let env = pip_env(outward::environment(&options.env));
    let reach = index::reach(options.hosts.as_deref(), &env, &settings(&env), requirements);
    if matches!(reach, Reach::Public(_)) {
        tracing::info!(
            "pip's default index is in use, so prepare may reach any public host; [prepare] hosts narrows that"
        );
    }
    let bytes = options.traffic_limit.map_or(TRAFFIC, |size| size.0);
    let rules = outward::open(context, &mut stage, env, reach, bytes)?;
    stage.mounts.push(tree::file("/run/ostest/requirements.txt", requirements));
    stage.mounts.push(tree::bind(&building, inside::VENV, true));
    let python = context.host.python().map_err(unkept)?.program.display().to_string();
    stage.argv = ["sh", "-euc", SCRIPT, "prepare", &python].map(str::to_string).to_vec();
    let plan = context.host.plan(context.slot, &stage);
    let finished = context.host.run_with("prepare", &plan, Some(rules), context.cancel, &mut |_, _| {}).await;
    let finished = finished.map_err(ContainError::of_own_command)?;
    match finished.outcome.verdict {
        Verdict::Ok => {}
        Verdict::Interrupted => return Err(TaskError::Interrupted),
        _ => {
            let said = format!("{}\n{}", finished.stderr.lines(30), finished.stdout.lines(10));
            let refused = outward::explain(&finished.refused, Reader::Operator);
            let why = match refused.is_empty() {
                true => {
                    "is a package index reachable, and does the suite's requirements.txt install? (proxy and index \
                         belong into [prepare] env of the configuration)"
                        .to_string()
                }
                // The tool asks many places, and any of these may be the one that it needed.
                false => format!(
                    "{} (hosts of packages belong into [prepare] hosts, those of a network of your own into allow-internal)",
                    refused.join("; ")
                ),
            };
            let sentence =
                format!("the suite's Python environment could not be built, {}: {why}", finished.outcome.message);
            return Err(Fault::host(Cause::Environment, sentence).with_detail(said.trim()).into());
        }
    }
    std::fs::write(building.join(LIST), requirements)
        .context("the environment's list of requirements cannot be written")
        .map_err(unkept)?;
    // From now on nobody but the host's root may change it, in or out of a sandbox.
    sandbox::copy::chown_tree(&building, 0, 0).context("the environment cannot be given to root").map_err(unkept)?;
    std::fs::rename(&building, place).context("the environment cannot be put in its place").map_err(unkept)?;
    Ok(())
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

fn key(python: &Python, requirements: &str) -> String {
    let mut hash = Sha256::new();
    for part in [RECIPE, &python.version, &python.program.display().to_string(), requirements] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(10).map(|b| format!("{b:02x}")).collect()
}

/// Whether somebody has this lock now. Only to tell whoever waits: the next moment it may be another.
fn is_held(lock: &Path) -> bool {
    let lock = std::fs::File::options().append(true).open(lock);
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

fn make_dir(path: &Path) -> Result<(), Fault> {
    let made = std::fs::create_dir_all(path);
    made.with_context(|| format!("the directory {} cannot be made", path.display())).map_err(unkept)
}

/// The place where environments are kept does not work.
fn unkept(error: anyhow::Error) -> Fault {
    let sentence = "the suite's Python environment could not be kept on the grading machine";
    Fault::host(Cause::Environment, sentence).with_detail(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_environments_of_this_interpreter_are_known_by_their_requirements() {
        let cache = tempfile::tempdir().unwrap();
        let python = |version: &str| Python { program: "/p".into(), prefix: "/usr".into(), version: version.into() };
        let (ours, theirs) = (python("3.11.2"), python("3.12.0"));
        assert_eq!(newest(&cache.path().join("none"), &ours).unwrap(), None);
        let put = |name: String, text: &str| {
            std::fs::create_dir(cache.path().join(&name)).unwrap();
            std::fs::write(cache.path().join(name).join(LIST), text).unwrap();
        };
        put(format!("venv-{}", key(&theirs, "pytest\n")), "pytest\n");
        put(format!("venv-{}.building", key(&ours, "pytest\n")), "pytest\n");
        put("venv-0123".into(), "pytest\n");
        assert_eq!(newest(cache.path(), &ours).unwrap(), None);
        put(format!("venv-{}", key(&ours, "pytest==8\n")), "pytest==8\n");
        assert_eq!(newest(cache.path(), &ours).unwrap().as_deref(), Some("pytest==8\n"));
    }
}
