//! The proxy of the fetch and prepare stages: their only way to a network.
//!
//! Such a stage has an empty network namespace. On its loopback there is a socket that was made inside and is served here, outside
//! (`sandbox::proxy`), by HTTP: git and pip need nothing but their proxy variables. It reaches the hosts of the stage's list alone
//! ([`rules::Reach`]), resolves names by itself, and refuses whatever leads into somebody's own network ([`address`]), however it is
//! spelled ([`place`]). What it refused is logged and comes back with the stage's outcome ([`refused`]).

pub mod address;
pub mod head;
pub mod place;
pub mod refused;
pub mod rules;
mod serve;
#[cfg(test)]
mod tests;
pub mod upstream;

pub use place::{Internal, Place};
pub use refused::{Book, Refused, Traffic, Why};
pub use rules::{Limits, Reach, Rules};
pub use serve::serve;
pub use upstream::Upstream;

/// Foreign text for a person: short, and without characters that do something to a terminal.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    format!("{short:?}{}", if short.len() < text.len() { "…" } else { "" })
}
