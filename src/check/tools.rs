//! Programs: the launcher, and those of the host that stages run.

use super::Finding;
use super::facts::version;
use crate::contain;
use crate::contain::outside;
use crate::contain::python::{self, Python};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the finding on the launcher.
pub const LAUNCHER: &str = "launcher";

/// Name of the finding on directories that are to be visible inside.
pub const TOOLCHAIN: &str = "toolchain";
/// Name of the finding on the interpreter.
pub const PYTHON: &str = "python";

/// Oldest git: GIT_CONFIG_GLOBAL, by which the fetch stage keeps every configuration but its own away, came with it. An older one
/// would not know the variable, and would fetch with hooks and protocols as it finds them.
const OLDEST_GIT: (u32, u32) = (2, 32);

/// The launcher, which must lie beside the runner.
pub fn launcher() -> Finding {
    match contain::find_launcher() {
        Ok(path) => Finding::green(LAUNCHER, path.display().to_string()),
        Err(error) => Finding::red(
            LAUNCHER,
            format!("{error:#}"),
            "install ostest-launch beside ostest-sandbox, from the same build",
        ),
    }
}

/// Directories that the operator wants to be visible inside.
pub fn toolchain(dirs: &[PathBuf]) -> Finding {
    let there = |dir: &&PathBuf| contain::tree::is_plain(dir) && dir.exists();
    judge_toolchain(dirs, dirs.iter().find(|dir| !there(dir)))
}

fn judge_toolchain(dirs: &[PathBuf], wrong: Option<&PathBuf>) -> Finding {
    match wrong {
        Some(wrong) => Finding::red(
            TOOLCHAIN,
            format!("{} does not exist or is not absolute", wrong.display()),
            "correct `toolchain` in the configuration",
        ),
        None if dirs.is_empty() => Finding::green(TOOLCHAIN, "/usr, and nothing beside it"),
        None => Finding::green(
            TOOLCHAIN,
            format!("/usr and {}", crate::text::some_of(dirs.iter().filter_map(|d| d.to_str()), 3)),
        ),
    }
}

/// Where a program is that sandboxes can see: in the directories of their PATH.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runs = |path: &PathBuf| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    contain::PATH.split(':').map(|dir| Path::new(dir).join(name)).find(runs)
}

/// A program and the first line of what it says of its version.
struct Tool {
    path: PathBuf,
    said: Result<String, String>,
}

fn ask(name: &str) -> Option<Tool> {
    let path = find_tool(name)?;
    let answer = Command::new(&path).arg("--version").env_clear().env("PATH", contain::PATH).current_dir("/").output();
    let said = match answer {
        Ok(done) if done.status.success() => {
            Ok(String::from_utf8_lossy(&done.stdout).lines().next().unwrap_or_default().trim().to_string())
        }
        Ok(done) => Err(format!("`{} --version` ended with {}", path.display(), done.status)),
        Err(error) => Err(format!("{} cannot be started: {error}", path.display())),
    };
    Some(Tool { path, said })
}

fn judge_tool(name: &'static str, tool: Option<Tool>, package: &str) -> Finding {
    let remedy = format!("install it: `apt-get install {package}`");
    match tool {
        None => {
            Finding::red(name, "in none of the directories that sandboxes see (/usr/local/bin, /usr/bin, …)", remedy)
        }
        Some(Tool { said: Err(problem), .. }) => {
            Finding::red(name, problem, remedy.replace("install it", "install it again"))
        }
        Some(Tool { path, said: Ok(said) }) => Finding::green(name, format!("{} ({said})", path.display())),
    }
}

/// git, new enough.
pub fn git() -> Finding {
    judge_git(ask("git"))
}

fn judge_git(tool: Option<Tool>) -> Finding {
    if let Some(Tool { path, said: Ok(said) }) = &tool
        && version(said).is_none_or(|found| found < OLDEST_GIT)
    {
        return Finding::red(
            "git",
            format!("{} ({said}) cannot be kept from the host's own configuration; 2.32 brought that", path.display()),
            "install a newer one: Debian 12 has 2.39, Debian 11 has it in bullseye-backports",
        );
    }
    judge_tool("git", tool, "git")
}

/// The compiler.
pub fn gcc() -> Finding {
    judge_tool("gcc", ask("gcc"), "build-essential")
}

