//! Has the attacks compiled, in a build stage like any other, once for each state of their sources.

use super::list::{FILES, HEADER};
use crate::config::Limits;
use crate::contain::slots::Slot;
use crate::contain::{Host, Stage, tree};
use anyhow::Context;
use sandbox::outcome::Verdict;
use sandbox::plan::{Policy, STUDENT_ID};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Where they stand inside.
pub const INSIDE: &str = "/run/attacks";

/// `$1` has the sources, `$2` gets the programs; as many at a time as there are processors.
const SCRIPT: &str = r#"
cd "$1"
cp *.sh "$2"
ls *.c | sed 's/\.c$//' | xargs -P "$(nproc)" -I NAME cc -O1 -w -o "$2/NAME" NAME.c -lpthread -lrt
"#;

/// Memory of the compilers, which the attacks' own limit would not hold.
const MEMORY: u64 = 512 << 20;

/// The directory with a program for each attack, on the host; made if it is not there yet.
pub async fn directory(host: &Host, slot: &Slot, cancel: &CancellationToken) -> anyhow::Result<PathBuf> {
    let cache = host.state_dir.join("cache");
    let place = cache.join(format!("attacks-{}", key()));
    if place.is_dir() {
        return Ok(place);
    }
    std::fs::create_dir_all(&cache).with_context(|| format!("{} cannot be made", cache.display()))?;
    let building = tempfile::Builder::new().prefix("attacks-building-").tempdir_in(&cache);
    let building = building.with_context(|| format!("no directory can be made in {}", cache.display()))?;
    let (sources, programs) = (building.path().join("sources"), building.path().join("programs"));
    for dir in [&sources, &programs] {
        std::fs::create_dir(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    }
    write(&sources)?;
    let owner = slot.ids.base + STUDENT_ID;
    std::os::unix::fs::chown(&programs, Some(owner), Some(owner)).context("the programs' directory has no owner")?;
    compile(host, slot, &sources, &programs, cancel).await?;
    sandbox::copy::chown_tree(&programs, 0, 0).context("the attacks cannot be given to root")?;
    match std::fs::rename(&programs, &place) {
        // Somebody else was quicker with the same.
        Err(_) if place.is_dir() => Ok(place),
        done => done.map(|()| place).context("the attacks cannot be put in their place"),
    }
}

fn write(sources: &Path) -> anyhow::Result<()> {
    let header = ("attack.h".to_string(), HEADER);
    let files = FILES.iter().map(|file| (format!("{}{}", file.name, file.ending), file.text));
    for (name, text) in files.chain([header]) {
        std::fs::write(sources.join(&name), text).with_context(|| format!("{name} cannot be written"))?;
    }
    Ok(())
}

async fn compile(
    host: &Host,
    slot: &Slot,
    sources: &Path,
    programs: &Path,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    let limits = Limits::from_options(crate::config::LimitOptions::default(), 1);
    let mut stage = Stage::new("attack", Policy::Build, &limits);
    (stage.memory, stage.wall) = (stage.memory.max(MEMORY), Duration::from_secs(600));
    stage.mounts.push(tree::bind(sources, "/run/sources", false));
    stage.mounts.push(tree::bind(programs, "/run/programs", true));
    stage.argv = ["sh", "-euc", SCRIPT, "compile", "/run/sources", "/run/programs"].map(str::to_string).to_vec();
    let done = host.run("attack", &host.plan(slot, &stage), cancel, &mut |_, _| {}).await?;
    anyhow::ensure!(
        done.outcome.verdict == Verdict::Ok,
        "the attacks could not be compiled (is there a gcc with its headers? `apt-get install build-essential`), {}\n{}",
        done.outcome.message,
        done.stderr.lines(20)
    );
    Ok(())
}

/// Which sources, and how they are compiled.
fn key() -> String {
    let mut hash = Sha256::new();
    for text in [SCRIPT, HEADER].into_iter().chain(FILES.iter().flat_map(|file| [file.name, file.text])) {
        hash.update(text);
        hash.update([0]);
    }
    hash.finalize().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}
