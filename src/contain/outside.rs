//! Programs of the host's that are run outside, to be asked something: with the variables that they need, and no others. The
//! runner's environment may hold the backend's password, and the socket and the watchdog of the service manager, on which a child
//! could speak in the runner's name.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where programs are, who the user is to wrappers of interpreters, the language of messages, libraries of an interpreter that was
/// installed by hand, and where `busctl` finds systemd.
const KEPT: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DBUS_SYSTEM_BUS_ADDRESS"];

/// A command that starts such a program, which is looked for in this process's PATH.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // Ctrl-C on the terminal is for us: a program that dies of it would pass for one that does not work.
    command.process_group(0);
    command.env_clear().envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)))).current_dir("/");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_down_is_on_the_list() {
        let command = command("true");
        let handed: Vec<_> = command.get_envs().map(|(name, _)| name.to_str().unwrap()).collect();
        assert!(handed.contains(&"PATH") && handed.iter().all(|name| KEPT.contains(name)), "{handed:?}");
    }
}
