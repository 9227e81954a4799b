//! What commands print. Rust's own macros panic where nobody reads any more, or where a disk is full: a grading would be broken
//! off with its groups left behind.
//!
//! Whatever a text holds that a terminal would obey is made visible here ([`crate::text::visible`]): much of what is printed was
//! written by students, servers and tools. Where a colour of our own belongs into it, what is not ours has been made visible before.

use crate::text::{visible, visible_json};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether whoever read standard output has gone.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// Prints to standard output, at once. Who has closed the pipe has read enough, and that is no error: the exit code stays what it
/// would have been.
///
/// # Errors
/// When it cannot be written for any other reason, such as a full disk.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    coloured(visible(&text.to_string()))
}

/// Prints a text that has colours, and nothing else that a terminal obeys.
///
/// # Errors
/// As [`print`].
pub fn coloured(text: impl Display) -> anyhow::Result<()> {
    bytes(text.to_string().as_bytes()).map_err(|e| anyhow::anyhow!("standard output cannot be written to: {e}"))
}

/// Prints a line of JSON, or several, in which such characters are escaped as JSON has it.
///
/// # Errors
/// As [`print`].
pub fn json(text: impl Display) -> anyhow::Result<()> {
    coloured(format_args!("{}\n", visible_json(&text.to_string())))
}

/// The same with the end of a line.
///
/// # Errors
/// As [`print`].
pub fn line(text: impl Display) -> anyhow::Result<()> {
    print(format_args!("{text}\n"))
}

/// Bytes as they are.
///
/// # Errors
/// As [`print`].
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    if is_unread() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            UNREAD.store(true, Ordering::Relaxed);
            Ok(())
        }
        other => other,
    }
}

/// Whether whoever read standard output has gone, as far as is known: only writing tells.
pub fn is_unread() -> bool {
    UNREAD.load(Ordering::Relaxed)
}

/// Says something on standard error. Where that cannot be written to there is nobody left to tell.
pub fn say(text: impl Display) {
    say_coloured(visible(&text.to_string()));
}

/// The same of a text that has colours.
pub fn say_coloured(text: impl Display) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}
