//! The proxy with real sockets: clients, servers and an upstream proxy on the loopback, which the rules of these tests allow.

use super::rules::Limits;
use super::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

struct Served {
    address: std::net::SocketAddr,
    book: Arc<Book>,
    _task: AbortOnDropHandle<()>,
}

async fn served(listed: &[String], change: impl FnOnce(&mut Rules)) -> Served {
    let mut rules = Rules {
        reach: Reach::Listed(listed.iter().map(|text| Place::parse(text).unwrap()).collect::<BTreeSet<_>>()),
        allow_internal: vec!["127.0.0.1".parse().unwrap()],
        backend: None,
        upstream: Upstream::default(),
        limits: Limits::new(1 << 20),
    };
    change(&mut rules);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, book) = (listener.local_addr().unwrap(), Arc::new(Book::new("fetch")));
    let task = AbortOnDropHandle::new(tokio::spawn(serve(listener, rules, book.clone())));
    Served { address, book, _task: task }
}

impl Served {
    /// Sends bytes, and reads until the proxy ends the connection.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A server that sends back, in capitals, all that it is sent.
async fn shouting() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut all = Vec::new();
                let _ = client.read_to_end(&mut all).await;
                let _ = client.write_all(&all.to_ascii_uppercase()).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_half_closes() {
    let server = shouting().await;
    let proxy = served(std::slice::from_ref(&server), |_| {}).await;
    let answer = proxy.say(format!("CONNECT {server} HTTP/1.1\r\n\r\nearly bytes").as_bytes()).await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\nEARLY BYTES");
    assert_eq!(proxy.book.entries(), []);
}

#[tokio::test]
async fn a_plain_request_reaches_its_host_with_a_head_of_its_own() {
    let server = shouting().await;
    let proxy = served(std::slice::from_ref(&server), |_| {}).await;
    let answer = proxy.say(format!("POST http://{server}/a?b HTTP/1.1\r\nHost: other\r\n\r\nbody").as_bytes()).await;
    assert_eq!(answer, format!("POST /A?B HTTP/1.1\r\nHOST: {server}\r\nCONNECTION: CLOSE\r\n\r\nBODY"));
}

#[tokio::test]
async fn what_is_refused_is_answered_and_written_down() {
    let server = shouting().await;
    let port = server.rsplit_once(':').unwrap().1.to_string();
    let listed = [server.clone(), format!("localhost:{port}"), format!("[::1]:{port}"), "169.254.169.254:80".into()];
    let proxy = served(&listed, |rules| {
        rules.allow_internal.clear();
        rules.backend = Some(Place::parse("203.0.113.1:443").unwrap());
    })
    .await;
    for (ask, status) in [
        (format!("CONNECT 127.0.0.1:{port}"), 403),
        (format!("CONNECT 0x7f.1:{port}"), 403),
        (format!("CONNECT 2130706433:{port}"), 403),
        (format!("CONNECT [::ffff:127.0.0.1]:{port}"), 403),
        (format!("CONNECT [::1]:{port}"), 403),
        (format!("CONNECT LOCALHOST.:{port}"), 403),
        (format!("GET http://localhost:{port}/"), 403),
        ("GET http://169.254.169.254/latest/meta-data/".into(), 403),
        ("CONNECT elsewhere.example:443".into(), 403),
        ("CONNECT 203.0.113.1:443".into(), 403),
        ("CONNECT localhost".into(), 400),
        ("GET /".into(), 400),
    ] {
        let answer = proxy.say(format!("{ask} HTTP/1.1\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{ask}: {answer}");
        assert!(!answer.contains("200 OK"), "{ask}: {answer}");
    }
    let entries = proxy.book.entries();
    let internal = entries.iter().filter(|entry| matches!(entry.why, Why::Internal(..))).count();
    // Five spellings are one place.
    assert_eq!(internal, 4, "{entries:?}");
    assert!(entries.iter().any(|entry| entry.place == "elsewhere.example:443" && entry.why == Why::NotListed));
}

#[tokio::test]
async fn a_stage_moves_no_more_bytes_than_it_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move { while client.write_all(&[0; 4096]).await.is_ok() {} });
        }
    });
    let proxy = served(std::slice::from_ref(&server), |rules| rules.limits.bytes = 1 << 20).await;
    let ask = format!("CONNECT {server} HTTP/1.1\r\n\r\n");
    let got = proxy.say(ask.as_bytes()).await.len();
    assert!(got <= (1 << 20) + 19, "{got} bytes came");
    assert_eq!(proxy.book.entries(), [Refused { place: server, why: Why::TooMuch(1 << 20) }]);
    // Nor does it get another connection.
    assert!(proxy.say(ask.as_bytes()).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn connections_are_limited_at_once_and_in_all() {
    let server = shouting().await;
    let proxy = served(std::slice::from_ref(&server), |rules| {
        rules.limits.at_once = 2;
        rules.limits.in_all = 4;
        rules.limits.head = Duration::from_secs(3600);
    })
    .await;
    // Two that say nothing hold both seats; the third waits until one of them goes.
    let silent = TcpStream::connect(proxy.address).await.unwrap();
    let _other = TcpStream::connect(proxy.address).await.unwrap();
    let ask = format!("CONNECT {server} HTTP/1.1\r\n\r\nx");
    let mut waiting = Box::pin(proxy.say(ask.as_bytes()));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    drop(silent);
    assert!(waiting.await.ends_with('X'));
    assert!(proxy.say(ask.as_bytes()).await.ends_with('X'));
    assert_eq!(proxy.say(ask.as_bytes()).await, "");
    assert!(proxy.book.entries().iter().any(|entry| entry.why == Why::TooMany(4)));
}

#[tokio::test]
async fn a_connection_that_says_nothing_ends() {
    let server = shouting().await;
    let proxy = served(std::slice::from_ref(&server), |rules| {
        rules.limits.head = Duration::from_millis(50);
        rules.limits.idle = Duration::from_millis(50);
    })
    .await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(b"CONNECT ").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(format!("CONNECT {server} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\n");
}

#[tokio::test]
async fn the_operators_proxy_is_gone_through_and_what_is_internal_is_not_asked_of_it() {
    // It shouts back what it is asked, behind a head that lets everybody through.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://me:secret@{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 4096];
                let count = client.read(&mut asked).await.unwrap();
                let text = String::from_utf8_lossy(&asked[..count]).into_owned();
                let head = if text.contains("forbidden.invalid") {
                    "HTTP/1.1 407 No\r\n\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\n\r\n"
                };
                let _ = client.write_all(format!("{head}{text}").as_bytes()).await;
            });
        }
    });
    let listed: Vec<String> =
        ["a.invalid:443", "forbidden.invalid:443", "a.invalid:80", "localhost:443"].map(String::from).into();
    let proxy = served(&listed, |rules| {
        rules.allow_internal.clear();
        rules.upstream = Upstream::of(|name| (name == "all_proxy").then(|| upstream.clone())).unwrap();
    })
    .await;
    let answer = proxy.say(b"CONNECT a.invalid:443 HTTP/1.1\r\n\r\n").await;
    assert!(
        answer.contains("CONNECT a.invalid:443 HTTP/1.1\r\nHost: a.invalid:443\r\nProxy-Authorization: Basic "),
        "{answer}"
    );
    let answer = proxy.say(b"GET http://a.invalid/x HTTP/1.1\r\n\r\n").await;
    assert!(answer.contains("GET http://a.invalid/x HTTP/1.1\r\nHost: a.invalid\r\nProxy-Authorization: "), "{answer}");
    let answer = proxy.say(b"CONNECT forbidden.invalid:443 HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("407") && !answer.contains("secret"), "{answer}");
    for ask in ["CONNECT localhost:443", "CONNECT other.invalid:443"] {
        let answer = proxy.say(format!("{ask} HTTP/1.1\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
}
