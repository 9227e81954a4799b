//! Where somebody wants to go: a host and a port, in the one spelling that is compared. Pure.

use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;
use std::str::FromStr;
use url::Url;

/// Longest name of a host (RFC 1035).
const LONGEST: usize = 253;

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name: ASCII (punycode), lower case, without a dot at its end.
    Name(String),
    /// An address, however it was spelled; an IPv4 address in an IPv6 one is the IPv4 address, as it is to the kernel.
    Address(IpAddr),
}

impl FromStr for Host {
    type Err = String;

    /// Reads a host as a URL has it. Decimal, octal and hexadecimal IPv4 addresses, of one to four parts, are addresses here, as they are to
    /// the C library: a name whose last part is a number does not exist.
    fn from_str(text: &str) -> Result<Host, String> {
        // A user's name would be read as the host by some, a zone means an interface, and nobody has to encode a host's name.
        if let Some(c) = text.chars().find(|c| matches!(c, '@' | '%' | '\\' | '/' | '?' | '#') || c.is_whitespace()) {
            return Err(format!("{c:?} stands in no host"));
        }
        match url::Host::parse(text).map_err(|error| error.to_string())? {
            url::Host::Ipv4(address) => Ok(Host::Address(address.into())),
            url::Host::Ipv6(address) => Ok(Host::Address(IpAddr::V6(address).to_canonical())),
            url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name).to_ascii_lowercase();
                let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
                let label = |label: &str| (1..64).contains(&label.len()) && label.bytes().all(plain);
                if name.len() > LONGEST || !name.split('.').all(label) {
                    return Err("it is no name of a host".into());
                }
                Ok(Host::Name(name))
            }
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl Place {
    /// Reads `host:port`, where a port must stand.
    pub fn parse(text: &str) -> Result<Place, String> {
        let (host, port) = text.rsplit_once(':').ok_or("it names no port")?;
        Ok(Place { host: host.parse()?, port: read_port(port)? })
    }

    /// Reads `host` or `host:port`.
    pub fn parse_with(text: &str, default: u16) -> Result<Place, String> {
        let (host, port) = split(text);
        Ok(Place { host: host.parse()?, port: port.map_or(Ok(default), read_port)? })
    }

    /// Where a URL leads, if it is of http or https.
    pub fn of_url(url: &Url) -> Option<Place> {
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"))?;
        Some(Place { host: host.parse().ok()?, port: url.port_or_known_default()? })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// As `[prepare] hosts` has them: without a port it is that of https.
impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        Place::parse_with(&text, 443).map_err(|why| {
            serde::de::Error::custom(format!(
                "{text:?} is no host: {why}; write \"index.example\" or \"index.example:8443\""
            ))
        })
    }
}

/// A part of a network of the operator's that the fetch and prepare stages may reach all the same: `--allow-internal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Internal {
    who: Who,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Name(String),
    Network(IpNet),
}

impl Internal {
    /// Whether this lets a stage reach `address` as `place`. `named`: only if it stands for one host, and not for a network.
    pub fn lifts(&self, place: &Place, address: IpAddr, named: bool) -> bool {
        let who = match &self.who {
            Who::Name(name) => place.host == Host::Name(name.clone()),
            Who::Network(net) => {
                net.contains(&address.to_canonical()) && (!named || net.prefix_len() == net.max_prefix_len())
            }
        };
        who && self.port.is_none_or(|port| port == place.port)
    }
}

impl FromStr for Internal {
    type Err = String;

    fn from_str(text: &str) -> Result<Internal, String> {
        let wrong = |why: &str| {
            format!("{text:?} is no host or network: {why}; write git.example.internal:443, 10.1.2.3 or 10.1.0.0/16")
        };
        if text.contains('/') {
            let net: IpNet = text.parse().map_err(|_| wrong("it is no network"))?;
            if net.trunc() != net {
                return Err(wrong(&format!("the network's own address is {}", net.trunc())));
            }
            return Ok(Internal { who: Who::Network(net), port: None });
        }
        // An IPv6 address without brackets has no port.
        let (host, port) = match text.parse::<IpAddr>() {
            Ok(address) => (Host::Address(address.to_canonical()), None),
            Err(_) => {
                let (host, port) = split(text);
                let port = port.map(read_port).transpose().map_err(|why| wrong(&why))?;
                (host.parse().map_err(|why: String| wrong(&why))?, port)
            }
        };
        let who = match host {
            Host::Name(name) => Who::Name(name),
            Host::Address(address) => Who::Network(address.into()),
        };
        Ok(Internal { who, port })
    }
}

