//! What CPython's child does between its fork and its exec, for a child that was not forked by CPython.
//!
//! The order is that of `child_exec` in Modules/_posixsubprocess.c.

use crate::sys;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, RawFd};

/// The steps, as one word of tokens with commas between them; `-` is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// `xN`: descriptors that an exec closes again.
    closed_on_exec: Vec<RawFd>,
    /// `cN`: descriptors that are closed.
    closed: Vec<RawFd>,
    /// `dN:M`: the one is duplicated onto the other; onto itself it only stays open.
    duplicated: Vec<(RawFd, RawFd)>,
    /// `w`: the next word is the working directory. `wc`: and if it cannot be entered, that it was this is told, as CPython has
    /// it from 3.13 on.
    pub folder: Option<ChdirTold>,
    /// `uN`: the mask of new files, octal.
    umask: Option<u32>,
    /// `r`: SIGPIPE and SIGXFSZ, which Python ignores, are as they come.
    restore_signals: bool,
    /// `mN`: blocked signals, one bit each, hexadecimal.
    mask: Option<u64>,
    /// `s`: a session of its own.
    session: bool,
    /// `gN`: a process group.
    group: Option<i32>,
    /// `fN:M:…`: all descriptors from 3 on but these are closed by the exec.
    only: Option<Vec<RawFd>>,
}

/// What is told beside the error of a working directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChdirTold {
    /// As of every other step.
    No,
    /// That it was this.
    Yes,
}

/// A step that failed: the kernel's number, and what is told beside it.
pub type Failed = (Errno, &'static str);

/// As CPython's child says of what went wrong before its exec.
const BEFORE_EXEC: &str = "noexec";

fn step(error: Errno) -> Failed {
    (error, BEFORE_EXEC)
}

impl Steps {
    /// Reads the word; `None`: it is not understood.
    pub fn parse(word: &str) -> Option<Steps> {
        let mut steps = Steps::default();
        for token in word.split(',').filter(|token| *token != "-") {
            let (kind, value) = token.split_at_checked(1)?;
            match kind {
                "x" => steps.closed_on_exec.push(descriptor(value)?),
                "c" => steps.closed.push(descriptor(value)?),
                "d" => {
                    let (from, to) = value.split_once(':')?;
                    steps.duplicated.push((descriptor(from)?, descriptor(to)?));
                }
                "u" => once(&mut steps.umask, u32::from_str_radix(value, 8).ok()?)?,
                "m" => once(&mut steps.mask, u64::from_str_radix(value, 16).ok()?)?,
                "g" => once(&mut steps.group, value.parse().ok()?)?,
                "f" => {
                    let numbers = value.split(':').filter(|number| !number.is_empty());
                    once(&mut steps.only, numbers.map(descriptor).collect::<Option<_>>()?)?;
                }
                "w" if value.is_empty() => once(&mut steps.folder, ChdirTold::No)?,
                "w" if value == "c" => once(&mut steps.folder, ChdirTold::Yes)?,
                "r" if value.is_empty() => steps.restore_signals = true,
                "s" if value.is_empty() => steps.session = true,
                _ => return None,
            }
        }
        Some(steps)
    }

    /// Every descriptor that is named.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let duplicated = self.duplicated.iter().flat_map(|(from, to)| [from, to]);
        let only = self.only.iter().flatten();
        self.closed_on_exec.iter().chain(&self.closed).chain(duplicated).chain(only).copied()
    }

    /// Takes them.
    ///
    /// # Errors
    /// Where one fails that CPython's child would not go on after.
    pub fn take(&self, folder: Option<&OsStr>) -> Result<(), Failed> {
        for fd in &self.closed_on_exec {
            super::close_on_exec(*fd).map_err(number)?;
        }
        for fd in &self.closed {
            // It may have gone with the gate's own exec.
            let _ = sys::own_inherited(*fd).map(drop);
        }
        for (from, to) in &self.duplicated {
            let held = sys::own_inherited(*from).map_err(number)?;
            let done = if from == to {
                rustix::io::fcntl_setfd(&held, rustix::io::FdFlags::empty())
                    .map_err(|e| step(Errno::from_raw(e.raw_os_error())))
            } else {
                sys::place_fd(held.as_fd(), *to).map_err(number)
            };
            // It stays open under both numbers.
            std::mem::forget(held);
            done?;
        }
        if let Some(folder) = folder {
            nix::unistd::chdir(folder).map_err(|error| match self.folder {
                Some(ChdirTold::Yes) => (error, "noexec:chdir"),
                _ => step(error),
            })?;
        }
        if let Some(mask) = self.umask {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        }
        if self.restore_signals {
            sys::default_signals().map_err(number)?;
        }
        if let Some(mask) = self.mask {
            sys::block_signals(mask).map_err(number)?;
        }
        if self.session {
            nix::unistd::setsid().map_err(step)?;
        }
        if let Some(group) = self.group {
            nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(group)).map_err(step)?;
        }
        if let Some(only) = &self.only {
            let mut from = 3;
            for fd in only.iter().filter(|fd| **fd >= 3) {
                sys::close_on_exec_between(from, fd - 1).map_err(number)?;
                from = fd + 1;
            }
            sys::close_on_exec_from(from).map_err(number)?;
        }
        Ok(())
    }
}

