//! The head of a request to the proxy. httparse reads it; what it asks for is decided here. Pure.
//!
//! Two forms are understood: CONNECT, after which bytes go both ways unread, and a request for an `http://` address whole, as
//! clients send it to a proxy (RFC 9112, 3.2.2), for an operator's git server or index without TLS.

use super::place::Place;

/// Longest head, in bytes.
pub const LONGEST: usize = 16 << 10;

/// Most header fields.
const FIELDS: usize = 64;

/// Fields that are for the next hop alone and are not passed on, beside those that `Connection` names. Host is written anew.
const HOP: [&str; 9] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "upgrade",
];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Where to.
    pub place: Place,
    /// How.
    pub ask: Ask,
}

/// How it is to be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Bytes, both ways.
    Tunnel,
    /// A request.
    Plain(Plain),
}

/// A request without its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    method: String,
    path: String,
    fields: Vec<(String, Vec<u8>)>,
}

/// Why a head is refused. The status of the answer is 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadHead(pub String);

/// Reads a head from the first bytes of a connection. `None`: it does not end yet. Else also its length.
pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, BadHead> {
    let bad = |why: String| BadHead(why);
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= LONGEST => length,
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST => return Ok(None),
        Ok(_) => return Err(bad(format!("the head is longer than {LONGEST} bytes"))),
        Err(error) => return Err(bad(format!("it is no request: {error}"))),
    };
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err(bad("it is no request".into()));
    };
    let shown = || super::shown(target);
    let whither = |text: &str, default: Option<u16>| {
        let place = match default {
            None => Place::parse(text),
            Some(port) => Place::parse_with(text, port),
        };
        place.map_err(|why| bad(format!("{} is no place to go to: {why}", shown())))
    };
    if method == "CONNECT" {
        return Ok(Some((Head { place: whither(target, None)?, ask: Ask::Tunnel }, length)));
    }
    let scheme = target.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    if !scheme || target.contains('#') {
        return Err(bad(format!("{} is nothing that is asked of a proxy", shown())));
    }
    let rest = &target[7..];
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    let place = whither(authority, Some(80))?;
    let named: Vec<String> = request
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection"))
        .flat_map(|field| {
            String::from_utf8_lossy(field.value).split(',').map(|n| n.trim().to_string()).collect::<Vec<_>>()
        })
        .collect();
    let hop =
        |name: &str| HOP.into_iter().chain(named.iter().map(String::as_str)).any(|hop| name.eq_ignore_ascii_case(hop));
    let fields = request.headers.iter().filter(|field| !hop(field.name));
    let fields = fields.map(|field| (field.name.to_string(), field.value.to_vec())).collect();
    Ok(Some((Head { place, ask: Ask::Plain(Plain { method: method.to_string(), path, fields }) }, length)))
}

impl Plain {
    /// The head as it is sent on. `through`: to another proxy, with what lets us in there; its answer ends the connection, so that the next
    /// request comes here with a head of its own.
    pub fn encode(&self, place: &Place, through: Option<&[u8]>) -> Vec<u8> {
        let host = if place.port == 80 { place.host.to_string() } else { place.to_string() };
        let target = if through.is_some() { format!("http://{host}{}", self.path) } else { self.path.clone() };
        let mut head = format!("{} {target} HTTP/1.1\r\nHost: {host}\r\n", self.method).into_bytes();
        for (name, value) in &self.fields {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        if let Some(letting_in) = through {
            head.extend_from_slice(letting_in);
        }
        head.extend_from_slice(b"Connection: close\r\n\r\n");
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(text: &str) -> Option<String> {
        parse(text.as_bytes()).ok().flatten().map(|(head, _)| head.place.to_string())
    }

    #[test]
    fn a_tunnel_is_read_and_what_follows_is_left() {
        let text = b"CONNECT Git.Example:443 HTTP/1.1\r\nHost: other\r\nProxy-Connection: Keep-Alive\r\n\r\n\x16\x03";
        let (head, length) = parse(text).unwrap().unwrap();
        assert_eq!((head.place.to_string().as_str(), &head.ask), ("git.example:443", &Ask::Tunnel));
        assert_eq!(&text[length..], b"\x16\x03");
        for end in 0..length {
            assert_eq!(parse(&text[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn a_request_is_passed_on_to_the_host_of_its_address_and_no_other() {
        let text = "GET http://Git.Example:3000/a/info/refs?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive, X-Hop\r\n\
                    Proxy-Authorization: Basic x\r\nX-Hop: 1\r\nAccept: */*\r\nUpgrade: h2c\r\n\r\n";
        let (head, _) = parse(text.as_bytes()).unwrap().unwrap();
        let Ask::Plain(plain) = &head.ask else { panic!("{head:?}") };
        let sent = |through: Option<&[u8]>| String::from_utf8(plain.encode(&head.place, through)).unwrap();
        assert_eq!(
            sent(None),
            "GET /a/info/refs?x=1 HTTP/1.1\r\nHost: git.example:3000\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            sent(Some(b"Proxy-Authorization: Basic y\r\n")),
            "GET http://git.example:3000/a/info/refs?x=1 HTTP/1.1\r\nHost: git.example:3000\r\nAccept: */*\r\n\
             Proxy-Authorization: Basic y\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn what_is_no_request_to_a_proxy_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET https://a.example/ HTTP/1.1\r\n\r\n",
            "GET ftp://a.example/ HTTP/1.1\r\n\r\n",
            "GET http:///a HTTP/1.1\r\n\r\n",
            "GET http://u:p@a.example/ HTTP/1.1\r\n\r\n",
            "GET http://a.example#@b/ HTTP/1.1\r\n\r\n",
            "CONNECT a.example HTTP/1.1\r\n\r\n",
            "CONNECT u@a.example:443 HTTP/1.1\r\n\r\n",
            "CONNECT http://a.example:443 HTTP/1.1\r\n\r\n",
            "CONNECT [fe80::1%25lo]:443 HTTP/1.1\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\n\r\n",
            "\x16\x03\x01\x02\0\x01\0\x01",
            "\x05\x01\0",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert_eq!(place("GET http://a.example?x HTTP/1.0\r\n\r\n").as_deref(), Some("a.example:80"));
    }

    #[test]
    fn a_head_without_an_end_is_not_waited_for() {
        let endless = [b"CONNECT a:1 HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; LONGEST]].concat();
        assert!(parse(&endless).is_err_and(|e| e.0.contains("longer")));
        let fields = "X: y\r\n".repeat(FIELDS + 1);
        assert!(parse(format!("CONNECT a:1 HTTP/1.1\r\n{fields}\r\n").as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn arbitrary_targets_never_panic_and_never_become_two_lines(
            method in "(GET|POST|CONNECT)", target in "(http://)?[ -~é]{0,60}", value in "[^\\r\\n\\x00]{0,30}"
        ) {
            let text = format!("{method} {target} HTTP/1.1\r\nX-A: {value}\r\n\r\n");
            if let Ok(Some((Head { place, ask: Ask::Plain(plain) }, _))) = parse(text.as_bytes()) {
                let sent = plain.encode(&place, None);
                prop_assert_eq!(sent.windows(2).filter(|pair| pair == b"\r\n").count(), 5);
            }
        }
    }
}
