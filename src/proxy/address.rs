//! Which addresses lead into somebody's network, and which to the public. Pure.
//!
//! What is not known to be public is not: an address that stands in no range below and outside of the part of IPv6 that is
//! given out is refused too. The ranges are those of IANA's two registries of special-purpose addresses (RFC 6890), a few of which
//! are taken whole although single addresses in them are public: nobody serves repositories or packages there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not one that a stage may reach by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 127.0.0.0/8, `::1`: this machine, with all that listens for itself alone.
    Loopback,
    /// 0.0.0.0/8, `::`: to Linux another name of the loopback.
    Unspecified,
    /// RFC 1918, RFC 6598 (carriers'), unique local addresses.
    Private,
    /// 169.254.0.0/16, where clouds serve their metadata, with credentials; fe80::/10.
    LinkLocal,
    /// Multicast and broadcast.
    Multicast,
    /// A cloud's own service at an address that looks public.
    Cloud,
    /// Given out for a protocol, or to nobody yet.
    Reserved,
    /// For examples in texts and for measurements. No network on the internet has it; where it leads somewhere, that is a local
    /// network's doing, most often of a proxy that answers every name with an address of its own.
    Nobodys,
    /// An interface of this host has it.
    Own,
    /// The backend has it.
    Backend,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Loopback => "the loopback",
            Kind::Unspecified => "unspecified",
            Kind::Private => "a private network",
            Kind::LinkLocal => "link-local",
            Kind::Multicast => "multicast or broadcast",
            Kind::Cloud => "a service of the cloud's",
            Kind::Reserved => "reserved",
            Kind::Nobodys => "a network that nobody has",
            Kind::Own => "this host's own",
            Kind::Backend => "the backend's",
        })
    }
}

/// First address, length of the prefix, and what it is. The first that holds counts.
const V4: [(Ipv4Addr, u32, Kind); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, Kind::Unspecified),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Kind::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Kind::Private),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Kind::Loopback),
    (Ipv4Addr::new(168, 63, 129, 16), 32, Kind::Cloud),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Kind::LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Kind::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Kind::Reserved),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Kind::Nobodys),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Kind::Reserved),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Kind::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Kind::Nobodys),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Kind::Nobodys),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Kind::Nobodys),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Kind::Multicast),
    (Ipv4Addr::new(255, 255, 255, 255), 32, Kind::Multicast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Kind::Reserved),
];

/// The same for IPv6. Outside of all of them only 2000::/3 is public.
const V6: [(Ipv6Addr, u32, Kind); 10] = [
    (Ipv6Addr::UNSPECIFIED, 128, Kind::Unspecified),
    (Ipv6Addr::LOCALHOST, 128, Kind::Loopback),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Kind::Private),
    // Site-local, deprecated, and to old routers still private.
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Kind::Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Kind::LinkLocal),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Kind::Multicast),
    // Protocols' own: Teredo (which hides an IPv4 address), measurements, identifiers.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Kind::Reserved),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Kind::Nobodys),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Kind::Nobodys),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, Kind::Nobodys),
];

/// What keeps this address from being reached; `None`: it is public.
pub fn internal(address: IpAddr) -> Option<Kind> {
    match address {
        IpAddr::V4(v4) => of_v4(v4),
        IpAddr::V6(v6) => of_v6(v6),
    }
}

fn of_v4(address: Ipv4Addr) -> Option<Kind> {
    let bits = address.to_bits();
    let inside = |(first, length, _): &&(Ipv4Addr, u32, Kind)| (bits ^ first.to_bits()) >> (32 - length) == 0;
    V4.iter().find(inside).map(|(_, _, kind)| *kind)
}

fn of_v6(address: Ipv6Addr) -> Option<Kind> {
    if let Some(v4) = embedded(address) {
        return of_v4(v4);
    }
    let bits = address.to_bits();
    let inside = |(first, length, _): &&(Ipv6Addr, u32, Kind)| (bits ^ first.to_bits()) >> (128 - length) == 0;
    match V6.iter().find(inside) {
        Some((_, _, kind)) => Some(*kind),
        None if address.segments()[0] & 0xe000 == 0x2000 => None,
        None => Some(Kind::Reserved),
    }
}

