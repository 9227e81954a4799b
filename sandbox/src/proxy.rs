//! The one way out of a sandbox whose plan says [`crate::plan::Network::Proxy`]: a listening socket on its own loopback, which is
//! made inside and served outside.
//!
//! A socket belongs for ever to the network namespace in which it was made. So init, which stands in the empty one, makes it and hands
//! it to the launcher, which hands it to the runner; who accepts connections there speaks with the command inside, over a
//! loopback on which there is nothing else. Neither init nor the launcher knows what is spoken.

use crate::plan::PROXY_PORT;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The byte that a handed-out socket travels with: a stream carries no rights without one.
const HANDED_OUT: u8 = b'P';

/// Makes the socket, in the network namespace of the calling process, whose loopback is up.
///
/// It listens from here on: a command that is started afterwards finds it, and waits in its queue until somebody accepts.
pub fn listen() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, PROXY_PORT))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Sends `listener` over a socket, with some bytes.
pub fn send(over: BorrowedFd<'_>, bytes: &[u8], listener: BorrowedFd<'_>) -> io::Result<()> {
    let rights = [listener];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&rights)) {
        return Err(io::Error::other("a descriptor does not fit into a message"));
    }
    // Nobody waits here for a reader: what does not fit into an empty socket's buffer never will.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = rustix::net::sendmsg(over, &[IoSlice::new(bytes)], &mut control, flags)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::Error::other("a message was sent in part")) }
}

/// In the launcher: hands the socket out over its standard input, which is one end of a socket pair of the runner's.
pub fn hand_out(listener: BorrowedFd<'_>) -> io::Result<()> {
    send(io::stdin().as_fd(), &[HANDED_OUT], listener)
}

/// In the runner: takes the socket that [`hand_out`] sent. Does not wait.
///
/// # Errors
/// `WouldBlock` where nothing has come yet; another where something else has, or the launcher has ended.
pub fn take(from: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut byte = [0u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let found = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    match found {
        Some(listener) if byte[0] == HANDED_OUT => Ok(listener),
        _ => Err(io::Error::other("it is no socket; runner and launcher must come from one build")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_socket_that_was_sent_is_the_one_that_listens() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert_eq!(take(ours.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        send(theirs.as_fd(), &[HANDED_OUT], listener.as_fd()).unwrap();
        drop(listener);
        let taken = std::net::TcpListener::from(take(ours.as_fd()).unwrap());
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(b"x").unwrap();
        let mut got = [0u8];
        taken.accept().unwrap().0.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"x");
    }

    #[test]
    fn what_comes_without_a_socket_is_an_error_and_so_is_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&[HANDED_OUT]).unwrap();
        assert!(take(ours.as_fd()).unwrap_err().to_string().contains("no socket"));
        let null = std::fs::File::open("/dev/null").unwrap();
        send(theirs.as_fd(), b"?", null.as_fd()).unwrap();
        assert!(take(ours.as_fd()).unwrap_err().to_string().contains("no socket"));
        drop(theirs);
        assert_eq!(take(ours.as_fd()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
