//! What comes into a suite's folders while its tests run, seen from outside.
//!
//! A file that takes a shipped one's place can be gone again before the tests are over. So the kernel is asked to say each name
//! that comes into a folder in which the suite has shipped something, or into one that was made there and in which something could be
//! found earlier. What it holds is looked at where that makes a difference, and again whenever it is written.

use super::shadow::{Hides, Kind, Originals, resolved};
use crate::contain::work::WorkTree;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Most folders that are watched; the kernel has a limit for all of a user's.
const MAX_FOLDERS: usize = 4096;

/// Most files that are kept. A suite's own can be among them, so where there are more nobody knows.
const MAX_FOUND: usize = 10_000;

/// Most bytes of a file that are compared.
const MAX_BYTES: u64 = 4 << 20;

/// Between two looks at what the kernel has to say.
const PAUSE: Duration = Duration::from_millis(4);

/// Events that are read before they are looked at: what the kernel keeps is short, and looking takes longer than making a file.
const MAX_WAITING: usize = 1 << 20;

/// Names that are remembered because they hide nothing.
const MAX_NOTHING: usize = 10_000;

/// How much sooner than programs inside the reader has its turn.
const NICE: i32 = -10;

/// What is gone when it is looked at so soon was there for less time than any build takes.
const SOON: Duration = Duration::from_millis(50);

/// What was found of a file that takes another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weight {
    /// It is what it looks like.
    Counts,
    /// It holds what a shipped file of its name does.
    Copy(String),
    /// Compilers write such, and nothing comes of it.
    Harmless,
    /// It was gone before it could be looked at.
    Gone,
}

/// A file that takes another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose.
    pub hides: Hides,
    /// The worst that was seen of it.
    pub weight: Weight,
}

/// The watch, while it runs.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Seen>>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Files that took another's place.
    pub found: BTreeMap<String, Found>,
    /// The kernel had more to say than there was room for.
    pub lost: bool,
}

struct Reader {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, String>,
    files: HashMap<WatchDescriptor, String>,
    look: Look,
    originals: Originals,
    seen: Seen,
    last: Instant,
    waiting: VecDeque<InotifyEvent>,
    /// Names that hide nothing, whatever they are of: a lock file is made and removed a million times.
    nothing: HashSet<String>,
}

impl Watch {
    /// Begins to watch. Where the kernel refuses, what lies there at the end is all that will be known.
    pub fn begin(work: &WorkTree, originals: &Originals) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let start = || -> std::io::Result<_> {
            let (reader, stop) = (Reader::new(work, originals)?, stop.clone());
            let thread = std::thread::Builder::new().name("planted".into());
            thread.spawn(move || reader.run(&stop))
        };
        let thread = match start() {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::warn!(
                    "the suite's folders cannot be watched while its tests run ({error}), only looked at afterwards: raise \
                     fs.inotify.max_user_instances and fs.inotify.max_user_watches"
                );
                None
            }
        };
        Watch { stop, thread }
    }

    /// Ends it, when nothing inside lives any more.
    pub async fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return Seen::default() };
        // It looks up every few milliseconds, and then has what is left to look at.
        let ended = tokio::task::spawn_blocking(|| thread.join()).await;
        ended.ok().and_then(Result::ok).unwrap_or(Seen { lost: true, ..Seen::default() })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Seen {
    /// What lies there at the end: what is new, and what was let be so far.
    pub fn look_again(&mut self, work: &WorkTree, originals: &Originals, come: &[String]) {
        let look = Look { top: work.suite() };
        for path in come {
            match self.found.get(path).map(|found| &found.weight) {
                Some(Weight::Copy(_) | Weight::Harmless) => {}
                Some(_) => continue,
                None if self.found.len() >= MAX_FOUND => {
                    self.lost = true;
                    return;
                }
                None => {}
            }
            if let Some(hides) = look.hides(originals, path) {
                let weight = look.weigh(originals, path, &hides, false);
                self.found.insert(path.clone(), Found { hides, weight });
            }
        }
    }
}

