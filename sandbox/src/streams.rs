//! Output and events of the command: read until their end, and passed on within their limits.

use crate::plan::{Beyond, Plan};
use crate::wire::Kind;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Standard output, standard error, events.
pub const STREAMS: usize = 3;

/// One descriptor that is read until its end.
struct Stream {
    fd: Option<OwnedFd>,
    kind: Kind,
    what: &'static str,
    count: u64,
    limit: u64,
    beyond: Beyond,
}

/// All of them.
pub struct Streams([Stream; STREAMS]);

/// What one read gave.
pub struct Part {
    /// What is to be passed on, and as what; nothing where the limit was reached before.
    pub pass_on: Option<(Kind, Vec<u8>)>,
    /// The name and the limit of a stream that has gone beyond it, where that ends the sandbox.
    pub beyond: Option<(&'static str, u64)>,
}

impl Streams {
    /// With the limits of the plan.
    pub fn new(plan: &Plan, stdout: OwnedFd, stderr: OwnedFd, events: Option<OwnedFd>) -> Streams {
        let stream = |fd, kind, what, limit, beyond| Stream { fd, kind, what, count: 0, limit, beyond };
        let (limit, beyond) = (plan.output.limit, plan.output.beyond);
        let events_limit = plan.channels.events.map_or(0, |channel| channel.limit);
        Streams([
            stream(Some(stdout), Kind::Stdout, "standard output", limit, beyond),
            stream(Some(stderr), Kind::Stderr, "standard error", limit, beyond),
            stream(events, Kind::Event, "events", events_limit, Beyond::Kill),
        ])
    }

    /// Descriptors that have not ended.
    pub fn fds(&self) -> [Option<BorrowedFd<'_>>; STREAMS] {
        self.0.each_ref().map(|stream| stream.fd.as_ref().map(AsFd::as_fd))
    }

    /// Bytes that standard output and standard error have had so far, and whether any was not passed on.
    pub fn counts(&self) -> (u64, u64, bool) {
        let [stdout, stderr, _] = &self.0;
        (stdout.count, stderr.count, [stdout, stderr].into_iter().any(|s| s.count > s.limit))
    }

    /// Reads once. `None`: there was nothing, or that was its end.
    pub fn read(&mut self, index: usize) -> Option<Part> {
        let mut buffer = [0u8; 64 << 10];
        let stream = self.0.get_mut(index)?;
        let read = match rustix::io::read(stream.fd.as_ref()?, &mut buffer) {
            Ok(n) => n,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return None,
            Err(_) => 0,
        };
        if read == 0 {
            stream.fd = None;
            return None;
        }
        let left = stream.limit.saturating_sub(stream.count).min(read as u64) as usize;
        stream.count += read as u64;
        // A message of the events channel is passed on whole or not at all.
        let whole = stream.kind != Kind::Event || left == read;
        Some(Part {
            pass_on: whole.then(|| (stream.kind, buffer[..left].to_vec())),
            beyond: (left < read && stream.beyond == Beyond::Kill).then_some((stream.what, stream.limit)),
        })
    }

    /// Waits for what still comes, a tenth of a second at the most. `None` when all have ended.
    ///
    /// # Errors
    /// When the kernel does not let it wait.
    pub fn await_more(&self) -> io::Result<Option<Vec<usize>>> {
        let open: Vec<(usize, BorrowedFd<'_>)> =
            self.fds().into_iter().enumerate().filter_map(|(index, fd)| Some((index, fd?))).collect();
        if open.is_empty() {
            return Ok(None);
        }
        let mut fds: Vec<PollFd<'_>> = open.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::from(100u8)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = fds.iter().map(|fd| fd.revents().is_some_and(|r| !r.is_empty()));
        Ok(Some(open.iter().zip(ready).filter(|(_, ready)| *ready).map(|((index, _), _)| *index).collect()))
    }
}
