//! Places in the life of a task, each with a name, at which a test kills the runner to see that nothing is lost.
//!
//! In a release build a place is a trace event and nothing else. In a debug build two variables are looked at, once:
//! `OSTEST_TEST_STEPS` names a file to which each place that is passed is added, a line each, and `OSTEST_TEST_DIE_AT` is the
//! number of the line at which the process kills itself with SIGKILL.

/// Says that this place is passed.
pub fn at(step: &'static str) {
    tracing::trace!(step);
    #[cfg(debug_assertions)]
    debug::at(step);
}

#[cfg(debug_assertions)]
mod debug {
    use std::fs::File;
    use std::io::Write;
    use std::sync::{Mutex, OnceLock, PoisonError};

    struct Watch {
        file: Option<File>,
        passed: u64,
        die_at: Option<u64>,
    }

    static WATCH: OnceLock<Option<Mutex<Watch>>> = OnceLock::new();

    pub fn at(step: &str) {
        let Some(watch) = WATCH.get_or_init(watch) else { return };
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.passed += 1;
        if let Some(file) = &mut watch.file {
            // A test misses a line that could not be written.
            let _ = writeln!(file, "{step}");
        }
        if watch.die_at == Some(watch.passed) {
            // With the lock held, so that no other thread passes a place meanwhile.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        }
    }

    fn watch() -> Option<Mutex<Watch>> {
        let file = std::env::var_os("OSTEST_TEST_STEPS")
            .and_then(|path| File::options().create(true).append(true).open(path).ok());
        let die_at = std::env::var("OSTEST_TEST_DIE_AT").ok().and_then(|number| number.parse().ok());
        (file.is_some() || die_at.is_some()).then(|| Mutex::new(Watch { file, passed: 0, die_at }))
    }
}
