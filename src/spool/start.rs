//! What a runner finds in the spool when it starts, and what it finds there later.

use super::book::{Book, Held};
use super::question::{Left, Question};
use super::reserve::Reserve;
use super::{DIR, ELSEWHERE, Entry, Head, REJECTED, Spool, State, durable, file_name, files_of, lock, read_head};
use crate::backend::contract::{Answer, Key, parse_task};
use crate::backend::text::excerpt;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

/// How much of an answer is shown that is no task, in bytes.
const SHOWN: usize = 300;

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Found {
    /// Tasks that were taken and not finished.
    pub taken: Vec<Entry>,
    /// Results that the backend has not confirmed, the oldest first.
    pub waiting: Vec<Key>,
    /// Names of entries of other backends; they stay.
    pub others: Vec<String>,
    /// Files that are no entries, and why; they stay.
    pub unreadable: Vec<(PathBuf, String)>,
    /// When the runner was asking the backend as it was killed, if it was and had no answer (RFC 3339, UTC).
    pub asking: Option<String>,
}

impl Spool {
    /// Opens the spool of a state directory for a runner of this backend, and says what an earlier run left in it.
    ///
    /// # Errors
    /// The directory cannot be made, read or written to.
    pub fn open(state_dir: &Path, backend: &str, slots: usize) -> anyhow::Result<(Spool, Found)> {
        let dir = state_dir.join(DIR);
        for below in [REJECTED, ELSEWHERE] {
            durable::make_dir(&dir.join(below))?;
        }
        for dir in [&dir, &dir.join(REJECTED), &dir.join(ELSEWHERE)] {
            // Half of JSON is none.
            durable::sweep(dir, |bytes| Head::parse(bytes).is_ok())?;
        }
        let identity =
            durable::identity(&dir).with_context(|| format!("the spool {} cannot be read", dir.display()))?;
        let spool = Spool {
            reserve: Reserve::new(&dir, slots),
            question: Question::new(&dir),
            backend: backend.to_owned(),
            asking: false.into(),
            files: Mutex::default(),
            reading: Mutex::default(),
            book: Mutex::new(Book::default()),
            identity: Mutex::new(identity),
            refusals: Mutex::default(),
            rejected: Mutex::default(),
            strange: Mutex::default(),
            dir,
        };
        let mut found = Found { others: spool.part()?, ..Found::default() };
        let mut waiting = Vec::new();
        for path in files_of(&spool.dir)? {
            match read_head(&path) {
                None => {}
                Some(Err(problem)) => {
                    spool.is_known_as_strange(&path);
                    found.unreadable.push((path, problem));
                }
                Some(Ok((head, bytes))) if head.backend == spool.backend => match head.state {
                    State::Taken => match bytes
                        .map_or_else(|| std::fs::read(&path), Ok)
                        .map_err(|e| e.to_string())
                        .and_then(|b| Entry::parse(&b))
                    {
                        Ok(entry) => spool.hold_taken(entry, &mut found),
                        Err(problem) => found.unreadable.push((path, problem)),
                    },
                    State::Waiting => {
                        lock(&spool.book).set(&head.name(), Held::Waiting(bytes.map(Into::into)));
                        waiting.push((head.since, head.key));
                    }
                    State::Rejected => {
                        found.unreadable.push((path, format!("it is refused already and belongs into {REJECTED}/")));
                    }
                },
                // It stands in the way of another of its name, and is among the others.
                Some(Ok(_)) => {}
            }
        }
        spool.go_on_from_question(&mut found, &mut waiting)?;
        spool.forget_what_was_said()?;
        waiting.sort_by(|one, other| one.0.cmp(&other.0));
        found.waiting = waiting.into_iter().map(|(_, key)| key).collect();
        spool.count_rejected();
        Ok((spool, found))
    }

