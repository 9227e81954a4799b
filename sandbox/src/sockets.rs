//! Memory of sockets that no control group counts, as seen from outside.
//!
//! The memory limit holds what the kernel charges to the group, and much of what a socket costs it does not: a connection that
//! nobody has accepted yet is made by the kernel itself, outlives whoever made it, and is charged to nobody (some 4 KiB
//! each, 4096 of them for each listening socket); neither is what netlink answers and nobody reads; nor, on v1, are
//! datagrams. But all of it is listed in the /proc/net of its own network namespace, of which the sandbox is the only user. So
//! the launcher looks there, and ends a sandbox whose sockets hold more in this way than its memory limit.
//!
//! A look must cost little, because the processor that it takes is the host's own, and because the launcher does nothing else
//! meanwhile. For every page of a list the kernel goes through it from its start, so that 20 000 sockets take 20 times as
//! long as 4096. So sockets are counted first, and no list is read as long as so many could not hold too much; only the
//! beginning of a list is read, and sockets beyond it are taken for full; and a look that took long is followed by a long
//! pause.

use nix::sys::socket::sockopt::{RcvBuf, SndBuf};
use nix::sys::socket::{getsockopt, setsockopt};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// Longest and shortest time between two looks.
const LOOKS: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(2));

/// Bytes that sockets can come to hold in a second. One processor has netlink answer 500 MiB and sends 1.6 GiB of datagrams
/// (measured on 6.18); what several do comes out at the next look, before they are at the limit.
const RATE: u64 = 4 << 30;

/// How many times longer than a look the pause after it is, at the least: looks take no more than a fifth of a processor.
const PAUSE: u32 = 4;

/// Bytes of a page that has no room for another line of a list: the smallest page without the longest line.
const FULL_PAGE: usize = 4096 - 256;

/// Datagram sockets that are read, with both versions of IP: as many as one process can have open. That takes some 10 ms.
const LISTED_UDP: usize = 4096;

/// Netlink sockets that are read: one for each of the processes that a task has by default. The C library has one open at a
/// time, for as long as it asks which addresses there are.
const LISTED_NETLINK: usize = 256;

/// Bytes that a TCP socket costs beside its buffers: the socket, its request, its route (slabinfo of 6.1 to 6.18, and what
/// was measured with 120 000 of them).
const TCP: u64 = 4096;

/// Bytes of a connection that waits for the end of its time (`tw_sock_TCP`).
const TIME_WAIT: u64 = 256;

/// Bytes of a netlink socket beside what waits in it: 1104 in /proc/net/protocols, from kmalloc and not accounted.
const NETLINK: u64 = 2048;

/// Bytes of one message more: a socket takes it for as long as its buffer was not full before.
const ONE_MORE: u64 = 64 << 10;

/// The lists of one network namespace, and when they are looked at.
#[derive(Debug)]
pub struct Sockets {
    counts: Vec<File>,
    netlink: Option<File>,
    datagrams: Vec<File>,
    /// Most bytes that wait in one socket.
    full: u64,
    due: Instant,
}

/// What one look at the counts gave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    tcp: u64,
    waiting: u64,
    udp: u64,
    netlink: u64,
}

impl Sockets {
    /// Those of the namespace in which a process is; nobody hostile may be there yet. A list that the kernel does not have
    /// (IPv6, netlink) has no sockets.
    ///
    /// # Errors
    /// Where there are no counts, which every kernel with a network has; where a list is there and cannot be opened; or where
    /// the kernel does not say how large the buffers of sockets may be.
    pub fn open(pid: i32) -> io::Result<Sockets> {
        let list = |name: &str| File::open(format!("/proc/{pid}/net/{name}"));
        let optional = |name: &str| match list(name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Sockets {
            counts: [Some(list("sockstat")?), optional("sockstat6")?, Some(list("protocols")?)]
                .into_iter()
                .flatten()
                .collect(),
            netlink: optional("netlink")?,
            datagrams: [optional("udp")?, optional("udp6")?].into_iter().flatten().collect(),
            full: largest_buffers()?,
            due: Instant::now(),
        })
    }

