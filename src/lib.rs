//! The runner: takes tasks from a backend, has each stage contained by the launcher, uploads results.

pub mod units;
pub mod verdict;
