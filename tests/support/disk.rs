//! A disk of a spool's own, which fills up, becomes read-only, and outlives the runner that is killed on it.

use crate::common::{send_signal, wait_until};
use crate::support::Place;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A small file system in memory, mounted as the spool in a mount namespace that a process of ours holds.
pub struct Disk {
    holder: Child,
    dir: PathBuf,
}

impl Disk {
    /// One of this size for the spool of a place.
    pub fn new(place: &Place, size: &str) -> Disk {
        let dir = place.path("state/spool");
        std::fs::create_dir_all(&dir).expect("a directory");
        let script = format!("mount -t tmpfs -o size={size} spool '{}' && exec sleep infinity", dir.display());
        let holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let disk = Disk { holder: holder.expect("unshare starts"), dir };
        wait_until("the disk", || {
            let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", disk.holder.id())).unwrap_or_default();
            mounts.contains(&format!("spool {} tmpfs", disk.dir.display()))
        });
        disk
    }

    /// A command that sees it.
    pub fn command(&self, inner: &Command) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount", "--"]);
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
    }

    /// A path in it, from here.
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), self.dir.join(name).display()))
    }

    /// Makes it read-only, or not any more. It cannot become so while a file is open for writing.
    pub fn set_read_only(&self, read_only: bool) {
        self.remount(if read_only { "remount,ro" } else { "remount,rw" });
    }

    /// Makes it larger.
    pub fn resize(&self, size: &str) {
        self.remount(&format!("remount,size={size}"));
    }

    fn remount(&self, options: &str) {
        wait_until("the disk to change", || {
            let mut mount = Command::new("mount");
            mount.args(["-o", options]).arg(&self.dir);
            self.command(&mount).stderr(Stdio::null()).status().expect("mount starts").success()
        });
    }

    /// Fills it to the last page.
    pub fn fill(&self) {
        fill(&self.path("filler"));
    }

    /// Makes room again.
    pub fn free(&self) {
        let _ = std::fs::remove_file(self.path("filler"));
    }
}

/// Writes to this file until its disk is full.
pub fn fill(filler: &Path) {
    // Somebody may be writing and removing at the same time.
    let Ok(mut file) = std::fs::File::options().create(true).append(true).open(filler) else { return };
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
}

impl Drop for Disk {
    fn drop(&mut self) {
        send_signal(i32::try_from(self.holder.id()).expect("a pid"), 9);
        let _ = self.holder.wait();
    }
}