/// The IPv4 address to which a packet for this one would go in the end: mapped (the kernel itself), NAT64's well-known prefix, 6to4,
/// ISATAP. A host that has only IPv6 reaches all of IPv4 by the second, so those of public addresses must pass.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let from = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match parts {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => from(high, low),
        [0x2002, high, low, ..] => from(high, low),
        // In whatever network; where the IPv4 address is public, the network's own range decides.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => from(high, low).filter(|v4| of_v4(*v4).is_some()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Option<Kind> {
        internal(text.parse().unwrap())
    }

    #[test]
    fn each_range_ends_where_it_ends() {
        for (inside, before, after) in [
            (["10.0.0.0", "10.255.255.255"], "9.255.255.255", "11.0.0.0"),
            (["100.64.0.0", "100.127.255.255"], "100.63.255.255", "100.128.0.0"),
            (["127.0.0.0", "127.255.255.255"], "126.255.255.255", "128.0.0.0"),
            (["168.63.129.16", "168.63.129.16"], "168.63.129.15", "168.63.129.17"),
            (["169.254.0.0", "169.254.255.255"], "169.253.255.255", "169.255.0.0"),
            (["172.16.0.0", "172.31.255.255"], "172.15.255.255", "172.32.0.0"),
            (["192.0.2.0", "192.0.2.255"], "192.0.1.255", "192.0.3.0"),
            (["192.168.0.0", "192.168.255.255"], "192.167.255.255", "192.169.0.0"),
            (["198.18.0.0", "198.19.255.255"], "198.17.255.255", "198.20.0.0"),
            (["198.51.100.0", "198.51.100.255"], "198.51.99.255", "198.51.101.0"),
            (["203.0.113.0", "203.0.113.255"], "203.0.112.255", "203.0.114.0"),
            (["224.0.0.0", "255.255.255.255"], "223.255.255.255", "1.0.0.0"),
            (["fc00::", "fdff:ffff::"], "2c00::", "3000::"),
            (["2001:db8::", "2001:db8:ffff::"], "2001:db7:ffff::", "2001:db9::"),
            (["3fff::", "3fff:fff::"], "3ffe::", "3fff:1000::"),
        ] {
            for address in inside {
                assert!(of(address).is_some(), "{address}");
            }
            assert_eq!((of(before), of(after)), (None, None), "{before} {after}");
        }
    }

    #[test]
    fn each_kind_is_told_by_its_name() {
        for (address, kind) in [
            ("0.0.0.0", Kind::Unspecified),
            ("127.0.0.1", Kind::Loopback),
            ("100.100.100.200", Kind::Private),
            ("169.254.169.254", Kind::LinkLocal),
            ("255.255.255.255", Kind::Multicast),
            ("240.0.0.1", Kind::Reserved),
            ("::", Kind::Unspecified),
            ("::1", Kind::Loopback),
            ("fd00:ec2::254", Kind::Private),
            ("fe80::1", Kind::LinkLocal),
            ("fec0::1", Kind::Private),
            ("ff02::1", Kind::Multicast),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Kind::Reserved),
            ("5f00::1", Kind::Reserved),
            // IPv4-compatible, and SIIT's translated form.
            ("::7f00:1", Kind::Reserved),
            ("::ffff:0:127.0.0.1", Kind::Reserved),
            // NAT64 with a prefix of a network's own (RFC 8215).
            ("64:ff9b:1::7f00:1", Kind::Reserved),
        ] {
            assert_eq!(of(address), Some(kind), "{address}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for address in ["1.1.1.1", "140.82.121.3", "2606:50c0:8000::153", "2a00:1450::1", "64:ff9b::8c52:7903"] {
            assert_eq!(of(address), None, "{address}");
        }
    }

    proptest! {
        #[test]
        fn an_address_inside_an_address_is_judged_as_itself(bits: u32, net in 0x2400u16..0x3ffe) {
            let v4 = Ipv4Addr::from_bits(bits);
            let (high, low) = ((bits >> 16) as u16, bits as u16);
            for form in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 1, 2, 3, 4, 5),
            ] {
                prop_assert_eq!(internal(form.into()), internal(v4.into()), "{}", form);
            }
            let isatap = Ipv6Addr::new(net, 1, 2, 3, 0x200, 0x5efe, high, low);
            prop_assert_eq!(internal(isatap.into()), internal(v4.into()));
            // Never public, whatever it holds.
            prop_assert!(internal(v4.to_ipv6_compatible().into()).is_some());
        }

        #[test]
        fn what_the_standard_library_calls_special_is_not_public(bits: u32, wide: u128) {
            let v4 = Ipv4Addr::from_bits(bits);
            if v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_unspecified() {
                prop_assert!(internal(v4.into()).is_some(), "{}", v4);
            }
            let v6 = Ipv6Addr::from_bits(wide);
            if v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast() {
                prop_assert!(internal(v6.into()).is_some(), "{}", v6);
            }
        }
    }
}
