//! Serves one stage: accepts on its socket, decides, connects, and moves bytes until the stage ends.

use super::head::{self, Ask, Head};
use super::refused::{Book, Why};
use super::rules::{Route, Rules};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument;

/// What is read at once.
const PART: usize = 32 << 10;

/// What one stage has in common.
struct Stage {
    rules: Rules,
    book: Arc<Book>,
    /// Bytes moved.
    moved: AtomicU64,
}

/// Serves until it is dropped, and all connections with it.
pub async fn serve(listener: TcpListener, rules: Rules, book: Arc<Book>) {
    let limits = rules.limits;
    let stage = Arc::new(Stage { rules, book, moved: AtomicU64::new(0) });
    let seats = Arc::new(Semaphore::new(limits.at_once));
    let mut connections = JoinSet::new();
    let mut made = 0;
    loop {
        // A seat first: who finds none waits in the kernel's queue and costs nothing here.
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                // A client that has gone already, or no descriptor left; the next try comes later.
                tracing::debug!("the proxy could not accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        made += 1;
        if made > limits.in_all {
            stage.book.note("any host", Why::TooMany(limits.in_all));
            continue;
        }
        let stage = stage.clone();
        let talk = async move {
            stage.talk(client).await;
            drop(seat);
        };
        connections.spawn(talk.in_current_span());
    }
}

impl Stage {
    /// One connection, from its first byte to its last.
    async fn talk(&self, mut client: TcpStream) {
        let head = match timeout(self.rules.limits.head, read_head(&mut client)).await {
            Ok(Ok(Some(read))) => Ok(read),
            Ok(Ok(None)) => return,
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("no request came within {} s", self.rules.limits.head.as_secs())),
        };
        let (head, early) = match head {
            Ok(read) => read,
            Err(why) => return self.refuse(&mut client, "an unreadable request", 400, Why::Malformed(why)).await,
        };
        let place = head.place.to_string();
        if let Err(why) = self.pass(&mut client, &head, early).await {
            let status = if why.is_refusal() { 403 } else { 502 };
            self.refuse(&mut client, &place, status, why).await;
        }
    }

    /// Connects to where it is to go, and moves bytes. An error only as long as nothing was answered.
    async fn pass(&self, client: &mut TcpStream, head: &Head, early: Vec<u8>) -> Result<(), Why> {
        let tunnel = head.ask == Ask::Tunnel;
        self.left(0).map_err(Why::TooMuch)?;
        let route = self.rules.route(&head.place, tunnel).await?;
        let patience = self.rules.limits.connect;
        let late = |_| Why::Unreachable(format!("it did not answer within {} s", patience.as_secs()));
        let mut through = None;
        let (mut server, answered) = match route {
            Route::Direct(addresses) => (connect(&addresses, patience).await.map_err(Why::Unreachable)?, Vec::new()),
            Route::Through(hop) if tunnel => {
                timeout(patience, hop.tunnel(&head.place)).await.map_err(late)?.map_err(Why::Unreachable)?
            }
            Route::Through(hop) => {
                let server = timeout(patience, hop.connect()).await.map_err(late)?.map_err(Why::Unreachable)?;
                through = Some(hop);
                (server, Vec::new())
            }
        };
        self.book.connected();
        let (to_client, mut to_server) = match &head.ask {
            Ask::Tunnel => ([b"HTTP/1.1 200 OK\r\n\r\n", answered.as_slice()].concat(), Vec::new()),
            Ask::Plain(plain) => (Vec::new(), plain.encode(&head.place, through.as_ref().map(|hop| hop.letting_in()))),
        };
        to_server.extend(early);
        if let Err(limit) = self.exchange(client, &mut server, &to_client, &to_server).await {
            self.book.note(&head.place.to_string(), Why::TooMuch(limit));
        }
        Ok(())
    }

    /// Moves bytes both ways until both sides have ended, one of them breaks off, or nothing moves.
    ///
    /// # Errors
    /// The limit, where it is reached.
    async fn exchange(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        to_client: &[u8],
        to_server: &[u8],
    ) -> Result<(), u64> {
        let alive = AtomicU64::new(0);
        let (from_client, into_client) = client.split();
        let (from_server, into_server) = server.split();
        let (came, went) = (|count| self.book.received(count), |_| ());
        let both = async {
            tokio::try_join!(
                self.one_way(from_server, into_client, to_client, &alive, came),
                self.one_way(from_client, into_server, to_server, &alive, went)
            )
        };
        let idle = async {
            let mut before = alive.load(Ordering::Relaxed);
            loop {
                tokio::time::sleep(self.rules.limits.idle).await;
                let now = alive.load(Ordering::Relaxed);
                if now == before {
                    return;
                }
                before = now;
            }
        };
        tokio::select! {
            ended = both => match ended {
                Err(Broken::Limit(limit)) => Err(limit),
                // What ended, and how, the other side sees by itself.
                Ok(_) | Err(Broken::Off) => Ok(()),
            },
            () = idle => Ok(()),
        }
    }

    async fn one_way(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        first: &[u8],
        alive: &AtomicU64,
        moved: impl Fn(usize),
    ) -> Result<(), Broken> {
        self.left(first.len()).map_err(Broken::Limit)?;
        to.write_all(first).await.map_err(|_| Broken::Off)?;
        let mut part = vec![0; PART];
        loop {
            let count = from.read(&mut part).await.map_err(|_| Broken::Off)?;
            if count == 0 {
                return to.shutdown().await.map_err(|_| Broken::Off);
            }
            self.left(count).map_err(Broken::Limit)?;
            moved(count);
            to.write_all(&part[..count]).await.map_err(|_| Broken::Off)?;
            alive.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts bytes that are about to be moved; the limit is the error.
    fn left(&self, count: usize) -> Result<(), u64> {
        let limit = self.rules.limits.bytes;
        let moved = self.moved.fetch_add(count as u64, Ordering::Relaxed).saturating_add(count as u64);
        if moved < limit { Ok(()) } else { Err(limit) }
    }

    /// Answers that it cannot be, in words that a person sees who looks at what git or pip print.
    async fn refuse(&self, client: &mut TcpStream, place: &str, status: u16, why: Why) {
        let reason = match status {
            400 => "Bad Request",
            403 => "Forbidden",
            _ => "Bad Gateway",
        };
        let body = format!("{place}: {why}\n");
        self.book.note(place, why);
        let answer = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        let say = async {
            client.write_all(answer.as_bytes()).await?;
            client.shutdown().await?;
            // What it still sends is read, or the kernel would reset the connection and take the answer away.
            let mut rest = [0u8; 1024];
            for _ in 0..64 {
                if client.read(&mut rest).await? == 0 {
                    break;
                }
            }
            Ok::<(), std::io::Error>(())
        };
        // Who does not want to hear it has it in the result.
        let _ = timeout(Duration::from_secs(2), say).await;
    }
}

/// Why a direction ended before its end.
enum Broken {
    /// One side is gone.
    Off,
    /// The stage has moved all that it may.
    Limit(u64),
}

/// The head, and what came behind it; `None` where the client went without a word.
async fn read_head(client: &mut TcpStream) -> Result<Option<(Head, Vec<u8>)>, String> {
    let mut bytes = Vec::new();
    loop {
        let read = client.read_buf(&mut bytes).await;
        match read {
            Ok(0) if bytes.is_empty() => return Ok(None),
            Ok(0) => return Err("it ended in the middle of a request".into()),
            Ok(_) => {}
            Err(_) => return Ok(None),
        }
        if let Some((head, length)) = head::parse(&bytes).map_err(|bad| bad.0)? {
            let early = bytes.split_off(length);
            return Ok(Some((head, early)));
        }
    }
}

/// A connection to the first address that answers.
async fn connect(addresses: &[SocketAddr], patience: Duration) -> Result<TcpStream, String> {
    let mut last = String::from("it has no address");
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address}: no answer within {} s", patience.as_secs()),
        }
    }
    Err(last)
}