    /// When they are looked at next.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Bytes that nobody is charged for, as far as it can be told, where they are more than `limit`; `None` as well where it is
    /// not time to look yet.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub fn look(&mut self, limit: u64) -> io::Result<Option<u64>> {
        if Instant::now() < self.due {
            return Ok(None);
        }
        // Not by the clock on the wall: whoever makes the host busy would not be looked at for longer.
        let before = own_time();
        let counts = self.count()?;
        let most = counts.bytes().saturating_add(counts.lists().saturating_mul(self.full));
        let bytes = if most > limit { self.uncharged(&counts)? } else { most };
        let took = own_time().saturating_sub(before);
        self.due = Instant::now() + pause(took, limit.saturating_sub(bytes));
        Ok(Some(bytes).filter(|bytes| *bytes > limit))
    }

    fn count(&self) -> io::Result<Counts> {
        let mut counts = Counts::default();
        for file in &self.counts {
            counts.add(&text_of(file, usize::MAX)?);
        }
        Ok(counts)
    }

    /// Bytes of so many, with what the lists say of those that are in one.
    fn uncharged(&self, counts: &Counts) -> io::Result<u64> {
        let mut bytes = counts.bytes();
        if let Some(file) = self.netlink.as_ref().filter(|_| counts.netlink > 0) {
            let text = text_of(file, LISTED_NETLINK)?;
            let unread = self.unread(counts.netlink, entries(&text), LISTED_NETLINK);
            bytes = bytes.saturating_add(netlink(&text)).saturating_add(unread);
        }
        // To go through the kernel's table of ports takes a millisecond even where none is in use.
        if counts.udp > 0 {
            let mut read = 0;
            for file in &self.datagrams {
                let text = text_of(file, LISTED_UDP - read)?;
                read = LISTED_UDP.min(read + entries(&text));
                bytes = bytes.saturating_add(datagrams(&text));
            }
            bytes = bytes.saturating_add(self.unread(counts.udp, read, LISTED_UDP));
        }
        Ok(bytes)
    }

    /// Bytes that may wait in the sockets of a list of which only the first were read. Where it was read to its end, those
    /// that are missing have come or gone in between.
    fn unread(&self, all: u64, read: usize, first: usize) -> u64 {
        if read < first { 0 } else { all.saturating_sub(read as u64).saturating_mul(self.full) }
    }
}

/// Most bytes that one socket may hold for whoever reads and for whoever sends. A file in /proc says it as well, but not in
/// every network namespace that a runner may be in; the buffers of a socket are the same everywhere.
fn largest_buffers() -> io::Result<u64> {
    let socket = UnixDatagram::unbound()?;
    let default = getsockopt(&socket, RcvBuf)? + getsockopt(&socket, SndBuf)?;
    let wanted = i32::MAX as usize;
    setsockopt(&socket, RcvBuf, &wanted)?;
    setsockopt(&socket, SndBuf, &wanted)?;
    let largest = getsockopt(&socket, RcvBuf)? + getsockopt(&socket, SndBuf)?;
    Ok(default.max(largest) as u64 + ONE_MORE)
}

/// Processor time of this thread.
fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The pause after a look that took so long and found that so many bytes are left: not longer than it takes to fill them.
fn pause(look: Duration, left: u64) -> Duration {
    let (longest, shortest) = LOOKS;
    let filled = Duration::from_micros(left.saturating_mul(1_000_000) / RATE);
    filled.clamp(shortest, longest).max(look * PAUSE)
}