    /// Results of this backend's that somebody has put into the spool since it was opened. Only files with unknown names are read.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn search(&self) -> anyhow::Result<Vec<Key>> {
        let mut new = Vec::new();
        for path in files_of(&self.dir)? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if lock(&self.book).get(&name).is_some() || self.is_known_as_strange(&path) {
                continue;
            }
            let _files = lock(&self.files);
            let read = { read_head(&path) };
            let Some(Ok((head, bytes))) = read else { continue };
            let mut book = lock(&self.book);
            if head.backend != self.backend || book.get(&name).is_some() {
                continue;
            }
            match head.state {
                State::Waiting => {
                    lock(&self.strange).remove(&path);
                    book.set(&name, Held::Waiting(bytes.map(Into::into)));
                    new.push(head.key);
                }
                // It was in hand when its directory was taken away, and has been answered since, or it never was ours: the next start
                // would answer it, a second time and in another way.
                State::Taken => {
                    drop(book);
                    let problem =
                        "it says that an attempt is in hand which is not, and was answered while this file was away";
                    if let Err(error) = self.set_aside(&name, &path, problem) {
                        tracing::error!("{error:#}");
                    }
                }
                _ => {}
            }
        }
        Ok(new)
    }

    /// Whether this very file was read before. Whatever is read is known from then on.
    fn is_known_as_strange(&self, path: &Path) -> bool {
        let Ok(found) = std::fs::symlink_metadata(path) else { return true };
        let now = (found.modified().unwrap_or(SystemTime::UNIX_EPOCH), found.len());
        lock(&self.strange).insert(path.to_owned(), now) == Some(now)
    }

    fn hold_taken(&self, entry: Entry, found: &mut Found) {
        lock(&self.book).set(&entry.name(), Held::Taken { entry: Box::new(entry.clone()), on_disk: true });
        found.taken.push(entry);
    }

    /// What came of the last question. A task that nothing else knows of is put on record.
    fn go_on_from_question(&self, found: &mut Found, waiting: &mut Vec<(String, Key)>) -> anyhow::Result<()> {
        let cannot = || format!("{} cannot be dealt with", self.question.path().display());
        let Some(Left { time, backend, answer }) = self.question.left().with_context(cannot)? else { return Ok(()) };
        let now = SystemTime::now();
        let entry = match parse_task(200, &answer) {
            Ok(Answer::Task(task)) => Some(Entry::taken(&backend, &task, now)),
            Ok(Answer::Invalid { key: Some(key), .. }) => Some(Entry::handed_out(&backend, &key, now)),
            Ok(Answer::NoTask) => {
                found.asking = answer.is_empty().then_some(time);
                None
            }
            Ok(Answer::Invalid { key: None, .. }) | Err(_) => {
                tracing::error!(
                    time,
                    "an earlier run was killed while the backend answered what is no task, or the beginning of one: {}; if the backend has \
                     handed out an attempt, it has to do so again",
                    excerpt(&answer, SHOWN)
                );
                None
            }
        };
        if let Some(entry) = entry.filter(|entry| entry.key().is_some()) {
            self.go_on_with(entry, found, waiting)?;
        }
        self.question.end().with_context(cannot)
    }

    fn go_on_with(&self, entry: Entry, found: &mut Found, waiting: &mut Vec<(String, Key)>) -> anyhow::Result<()> {
        let name = entry.name();
        if entry.backend != self.backend {
            let elsewhere = self.dir.join(ELSEWHERE);
            if !elsewhere.join(file_name(&entry.name_elsewhere())).exists() {
                durable::replace(&elsewhere, &file_name(&entry.name_elsewhere()), &entry.to_bytes())?;
                found.others.push(entry.name_elsewhere());
            }
            return Ok(());
        }
        if lock(&self.book).get(&name).is_some() {
            return Ok(());
        }
        let _files = lock(&self.files);
        // It was answered while the question was on its way.
        let said = self.said(&name);
        if let Some(Ok(head)) = std::fs::read(&said).ok().map(|bytes| Head::parse(&bytes))
            && head.name() == name
            && head.backend == self.backend
        {
            durable::move_to(&said, &self.path(&name))?;
            lock(&self.book).set(&name, Held::Waiting(None));
            waiting.push((head.since, head.key));
            return Ok(());
        }
        self.write(&name, &entry.to_bytes(), true)?;
        self.hold_taken(entry, found);
        Ok(())
    }

    /// Removes results that were confirmed while a question was on its way.
    fn forget_what_was_said(&self) -> anyhow::Result<()> {
        let cannot = || format!("the spool {} cannot be read", self.dir.display());
        for found in std::fs::read_dir(&self.dir).with_context(cannot)? {
            let path = found.with_context(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if [".said-", ".retry-"].iter().any(|prefix| name.starts_with(prefix)) {
                durable::remove_if_there(&path).with_context(cannot)?;
            }
        }
        durable::sync_dir(&self.dir).with_context(cannot)
    }

    /// Takes back what is this backend's, and puts away what is not; the names of all that is not. No file takes another one's place.
    fn part(&self) -> anyhow::Result<Vec<String>> {
        let elsewhere = self.dir.join(ELSEWHERE);
        let mut others = Vec::new();
        let stays = |path: &Path, error: std::io::Error| {
            tracing::error!(file = %path.display(), "it cannot be moved to where it belongs, and stays: {error}");
        };
        for path in files_of(&self.dir)? {
            if let Some(Ok((head, _))) = read_head(&path)
                && head.backend != self.backend
                && let Err(error) = durable::move_to(&path, &elsewhere.join(file_name(&head.name_elsewhere())))
            {
                stays(&path, error);
                others.push(head.name());
            }
        }
        for path in files_of(&elsewhere)? {
            match read_head(&path) {
                None => {}
                Some(Ok((head, _))) if head.backend == self.backend => {
                    if let Err(error) = durable::move_to(&path, &self.path(&head.name())) {
                        stays(&path, error);
                        others.push(head.name_elsewhere());
                    }
                }
                Some(Ok((head, _))) => others.push(head.name_elsewhere()),
                Some(Err(problem)) => tracing::error!(file = %path.display(), "it is left alone: {problem}"),
            }
        }
        Ok(others)
    }
}
