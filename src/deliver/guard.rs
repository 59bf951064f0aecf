//! Which addresses a receiver may have: a pure function of an address and the configuration.
//!
//! A URL is the operator's word. What a host's name stands for is not: whoever answers for the name
//! says so, anew for every connection, and one answer that points at a metadata service or at this
//! very machine would post there in toolwarden's name. So addresses outside the public internet are
//! refused, unless the receiver's `allow_networks` has them. Looking names up is `names`' business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What an address is for that is not one of the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A cloud's metadata service, which hands out credentials. Allowed only by its very address.
    Metadata,
    /// This machine.
    Loopback,
    /// Machines on the same wire.
    LinkLocal,
    /// The networks of an organisation.
    Private,
    /// Behind a provider's address translation.
    Shared,
    /// Many machines at once.
    Multicast,
    /// Set aside: no machine, documentation, tunnels, experiments.
    Reserved,
}

impl Purpose {
    /// As it is told to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "a cloud's metadata service",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Private => "a private address",
            Self::Shared => "an address behind a provider's translation",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
        }
    }
}

/// An address that a receiver may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is {}; if the receiver is meant to be there, add `{address}` to its `allow_networks`",
    purpose.as_str()
)]
pub struct Refused {
    /// The address; of one that wraps another, the one within.
    pub address: IpAddr,
    /// What it is for.
    pub purpose: Purpose,
}

/// Which addresses one receiver may have.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Vec<IpNet>,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6(head: [u16; 4], tail: u16, bits: u8) -> Ipv6Net {
    let [a, b, c, d] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, tail), bits)
}

/// IPv4 of the IANA special-purpose registry and the clouds' own; the first that fits counts.
const V4: [(Ipv4Net, Purpose); 23] = [
    // EC2, GCE, Azure and most others; ECS; EKS; Alibaba; Oracle; Azure's platform.
    (v4(169, 254, 169, 254, 32), Purpose::Metadata),
    (v4(169, 254, 170, 2, 32), Purpose::Metadata),
    (v4(169, 254, 170, 23, 32), Purpose::Metadata),
    (v4(100, 100, 100, 200, 32), Purpose::Metadata),
    (v4(192, 0, 0, 192, 32), Purpose::Metadata),
    (v4(168, 63, 129, 16, 32), Purpose::Metadata),
    (v4(127, 0, 0, 0, 8), Purpose::Loopback),
    (v4(169, 254, 0, 0, 16), Purpose::LinkLocal),
    (v4(10, 0, 0, 0, 8), Purpose::Private),
    (v4(172, 16, 0, 0, 12), Purpose::Private),
    (v4(192, 168, 0, 0, 16), Purpose::Private),
    (v4(100, 64, 0, 0, 10), Purpose::Shared),
    (v4(224, 0, 0, 0, 4), Purpose::Multicast),
    // A connection to it ends up at this machine.
    (v4(0, 0, 0, 0, 8), Purpose::Reserved),
    (v4(192, 0, 0, 0, 24), Purpose::Reserved),
    (v4(192, 0, 2, 0, 24), Purpose::Reserved),
    (v4(192, 31, 196, 0, 24), Purpose::Reserved),
    (v4(192, 52, 193, 0, 24), Purpose::Reserved),
    (v4(192, 88, 99, 0, 24), Purpose::Reserved),
    (v4(198, 18, 0, 0, 15), Purpose::Reserved),
    (v4(198, 51, 100, 0, 24), Purpose::Reserved),
    (v4(203, 0, 113, 0, 24), Purpose::Reserved),
    // With the broadcast address.
    (v4(240, 0, 0, 0, 4), Purpose::Reserved),
];