impl Reader {
    fn new(work: &WorkTree, originals: &Originals) -> nix::Result<Reader> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut reader = Reader {
            inotify,
            folders: HashMap::new(),
            files: HashMap::new(),
            look: Look { top: work.suite() },
            originals: originals.clone(),
            seen: Seen::default(),
            last: Instant::now(),
            waiting: VecDeque::new(),
            nothing: HashSet::new(),
        };
        // The top is one even of a suite that has shipped nothing there.
        for folder in std::iter::once("").chain(originals.folders()).take(MAX_FOLDERS) {
            match reader.watch(folder) {
                // A name that is no text, of which only the valid parts are known.
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(reader)
    }

    /// Has the kernel tell of what comes into this folder. Gives it opened: the path can lead elsewhere by now.
    fn watch(&mut self, folder: &str) -> nix::Result<OwnedFd> {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        let opened = self.look.open(folder, OFlag::O_DIRECTORY)?;
        let id = self.inotify.add_watch(&by_number(&opened), flags)?;
        self.folders.insert(id, folder.to_owned());
        Ok(opened)
    }

    fn run(mut self, stop: &AtomicBool) -> Seen {
        // The kernel keeps 16 384 names for whoever reads them. That is more than can be made in a pause, where the reader has its turn
        // when it is over, however many programs wait for a processor.
        if let Err(error) = sandbox::sys::set_nice(NICE) {
            tracing::debug!("the watch of the suite's folders waits for its turn as all others do: {error}");
        }
        while !stop.load(Ordering::Acquire) {
            std::thread::sleep(PAUSE);
            self.read();
        }
        // Nothing inside lives any more.
        self.read();
        self.seen
    }

    /// All that there is.
    fn read(&mut self) {
        self.fetch();
        let mut since = Instant::now();
        while let Some(event) = self.waiting.pop_front() {
            self.event(event);
            if since.elapsed() > PAUSE {
                self.fetch();
                since = Instant::now();
            }
        }
        self.last = Instant::now();
    }

    /// Takes from the kernel what it keeps.
    fn fetch(&mut self) {
        loop {
            match self.inotify.read_events() {
                Ok(events) if self.waiting.len() < MAX_WAITING => self.waiting.extend(events),
                Ok(_) => self.seen.lost = true,
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
    }

    fn event(&mut self, event: InotifyEvent) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            self.seen.lost = true;
        } else if let Some(path) = self.files.get(&event.wd).cloned() {
            self.file(path);
        } else if let (Some(folder), Some(name)) = (self.folders.get(&event.wd), event.name) {
            let name = name.to_string_lossy();
            let path = if folder.is_empty() { name.into_owned() } else { format!("{folder}/{name}") };
            match event.mask.contains(AddWatchFlags::IN_ISDIR) {
                true => self.folder(path),
                false => self.file(path),
            }
        }
    }

    /// A folder has come, with all that came into it before it is watched.
    fn folder(&mut self, path: String) {
        let mut left = vec![path];
        while let Some(path) = left.pop() {
            if self.folders.len() >= MAX_FOLDERS || !self.originals.is_watched(&path) {
                continue;
            }
            let Ok(opened) = self.watch(&path) else { continue };
            for entry in std::fs::read_dir(by_number(&opened)).into_iter().flatten().flatten() {
                let below = format!("{path}/{}", entry.file_name().to_string_lossy());
                match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    true => left.push(below),
                    false => self.file(below),
                }
            }
        }
    }

