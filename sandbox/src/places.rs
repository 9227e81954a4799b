//! Places to write to, and whether they are full: what a program meets as "No space left on device" nobody else is told, but
//! whoever looks at the file system sees that nothing is left.

use crate::outcome::Full;
use crate::plan::{Mount, Plan};
use rustix::fs::{Mode, OFlags, fstat, fstatvfs};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The writable file systems of a sandbox, each once.
#[derive(Debug, Default)]
pub struct Places(Vec<(String, OwnedFd)>);

impl Places {
    /// Those of a plan, as the process sees them. It must be one that nobody hostile controls yet. What cannot be opened is
    /// left out: of it nothing will be said.
    pub fn open(pid: i32, plan: &Plan) -> Places {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let (mut places, mut devices) = (Vec::new(), Vec::new());
        for target in writable(plan) {
            let Ok(below) = target.strip_prefix("/") else { continue };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(fd) = rustix::fs::open(root.join(below), flags, Mode::empty()) else { continue };
            // The project and the suite's copy lie in one file system.
            let Ok(device) = fstat(&fd).map(|stat| stat.st_dev) else { continue };
            if !devices.contains(&device) {
                devices.push(device);
                places.push((target.display().to_string(), fd));
            }
        }
        Places(places)
    }

    /// Those that are full now.
    pub fn full(&self) -> Vec<Full> {
        let look = |(place, fd): &(String, OwnedFd)| {
            let stat = fstatvfs(fd).ok()?;
            // Without a size there is nothing that could be full.
            if stat.f_blocks == 0 {
                return None;
            }
            let (bytes, files) = (stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_files > 0 && stat.f_ffree == 0);
            (stat.f_bavail == 0 || files).then(|| Full { place: place.clone(), bytes, files })
        };
        self.0.iter().filter_map(look).collect()
    }
}

fn writable(plan: &Plan) -> impl Iterator<Item = &Path> {
    plan.mounts.iter().filter_map(|mount| match mount {
        Mount::Bind { target, writable: true, .. } | Mount::Tmpfs { target, .. } => Some(target.as_path()),
        Mount::Dev { .. } => Some(Path::new("/dev/shm")),
        _ => None,
    })
}