/// make.
pub fn make() -> Finding {
    judge_tool("make", ask("make"), "build-essential")
}

/// The interpreter of suites, which must be able to make environments.
pub fn python(named: Option<&Path>) -> Finding {
    let found = python::find(named);
    let parts = found.as_ref().map_or(Ok(()), |python| {
        let asked = outside::command(&python.program).args(["-I", "-c", "import ensurepip, venv"]).output();
        match asked {
            Ok(done) if done.status.success() => Ok(()),
            Ok(done) => Err(String::from_utf8_lossy(&done.stderr).lines().last().unwrap_or_default().to_string()),
            Err(error) => Err(error.to_string()),
        }
    });
    judge_python(found, parts)
}

/// `parts`: why its modules venv and ensurepip cannot be had.
fn judge_python(found: anyhow::Result<Python>, parts: Result<(), String>) -> Finding {
    match (found, parts) {
        (Err(error), _) => Finding::red(PYTHON, format!("{error:#}"), "`apt-get install python3 python3-venv`"),
        (Ok(python), Err(problem)) => Finding::red(
            PYTHON,
            format!("{} at {} cannot make environments: {problem}", python.version, python.program.display()),
            "`apt-get install python3-venv`",
        ),
        (Ok(python), Ok(())) => Finding::green(
            PYTHON,
            format!("{} at {}, with venv and ensurepip", python.version, python.program.display()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    fn tool(said: Result<&str, &str>) -> Option<Tool> {
        Some(Tool { path: "/usr/bin/x".into(), said: said.map(str::to_string).map_err(str::to_string) })
    }

    #[test]
    fn a_git_that_cannot_be_kept_from_configurations_is_red() {
        assert_eq!(judge_git(tool(Ok("git version 2.39.5"))).grade, Grade::Green);
        assert_eq!(judge_git(tool(Ok("git version 2.32.0"))).grade, Grade::Green);
        let debian_11 = judge_git(tool(Ok("git version 2.30.2")));
        assert!(debian_11.grade == Grade::Red && debian_11.remedy.contains("backports"), "{debian_11:?}");
        assert_eq!(judge_git(tool(Ok("something else"))).grade, Grade::Red);
        assert!(judge_git(None).remedy.contains("apt-get install git"));
    }

    #[test]
    fn a_program_that_is_missing_or_broken_is_red() {
        assert!(judge_tool("gcc", None, "build-essential").remedy.contains("build-essential"));
        assert_eq!(judge_tool("gcc", tool(Err("it ended with 127")), "build-essential").grade, Grade::Red);
        let fine = judge_tool("make", tool(Ok("GNU Make 4.3")), "build-essential");
        assert_eq!(fine.found, "/usr/bin/x (GNU Make 4.3)");
    }

    #[test]
    fn an_interpreter_that_cannot_make_environments_is_red() {
        let python =
            || Python { program: "/usr/bin/python3.11".into(), prefix: "/usr".into(), version: "3.11.2".into() };
        assert_eq!(judge_python(Ok(python()), Ok(())).grade, Grade::Green);
        let debian = judge_python(Ok(python()), Err("ModuleNotFoundError: No module named 'ensurepip'".into()));
        assert!(debian.grade == Grade::Red && debian.remedy.contains("python3-venv"), "{debian:?}");
        let old = judge_python(Err(anyhow::anyhow!("python3 is Python 3.8.10; suites need 3.9 or newer")), Ok(()));
        assert!(old.grade == Grade::Red && old.found.contains("3.9"), "{old:?}");
    }

    #[test]
    fn a_toolchain_that_is_not_there_is_red() {
        let dirs = [PathBuf::from("/opt/gcc-15"), PathBuf::from("opt/x")];
        assert!(judge_toolchain(&dirs, Some(&dirs[1])).found.starts_with("opt/x"));
        assert_eq!(judge_toolchain(&dirs[..1], None).found, "/usr and /opt/gcc-15");
        assert_eq!(judge_toolchain(&[], None).grade, Grade::Green);
    }

    #[test]
    fn a_tool_is_found_where_sandboxes_look_for_it() {
        assert!(find_tool("sh").is_some());
        assert_eq!(find_tool("no-such-program"), None);
    }
}
