//! What a stage may reach, and the decision on each place that it asks for.
//!
//! A name is resolved here, outside, and once: the addresses that were looked at are the addresses that are connected to, so that a
//! name server that answers differently the second time (DNS rebinding) gains nothing.

use super::address::{self, Kind};
use super::place::{Host, Internal, Place};
use super::refused::Why;
use super::upstream::{Hop, Upstream};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long a name may take to be resolved.
const LOOKUP_TIME: Duration = Duration::from_secs(15);

/// The port of https.
const HTTPS: u16 = 443;

/// Where a stage may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// To these places.
    Listed(BTreeSet<Place>),
    /// To every public host that it names, by https; and to these places.
    Public(BTreeSet<Place>),
}

/// Bounds of one stage's use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in both directions, of all connections together.
    pub bytes: u64,
    /// Connections at a time; further ones wait.
    pub at_once: usize,
    /// Connections in all.
    pub in_all: usize,
    /// How long the head of a request may take.
    pub head: Duration,
    /// How long connecting to one address may take, and an upstream proxy to let us through.
    pub connect: Duration,
    /// How long a connection may move no byte.
    pub idle: Duration,
}

impl Limits {
    /// Those of any stage, with this many bytes.
    pub fn new(bytes: u64) -> Limits {
        Limits {
            bytes,
            // git opens one or two, pip ten.
            at_once: 32,
            in_all: 10_000,
            head: Duration::from_secs(10),
            connect: Duration::from_secs(15),
            // git's server says every five seconds that it is still counting; other servers may think for a while.
            idle: Duration::from_secs(120),
        }
    }
}

/// Everything that a decision needs.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Where the stage may go.
    pub reach: Reach,
    /// Parts of the operator's network that are no secret to it.
    pub allow_internal: Vec<Internal>,
    /// The backend, which no stage has any business with.
    pub backend: Option<Place>,
    /// The operator's own proxy.
    pub upstream: Upstream,
    /// Bounds.
    pub limits: Limits,
}

/// How to get there.
#[derive(Debug)]
pub enum Route {
    /// To one of these addresses, in this order.
    Direct(Vec<SocketAddr>),
    /// Through the operator's proxy.
    Through(Hop),
}

impl Rules {
    /// Decides on one place.
    pub async fn route(&self, place: &Place, tunnel: bool) -> Result<Route, Why> {
        if !self.is_listed(place) {
            return Err(Why::NotListed);
        }
        let hop = self.upstream.hop(place, tunnel);
        let found = match (&place.host, &hop) {
            (Host::Address(address), _) => vec![*address],
            (Host::Name(name), None) => lookup(name, place.port).await.map_err(Why::NoAddress)?,
            // Behind a proxy a host often cannot resolve foreign names, and need not.
            (Host::Name(name), Some(_)) => lookup(name, place.port).await.unwrap_or_default(),
        };
        let around = self.around().await?;
        let refused = |address: &IpAddr| self.refuses(place, *address, &around).map(|kind| (kind, *address));
        // Of several the backend's: what lifts the others does not lift that.
        let told = |all: &[IpAddr]| all.iter().filter_map(refused).min_by_key(|(kind, _)| *kind != Kind::Backend);
        match hop {
            // The proxy resolves the name again and may find another address than we did: all of them have to be harmless.
            Some(hop) => match told(&found) {
                Some((kind, address)) => Err(Why::Internal(kind, address)),
                None => Ok(Route::Through(hop)),
            },
            None => {
                let (good, bad): (Vec<IpAddr>, Vec<IpAddr>) =
                    found.iter().partition(|address| refused(address).is_none());
                match told(&bad) {
                    Some((kind, address)) if good.is_empty() => Err(Why::Internal(kind, address)),
                    _ if good.is_empty() => Err(Why::NoAddress("the answer was empty".into())),
                    _ => Ok(Route::Direct(good.into_iter().map(|address| (address, place.port).into()).collect())),
                }
            }
        }
    }

    fn is_listed(&self, place: &Place) -> bool {
        match &self.reach {
            Reach::Listed(places) => places.contains(place),
            // By its name: a public address that has none serves nobody's packages.
            Reach::Public(more) => more.contains(place) || (place.port == HTTPS && matches!(place.host, Host::Name(_))),
        }
    }

