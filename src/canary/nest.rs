//! The canary's files on the host: a git repository, a suite, and a file that nothing inside may reach.

use crate::check::find_tool;
use crate::contain;
use anyhow::Context;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::process::Command;

/// Name of the repository.
pub const REPOSITORY: &str = "submission";
/// Its branch.
pub const BRANCH: &str = "main";

const SUBMISSION: [(&str, &str); 2] = [
    ("Makefile", include_str!("../../canary/submission/Makefile")),
    ("canary.c", include_str!("../../canary/submission/canary.c")),
];

const SUITE: [(&str, &str); 2] = [
    ("ostest.toml", include_str!("../../canary/suite/ostest.toml")),
    ("test_canary.py", include_str!("../../canary/suite/test_canary.py")),
];

/// What stands in the file outside.
const OUTSIDE: &str = "untouched\n";

/// Places of the host's that may not be written from inside, wherever they lead there.
const NOT_WRITABLE: [&str; 4] =
    ["/ostest-canary", "/etc/ostest-canary", "/usr/ostest-canary", "/usr/bin/ostest-canary"];

/// `$1` is the directory, `$2` the branch. The umask, because whoever fetches has another uid.
const SCRIPT: &str = r#"
umask 022
git init --quiet --template= --initial-branch="$2" "$1"
cd "$1"
git add --all
git -c user.name=canary -c user.email=canary@canary.invalid commit --quiet --message 'Sing'
"#;

/// The files, which go when it goes.
pub struct Nest {
    dir: TempDir,
    outside: TempDir,
}

impl Nest {
    /// Writes everything below `work`, which a start sweeps, and makes the repository with the host's git. `mebibytes`: how much
    /// memory a test uses, and how much another one asks for in vain.
    pub async fn build(work: &Path, requirements: &str, mebibytes: (u64, u64)) -> anyhow::Result<Nest> {
        std::fs::create_dir_all(work).with_context(|| format!("{} cannot be made", work.display()))?;
        let dir = tempfile::Builder::new().prefix("canary-").tempdir_in(work);
        let dir = dir.with_context(|| format!("no directory can be made in {}", work.display()))?;
        // Where everybody may write, so that nothing but the sandbox is in the way; and in a directory of its own, because a sandbox
        // has a /tmp, too, and may write there.
        let outside = tempfile::Builder::new().prefix("ostest-canary-").tempdir();
        let nest = Nest { dir, outside: outside.context("no temporary directory can be made (is TMPDIR one?)")? };
        let path = nest.outside();
        std::fs::write(&path, OUTSIDE)
            .and_then(|()| std::fs::set_permissions(nest.outside.path(), PermissionsExt::from_mode(0o777)))
            .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        let outside = path.display().to_string();
        let paths: Vec<&str> = NOT_WRITABLE.into_iter().chain([outside.as_str()]).collect();
        let mut suite = SUITE.to_vec();
        let (paths, used, too_many) = (paths.join("\n"), mebibytes.0.to_string(), mebibytes.1.to_string());
        suite.extend([("outside", paths.as_str()), ("mebibytes", &used), ("too-many", &too_many)]);
        suite.push(("requirements.txt", requirements));
        write_all(&nest.suite(), &suite)?;
        write_all(&nest.repository(), &SUBMISSION)?;
        nest.commit().await?;
        Ok(nest)
    }

    /// The suite's directory.
    pub fn suite(&self) -> PathBuf {
        self.dir.path().join("suite")
    }

    /// The directory that is a mirror.
    pub fn repositories(&self) -> PathBuf {
        self.dir.path().join("git")
    }

    /// Whether the file outside is as it was written.
    pub fn outside_is_untouched(&self) -> anyhow::Result<bool> {
        let path = self.outside();
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(text == OUTSIDE)
    }

    fn outside(&self) -> PathBuf {
        self.outside.path().join("file")
    }

    fn repository(&self) -> PathBuf {
        self.repositories().join(REPOSITORY)
    }

    async fn commit(&self) -> anyhow::Result<()> {
        let shell = find_tool("sh").context("there is no sh in the directories that sandboxes see")?;
        let done = Command::new(shell)
            .args(["-euc", SCRIPT, "canary"])
            .arg(self.repository())
            .arg(BRANCH)
            .env_clear()
            .envs([("PATH", contain::PATH), ("HOME", "/nonexistent"), ("LANG", "C.UTF-8")])
            .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null")])
            .current_dir("/")
            .output()
            .await
            .context("git cannot be started")?;
        let said = String::from_utf8_lossy(&done.stderr);
        anyhow::ensure!(done.status.success(), "git could not make the canary's repository: {}", said.trim());
        Ok(())
    }
}

/// Files in a directory that is made for them, readable for all.
pub(super) fn write_all(dir: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let open = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
    open(dir, 0o755).with_context(|| format!("{} cannot be opened to others", dir.display()))?;
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::write(&path, text)
            .and_then(|()| open(&path, 0o644))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}
