//! Contains one command: a [`plan::Plan`] goes in, an [`outcome::Outcome`] comes out.
//!
//! Three roles, each a file that reads in the order in which things happen: the launcher
//! ([`launcher`], host root, one per stage), init ([`init`], pid 1 inside) and, from init's fork on, the payload.
//! The crate knows nothing of tasks, pytest or HTTP.

mod birth;
mod bounds;
pub mod cgroup;
pub mod confine;
pub mod copy;
pub mod denied;
mod ending;
pub mod gate;
pub mod groups;
pub mod host;
pub mod init;
pub mod inventory;
pub mod launcher;
pub mod leaves;
pub mod ledger;
pub mod mounts;
pub mod order;
pub mod outcome;
mod places;
pub mod plan;
pub mod proxy;
mod sockets;
pub mod spawn;
mod streams;
pub mod switch;
pub mod sys;
pub mod visit;
pub mod watch;
pub mod wire;
pub mod words;
