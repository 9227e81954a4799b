//! What a runner says of itself to whoever looks: `status.json` in its state directory, which `check` reads.

use crate::text::visible_json;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The file, in the state directory.
const FILE: &str = "status.json";

/// What a runner is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It asks the backend for tasks and grades them.
    Asking,
    /// The backend gives no sound answer; it asks again and again.
    BackendAway,
    /// Results would not be safe: it takes no tasks.
    SpoolFull,
    /// Tasks are held until what failed works again.
    Holding,
    /// It was told to stop and finishes what runs.
    Draining,
    /// It ended in good order.
    Ended,
}

/// A task that could not be graded by no fault of the submission, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The task, as the log names it.
    pub task: String,
    /// Who has to act: `host`, `network`, `suite`.
    pub blame: String,
    /// What is broken, in words.
    pub cause: String,
    /// Since when (RFC 3339, UTC).
    pub since: String,
    /// What was said about it last. The first line says it, the others are a tool's own words.
    pub message: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it will be answered as not graded, if this goes on (RFC 3339, UTC); none where nobody waits for an answer by a certain time.
    pub deadline: Option<String>,
}

/// A runner's state, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// When it started (RFC 3339, UTC).
    pub started: String,
    /// What it does.
    pub state: State,
    /// Since when.
    pub since: String,
    /// Why, where that is a sentence.
    pub reason: String,
    /// The backend's address.
    pub backend: String,
    /// How many tasks it grades at a time.
    pub slots: usize,
    /// The tasks that are being graded.
    pub busy: Vec<String>,
    /// Tasks graded since the start.
    pub graded: u64,
    /// Results that the backend has confirmed since the start.
    pub delivered: u64,
    /// Results that wait for the backend.
    pub waiting: usize,
    /// Results that were refused for good, of earlier runs, too.
    pub rejected: usize,
    /// Tasks that wait until something works again.
    #[serde(default)]
    pub held: Vec<Held>,
}

impl Status {
    /// It does something else now. A draining runner stays one.
    pub fn turn(&mut self, state: State, reason: &str) {
        if self.state == State::Draining && state != State::Ended {
            return;
        }
        if (self.state, &*self.reason) != (state, reason) {
            if self.state != state {
                self.since = now();
            }
            self.state = state;
            self.reason = reason.to_owned();
        }
    }

    /// What it does, in one line.
    pub fn line(&self) -> String {
        let many = |count: usize| if count == 1 { "" } else { "s" };
        let (slots, busy) = (self.slots, self.busy.len());
        let mut line = format!("{slots} slot{}, {busy} busy", many(slots));
        if self.state == State::Draining {
            line.insert_str(0, "finishing what runs, no new tasks; ");
        }
        match self.waiting {
            0 => {}
            1 => line.push_str("; 1 result waits for the backend"),
            count => line.push_str(&format!("; {count} results wait for the backend")),
        }
        if let Some(first) = self.held.first() {
            let (count, said) = (self.held.len(), first.message.lines().next().unwrap_or_default());
            let what = if count == 1 { "1 task is held".into() } else { format!("{count} tasks are held") };
            line.push_str(&format!("; {what}, because {} fails: {said}", first.cause));
        }
        let what = match self.state {
            State::Asking | State::Draining | State::Ended => return line,
            // What is held says why.
            State::Holding if !self.held.is_empty() => return line,
            State::Holding => "tasks are held",
            State::BackendAway => "no tasks come",
            State::SpoolFull => "no tasks are taken",
        };
        // A line break would begin another variable of the service manager's protocol.
        let reason = self.reason.lines().next().unwrap_or_default();
        format!("{line}; {what}: {reason}")
    }

    /// What the last runner of this state directory has said; none if there was none.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(state_dir: &Path) -> anyhow::Result<Option<Status>> {
        let path = state_dir.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let status = serde_json::from_slice(&bytes);
        Ok(Some(status.with_context(|| format!("{} is no status of a runner", path.display()))?))
    }
}

/// Where a runner's status is kept.
pub struct Board {
    path: PathBuf,
    /// Whether it was written the last time.
    kept: AtomicBool,
    status: Mutex<Status>,
    told: Box<dyn Fn(&Status) + Send + Sync>,
}

