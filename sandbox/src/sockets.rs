//! Memory of sockets that no control group counts, as seen from outside.
//!
//! The memory limit holds what the kernel charges to the group, and much of what a socket costs it does not: a connection that
//! nobody has accepted yet is made by the kernel itself, outlives whoever made it, and is charged to nobody (some 4 KiB
//! each, 4096 of them for each listening socket); neither is what netlink answers and nobody reads; nor, on v1, are
//! datagrams. But all of it is listed in the /proc/net of its own network namespace, of which the sandbox is the only user. So
//! the launcher looks there, and ends a sandbox whose sockets hold more in this way than its memory limit.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that a TCP socket costs beside its buffers: the socket, its request, its route (slabinfo of 6.1 to 6.18, and what
/// was measured with 120 000 of them).
const TCP: u64 = 4096;

/// Bytes of a connection that waits for the end of its time (`tw_sock_TCP`).
const TIME_WAIT: u64 = 256;

/// Most bytes of a list that are read. A longer one is over every limit by then.
const MAX_LIST: usize = 64 << 20;

/// The lists of one network namespace.
#[derive(Debug)]
pub struct Sockets {
    counts: Vec<File>,
    netlink: Option<File>,
    datagrams: Vec<File>,
}

/// What one look at the counts gave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    tcp: u64,
    waiting: u64,
    udp: u64,
}

impl Sockets {
    /// Those of the namespace in which a process is; nobody hostile may be there yet. A list that the kernel does not have
    /// (IPv6, netlink) has no sockets.
    ///
    /// # Errors
    /// Where there are no counts at all, which every kernel with a network has; or where a list is there and cannot be opened.
    pub fn open(pid: i32) -> io::Result<Sockets> {
        let list = |name: &str| File::open(format!("/proc/{pid}/net/{name}"));
        let optional = |name: &str| match list(name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Sockets {
            counts: [Some(list("sockstat")?), optional("sockstat6")?].into_iter().flatten().collect(),
            netlink: optional("netlink")?,
            datagrams: [optional("udp")?, optional("udp6")?].into_iter().flatten().collect(),
        })
    }

    /// Bytes that nobody is charged for, as far as it can be told.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub fn uncharged(&self) -> io::Result<u64> {
        let mut counts = Counts::default();
        for file in &self.counts {
            counts.add(&text_of(file)?);
        }
        let mut bytes = counts.tcp.saturating_mul(TCP).saturating_add(counts.waiting.saturating_mul(TIME_WAIT));
        if let Some(file) = &self.netlink {
            bytes = bytes.saturating_add(netlink(&text_of(file)?));
        }
        // To go through the kernel's table of ports takes longer than all the rest.
        if counts.udp > 0 {
            for file in &self.datagrams {
                bytes = bytes.saturating_add(datagrams(&text_of(file)?));
            }
        }
        Ok(bytes)
    }
}

/// Such a file from its start. The kernel makes it anew for every look.
fn text_of(file: &File) -> io::Result<String> {
    let (mut text, mut part) = (Vec::new(), vec![0; 16 << 10]);
    while text.len() < MAX_LIST {
        match file.read_at(&mut part, text.len() as u64)? {
            0 => break,
            n => text.extend_from_slice(&part[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl Counts {
    /// Adds what `sockstat` or `sockstat6` says (proc(5)): `TCP: inuse 5 orphan 0 tw 2 alloc 7 mem 1`.
    fn add(&mut self, text: &str) {
        for line in text.lines() {
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
        assert_eq!(counts, Counts { tcp: 120_084, waiting: 119_950, udp: 4 });
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
        for text in ["", "\n\n", "TCP: inuse", "TCP inuse 5", "TCP: inuse x tw -1", "Rmem\n", "a b c d e:f g"] {
            counts.add(text);
            assert_eq!((netlink(text), datagrams(text)), (0, 0), "{text}");
        }
        assert_eq!(counts, Counts::default());
    }

    #[test]
    fn sockets_of_this_process_are_found() {
        let sockets = Sockets::open(std::process::id().cast_signed()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let many: Vec<TcpStream> =
            (0..8).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        // Others in this namespace come and go; those of the kernel's making are there as well.
        assert!(sockets.uncharged().unwrap() >= 17 * TCP);
        drop(many);
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..4 {
            sender.send_to(&[0; 16 << 10], receiver.local_addr().unwrap()).unwrap();
        }
        let waiting: u64 = sockets.datagrams.iter().map(|file| datagrams(&text_of(file).unwrap())).sum();
        assert!(waiting >= 4 * (16 << 10), "{waiting}");
    }
}
