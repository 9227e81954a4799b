//! Between a stage whose plan has a proxy and the proxy: takes the socket that the launcher hands out, and serves it as long as the
//! stage runs.

use crate::proxy::{Book, Refused, Rules, Traffic, serve};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::{TcpListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// A stage's way out. What is dropped with it: the socket, and every connection.
#[derive(Debug)]
pub struct Outlet {
    /// Until there is a socket.
    rules: Option<Rules>,
    book: Arc<Book>,
    serving: Option<AbortOnDropHandle<()>>,
}

impl Outlet {
    /// Of a stage with these rules; without rules nothing is waited for.
    pub fn new(stage: &'static str, rules: Option<Rules>) -> Outlet {
        Outlet { rules, book: Arc::new(Book::new(stage)), serving: None }
    }

    /// Whether the socket is still to come.
    pub fn waits(&self) -> bool {
        self.rules.is_some()
    }

    /// Serves the socket. An error is the host's fault, and ends the stage: its tools would wait for an answer.
    pub fn open(&mut self, socket: io::Result<OwnedFd>) -> io::Result<()> {
        let Some(rules) = self.rules.take() else { return Ok(()) };
        let socket = match socket {
            Ok(socket) => std::net::TcpListener::from(socket),
            // The launcher has ended before, and says why in its own way.
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        self.serving =
            Some(AbortOnDropHandle::new(tokio::spawn(serve(listener, rules, self.book.clone()).in_current_span())));
        Ok(())
    }

    /// Stops serving, and gives what was refused and what came.
    pub fn close(self) -> (Vec<Refused>, Traffic) {
        drop(self.serving);
        (self.book.entries(), self.book.traffic())
    }
}

/// Waits for the socket on the launcher's standard input. Without an input it waits for ever.
pub async fn handed_out(order: Option<&UnixStream>) -> io::Result<OwnedFd> {
    let Some(order) = order else { return std::future::pending().await };
    loop {
        order.readable().await?;
        match order.try_io(Interest::READABLE, || sandbox::proxy::take(order.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            taken => return taken,
        }
    }
}
