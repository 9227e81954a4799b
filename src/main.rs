//! The runner's program: nothing but the way to its commands.

use ostest_sandbox::cli::{main as command, parse, signals::Signals};

fn main() -> std::process::ExitCode {
    // Before the command line is read: a signal that comes meanwhile means what it says.
    let signals = Signals::catch();
    std::process::ExitCode::from(command(parse(), signals))
}
