//! The gate: what every process that the harness starts passes through on its way to becoming student code.
//!
//! It is already the student. It asks the launcher to be put into the leaf that is current, waits until it is, closes the
//! socket for it, and executes the program, so that not a page of the program is charged anywhere else. To whoever
//! started the process nothing may differ: a failed exec is reported as CPython's child reports it.
//!
//! Nobody inside can read its file, so that the kernel makes it not dumpable from its first instruction on: what an earlier
//! test's program has left behind is of the same user, and could otherwise answer in the launcher's place, through
//! /proc/PID/fd or as a debugger.

pub mod steps;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::ffi::{CString, OsString};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use steps::Steps;

/// The name under which the launcher's binary is the gate.
pub const GATE_NAME: &str = "ostest-gate";

/// What is the dynamic linker's, and so not for the gate itself, has this in front of its name.
const HIDDEN: &[u8] = b"OSTEST_GATE:";

/// What a shell's child exits with where there is nobody to tell.
const NOT_FOUND: i32 = 127;

/// What CPython's child exits with after it has told.
const TOLD: i32 = 255;

/// `ostest-gate ERRFD SOCKET[:LEAF] STEPS COUNT EXE… ARG…`: asks to be put into LEAF, or without one into whichever is current when
/// the launcher hears it, does the [`Steps`], and executes the first EXE of COUNT that can be, with
/// ARG… from `argv[0]` on and the environment as it is. Where none can be, or a step fails, the error goes to the pipe ERRFD,
/// or with -1 nowhere. The number is the exit code of a gate that failed.
pub fn main(words: impl Iterator<Item = OsString>) -> i32 {
    let mut words = words;
    let mut word = || words.next().and_then(|word| word.to_str().map(str::to_owned));
    let (Some(errors), Some(asked)) = (word().and_then(|text| text.parse::<i32>().ok()), word()) else {
        return misused();
    };
    let (socket, leaf) = asked.split_once(':').unwrap_or((&asked, "g"));
    let Ok(socket) = socket.parse::<i32>() else { return misused() };
    let Some(steps) = words.next().and_then(|word| Steps::parse(word.to_str()?)) else { return misused() };
    let folder = if steps.folder.is_some() { words.next() } else { None };
    let Some(count) = words.next().and_then(|word| word.to_str()?.parse::<usize>().ok()) else { return misused() };
    let errors = if errors < 0 { None } else { Some(errors) };
    let tell = |what: &str| match errors {
        None => NOT_FOUND,
        Some(fd) => {
            // Borrowed by its number for this one write; whoever waits at the other end sees what came of it.
            if let Ok(pipe) = crate::sys::own_inherited(fd) {
                let _ = rustix::io::write(&pipe, what.as_bytes());
            }
            TOLD
        }
    };
    if let Some(fd) = errors {
        // One that whoever started us has closed cannot be told anything; the program starts all the same.
        let _ = close_on_exec(fd);
    }
    if let Err(error) = enter(socket, leaf) {
        return tell(&format!("SubprocessError:0:the process could not be counted, and was not started: {error}"));
    }
    if let Err((error, what)) = steps.take(folder.as_deref()) {
        return tell(&format!("OSError:{:x}:{what}", error as i32));
    }
    let texts: Vec<CString> = words.filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    if count == 0 || texts.len() < count {
        return tell("SubprocessError:0:the gate was started with too few words");
    }
    let (programs, arguments) = texts.split_at(count);
    let environment = environment();
    let (mut first, mut last) = (None, nix::errno::Errno::ENOENT);
    for program in programs {
        let Err(error) = nix::unistd::execve(program, arguments, &environment);
        last = error;
        // As CPython's child: what is there and cannot be executed is more telling than what is not there.
        if !matches!(error, nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) && first.is_none() {
            first = Some(error);
        }
    }
    tell(&format!("OSError:{:x}:", first.unwrap_or(last) as i32))
}

fn misused() -> i32 {
    eprintln!("ostest-gate is started by the harness of a suite, inside a sandbox");
    2
}

/// The environment with the names that were hidden from the linker.
fn environment() -> Vec<CString> {
    let entries = crate::sys::environment();
    let shown = entries.iter().map(|entry| {
        let bytes = entry.as_bytes();
        CString::new(bytes.strip_prefix(HIDDEN).unwrap_or(bytes)).unwrap_or_else(|_| entry.clone())
    });
    shown.collect()
}

/// Asks to be put into a leaf, and waits until that is so.
fn enter(socket: RawFd, leaf: &str) -> std::io::Result<()> {
    let socket = crate::sys::own_inherited(socket)?;
    let (answer, reply): (OwnedFd, Option<OwnedFd>) = match rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) {
        Ok((answer, reply)) => (answer, Some(reply)),
        // Room for one, which the dynamic linker has needed before us: whoever could start the program can start us.
        Err(rustix::io::Errno::MFILE) => (rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?, None),
        Err(error) => return Err(error.into()),
    };
    let fds = [reply.as_ref().unwrap_or(&answer).as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(leaf.as_bytes())], &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    drop((socket, reply));
    let mut bytes = [0u8; 8];
    loop {
        match rustix::io::read(answer.as_fd(), &mut bytes) {
            Ok(1..) if bytes[0] == crate::leaves::PLACED => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Err(std::io::Error::other("the launcher did not let it in")),
            Err(error) => return Err(error.into()),
        }
    }
}

fn close_on_exec(fd: RawFd) -> std::io::Result<()> {
    let pipe = crate::sys::own_inherited(fd)?;
    rustix::io::fcntl_setfd(&pipe, rustix::io::FdFlags::CLOEXEC)?;
    std::mem::forget(pipe);
    Ok(())
}