impl Board {
    /// Begins with a runner that has just started. `told` hears of each change.
    pub fn begin(
        state_dir: &Path,
        backend: &str,
        slots: usize,
        told: impl Fn(&Status) + Send + Sync + 'static,
    ) -> Board {
        let status = Status {
            pid: std::process::id(),
            started: now(),
            state: State::Asking,
            since: now(),
            reason: String::new(),
            backend: backend.to_owned(),
            slots,
            busy: Vec::new(),
            graded: 0,
            delivered: 0,
            waiting: 0,
            rejected: 0,
            held: Vec::new(),
        };
        let board = Board {
            path: state_dir.join(FILE),
            kept: AtomicBool::new(true),
            status: Mutex::new(status),
            told: Box::new(told),
        };
        board.write(&board.now());
        board
    }

    /// Changes it; `true` if anything is different now.
    pub fn change(&self, change: impl FnOnce(&mut Status)) -> bool {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let before = status.clone();
        change(&mut status);
        let changed = *status != before;
        if changed {
            self.write(&status);
            (self.told)(&status);
        }
        changed
    }

    /// As it is.
    pub fn now(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whole, but not synced: after a loss of power nobody asks what a runner was doing.
    fn write(&self, status: &Status) {
        let aside = self.path.with_extension("new");
        // Somebody will look at it with `cat`.
        let text = visible_json(&serde_json::to_string_pretty(status).unwrap_or_default());
        let written = std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, &self.path));
        let before = self.kept.swap(written.is_ok(), Ordering::Relaxed);
        if let Err(error) = written
            && before
        {
            // No more than `check` needs it; whether tasks can be taken is the spool's to say.
            tracing::warn!("{} cannot be written, so `check` shows old figures: {error}", self.path.display());
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_in_words_and_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let lines = std::sync::Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        let board = Board::begin(dir.path(), "http://b", 2, move |status| heard.lock().unwrap().push(status.line()));
        board.change(|status| (status.busy, status.waiting) = (vec!["attempt 1".into()], 3));
        board.change(|status| status.turn(State::BackendAway, "no answer\nMAINPID=1"));
        board.change(|status| status.turn(State::Draining, "told to stop"));
        let expected = [
            "2 slots, 1 busy; 3 results wait for the backend",
            "2 slots, 1 busy; 3 results wait for the backend; no tasks come: no answer",
            "finishing what runs, no new tasks; 2 slots, 1 busy; 3 results wait for the backend",
        ];
        assert_eq!(*lines.lock().unwrap(), expected);
    }

    #[test]
    fn what_is_held_is_counted_with_its_reason_and_older_files_hold_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::begin(dir.path(), "http://b", 2, |_| ());
        let held = |task: &str, cause: &str| Held {
            task: task.into(),
            blame: "network".into(),
            cause: cause.into(),
            since: "2026-01-01T00:00:00Z".into(),
            message: "it cannot be reached\nfatal: x".into(),
            tries: 1,
            deadline: None,
        };
        board.change(|status| {
            status.held = vec![held("attempt 1", "the git server a"), held("attempt 2", "the package index")];
            status.turn(State::Holding, "");
        });
        let line = board.now().line();
        assert_eq!(line, "2 slots, 0 busy; 2 tasks are held, because the git server a fails: it cannot be reached");
        let path = dir.path().join(FILE);
        let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((&json["state"], &json["held"][1]["task"]), (&"holding".into(), &"attempt 2".into()));
        json.as_object_mut().unwrap().remove("held");
        std::fs::write(&path, json.to_string()).unwrap();
        assert!(Status::read(dir.path()).unwrap().unwrap().held.is_empty());
    }

    #[test]
    fn what_is_said_can_be_read_and_only_changes_are_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Status::read(dir.path()).unwrap().is_none());
        let board = Board::begin(dir.path(), "http://b/", 2, |_| ());
        assert_eq!(Status::read(dir.path()).unwrap(), Some(board.now()));
        assert!(board.change(|status| status.turn(State::SpoolFull, "no room")));
        assert!(!board.change(|status| status.turn(State::SpoolFull, "no room")));
        assert_eq!(Status::read(dir.path()).unwrap().unwrap().reason, "no room");
        board.change(|status| status.turn(State::Draining, ""));
        assert!(!board.change(|status| status.turn(State::Asking, "")), "it was told to stop");
        assert!(board.change(|status| status.turn(State::Ended, "")));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Status::read(dir.path()).is_err());
    }
}
