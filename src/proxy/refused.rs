//! What a stage wanted and did not get: for the log, once each, and for the result; and what it did get.

use super::address::Kind;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most that are kept and logged for one stage: a course's own tools ask for a few, and what asks for more repeats itself.
const MOST: usize = 32;

/// Why it did not get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is not on this stage's list.
    NotListed,
    /// It is, or its name leads to, an address that no stage may reach by itself.
    Internal(Kind, IpAddr),
    /// It was not said in a way that has one meaning.
    Malformed(String),
    /// Its name has no address.
    NoAddress(String),
    /// Nobody answers there, or who does is no help.
    Unreachable(String),
    /// The stage has moved as many bytes as it may.
    TooMuch(u64),
    /// The stage has made as many connections as it may.
    TooMany(usize),
}

impl Why {
    /// Whether it was refused, and did not fail.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Why::NoAddress(_) | Why::Unreachable(_))
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::NotListed => f.write_str("it is not one of the hosts of this stage"),
            Why::Internal(kind, address) => write!(f, "it leads to the internal address {address} ({kind})"),
            Why::Malformed(why) => f.write_str(why),
            Why::NoAddress(why) => write!(f, "its name has no address ({why})"),
            Why::Unreachable(why) => write!(f, "it cannot be reached ({why})"),
            Why::TooMuch(limit) => write!(f, "the stage has moved {} MiB, all that it may", limit >> 20),
            Why::TooMany(limit) => write!(f, "the stage has made {limit} connections, all that it may"),
        }
    }
}

/// One thing that a stage did not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What it asked for, as `host:port` in its one spelling.
    pub place: String,
    /// Why not.
    pub why: Why,
}

/// What a stage did get: whether a server was there at all, and how much of it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections to a server that were made.
    pub connections: u64,
    /// Bytes that servers sent.
    pub received: u64,
}

/// All that one stage did not get, and the sum of what it did.
#[derive(Debug)]
pub struct Book {
    stage: &'static str,
    entries: Mutex<Vec<Refused>>,
    connections: AtomicU64,
    received: AtomicU64,
}

impl Book {
    /// An empty one.
    pub fn new(stage: &'static str) -> Book {
        Book { stage, entries: Mutex::new(Vec::new()), connections: AtomicU64::new(0), received: AtomicU64::new(0) }
    }

    /// A server is there.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes came from a server.
    pub fn received(&self, count: usize) {
        self.received.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            connections: self.connections.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }

    /// Writes one down and logs it, unless that was done before.
    pub fn note(&self, place: &str, why: Why) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &Refused| {
            entry.place == place && std::mem::discriminant(&entry.why) == std::mem::discriminant(&why)
        };
        if entries.len() >= MOST || entries.iter().any(same) {
            return;
        }
        let stage = self.stage;
        match why.is_refusal() {
            true => tracing::warn!(stage, place, "the proxy refused a connection: {why}"),
            false => tracing::warn!(stage, place, "the proxy could not make a connection: {why}"),
        }
        entries.push(Refused { place: place.into(), why });
        if entries.len() == MOST {
            tracing::warn!(stage, "more of what the proxy refuses is not logged");
        }
    }

    /// What was written down.
    pub fn entries(&self) -> Vec<Refused> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_kept_once_and_a_flood_is_not_kept() {
        let book = Book::new("fetch");
        for _ in 0..3 {
            book.note("a:443", Why::NotListed);
            book.note("a:443", Why::NoAddress("none".into()));
        }
        assert_eq!(book.entries().len(), 2);
        for port in 1..1000 {
            book.note(&format!("a:{port}"), Why::NotListed);
        }
        assert_eq!(book.entries().len(), MOST);
    }
}