/// IPv6 of the same; what wraps an IPv4 address is judged by that.
const V6: [(Ipv6Net, Purpose); 12] = [
    // EC2; EKS; GCE.
    (v6([0xfd00, 0xec2, 0, 0], 0x254, 128), Purpose::Metadata),
    (v6([0xfd00, 0xec2, 0, 0], 0x23, 128), Purpose::Metadata),
    (v6([0xfd20, 0xce, 0, 0], 0x254, 128), Purpose::Metadata),
    (v6([0, 0, 0, 0], 1, 128), Purpose::Loopback),
    (v6([0xfe80, 0, 0, 0], 0, 10), Purpose::LinkLocal),
    (v6([0xfc00, 0, 0, 0], 0, 7), Purpose::Private),
    // Once private ("site-local").
    (v6([0xfec0, 0, 0, 0], 0, 10), Purpose::Private),
    (v6([0xff00, 0, 0, 0], 0, 8), Purpose::Multicast),
    // Teredo, whose IPv4 address is scrambled, and others beside it.
    (v6([0x2001, 0, 0, 0], 0, 23), Purpose::Reserved),
    (v6([0x2001, 0xdb8, 0, 0], 0, 32), Purpose::Reserved),
    (v6([0x3fff, 0, 0, 0], 0, 20), Purpose::Reserved),
    (v6([0x5f00, 0, 0, 0], 0, 16), Purpose::Reserved),
];

/// All that is handed out to the public internet; beyond it nothing is.
const GLOBAL: Ipv6Net = v6([0x2000, 0, 0, 0], 0, 3);

/// IPv6 prefixes that stand before an IPv4 address: translation (NAT64), and 6to4.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], 0, 96);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0], 0, 16);

/// `::/96`, where an IPv4 address once stood; `::` and `::1` are there, too.
const COMPATIBLE: Ipv6Net = v6([0, 0, 0, 0], 0, 96);

impl Guard {
    /// A guard that lets addresses of `allowed` pass, and those of the public internet.
    #[must_use]
    pub const fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// The networks of organisations, which a receiver may be in unless the operator says otherwise.
    #[must_use]
    pub fn organisations() -> Vec<IpNet> {
        let own = |purpose: Purpose| matches!(purpose, Purpose::Private | Purpose::Shared);
        let v4 = V4.iter().filter(|(_, it)| own(*it)).map(|(net, _)| IpNet::V4(*net));
        v4.chain([IpNet::V6(v6([0xfc00, 0, 0, 0], 0, 7))]).collect()
    }

