//! Contains one command: a [`plan::Plan`] goes in, an [`outcome::Outcome`] comes out.

pub mod cgroup;
pub mod outcome;
pub mod plan;
