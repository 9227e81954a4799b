//! Programs of the host that stages run.

use super::{Finding, Wanted};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) fn look(wanted: &Wanted<'_>) -> Vec<Finding> {
    let tool = |name: &'static str, package: &str, oldest: (u32, u32)| {
        let path = crate::contain::PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
        let said = path.as_ref().map(|path| said(path));
        judge(name, package, oldest, path.zip(said))
    };
    vec![
        // The fetch stage keeps everything else's configuration out with GIT_CONFIG_GLOBAL, which came with 2.32.
        tool("git", "git", (2, 32)),
        tool("gcc", "build-essential", (0, 0)),
        tool("make", "build-essential", (0, 0)),
        python(wanted.host.python.as_deref()),
    ]
}

/// The first line of what a tool says of its version.
fn said(path: &Path) -> Result<String, String> {
    let out = Command::new(path).arg("--version").current_dir("/").output().map_err(|e| e.to_string())?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_string()),
        false => Err(format!("`--version` ended with {}", out.status)),
    }
}

/// The first two numbers of the first word that looks like a version.
fn version(line: &str) -> Option<(u32, u32)> {
    line.split([' ', '(', ')']).find_map(|word| {
        let (major, rest) = word.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

fn judge(
    name: &'static str,
    package: &str,
    oldest: (u32, u32),
    found: Option<(PathBuf, Result<String, String>)>,
) -> Finding {
    let install = format!("apt-get install {package}");
    let (path, said) = match found {
        None => return Finding::red(name, "not in the directories that sandboxes see", install),
        Some((path, Err(problem))) => {
            return Finding::red(name, format!("{} does not work: {problem}", path.display()), install);
        }
        Some((path, Ok(said))) => (path, said),
    };
    match version(&said) {
        Some(version) if version < oldest => {
            let remedy = format!("{install}, {}.{} or newer", oldest.0, oldest.1);
            Finding::red(name, format!("{}: {said} is too old", path.display()), remedy)
        }
        _ => Finding::green(name, format!("{}: {said}", path.display())),
    }
}

fn python(named: Option<&Path>) -> Finding {
    const NAME: &str = "python";
    let python = match crate::contain::python::find(named) {
        Ok(python) => python,
        Err(error) => return Finding::red(NAME, format!("{error:#}"), "apt-get install python3 python3-venv"),
    };
    let found = format!("{}: Python {}", python.program.display(), python.version);
    let ensurepip = Command::new(&python.program).args(["-I", "-c", "import ensurepip, venv"]).output();
    match ensurepip.is_ok_and(|out| out.status.success()) {
        true => Finding::green(NAME, found),
        false => Finding::red(NAME, format!("{found}, which cannot make environments"), "apt-get install python3-venv"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        for (line, expected) in [
            ("git version 2.39.5", Some((2, 39))),
            ("git version 2.39.3 (Apple Git-145)", Some((2, 39))),
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0", Some((12, 2))),
            ("GNU Make 4.3", Some((4, 3))),
            ("nothing", None),
        ] {
            assert_eq!(version(line), expected, "{line}");
        }
    }

    #[test]
    fn a_tool_is_missing_broken_too_old_or_fine() {
        let git = |found| judge("git", "git", (2, 32), found);
        let at = |said: Result<&str, &str>| {
            Some((PathBuf::from("/usr/bin/git"), said.map(str::to_string).map_err(str::to_string)))
        };
        assert_eq!(git(None).remedy, "apt-get install git");
        assert_eq!(git(at(Err("no such library"))).grade, Grade::Red);
        let old = git(at(Ok("git version 2.30.2")));
        assert!(old.grade == Grade::Red && old.remedy.contains("2.32"), "{old}");
        assert_eq!(git(at(Ok("git version 2.39.5"))).grade, Grade::Green);
        assert_eq!(git(at(Ok("a git of one's own"))).grade, Grade::Green);
    }
}
