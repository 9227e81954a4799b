//! The launcher and, under the name `ostest-init`, pid 1 of a sandbox. Links the `sandbox` crate alone.

fn main() -> std::process::ExitCode {
    sandbox::launcher::main()
}
