//! The operator's own proxy, through which ours goes where there is one.

use super::head::LONGEST;
use super::place::Place;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Which proxy the operator's variables name for which place.
#[derive(Debug, Clone, Default)]
pub struct Upstream(Option<Arc<Matcher>>);

/// One proxy of the operator's.
#[derive(Debug)]
pub struct Hop {
    address: String,
    /// A header line that lets us in, or nothing.
    letting_in: Vec<u8>,
}

impl Upstream {
    /// From variables such as `https_proxy` and `no_proxy`, by what git and pip would make of them. Upper case counts after lower case;
    /// HTTP_PROXY does not count, as curl does not let it, because a web server's client can set it.
    ///
    /// # Errors
    /// A sentence, where one names a proxy that ours cannot go through: then nothing must go around it.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Upstream, String> {
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name)).unwrap_or_default();
        let all = first(&["all_proxy", "ALL_PROXY"]);
        let (http, https) = (first(&["http_proxy"]), first(&["https_proxy", "HTTPS_PROXY"]));
        for value in [&all, &http, &https].into_iter().filter(|value| !value.is_empty()) {
            check(value)?;
        }
        if [&all, &http, &https].iter().all(|value| value.is_empty()) {
            return Ok(Upstream(None));
        }
        let no = first(&["no_proxy", "NO_PROXY"]);
        Ok(Upstream(Some(Arc::new(Matcher::builder().all(all).http(http).https(https).no(no).build()))))
    }

    /// The proxy for this place, if it has one.
    pub fn hop(&self, place: &Place, tunnel: bool) -> Option<Hop> {
        let scheme = if tunnel { "https" } else { "http" };
        let uri = format!("{scheme}://{place}/").parse().ok()?;
        self.0.as_ref()?.intercept(&uri).map(|found| Hop::new(&found))
    }
}

/// Only a proxy that is spoken to in the clear, as nearly all are: one behind TLS, or with SOCKS, would need a client of its own.
fn check(value: &str) -> Result<(), String> {
    let uri = value.parse::<http::Uri>().ok();
    let known = uri.as_ref().and_then(|uri| uri.authority()).is_some_and(|authority| !authority.host().is_empty());
    let scheme = uri.as_ref().and_then(|uri| uri.scheme_str()).unwrap_or("http");
    if known && scheme == "http" {
        return Ok(());
    }
    // Without its user and password.
    let shown = value.rsplit_once('@').map_or(value, |(_, host)| host);
    Err(format!(
        "the proxy {} that the environment names cannot be used: fetch and prepare go through proxies of the form \
         http://host:port alone",
        super::shown(shown)
    ))
}

impl Hop {
    fn new(found: &Intercept) -> Hop {
        let uri = found.uri();
        let letting_in = found
            .basic_auth()
            .map_or(Vec::new(), |value| [b"Proxy-Authorization: ".as_slice(), value.as_bytes(), b"\r\n"].concat());
        Hop { address: format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80)), letting_in }
    }

    /// The header line that lets us in.
    pub fn letting_in(&self) -> &[u8] {
        &self.letting_in
    }

    /// A connection to the proxy.
    pub async fn connect(&self) -> Result<TcpStream, String> {
        TcpStream::connect(&self.address).await.map_err(|error| format!("the upstream proxy {}: {error}", self.address))
    }

    /// A tunnel through it, and the bytes that have already come out of it.
    pub async fn tunnel(&self, place: &Place) -> Result<(TcpStream, Vec<u8>), String> {
        let mut stream = self.connect().await?;
        let failed = |error: std::io::Error| format!("the upstream proxy {}: {error}", self.address);
        let mut ask = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n").into_bytes();
        ask.extend_from_slice(&self.letting_in);
        ask.extend_from_slice(b"\r\n");
        stream.write_all(&ask).await.map_err(failed)?;
        let mut bytes = Vec::new();
        loop {
            if stream.read_buf(&mut bytes).await.map_err(failed)? == 0 {
                return Err(format!("the upstream proxy {} hung up", self.address));
            }
            if let Some((status, length)) =
                answered(&bytes).map_err(|why| format!("the upstream proxy {}: {why}", self.address))?
            {
                if !(200..300).contains(&status) {
                    return Err(format!("the upstream proxy {} answered {status}", self.address));
                }
                bytes.drain(..length);
                return Ok((stream, bytes));
            }
        }
    }
}

/// Status and length of an answer's head, once it is there.
fn answered(bytes: &[u8]) -> Result<Option<(u16, usize)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => Ok(response.code.map(|code| (code, length))),
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST => Ok(None),
        Ok(httparse::Status::Partial) => Err("its answer does not end".into()),
        Err(error) => Err(format!("its answer is no HTTP: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(pairs: &[(&str, &str)]) -> Result<Upstream, String> {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Upstream::of(move |name| pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn the_variables_say_which_proxy_is_for_whom() {
        let found = upstream(&[
            ("https_proxy", "http://u%40x:p@proxy.example:3128/"),
            ("all_proxy", "other.example:8080"),
            ("no_proxy", "git.example, 10.0.0.0/8, .internal"),
        ]);
        let found = found.unwrap();
        let hop = |place: &str, tunnel| found.hop(&Place::parse(place).unwrap(), tunnel);
        let first = hop("a.example:443", true).unwrap();
        assert_eq!(
            (first.address.as_str(), first.letting_in()),
            ("proxy.example:3128", b"Proxy-Authorization: Basic dUB4OnA=\r\n".as_slice())
        );
        assert_eq!(hop("a.example:80", false).unwrap().address, "other.example:8080");
        for direct in ["git.example:443", "sub.git.example:443", "10.1.2.3:443", "x.internal:443"] {
            assert!(hop(direct, true).is_none(), "{direct}");
        }
        assert!(hop("[2606:50c0:8000::153]:443", true).is_some() && hop("notgit.example:443", true).is_some());
        assert!(
            upstream(&[("HTTP_PROXY", "http://evil.example")])
                .unwrap()
                .hop(&Place::parse("a:80").unwrap(), false)
                .is_none()
        );
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_not_gone_around() {
        for wrong in ["https://proxy.example", "socks5://user:pw@proxy.example:1080", "http://", "://"] {
            let why = upstream(&[("https_proxy", wrong)]).unwrap_err();
            assert!(why.contains("http://host:port") && !why.contains("pw"), "{why}");
        }
    }

    #[test]
    fn an_answer_has_a_status_and_an_end() {
        assert_eq!(answered(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest"), Ok(Some((200, 25))));
        assert_eq!(answered(b"HTTP/1.1 407 "), Ok(None));
        assert!(answered(&[b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; LONGEST]].concat()).is_err());
        assert!(answered(b"SSH-2.0").is_err());
    }
}
