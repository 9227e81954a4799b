//! What must hold of every parser that meets hostile bytes, whatever the bytes.
//!
//! Each property is a function that takes bytes, panics where it is broken, and says in one word how far the bytes got.
//! The fuzz targets call them with what libFuzzer makes up, on a nightly compiler; `tests/seeds.rs` calls the same functions
//! with the seeds and with what it makes of them, on any compiler. So a finding becomes a regression test by becoming a seed.

pub mod asks;
pub mod config;
pub mod events;
pub mod frames;
pub mod judge;
pub mod junit;
pub mod plan;
pub mod said;
pub mod spool;
pub mod suite;
pub mod task;
pub mod text;
pub mod url;

/// A parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which its fuzz target and its folder of seeds have too.
    pub name: &'static str,
    /// Its property. Gives one of `words`.
    pub check: fn(&[u8]) -> &'static str,
    /// How far bytes can get. Each is reached by some seed, so that a fuzzer starts behind every door.
    pub words: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 12] = [
    Target { name: "asks", check: asks::check, words: &["leaf", "steps", "refused"] },
    Target { name: "config", check: config::check, words: &["valid", "refused"] },
    Target { name: "events", check: events::check, words: &["clean", "contradicted"] },
    Target { name: "frames", check: frames::check, words: &["whole", "broken"] },
    Target { name: "judge", check: judge::check, words: &["passed", "not passed", "error"] },
    Target { name: "junit", check: junit::check, words: &["report", "refused"] },
    Target { name: "plan", check: plan::check, words: &["valid", "invalid", "refused"] },
    Target { name: "spool", check: spool::check, words: &["taken", "waiting", "rejected", "refused"] },
    Target { name: "suite", check: suite::check, words: &["valid", "refused"] },
    Target { name: "task", check: task::check, words: &["attempt", "id", "no task", "invalid", "refused"] },
    Target { name: "text", check: text::check, words: &["short", "long"] },
    Target { name: "url", check: url::check, words: &["allowed", "refused"] },
];

/// Whether a text can be put into a log without moving the terminal that shows it.
fn is_harmless(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'))
}
