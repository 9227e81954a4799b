//! A spool as people see it, who look into it or change it, with or without a runner.

use super::{DIR, ELSEWHERE, Entry, REJECTED, durable, file_name, name_of, read_all};
use anyhow::Context;
use std::path::{Path, PathBuf};

/// A state directory's spool. Nothing is locked: each entry is a file that is replaced as a whole.
pub struct Shelf {
    dir: PathBuf,
}

/// An entry as a person finds it.
pub struct Lying {
    /// Where it is.
    pub path: PathBuf,
    /// What it says, or what is wrong with it.
    pub entry: Result<Entry, String>,
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
        for dir in [self.dir.clone(), self.dir.join(ELSEWHERE), self.dir.join(REJECTED)] {
            all.extend(read_all(&dir)?.into_iter().map(|(path, entry)| Lying { path, entry }));
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

    /// Has a result sent again that was refused, or one that was to go to another backend, at the runner's next start.
    ///
    /// # Errors
    /// It has no result yet, another one of that attempt waits, or the disk does not take it.
    pub fn retry(&self, lying: &Lying, backend: Option<&str>) -> anyhow::Result<()> {
        let entry = lying.entry.clone().map_err(|problem| anyhow::anyhow!("{}: {problem}", lying.path.display()))?;
        let entry = entry.waiting_again(backend)?;
        let path = self.dir.join(file_name(&entry.name()));
        anyhow::ensure!(
            path == lying.path || !path.exists(),
            "another result of that attempt waits already: {}",
            path.display()
        );
        durable::replace(&self.dir, &file_name(&entry.name()), &entry.to_bytes())
            .with_context(|| format!("{} cannot be written", path.display()))?;
        if path != lying.path {
            self.drop_entry(lying)?;
        }
        Ok(())
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
    /// Whether it is another backend's than the runner's that asked last.
    pub fn is_elsewhere(&self) -> bool {
        self.path.parent().is_some_and(|dir| dir.ends_with(ELSEWHERE))
    }

    /// Its name: that of its file.
    pub fn name(&self) -> String {
        self.path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    fn is(&self, name: &str) -> bool {
        let known = self.entry.as_ref().ok().and_then(Entry::key);
        self.name() == name || known.is_some_and(|key| key.token().to_string() == name || name_of(&key) == name)
    }
}
