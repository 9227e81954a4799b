//! Numbers of the system, for people.

use std::time::Duration;

/// What pytest means by its exit status.
pub(super) fn exit_status(status: i64) -> &'static str {
    match status {
        0 => "all went well",
        1 => "tests failed",
        2 => "interrupted",
        3 => "internal error",
        4 => "usage error",
        5 => "no tests collected",
        _ => "set by a plugin or the suite itself",
    }
}

/// `600 s`, `1.5 s`.
pub(super) fn show_seconds(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// `9 (SIGKILL)`.
pub(super) fn show_signal(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return signal.to_string(),
    };
    format!("{signal} ({name})")
}
