//! A spool as people see it, who look into it or change it, with or without a runner.

use super::{DIR, ELSEWHERE, Entry, Head, REJECTED, SET_ASIDE, durable, file_name, files_of, name_of, read_head};
use anyhow::Context;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A state directory's spool. Nothing is locked: each entry is a file that is replaced as a whole.
pub struct Shelf {
    dir: PathBuf,
}

/// An entry as a person finds it. It is not in memory.
pub struct Lying {
    /// Where it is.
    pub path: PathBuf,
    /// What it says but for its result, or what is wrong with it.
    pub entry: Result<Head, String>,
}

impl Shelf {
    /// The spool of a state directory, which need not exist.
    pub fn of(state_dir: &Path) -> Shelf {
        Shelf { dir: state_dir.join(DIR) }
    }

    /// All entries, those that were refused last.
    ///
    /// # Errors
    /// A directory that is there and cannot be read.
    pub fn list(&self) -> anyhow::Result<Vec<Lying>> {
        let mut all = Vec::new();
        for below in ["", ELSEWHERE, SET_ASIDE, REJECTED] {
            let dir = if below.is_empty() { self.dir.clone() } else { self.dir.join(below) };
            for path in files_of(&dir)? {
                // What is gone meanwhile a runner has delivered.
                if let Some(read) = read_head(&path) {
                    all.push(Lying { path, entry: read.map(|(head, _)| head) });
                }
            }
        }
        Ok(all)
    }

    /// Those of this name: what `list` shows, or the backend's own name for the attempt.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> anyhow::Result<Vec<Lying>> {
        let found: Vec<Lying> = self.list()?.into_iter().filter(|lying| lying.is(name)).collect();
        anyhow::ensure!(
            !found.is_empty(),
            "the spool {} has no {name:?}; `ostest-sandbox spool list` shows what it has",
            self.dir.display()
        );
        Ok(found)
    }

    /// All that were refused, the newest first: of several results of an attempt that one is to be sent.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn refused(&self) -> anyhow::Result<Vec<Lying>> {
        let mut all = self.list()?;
        all.retain(Lying::is_refused);
        all.sort_by_key(|lying| std::cmp::Reverse(lying.entry.as_ref().map(|head| head.since.clone()).ok()));
        Ok(all)
    }

    /// Has a result sent again that was refused, or one that was to go to another backend. A runner that runs finds it soon.
    ///
    /// # Errors
    /// It has no result yet, another one of that attempt waits, or the disk does not take it.
    pub fn retry(&self, lying: &Lying, backend: Option<&str>) -> anyhow::Result<()> {
        let entry = lying.read()?.waiting_again(backend)?;
        let name = file_name(&entry.name());
        let path = self.dir.join(&name);
        if path == lying.path {
            return durable::replace(&self.dir, &name, &entry.to_bytes())
                .with_context(|| format!("{} cannot be written", path.display()));
        }
        let scratch = format!(".retry-{}", std::process::id());
        match durable::create(&self.dir, &name, &scratch, &entry.to_bytes()) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                anyhow::bail!("another result of that attempt waits already, or it is being graded: {}", path.display())
            }
            done => done.with_context(|| format!("{} cannot be written", path.display()))?,
        }
        self.drop_entry(lying)
    }

    /// Removes an entry: its attempt gets no answer from here.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn drop_entry(&self, lying: &Lying) -> anyhow::Result<()> {
        let (dir, name) = (lying.path.parent(), lying.path.file_name().and_then(|n| n.to_str()));
        let (dir, name) = dir.zip(name).context("an entry has a name")?;
        durable::remove(dir, name).with_context(|| format!("{} cannot be removed", lying.path.display()))
    }
}

impl Lying {
    /// All of it.
    ///
    /// # Errors
    /// It cannot be read, or is no entry.
    pub fn read(&self) -> anyhow::Result<Entry> {
        let wrong = |problem: &dyn std::fmt::Display| anyhow::anyhow!("{}: {problem}", self.path.display());
        self.entry.as_ref().map_err(|problem| wrong(problem))?;
        let bytes = std::fs::read(&self.path).map_err(|error| wrong(&error))?;
        Entry::parse(&bytes).map_err(|problem| wrong(&problem))
    }

    /// Whether it is another backend's than the runner's that asked last.
    pub fn is_elsewhere(&self) -> bool {
        self.is_in(ELSEWHERE)
    }

    /// Whether the backend has refused it.
    pub fn is_refused(&self) -> bool {
        self.is_in(REJECTED)
    }

    /// Its name: that of its file.
    pub fn name(&self) -> String {
        self.path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    fn is_in(&self, dir: &str) -> bool {
        self.path.parent().is_some_and(|parent| parent.ends_with(dir))
    }

    fn is(&self, name: &str) -> bool {
        let known = self.entry.as_ref().ok().map(|head| &head.key);
        self.name() == name || known.is_some_and(|key| key.token().to_string() == name || name_of(key) == name)
    }
}
