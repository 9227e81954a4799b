//! Processes that SIGKILL does not end until somebody lets them go: in a frozen group of cgroup v1. What a process in
//! uninterruptible sleep is, as a test can have it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A group of the freezer's. Dropping it lets go whoever is in it.
pub struct Freezer {
    mount: tempfile::TempDir,
    group: PathBuf,
}

impl Freezer {
    /// None on a kernel without it, which the test says.
    pub fn mount(test: &str) -> Option<Freezer> {
        let mount = tempfile::tempdir().expect("a directory");
        let done = Command::new("mount").args(["-t", "cgroup", "-o", "freezer", "freezer"]).arg(mount.path()).status();
        if !done.is_ok_and(|status| status.success()) {
            println!("SKIPPED: {test}: needs the freezer of cgroup v1");
            return None;
        }
        let group = mount.path().join(format!("ostest-{}-{test}", std::process::id()));
        std::fs::create_dir(&group).expect("a group");
        Some(Freezer { mount, group })
    }

    /// Freezes a process.
    pub fn freeze(&self, pid: i32) {
        std::fs::write(self.group.join("cgroup.procs"), pid.to_string()).expect("it is placed");
        self.turn("FROZEN");
    }

    fn turn(&self, state: &str) {
        let file = self.group.join("freezer.state");
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            std::fs::write(&file, state).expect("it is written");
            if std::fs::read_to_string(&file).expect("it is read").trim() == state {
                return;
            }
            assert!(Instant::now() < until, "it does not turn {state}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.turn("THAWED");
        let until = Instant::now() + Duration::from_secs(60);
        // Whoever was killed meanwhile dies now.
        while std::fs::remove_dir(&self.group).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}