/// Such a file from its start, until `lines` of it are there. The kernel makes it anew for every look, and gives a page at a
/// time. One that is not full is the last: to go on until nothing comes any more would be to run after whoever
/// opens sockets faster than they are listed, and he would not be looked at before he is done.
fn text_of(file: &File, lines: usize) -> io::Result<String> {
    let (mut text, mut part, mut read) = (Vec::new(), vec![0; 16 << 10], 0);
    while read <= lines {
        let n = file.read_at(&mut part, text.len() as u64)?;
        text.extend_from_slice(&part[..n]);
        if n < FULL_PAGE {
            break;
        }
        read += part[..n].iter().filter(|byte| **byte == b'\n').count();
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Sockets in a list: its lines without the head.
fn entries(text: &str) -> usize {
    text.lines().count().saturating_sub(1)
}

impl Counts {
    /// What they cost, whatever waits in them.
    fn bytes(&self) -> u64 {
        let parts = [(self.tcp, TCP), (self.waiting, TIME_WAIT), (self.netlink, NETLINK)];
        parts.into_iter().fold(0, |sum, (count, each)| sum.saturating_add(count.saturating_mul(each)))
    }

    /// Those in which more may wait, as a list tells.
    fn lists(&self) -> u64 {
        self.udp.saturating_add(self.netlink)
    }

    /// Adds what `sockstat` or `sockstat6` says (proc(5)): `TCP: inuse 5 orphan 0 tw 2 alloc 7 mem 1`; and of `protocols`, which
    /// has a line for each, name, size and how many there are, that of netlink: `NETLINK 1104 3 -1 NI 0 no kernel …`.
    fn add(&mut self, text: &str) {
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["NETLINK", _, count, ..] = words[..] {
                self.netlink = self.netlink.saturating_add(count.parse().unwrap_or(0));
            }
            let Some((name, rest)) = line.split_once(':') else { continue };
            let words: Vec<&str> = rest.split_whitespace().collect();
            let value = |key: &str| {
                let pair = words.chunks_exact(2).find(|pair| pair[0] == key)?;
                pair[1].parse::<u64>().ok()
            };
            let in_use = value("inuse").unwrap_or(0);
            match name {
                "TCP" | "TCP6" => {
                    self.tcp = self.tcp.saturating_add(in_use);
                    self.waiting = self.waiting.saturating_add(value("tw").unwrap_or(0));
                }
                "UDP" | "UDP6" | "UDPLITE" | "UDPLITE6" => self.udp = self.udp.saturating_add(in_use),
                _ => {}
            }
        }
    }
}

/// Bytes that wait in netlink sockets: the column `Rmem`.
fn netlink(text: &str) -> u64 {
    let mut lines = text.lines();
    let column = lines.next().and_then(|head| head.split_whitespace().position(|name| name == "Rmem"));
    let Some(column) = column else { return 0 };
    lines.filter_map(|line| line.split_whitespace().nth(column)?.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

/// Bytes that wait in sockets for datagrams: `tx_queue:rx_queue`, hexadecimal, is the fifth column.
fn datagrams(text: &str) -> u64 {
    let queues = |line: &str| {
        let (sent, received) = line.split_whitespace().nth(4)?.split_once(':')?;
        let bytes = |hex: &str| u64::from_str_radix(hex, 16).ok();
        Some(bytes(sent)?.saturating_add(bytes(received)?))
    };
    text.lines().skip(1).filter_map(queues).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn the_lists_are_read_by_their_columns() {
        let mut counts = Counts::default();
        counts.add(
            "sockets: used 120080\nTCP: inuse 120080 orphan 50 tw 119950 alloc 120084 mem 120016\nUDP: inuse 3 mem 2\n\
             UDPLITE: inuse 0\nRAW: inuse 7\nFRAG: inuse 0 memory 0\n",
        );
        counts.add("TCP6: inuse 4\nUDP6: inuse 1\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n");
        counts.add(
            "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em\n\
             UDPv6     1472      9       0   NI       0   yes  kernel      y  y  y  n  y  y  y  n  y  y  y  y  n  n  y  y  y  n\n\
             NETLINK   1104     17      -1   NI       0   no   kernel      n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n\n",
        );
        assert_eq!(counts, Counts { tcp: 120_084, waiting: 119_950, udp: 4, netlink: 17 });
        let text = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
                    0000000000000000 0   1234       00000000 4352     0        0     2        0        12345   \n\
                    0000000000000000 0   0          00000000 212992   0        0     2        0        1   \n";
        assert_eq!(netlink(text), 4352 + 212_992);
        let text = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
                    81: 0100007F:1F90 00000000:0000 07 00000001:00000300 00:00000000 00000000     0        0 22 2 0000000000000000 0\n";
        assert_eq!(datagrams(text), 0x301);
    }

    #[test]
    fn what_is_not_such_a_list_counts_for_nothing() {
        let mut counts = Counts::default();
        for text in [
            "",
            "\n\n",
            "TCP: inuse",
            "TCP inuse 5",
            "TCP: inuse x tw -1",
            "Rmem\n",
            "a b c d e:f g",
            "NETLINK 5",
            "NETLINK 1 x",
        ] {
            counts.add(text);
            assert_eq!((netlink(text), datagrams(text)), (0, 0), "{text}");
        }
        assert_eq!(counts, Counts::default());
    }

    #[test]
    fn sockets_of_this_process_are_found() {
        let mut sockets = Sockets::open(std::process::id().cast_signed()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let many: Vec<TcpStream> =
            (0..8).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        // Others in this namespace come and go; those of the kernel's making are there as well.
        assert!(sockets.count().unwrap().bytes() >= 17 * TCP);
        drop(many);
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..4 {
            sender.send_to(&[0; 16 << 10], receiver.local_addr().unwrap()).unwrap();
        }
        let counts = Counts { udp: 2, ..Counts::default() };
        let waiting = sockets.uncharged(&counts).unwrap();
        assert!(waiting >= 4 * (16 << 10), "{waiting}");
        assert!(sockets.look(waiting / 2).unwrap().is_some());
    }

    #[test]
    fn a_look_is_followed_by_a_pause_that_is_longer_than_it() {
        let mut sockets = Sockets::open(std::process::id().cast_signed()).unwrap();
        let _one = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(sockets.look(0).unwrap().is_some());
        assert!(sockets.due() > Instant::now());
        assert_eq!(sockets.look(0).unwrap(), None);
        let ms = Duration::from_millis;
        assert_eq!(pause(Duration::from_micros(30), 512 << 20), ms(25));
        assert_eq!(pause(Duration::from_micros(30), 32 << 20), Duration::from_micros(7812));
        assert_eq!(pause(Duration::from_micros(30), 1 << 20), ms(2));
        assert_eq!(pause(ms(20), 512 << 20), ms(80));
        assert_eq!(pause(ms(20), 0), ms(80));
    }

    #[test]
    fn what_was_not_read_of_a_long_list_is_taken_for_full() {
        let sockets = Sockets::open(std::process::id().cast_signed()).unwrap();
        // Two of the smallest buffers that any kernel has by itself, and a message.
        assert!(sockets.full > ONE_MORE + 8192, "{}", sockets.full);
        assert_eq!(sockets.unread(5000, 4000, 4096), 0);
        assert_eq!(sockets.unread(4096, 4096, 4096), 0);
        assert_eq!(sockets.unread(4099, 4096, 4096), 3 * sockets.full);
        assert_eq!(sockets.unread(10, 4096, 4096), 0);
        assert_eq!(sockets.unread(u64::MAX, 4096, 4096), u64::MAX);
        // No more is read than was asked for, but for what one call brings beside it.
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), "a line of twenty-four b\n".repeat(100_000)).unwrap();
        let text = text_of(&File::open(list.path()).unwrap(), 1000).unwrap();
        assert!((1000..2000).contains(&entries(&text)), "{}", entries(&text));
    }
}
