//! The prepare stage: a Python environment with the suite's requirements, built once and kept by content. It is used only while it
//! is what was built.

mod blame;
mod build;
mod cache;
mod check;
mod interpreter;
mod manifest;

use super::{Context, Event, Progress, TaskError};
use crate::contain::Host;
use crate::fault::{Cause, Fault};
use anyhow::Context as _;
use cache::Place;
use check::{Depth, State};
use sandbox::inventory::Inventory;
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Wall clock where the configuration says nothing.
pub(super) const DEFAULT_TIME: Duration = Duration::from_secs(600);

/// An environment that was found sound. As long as this lives nobody removes it.
#[derive(Debug)]
pub struct Environment {
    dir: PathBuf,
    found: Arc<Inventory>,
    _in_use: File,
}

impl Deref for Environment {
    type Target = Path;

    /// Its directory on the host.
    fn deref(&self) -> &Path {
        &self.dir
    }
}

impl Environment {
    /// Whether anything in it is not what it was when it was found. What ran in it meanwhile has shown nothing then.
    pub fn has_changed(&self) -> bool {
        let now = self.dir.canonicalize().and_then(|dir| Inventory::take(&dir));
        !now.is_ok_and(|now| now == *self.found)
    }
}

/// The environment for these requirements; built if it is not there yet, and built anew if it is damaged.
pub async fn environment(
    context: &Context<'_>,
    requirements: &str,
    progress: Progress<'_>,
) -> Result<Environment, TaskError> {
    Ok(find(context, requirements, Depth::Quick, progress).await?.0)
}

/// For a test stage in which the harness never said a word. The environment is read to the last byte, whatever is known of it:
/// where it is damaged it is built anew, and the stage can be tried again; so it can where somebody else has built it anew since
/// `before`. Where it is sound pytest is tried in it; that it works
/// (`None`) shows that neither environment nor interpreter kept the suite from starting.
///
/// # Errors
/// The host's fault, where pytest does not run in a sound environment; or whatever keeps a damaged one from being built anew.
pub async fn renew_if_damaged(
    context: &Context<'_>,
    requirements: &str,
    before: &Environment,
    progress: Progress<'_>,
) -> Result<Option<Environment>, TaskError> {
    let (found, built) = find(context, requirements, Depth::Full, progress).await?;
    if built || found.found != before.found {
        return Ok(Some(found));
    }
    build::try_pytest(context, &found).await?;
    Ok(None)
}

/// The environment, and whether it had to be built.
async fn find(
    context: &Context<'_>,
    requirements: &str,
    depth: Depth,
    progress: Progress<'_>,
) -> Result<(Environment, bool), TaskError> {
    let python = interpreter::current(context.host)?;
    let place = Place::of(&cache_of(context.host), &python, requirements);
    // One at a time builds; the others wait and then find it. The lock is the kernel's, so other runners that share
    // the state directory wait too, and a runner that dies lets go.
    let lock = place.lock(context.cancel, &mut *progress).await?;
    if let Some(found) = settle(&place, depth).await? {
        return Ok((found, false));
    }
    progress(Event::Waits("building the suite's Python environment".into()));
    build::build(context, &python, requirements, &place).await?;
    let built = settle(&place, Depth::Quick).await?;
    drop(lock);
    let unsound = || Fault::host(Cause::Environment, "the suite's Python environment was damaged while it was built");
    Ok((built.ok_or_else(unsound)?, true))
}

/// The environment, if it is there and sound; one that is damaged is out of the way afterwards. Only with its lock.
async fn settle(place: &Place, depth: Depth) -> Result<Option<Environment>, Fault> {
    let place = place.clone();
    blocking(move || {
        cache::sweep(place.cache());
        match check::look(&place, depth).map_err(unkept)? {
            State::Missing => Ok(None),
            State::Sound(found) => {
                let dir = place.dir();
                let in_use = cache::use_of(&dir);
                let in_use = in_use.with_context(|| format!("{} cannot be opened", dir.display())).map_err(unkept)?;
                Ok(Some(Environment { dir, found, _in_use: in_use }))
            }
            State::Damaged(what) => {
                let environment = place.dir();
                let environment = environment.display();
                tracing::warn!(%environment, "the suite's Python environment is damaged, and is built anew: {what}");
                place.set_aside()?;
                Ok(None)
            }
        }
    })
    .await
}

/// The requirements of the environment that was built last, of those in the cache that this host's interpreter can use and that
/// are sound.
pub async fn cached_requirements(host: &Host) -> anyhow::Result<Option<String>> {
    let python = interpreter::current(host)?;
    let cache = cache_of(host);
    for (place, text) in cache::newest(&cache, &python)? {
        if is_sound_at(&place).await? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Whether the environment for these requirements is there and sound. One that is damaged is moved out of the way.
pub async fn is_sound(host: &Host, requirements: &str) -> anyhow::Result<bool> {
    let place = Place::of(&cache_of(host), &interpreter::current(host)?, requirements);
    Ok(place.dir().exists() && is_sound_at(&place).await?)
}

async fn is_sound_at(place: &Place) -> anyhow::Result<bool> {
    let lock = place.try_lock().with_context(|| format!("the lock of {} cannot be taken", place.dir().display()))?;
    // Whoever has it finds out, and so does everybody who uses it.
    let Some(_lock) = lock else { return Ok(true) };
    Ok(settle(place, Depth::Quick).await.map_err(|fault| anyhow::anyhow!(fault.whole()))?.is_some())
}

fn cache_of(host: &Host) -> PathBuf {
    host.state_dir.join("cache")
}

/// Reading and writing thousands of files holds up nobody else.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Fault::host(Cause::Runner, format!("a thread of the runner ended early: {error}"))),
    }
}

/// The place where environments are kept does not work.
fn unkept(error: anyhow::Error) -> Fault {
    let sentence = "the suite's Python environment could not be kept on the grading machine";
    Fault::host(Cause::Environment, sentence).with_detail(format!("{error:#}"))
}