    /// What keeps a stage from reaching this address as this place, if anything does.
    fn refuses(&self, place: &Place, address: IpAddr, around: &Around) -> Option<Kind> {
        let address = address.to_canonical();
        let lifted = |named| self.allow_internal.iter().any(|entry| entry.lifts(place, address, named));
        let is_backend = self.backend.as_ref().is_some_and(|backend| backend.host == place.host);
        if is_backend || around.backend.contains(&address) {
            // Somebody may run a git server beside the backend, and say so; a network that holds both does not say that.
            return Some(Kind::Backend).filter(|_| !lifted(true));
        }
        let kind = match address::internal(address) {
            None if around.own.contains(&address) => Kind::Own,
            // A local network's proxy that answers names with addresses of its own. Only where the list is open: what is on a
            // list of the operator's is to be where he thinks it is.
            Some(Kind::Nobodys) if matches!((&self.reach, &place.host), (Reach::Public(_), Host::Name(_))) => {
                return Some(Kind::Own).filter(|_| around.own.contains(&address) && !lifted(false));
            }
            Some(kind) => kind,
            None => return None,
        };
        // To nobody any use, and to Linux other names of what listens on this host.
        let never = matches!(kind, Kind::Unspecified | Kind::Multicast);
        Some(kind).filter(|_| never || !lifted(false))
    }

    /// Addresses around us, as they are now: interfaces come and go, and the backend may move.
    async fn around(&self) -> Result<Around, Why> {
        let own = own_addresses().map_err(|error| {
            Why::Unreachable(format!(
                "the host's own addresses, which are kept out of reach, cannot be listed: {error}"
            ))
        })?;
        let backend = match self.backend.as_ref().map(|backend| (&backend.host, backend.port)) {
            None => Vec::new(),
            Some((Host::Address(address), _)) => vec![*address],
            // A backend that nobody finds cannot be reached by a stage either.
            Some((Host::Name(name), port)) => lookup(name, port).await.unwrap_or_default(),
        };
        Ok(Around { own, backend: backend.into_iter().map(|address| address.to_canonical()).collect() })
    }
}

struct Around {
    own: BTreeSet<IpAddr>,
    backend: BTreeSet<IpAddr>,
}

async fn lookup(name: &str, port: u16) -> Result<Vec<IpAddr>, String> {
    match tokio::time::timeout(LOOKUP_TIME, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the name server did not answer within {} s", LOOKUP_TIME.as_secs())),
    }
}

