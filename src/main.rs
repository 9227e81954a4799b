//! The runner's program: nothing but the way to its commands.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(ostest_sandbox::cli::main(ostest_sandbox::cli::parse()))
}
