//! How long grading one task can take at the most: what its stages may take together, and what happens between them.

use super::{fetch, prepare};
use crate::config::{Grading, Limits};
use std::time::Duration;

/// For all that has no time limit of its own: mounting, copying the suite, making and removing groups and work trees, on a host
/// under extreme load.
const BETWEEN: Duration = Duration::from_secs(300);

/// The bound for any task of a runner with so many slots.
pub fn longest(grading: &Grading, slots: usize) -> Duration {
    let labs = grading.labs.values().map(|lab| grading.limits.with(*lab));
    let timeout = labs.chain([grading.limits]).map(|limits: Limits| limits.timeout).max().unwrap_or_default();
    let fetch = grading.fetch.timeout.map_or(fetch::DEFAULT_TIME, |t| t.0);
    let prepare = of_prepare(grading);
    // An environment is built by one at a time, and each that waited tries again where the one before it failed: our own slots, and
    // a `grade` beside the runner.
    let prepares = prepare.saturating_mul(u32::try_from(slots).unwrap_or(u32::MAX).saturating_add(1));
    // The submission and a suite that is a repository; a build ends within the limit of the test stage, too.
    let stages = [fetch, fetch, prepares, timeout, timeout, BETWEEN];
    stages.into_iter().fold(Duration::ZERO, Duration::saturating_add)
}

/// The wall clock of building an environment.
pub fn of_prepare(grading: &Grading) -> Duration {
    grading.prepare.timeout.map_or(prepare::DEFAULT_TIME, |t| t.0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{FileOptions, LimitOptions};

    /// What is graded with, where a file alone says so.
    pub(crate) fn of_file(file: &FileOptions, slots: usize) -> Grading {
        Grading {
            tests: "/suite".into(),
            tests_branch: None,
            limits: Limits::from_options(LimitOptions::default().or(file.limits()), slots),
            proxy_timeout: Duration::from_secs(10),
            allow_url: Vec::new(),
            mirrors: Vec::new(),
            allow_internal: Vec::new(),
            backend: None,
            answer_within: None,
            credentials: std::collections::BTreeMap::new(),
            fetch: file.fetch.clone(),
            prepare: file.prepare.clone(),
            build: file.build.clone(),
            test: file.test.clone(),
            labs: file.lab.clone(),
        }
    }

    fn bound(file: &str, slots: usize) -> u64 {
        longest(&of_file(&toml::from_str(file).unwrap(), slots), slots).as_secs()
    }

    #[test]
    fn it_follows_the_limits_and_the_longest_laboratory() {
        let usual = bound("", 1);
        assert_eq!(usual, 2 * 120 + 2 * 600 + 2 * 600 + 300);
        assert_eq!(bound("", 3), usual + 2 * 600);
        assert_eq!(bound("[lab.3]\ntimeout = 900\n[lab.4]\ntimeout = 60", 1), usual + 2 * 300);
        assert_eq!(bound("timeout = 60\n[fetch]\ntimeout = 20\n[prepare]\ntimeout = 30", 1), 40 + 60 + 120 + 300);
    }
}
