//! What comes into a suite's folders while its tests run, seen from outside.
//!
//! A file that takes a shipped one's place can be gone again before the tests are over. So the kernel is asked to say each name
//! that comes into a folder in which the suite has shipped something.

use super::shadow::Originals;
use crate::contain::work::WorkTree;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Most folders that are watched; the kernel has a limit for all of a user's.
const MAX_FOLDERS: usize = 4096;

/// Most files that are kept: one is enough.
const MAX_FOUND: usize = 100;

/// Between two looks at what the kernel has to say.
const PAUSE: Duration = Duration::from_millis(10);

/// Files that took a shipped one's place, each with what it took the place of.
pub type Found = BTreeMap<String, String>;

/// The watch, while it runs.
#[derive(Debug)]
pub struct Watch {
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<Seen>>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Files that took another's place.
    pub found: Found,
    /// The kernel had more to say than there was room for.
    pub lost: bool,
}

struct Reader {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, String>,
    originals: Originals,
    seen: Seen,
}

impl Watch {
    /// Begins to watch. Where the kernel refuses, what lies there at the end is all that will be known.
    pub fn begin(work: &WorkTree, originals: &Originals) -> Watch {
        let stop = CancellationToken::new();
        let task = match Reader::new(work, originals) {
            Ok(reader) => Some(tokio::spawn(reader.run(stop.clone()))),
            Err(error) => {
                tracing::warn!(
                    "the suite's folders cannot be watched while its tests run ({error}), only looked at afterwards: raise \
                     fs.inotify.max_user_instances and fs.inotify.max_user_watches"
                );
                None
            }
        };
        Watch { stop, task }
    }

    /// Ends it, when nothing inside lives any more.
    pub async fn end(mut self) -> Seen {
        self.stop.cancel();
        match self.task.take() {
            Some(task) => task.await.unwrap_or(Seen { lost: true, ..Seen::default() }),
            None => Seen::default(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Reader {
    fn new(work: &WorkTree, originals: &Originals) -> nix::Result<Reader> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_DONT_FOLLOW;
        let mut folders = HashMap::new();
        // The top is one even of a suite that has shipped nothing there.
        for folder in std::iter::once("").chain(originals.folders()).take(MAX_FOLDERS) {
            let path = if folder.is_empty() { work.suite() } else { work.suite().join(folder) };
            folders.insert(inotify.add_watch(&path, flags)?, folder.to_owned());
        }
        Ok(Reader { inotify, folders, originals: originals.clone(), seen: Seen::default() })
    }

    async fn run(mut self, stop: CancellationToken) -> Seen {
        // The kernel keeps 16 384 names for whoever reads them: more than can be made in a pause.
        let mut looks = tokio::time::interval(PAUSE);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = looks.tick() => {}
            }
            self.read();
        }
        // Nothing inside lives any more.
        self.read();
        self.seen
    }

    /// All that there is.
    fn read(&mut self) {
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    self.seen.lost = true;
                }
                let (Some(folder), Some(name)) = (self.folders.get(&event.wd), event.name) else { continue };
                let name = name.to_string_lossy();
                let path = if folder.is_empty() { name.into_owned() } else { format!("{folder}/{name}") };
                if self.seen.found.len() < MAX_FOUND
                    && let Some(original) = self.originals.hidden_by(&path)
                {
                    self.seen.found.insert(path, original);
                }
            }
        }
    }
}