/// All addresses of this host's interfaces.
fn own_addresses() -> nix::Result<BTreeSet<IpAddr>> {
    let all = nix::ifaddrs::getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()).to_canonical()))
    });
    Ok(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(texts: &[&str]) -> BTreeSet<Place> {
        texts.iter().map(|text| Place::parse(text).unwrap()).collect()
    }

    fn rules(reach: Reach, allow: &[&str], backend: Option<&str>) -> Rules {
        Rules {
            reach,
            allow_internal: allow.iter().map(|text| text.parse().unwrap()).collect(),
            backend: backend.map(|text| Place::parse(text).unwrap()),
            upstream: Upstream::default(),
            limits: Limits::new(1 << 20),
        }
    }

    fn refuses(rules: &Rules, place: &str, address: &str) -> Option<Kind> {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let around = Around { own: list(&["8.8.4.4", "198.18.0.9"]), backend: list(&["9.9.9.9", "10.0.0.5"]) };
        rules.refuses(&Place::parse(place).unwrap(), address.parse().unwrap(), &around)
    }

    #[test]
    fn what_is_on_the_list_is_reached_and_nothing_beside_it() {
        let strict = rules(Reach::Listed(places(&["git.example:443"])), &[], None);
        let open = rules(Reach::Public(places(&["index.example:8443", "1.1.1.1:443"])), &[], None);
        for (place, in_strict, in_open) in [
            ("git.example:443", true, true),
            ("GIT.example.:443", true, true),
            ("git.example:80", false, false),
            ("git.example:22", false, false),
            ("sub.git.example:443", false, true),
            ("index.example:8443", false, true),
            ("1.1.1.1:443", false, true),
            ("8.8.8.8:443", false, false),
        ] {
            let place = Place::parse(place).unwrap();
            assert_eq!((strict.is_listed(&place), open.is_listed(&place)), (in_strict, in_open), "{place}");
        }
    }

    #[test]
    fn internal_addresses_are_refused_and_an_exception_is_as_narrow_as_it_is_written() {
        let reach = || Reach::Listed(places(&["git.example:443"]));
        let none = rules(reach(), &[], None);
        for (address, kind) in [
            ("1.1.1.1", None),
            ("10.0.0.1", Some(Kind::Private)),
            ("::ffff:10.0.0.1", Some(Kind::Private)),
            ("203.0.113.5", Some(Kind::Nobodys)),
            ("8.8.4.4", Some(Kind::Own)),
            ("64:ff9b::a00:1", Some(Kind::Private)),
        ] {
            assert_eq!(refuses(&none, "git.example:443", address), kind, "{address}");
        }
        let some = rules(reach(), &["git.example:443", "192.168.0.0/16", "0.0.0.0/0"], None);
        assert_eq!(refuses(&some, "git.example:443", "127.0.0.1"), None);
        assert_eq!(refuses(&some, "git.example:443", "8.8.4.4"), None);
        // Not even by the widest word.
        assert_eq!(refuses(&some, "git.example:443", "0.0.0.0"), Some(Kind::Unspecified));
        assert_eq!(refuses(&some, "git.example:443", "255.255.255.255"), Some(Kind::Multicast));
    }

    #[test]
    fn the_backend_is_out_of_reach_unless_it_is_named() {
        let reach = || Reach::Listed(BTreeSet::new());
        let none = rules(reach(), &["10.0.0.0/8"], Some("backend.example:5000"));
        for (place, address) in [
            ("git.example:443", "9.9.9.9"),
            ("git.example:443", "10.0.0.5"),
            ("git.example:443", "::ffff:9.9.9.9"),
            ("backend.example:443", "1.1.1.1"),
        ] {
            assert_eq!(refuses(&none, place, address), Some(Kind::Backend), "{place} {address}");
        }
        assert_eq!(refuses(&none, "git.example:443", "10.0.0.6"), None);
        let named = rules(reach(), &["git.example:443"], Some("backend.example:5000"));
        assert_eq!(refuses(&named, "git.example:443", "9.9.9.9"), None);
        assert_eq!(refuses(&named, "git.example:5000", "9.9.9.9"), Some(Kind::Backend));
    }

    #[test]
    fn a_network_that_nobody_has_is_reached_by_name_where_the_list_is_open() {
        let open = rules(Reach::Public(places(&["203.0.113.5:443"])), &[], None);
        assert_eq!(refuses(&open, "index.example:443", "203.0.113.5"), None);
        assert_eq!(refuses(&open, "203.0.113.5:443", "203.0.113.5"), Some(Kind::Nobodys));
        assert_eq!(refuses(&open, "index.example:443", "198.18.0.9"), Some(Kind::Own));
        assert_eq!(refuses(&open, "index.example:443", "10.0.0.1"), Some(Kind::Private));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_host_is_seen_through() {
        let list = places(&["localhost:443", "127.0.0.1:443"]);
        let strict = rules(Reach::Listed(list.clone()), &[], None);
        for place in &list {
            let why = strict.route(place, true).await.unwrap_err();
            assert!(matches!(why, Why::Internal(Kind::Loopback, _)), "{why:?}");
        }
        let allowed = rules(Reach::Listed(list), &["127.0.0.1"], None);
        let Route::Direct(found) = allowed.route(&Place::parse("localhost:443").unwrap(), true).await.unwrap() else {
            panic!("there is no upstream proxy");
        };
        assert_eq!(found, ["127.0.0.1:443".parse().unwrap()]);
    }

    #[tokio::test]
    async fn the_backend_is_named_before_other_reasons() {
        for backend in ["127.0.0.1:5000", "[::1]:5000"] {
            let rules = rules(Reach::Listed(places(&["localhost:443"])), &[], Some(backend));
            let place = Place::parse("localhost:443").unwrap();
            let known = lookup("localhost", 443).await.unwrap();
            let named = known.iter().any(|address| Host::Address(*address) == Place::parse(backend).unwrap().host);
            let why = rules.route(&place, true).await.unwrap_err();
            assert_eq!(matches!(why, Why::Internal(Kind::Backend, _)), named, "{backend}: {why:?}");
        }
    }

    #[test]
    fn this_hosts_interfaces_are_known() {
        assert!(own_addresses().unwrap().contains(&"127.0.0.1".parse().unwrap()));
    }
}