    /// Whether a receiver may have this address.
    ///
    /// # Errors
    ///
    /// [`Refused`], which says what the address is for and what would allow it.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let address = within(address);
        let Some(purpose) = purpose(address) else { return Ok(()) };
        let is_exact = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
        let allows =
            |net: &IpNet| net.contains(&address) && (purpose != Purpose::Metadata || is_exact(net));
        if self.allowed.iter().any(allows) { Ok(()) } else { Err(Refused { address, purpose }) }
    }

    /// Whether a receiver may have the address that a URL's host spells out; a name is looked up when
    /// it is connected to, and passes here.
    ///
    /// # Errors
    ///
    /// [`Refused`], as of [`check`](Self::check).
    pub fn check_host(&self, host: &str) -> Result<(), Refused> {
        // The URL parser has made one spelling of them all: `0x7f.1` is `127.0.0.1` by now.
        let literal = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = literal.parse() {
            return self.check(address);
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        if name == "localhost" || name.ends_with(".localhost") {
            // It is one of the two.
            return self
                .check(IpAddr::V6(Ipv6Addr::LOCALHOST))
                .or_else(|_| self.check(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        Ok(())
    }
}

/// The IPv4 address that an IPv6 one wraps, or the address itself.
fn within(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    let octets = v6.octets();
    let is_wrapped = NAT64.contains(&v6) || COMPATIBLE.contains(&v6) && !is_own(v6);
    match octets {
        [.., a, b, c, d] if is_wrapped => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        [_, _, a, b, c, d, ..] if SIX_TO_FOUR.contains(&v6) => {
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => address,
    }
}

/// `::` and `::1`, which wrap nothing.
fn is_own(address: Ipv6Addr) -> bool {
    address.is_unspecified() || address.is_loopback()
}

/// What an address is for; `None` for one of the public internet.
fn purpose(address: IpAddr) -> Option<Purpose> {
    match address {
        IpAddr::V4(v4) => V4.iter().find(|(net, _)| net.contains(&v4)).map(|(_, it)| *it),
        IpAddr::V6(v6) => {
            let known = V6.iter().find(|(net, _)| net.contains(&v6)).map(|(_, it)| *it);
            known.or((!GLOBAL.contains(&v6)).then_some(Purpose::Reserved))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::Url;

    use super::*;

    fn guard(networks: &[&str]) -> Guard {
        Guard::new(networks.iter().map(|it| it.parse().unwrap()).collect())
    }

    fn refusal(guard: &Guard, address: &str) -> Option<Purpose> {
        guard.check(address.parse().unwrap()).err().map(|refused| refused.purpose)
    }

    #[test]
    fn row_32_every_kind_of_address_outside_the_public_internet_is_refused() {
        let closed = guard(&[]);
        for (address, purpose) in [
            ("169.254.169.254", Purpose::Metadata),
            ("fd00:ec2::254", Purpose::Metadata),
            ("100.100.100.200", Purpose::Metadata),
            ("168.63.129.16", Purpose::Metadata),
            ("127.0.0.1", Purpose::Loopback),
            ("127.255.255.254", Purpose::Loopback),
            ("::1", Purpose::Loopback),
            ("169.254.0.1", Purpose::LinkLocal),
            ("fe80::1", Purpose::LinkLocal),
            ("febf::1", Purpose::LinkLocal),
            ("10.0.0.1", Purpose::Private),
            ("172.16.0.1", Purpose::Private),
            ("172.31.255.255", Purpose::Private),
            ("192.168.1.1", Purpose::Private),
            ("fc00::1", Purpose::Private),
            ("fdff::1", Purpose::Private),
            ("fec0::1", Purpose::Private),
            ("100.64.0.1", Purpose::Shared),
            ("100.127.255.255", Purpose::Shared),
            ("224.0.0.1", Purpose::Multicast),
            ("ff02::1", Purpose::Multicast),
            ("0.0.0.0", Purpose::Reserved),
            ("0.1.2.3", Purpose::Reserved),
            ("::", Purpose::Reserved),
            ("255.255.255.255", Purpose::Reserved),
            ("240.0.0.1", Purpose::Reserved),
            ("198.18.0.1", Purpose::Reserved),
            ("198.19.255.255", Purpose::Reserved),
            ("192.0.2.1", Purpose::Reserved),
            ("2001:db8::1", Purpose::Reserved),
            ("2001:0:1::1", Purpose::Reserved),
            ("100::1", Purpose::Reserved),
            ("64:ff9b:1::1", Purpose::Reserved),
            ("4000::1", Purpose::Reserved),
        ] {
            assert_eq!(refusal(&closed, address), Some(purpose), "{address}");
        }
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "223.255.255.255",
            "126.255.255.255",
            "128.0.0.0",
            "2606:4700:4700::1111",
            "2a00:1450::1",
        ] {
            assert_eq!(refusal(&closed, public), None, "{public}");
        }
    }

    #[test]
    fn row_32_an_address_within_another_is_judged_by_itself() {
        let closed = guard(&[]);
        for (address, purpose) in [
            ("::ffff:127.0.0.1", Purpose::Loopback),
            ("::ffff:169.254.169.254", Purpose::Metadata),
            ("::127.0.0.1", Purpose::Loopback),
            ("64:ff9b::10.1.2.3", Purpose::Private),
            ("2002:a9fe:a9fe::1", Purpose::Metadata),
            ("2002:7f00:1::", Purpose::Loopback),
        ] {
            assert_eq!(refusal(&closed, address), Some(purpose), "{address}");
        }
        for public in ["::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"] {
            assert_eq!(refusal(&closed, public), None, "{public}");
        }
        assert_eq!(refusal(&guard(&["127.0.0.0/8"]), "::ffff:127.0.0.1"), None);
    }

    #[test]
    fn row_32_every_spelling_of_an_address_in_a_url_comes_out_the_same() {
        let closed = guard(&[]);
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.1",
            "127.0.1",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "①②⑦.0.0.1",
            "127。0。0。1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:7f00:0001]",
            "[64:ff9b::7f00:1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "x.localhost",
            "user:password@127.0.0.1",
            "public.example@127.0.0.1:80",
        ] {
            let url = Url::parse(&format!("http://{host}/hook")).unwrap();
            let refused = closed.check_host(url.host_str().unwrap()).unwrap_err();
            assert_eq!(refused.purpose, Purpose::Loopback, "{host}");
        }
        for host in ["0xa9fea9fe", "2852039166", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]"] {
            let url = Url::parse(&format!("http://{host}/hook")).unwrap();
            let refused = closed.check_host(url.host_str().unwrap()).unwrap_err();
            assert_eq!(refused.purpose, Purpose::Metadata, "{host}");
        }
        for host in ["hooks.example", "localhost.example", "1.1.1.1", "[2606:4700:4700::1111]"] {
            let url = Url::parse(&format!("http://{host}/hook")).unwrap();
            assert_eq!(closed.check_host(url.host_str().unwrap()), Ok(()), "{host}");
        }
    }

    #[test]
    fn row_32_what_the_operator_names_is_allowed_and_a_metadata_service_by_its_address_alone() {
        let organisations = Guard::new(Guard::organisations());
        for address in ["10.1.2.3", "172.20.0.1", "192.168.0.9", "100.64.0.1", "fd12::1"] {
            assert_eq!(refusal(&organisations, address), None, "{address}");
        }
        for address in ["127.0.0.1", "::1", "169.254.1.1", "fd00:ec2::254", "100.100.100.200"] {
            assert!(refusal(&organisations, address).is_some(), "{address}");
        }
        let everything = guard(&["0.0.0.0/0", "::/0"]);
        for address in ["127.0.0.1", "169.254.1.1", "fe80::1"] {
            assert_eq!(refusal(&everything, address), None, "{address}");
        }
        for address in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"] {
            assert_eq!(refusal(&everything, address), Some(Purpose::Metadata), "{address}");
        }
        let named = guard(&["169.254.169.254/32"]);
        assert_eq!(refusal(&named, "169.254.169.254"), None);
        assert_eq!(guard(&["::1/128"]).check_host("localhost"), Ok(()));
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        let refused = guard(&[]).check_host("127.0.0.1").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "127.0.0.1 is a loopback address; if the receiver is meant to be there, add \
             `127.0.0.1` to its `allow_networks`"
        );
    }

    proptest! {
        #[test]
        fn an_address_is_judged_alike_however_it_is_wrapped(address in any::<Ipv4Addr>()) {
            let closed = guard(&[]);
            let plain = closed.check(IpAddr::V4(address));
            let mapped = closed.check(IpAddr::V6(address.to_ipv6_mapped()));
            let [a, b, c, d] = address.octets();
            let nat = Ipv6Addr::from([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);
            let tunnel = Ipv6Addr::from([0x20, 0x02, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            prop_assert_eq!(plain, mapped);
            prop_assert_eq!(plain, closed.check(IpAddr::V6(nat)));
            prop_assert_eq!(plain, closed.check(IpAddr::V6(tunnel)));
        }

        #[test]
        fn what_is_refused_passes_once_its_address_is_named(address in any::<IpAddr>()) {
            if let Err(refused) = guard(&[]).check(address) {
                let named = Guard::new(vec![IpNet::from(refused.address)]);
                prop_assert_eq!(named.check(address), Ok(()));
            }
        }
    }
}
