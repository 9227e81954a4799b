//! The interpreter that suites run on.

use super::outside;
use anyhow::Context;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// An interpreter, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Python {
    /// The program.
    pub program: PathBuf,
    /// Where it is installed; visible inside.
    pub prefix: PathBuf,
    /// `3.11.2`.
    pub version: String,
}

const ASK: &str = "import json, os, sys\n\
    print(json.dumps({'program': os.path.realpath(sys.executable), 'prefix': sys.base_prefix,\n\
    'version': '.'.join(map(str, sys.version_info[:3]))}))";

/// Asks the interpreter (`python3` from PATH unless named) where it lives. It is the operator's program and runs outside.
pub fn find(named: Option<&Path>) -> anyhow::Result<Python> {
    let program = named.unwrap_or(Path::new("python3"));
    let remedy = "install Debian's python3 and python3-venv, or name another with `python = …` in the configuration";
    let answer = outside::command(program)
        .args(["-I", "-c", ASK])
        .output()
        .with_context(|| format!("the Python interpreter {} cannot be started; {remedy}", program.display()))?;
    if !answer.status.success() {
        let text = String::from_utf8_lossy(&answer.stderr).trim().to_string();
        anyhow::bail!("the Python interpreter {} does not work: {text}; {remedy}", program.display());
    }
    let python: Python = serde_json::from_slice(&answer.stdout)
        .with_context(|| format!("{} gave no answer that can be read", program.display()))?;
    let minor = python.version.strip_prefix("3.").and_then(|v| v.split('.').next()).and_then(|n| n.parse::<u32>().ok());
    if minor.is_none_or(|n| n < 9) {
        anyhow::bail!("{} is Python {}; suites need 3.9 or newer; {remedy}", program.display(), python.version);
    }
    Ok(python)
}

impl Python {
    /// Directories that must be visible inside for it to run.
    pub fn toolchain(&self) -> Vec<PathBuf> {
        if self.prefix.starts_with("/usr") { Vec::new() } else { vec![self.prefix.clone()] }
    }
}