    /// A file has come, or was written.
    fn file(&mut self, path: String) {
        if self.seen.found.get(&path).is_some_and(|found| found.weight == Weight::Counts) {
            return;
        }
        if self.nothing.contains(&path) {
            return;
        }
        if self.originals.hidden_by_link(&path).is_none() {
            if self.nothing.len() < MAX_NOTHING {
                self.nothing.insert(path);
            }
            return;
        }
        let Some(hides) = self.look.hides(&self.originals, &path) else { return };
        if self.seen.found.len() >= MAX_FOUND {
            self.seen.lost = true;
            return;
        }
        // Before it is looked at.
        if matters(&self.originals, &path, &hides)
            && let Ok(opened) = self.look.open(&path, OFlag::O_NONBLOCK)
        {
            let written = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE;
            if let Ok(id) = self.inotify.add_watch(&by_number(&opened), written) {
                self.files.insert(id, path.clone());
            }
        }
        let weight = match self.look.weigh(&self.originals, &path, &hides, true) {
            Weight::Gone if self.last.elapsed() < SOON => Weight::Counts,
            weight => weight,
        };
        self.seen.found.insert(path, Found { hides, weight });
    }
}

/// A path by which the kernel finds what is open, and nothing else.
fn by_number(opened: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()))
}

/// Whether what it holds makes a difference.
fn matters(originals: &Originals, path: &str, hides: &Hides) -> bool {
    match hides.kind {
        Kind::Rules => true,
        Kind::Found | Kind::Module => is_bare(path) || originals.of_name(name_of(path)).next().is_some(),
        Kind::Settings | Kind::Neighbour | Kind::Doubtful => false,
    }
}

/// Whether its name is one of C++'s headers, or of a program.
fn is_bare(path: &str) -> bool {
    !name_of(path).contains('.')
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Looks at files that somebody inside may be changing: no link is followed, nothing is waited for.
struct Look {
    top: PathBuf,
}

impl Look {
    fn open(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let how = |flags, resolve| OpenHow::new().flags(flags | OFlag::O_RDONLY | OFlag::O_CLOEXEC).resolve(resolve);
        let top = openat2(AT_FDCWD, &self.top, how(OFlag::O_DIRECTORY, ResolveFlag::empty()))?;
        let path = if path.is_empty() { "." } else { path };
        openat2(&top, Path::new(path), how(flags, resolve | ResolveFlag::RESOLVE_BENEATH))
    }

    /// Whose place it takes. What is no file, or gone already, can have been a way to a folder.
    fn hides(&self, originals: &Originals, path: &str) -> Option<Hides> {
        let as_link = originals.hidden_by_link(path)?;
        let is_file = std::fs::symlink_metadata(self.top.join(path)).is_ok_and(|found| found.is_file());
        if is_file { originals.hidden_by(path) } else { Some(as_link) }
    }

    /// What is in a file; `None`: it is gone.
    fn read(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        let file = match self.open(path, OFlag::O_NONBLOCK) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// What comes of it. Of what is still `written` the end may not be there yet.
    fn weigh(&self, originals: &Originals, path: &str, hides: &Hides, written: bool) -> Weight {
        if !matters(originals, path, hides) {
            return Weight::Counts;
        }
        let bytes = match self.read(path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) if hides.kind == Kind::Rules => return Weight::Gone,
            Ok(None) => return Weight::Counts,
            // A link, for example.
            Err(_) => return self.linked(originals, path).map_or(Weight::Counts, Weight::Copy),
        };
        // A program that is linked begins with its mark, and with nothing for as long as it is written.
        if is_bare(path)
            && (bytes.first().is_some_and(|byte| matches!(byte, 0 | 0x7f)) || (written && bytes.is_empty()))
        {
            return Weight::Harmless;
        }
        if hides.kind == Kind::Rules {
            let harmless = std::str::from_utf8(&bytes).is_ok_and(|text| originals.is_dependencies(path, text, written));
            return if harmless { Weight::Harmless } else { Weight::Counts };
        }
        let same = |other: &Vec<u8>| *other == bytes || (written && other.starts_with(&bytes));
        let copy =
            originals.of_name(name_of(path)).find(|other| self.read(other).ok().flatten().as_ref().is_some_and(same));
        copy.map_or(Weight::Counts, |other| Weight::Copy(other.to_owned()))
    }

    /// The shipped file of its name that a link leads to.
    fn linked(&self, originals: &Originals, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.top.join(path)).ok()?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let leads = resolved(folder, target.to_str()?)?;
        originals.of_name(name_of(path)).any(|other| other == leads).then_some(leads)
    }
}
