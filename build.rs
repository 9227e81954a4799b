//! Builds the shared object that the harness loads, so that it can be embedded like the harness's Python.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let out = PathBuf::from(variable("OUT_DIR")).join("spawn.so");
    let mut command = Command::new(variable("RUSTC"));
    command.args([
        "--edition=2024",
        "--crate-type=cdylib",
        "--crate-name=spawn",
        "-Copt-level=2",
        "-Cpanic=abort",
        "-Cstrip=symbols",
    ]);
    command.args(["--target", &variable("TARGET")]).arg("-o").arg(&out).arg("sandbox/spawn/standalone.rs");
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        command.arg(format!("-Clinker={linker}"));
    }
    let status = command.status().expect("rustc starts");
    assert!(status.success(), "sandbox/spawn/standalone.rs could not be built: {status}");
    for file in ["build.rs", "sandbox/spawn/standalone.rs", "sandbox/src/spawn.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
}