/// The port of `host:port`, apart from the colons of an IPv6 address, which stands in brackets.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn read_port(text: &str) -> Result<u16, String> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number != 0);
    number.ok_or_else(|| format!("{:?} is no port", text.chars().take(20).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(text: &str) -> Result<Host, String> {
        text.parse()
    }

    #[test]
    fn however_an_address_is_spelled_it_is_that_address() {
        let loopback: Host = Host::Address("127.0.0.1".parse().unwrap());
        for text in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "0X7F.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:127.0.0.1]",
            "１２７.０.０.１",
            "127。0。0。1",
            "①②⑦.0.0.1",
            "127.0.0.0x1",
        ] {
            assert_eq!(host(text).as_ref(), Ok(&loopback), "{text}");
        }
        assert_eq!(host("[::1]"), Ok(Host::Address("::1".parse().unwrap())));
        assert_eq!(host("[0:0::0:1]"), host("[::1]"));
    }

    #[test]
    fn a_name_has_one_spelling() {
        let name = Ok(Host::Name("git.example.org".into()));
        for text in ["git.example.org", "GIT.Example.ORG", "git.example.org.", "ｇit.example.org", "git。example.org"]
        {
            assert_eq!(host(text), name, "{text}");
        }
        assert_eq!(host("bücher.example"), Ok(Host::Name("xn--bcher-kva.example".into())));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_nothing() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            "a.b..",
            "user@host",
            "host%2eorg",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]",
            "::1",
            "[::1",
            "::1]",
            "a b",
            "a\tb",
            "a\0b",
            "a\\b",
            "a/b",
            "a?b",
            "a#b",
            "256.1.1.1",
            "1.2.3.4.5",
            "0x100000000",
            "127.0.0.1..",
            "08.1",
            "1.2.3.08",
            "a.1",
            "*",
            "a,b",
            "-\u{200d}",
        ] {
            assert!(host(text).is_err(), "{text:?}: {:?}", host(text));
        }
        assert!(host(&"a".repeat(64)).is_err() && host(&"a.".repeat(130)).is_err());
    }

    #[test]
    fn a_place_needs_a_port() {
        let parse = Place::parse;
        assert_eq!(parse("GitHub.com:443").unwrap().to_string(), "github.com:443");
        assert_eq!(parse("[::ffff:127.0.0.1]:0443").unwrap().to_string(), "127.0.0.1:443");
        for text in ["a", "a:", "a:0", "a:65536", "a:+1", "a:-1", "a: 1", "a:1:2", "[::1]", ":1", "a:000443", "u:p@a:1"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(Place::parse_with("[::1]", 443).unwrap().to_string(), "[::1]:443");
        let of = |url: &str| Place::of_url(&Url::parse(url).unwrap()).map(|place| place.to_string());
        assert_eq!(of("https://u:p@0x7f.1/x").as_deref(), Some("127.0.0.1:443"));
        assert_eq!(of("http://a.example./").as_deref(), Some("a.example:80"));
        assert_eq!(of("file:///srv"), None);
    }

    #[test]
    fn an_exception_is_a_host_or_a_network() {
        let lifts = |entry: &str, place: &str, address: &str, named| {
            entry.parse::<Internal>().unwrap().lifts(&Place::parse(place).unwrap(), address.parse().unwrap(), named)
        };
        assert!(lifts("Git.Internal.", "git.internal:443", "10.0.0.1", true));
        assert!(lifts("git.internal:443", "git.internal:443", "10.0.0.1", true));
        assert!(!lifts("git.internal:443", "git.internal:22", "10.0.0.1", false));
        assert!(!lifts("git.internal", "evil.internal:443", "10.0.0.1", false));
        assert!(lifts("10.0.0.0/8", "git.internal:443", "10.0.0.1", false));
        assert!(!lifts("10.0.0.0/8", "git.internal:443", "10.0.0.1", true));
        assert!(lifts("10.0.0.1", "git.internal:443", "::ffff:10.0.0.1", true));
        assert!(lifts("10.0.0.1:443", "git.internal:443", "10.0.0.1", true));
        assert!(!lifts("10.0.0.1:443", "git.internal:80", "10.0.0.1", true));
        assert!(lifts("[fd00::1]:443", "a:443", "fd00::1", true) && lifts("fd00::1", "a:1", "fd00::1", true));
        for wrong in ["", "10.0.0.1/8", "10.0.0.0/33", "a:b", "a:0", "u@a", "https://a/", "a b"] {
            assert!(wrong.parse::<Internal>().is_err_and(|e| e.contains("10.1.0.0/16")), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_what_is_read_is_read_again(text in ".{0,40}") {
            let _ = (text.parse::<Internal>(), Place::parse(&text));
            if let Ok(found) = host(&text) {
                prop_assert_eq!(host(&found.to_string()), Ok(found));
            }
        }

        #[test]
        fn every_spelling_of_ipv4_is_the_address(bits: u32, parts in 1usize..=4, bases in proptest::array::uniform4(0u8..4)) {
            let address = std::net::Ipv4Addr::from_bits(bits);
            let octets = address.octets();
            let last = octets[parts - 1..].iter().fold(0u32, |sum, octet| sum << 8 | u32::from(*octet));
            let numbers = octets[..parts - 1].iter().map(|octet| u32::from(*octet)).chain([last]);
            let spelled: Vec<String> = numbers.zip(bases).map(|(number, base)| match base {
                0 => format!("{number}"),
                1 => format!("0{number:o}"),
                2 => format!("0x{number:x}"),
                _ => format!("0X{number:X}"),
            }).collect();
            let expected = Ok(Host::Address(address.into()));
            prop_assert_eq!(host(&spelled.join(".")), expected.clone());
            prop_assert_eq!(host(&format!("[{}]", address.to_ipv6_mapped())), expected);
        }
    }
}
