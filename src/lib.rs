//! The runner: takes tasks from a backend, has each stage contained by the launcher, uploads results.

pub mod attacks;
pub mod backend;
pub mod canary;
pub mod check;
pub mod cli;
pub mod config;
pub mod contain;
pub mod events;
pub mod fault;
pub mod harness;
pub mod judge;
pub mod junit;
pub mod proxy;
pub mod runner;
pub mod spool;
pub mod status;
pub mod steps;
pub mod task;
pub mod template;
pub mod text;
pub mod units;
pub mod verdict;
