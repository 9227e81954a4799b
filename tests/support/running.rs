//! A runner that goes on until it is told to stop, and what is seen of it.

use super::Place;
use super::backend::Counting;
use crate::common::{send_signal, wait_until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a runner's status file says.
pub fn status(place: &Place) -> Value {
    let text = std::fs::read_to_string(place.path("state/status.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// A runner with a log.
pub struct Running {
    /// Its process.
    pub child: Child,
    /// Where its log is.
    pub log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a test that has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// One for this backend and suite, with more flags.
    pub fn start(place: &Place, backend: &Counting, suite: &Path, more: &[&str]) -> Running {
        let mut command = place.runner(&backend.url, suite);
        command.args(more);
        Running::of(place, command)
    }

    /// One that is started so.
    pub fn of(place: &Place, mut command: Command) -> Running {
        let log = place.path("log");
        command.arg("--logger-output").arg(&log).stdout(Stdio::null());
        Running { child: command.spawn().expect("the runner starts"), log }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process, for signals.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Tells it to stop, and waits until it has.
    #[track_caller]
    pub fn ends(mut self) {
        send_signal(self.pid(), 15);
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0), "{}", self.log());
    }
}

/// Whether a result says so.
pub fn passed(result: &Value) -> bool {
    result["testResults"]["isPassed"] == true
}

/// A runner that has something to do.
pub struct Everything<'a> {
    /// Where it runs.
    pub place: &'a Place,
    /// Who has the tasks.
    pub backend: &'a Counting,
    /// The runner.
    pub runner: &'a Running,
    /// The task of an attempt.
    pub of: &'a dyn Fn(u64) -> Value,
}

impl Everything<'_> {
    /// A fault of everybody's, made and mended, meets a runner that has eleven tasks to take, after a first one that went well. How many
    /// it is given before it stops asking. Nobody is answered wrongly.
    #[track_caller]
    pub fn meet(&self, fault: &str, slots: &str, make: impl Fn(), mend: impl Fn()) -> usize {
        self.meet_after(3, fault, slots, make, mend)
    }

    /// The same, where it is mended after so many tries: for a fault that shows only after a while.
    #[track_caller]
    pub fn meet_after(&self, wanted: u64, fault: &str, slots: &str, make: impl Fn(), mend: impl Fn()) -> usize {
        let (place, backend, runner) = (self.place, self.backend, self.runner);
        backend.wait("a first result", |books| books.taken.len() == 1);
        make();
        backend.books().queue.extend((2..=12).map(self.of));
        wait_until("a task is held", || status(place)["held"].as_array().is_some_and(|held| !held.is_empty()));
        assert_eq!(status(place)["state"], "holding", "{}", runner.log());
        // The step is tried again, and nothing else happens meanwhile.
        wait_until("it is tried again", || {
            status(place)["held"][0]["tries"].as_u64().is_some_and(|tries| tries >= wanted)
        });
        let books = backend.books();
        let (taken, handed) = (books.taken.len(), books.handed.len());
        drop(books);
        assert_eq!(taken, 1, "nothing is answered: {}", runner.log());
        // That the others were not taken is shown; two of them will do to show that they are now.
        backend.books().queue.truncate(2);
        mend();
        let mended = Instant::now();
        backend.wait("the held one's result", |books| books.taken.len() == 2);
        let on_after = mended.elapsed();
        backend.wait("all results", |books| books.taken.len() == handed + 2);
        assert!(backend.books().taken.iter().all(passed), "{:#?}", backend.books().taken);
        let says = "does not work; the task is held";
        let log = runner.log();
        let line = log.lines().find(|line| line.contains(says)).unwrap_or_default();
        assert!(line.contains("task=attempt ") && line.contains("to fix it: "), "{log}");
        row(fault, slots, handed - 1, on_after, &log, says);
        handed - 1
    }
}

/// One row of the table of faults: what a person reads who wants to know what each costs. `cargo test -- --nocapture` prints it.
pub fn row(fault: &str, slots: &str, in_hand: usize, on_after: Duration, log: &str, says: &str) {
    let line = log.lines().find(|line| line.contains(says)).unwrap_or_default();
    let line = line.find("ERROR").or_else(|| line.find("WARN")).map_or("", |at| &line[at..]);
    println!(
        "{fault} | {slots} slots | answered wrongly 0 | in hand {in_hand} | on after {:.1} s | {line}",
        on_after.as_secs_f32()
    );
}
