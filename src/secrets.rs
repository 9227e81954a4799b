//! What no child process may inherit: it would show in its environment, and in that of whatever it starts.

use std::process::Command;

/// Variables that hold a secret, or that let whoever has them speak in the runner's name.
const NAMES: [&str; 3] = ["OSTEST_PASSWORD", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY"];

/// A program of the host's that is started without them. The launcher gets no environment at all.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in NAMES {
        command.env_remove(name);
    }
    command
}