/// A number that a descriptor can have. The last one is none either, and one more than it is no number.
fn descriptor(text: &str) -> Option<RawFd> {
    text.parse().ok().filter(|fd| (0..i32::MAX).contains(fd))
}

/// A step that is said twice is not understood.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn number(error: std::io::Error) -> Failed {
    step(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

#[cfg(test)]
mod tests {
    use super::{ChdirTold, Steps};
    use proptest::prelude::*;

    #[test]
    fn a_word_says_every_step() {
        assert_eq!(Steps::parse("-"), Some(Steps::default()));
        let all = Steps::parse("x7,x9,c4,d7:0,d1:1,w,u22,r,m200,s,g0,f5:8").unwrap();
        let wanted = Steps {
            closed_on_exec: vec![7, 9],
            closed: vec![4],
            duplicated: vec![(7, 0), (1, 1)],
            folder: Some(ChdirTold::No),
            umask: Some(0o22),
            restore_signals: true,
            mask: Some(0x200),
            session: true,
            group: Some(0),
            only: Some(vec![5, 8]),
        };
        assert_eq!(all, wanted);
        assert_eq!(Steps::parse("wc").unwrap().folder, Some(ChdirTold::Yes));
        assert_eq!(Steps::parse("f").unwrap().only, Some(Vec::new()));
        for wrong in [
            "",
            "q",
            "d7",
            "x",
            "xq",
            "u9",
            "w1",
            "-,",
            "mz",
            "é",
            "x-1",
            "d2147483647:0",
            "f3:2147483647",
            "f3,f4",
            "w,wc",
            "u1,u1",
        ] {
            assert_eq!(Steps::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_word_makes_reading_panic(word in "\\PC{0,30}|([xcduwrmsgf][0-9a-f:]{0,11},){0,6}-") {
            if let Some(steps) = Steps::parse(&word) {
                prop_assert!(steps.descriptors().all(|fd| (0..i32::MAX).contains(&fd)));
            }
        }

        #[test]
        fn descriptors_are_those_that_stand_there(fds in prop::collection::vec(0i32..i32::MAX, 4..5), mask: u64, umask in 0u32..0o1000) {
            let word = format!("x{},c{},d{}:{},m{mask:x},u{umask:o}", fds[0], fds[1], fds[2], fds[3]);
            let steps = Steps::parse(&word).unwrap();
            prop_assert_eq!(steps.descriptors().collect::<Vec<_>>(), fds);
            prop_assert_eq!((steps.mask, steps.umask), (Some(mask), Some(umask)));
        }
    }
}
