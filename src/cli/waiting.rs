//! What a person reads while a command works: on a terminal a line that changes, elsewhere a line for what takes long.

use crate::task::{Event, Step};
use crate::text::visible_line;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often the line moves.
const TICK: Duration = Duration::from_millis(200);

/// The line that is on the terminal now, if there is one: lines of the log are written above it.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// What is shown and said while something is waited for. It is gone from the terminal when this is dropped. Its line has a thread
/// of its own, so it must not begin before the host is open.
pub struct Waiting {
    bar: ProgressBar,
    /// What stands before each step.
    of: &'static str,
    terminal: bool,
    /// Whether what takes long is said on standard error where that is no terminal.
    speaks: bool,
}

impl Waiting {
    /// Nothing is waited for yet. `of` stands before each step; it may be empty.
    pub fn begin(of: &'static str) -> Waiting {
        Waiting::new(of, true)
    }

    /// The same for a program whose log says it where there is no terminal.
    pub fn on_a_terminal(of: &'static str) -> Waiting {
        Waiting::new(of, false)
    }

    fn new(of: &'static str, speaks: bool) -> Waiting {
        let terminal = std::io::stderr().is_terminal();
        let bar = line("{spinner} {elapsed} {wide_msg}");
        if terminal {
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        }
        Waiting { bar, of, terminal, speaks }
    }

    /// What is done now; a terminal alone shows it.
    pub fn show(&self, what: &str) {
        self.bar.set_message(visible_line(what));
    }

    /// What the task that is waited for has come to.
    pub fn hear(&mut self, event: Event) {
        match event {
            Event::Begins(step) => self.show(&self.whole(doing(step))),
            Event::Waits(what) => {
                let what = self.whole(&what);
                if self.speaks && !self.terminal {
                    super::out::say(format_args!("ostest-sandbox: {what}; this can take a minute or more"));
                }
                self.show(&what);
            }
            // None is known before they are collected.
            Event::Suite(_) | Event::Collected | Event::Tests { total: 0, .. } => {}
            Event::Tests { done, total } => {
                self.show(&self.whole(&format!("running the tests, {done} of {total} done")))
            }
        }
    }

    fn whole(&self, what: &str) -> String {
        if self.of.is_empty() { what.to_owned() } else { format!("{}: {what}", self.of) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.terminal {
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.bar.finish_and_clear();
    }
}

/// Writes to the terminal without what is shown there in the way.
pub fn beside<T>(write: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// A bar for a count of what is done, where a person waits.
pub fn counting(what: &str) -> ProgressBar {
    line(&format!("{{bar:30}} {{pos}}/{{len}} {what}, {{elapsed}}"))
}

fn line(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        return bar;
    }
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// A step, as what is done now.
fn doing(step: Step) -> &'static str {
    match step {
        Step::Tree => "making the work tree",
        Step::Fetch => "fetching the submission",
        Step::Suite => "fetching the test suite",
        Step::Prepare => "looking for the suite's Python environment",
        Step::Build => "building the project",
        Step::Test => "running the tests",
    }
}
