//! Which addresses may be connected to: public ones, and the networks that the operator allows. Everything that sends to a URL from
//! outside resolves names through this, so that what was judged is what is connected to, also when a name changes its mind.

use crate::domain::network::Network;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The judge of addresses. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Arc<[Network]>,
}

impl Guard {
    /// Public addresses and these networks.
    #[must_use]
    pub fn new(allowed: Vec<Network>) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Whether an address may be connected to. A form of IPv6 that carries an IPv4 address is judged as that one.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let listed = |address| self.allowed.iter().any(|network| network.contains(address));
        let carried = match address {
            IpAddr::V6(six) => carried(six).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        let public = match (address, carried) {
            (_, Some(IpAddr::V4(four))) | (IpAddr::V4(four), _) => is_public_v4(four),
            (IpAddr::V6(six), _) => is_public_v6(six),
        };
        public || listed(address) || carried.is_some_and(listed)
    }

    /// Checks a URL whose host is an address: no name is resolved for it, so nothing else would judge it.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) if !self.allows(address) => Err(refused(host)),
            _ => Ok(()),
        }
    }
}

/// Says which host is refused, not what it resolves to: that is nobody's business outside.
fn refused(host: &str) -> String {
    format!("{host} is at a private or reserved address, which push.allow_networks does not list")
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let any = !found.is_empty();
            let allowed: Vec<_> = found.into_iter().filter(|address| guard.allows(address.ip())).collect();
            if any && allowed.is_empty() {
                return Err(refused(name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The IPv4 address inside an IPv6 one: mapped, compatible, of NAT64's well-known prefix, or 6to4.
fn carried(six: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = six.to_bits();
    let low = Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap_or_default());
    let middle = Ipv4Addr::from_bits(u32::try_from(bits >> 80 & 0xffff_ffff).unwrap_or_default());
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(low),
        [0, 0, 0, 0, 0, 0, ..] if bits > 0xffff => Some(low),
        [0x2002, ..] => Some(middle),
        _ => None,
    }
}

/// By IANA's registry of special-purpose addresses.
fn is_public_v4(four: Ipv4Addr) -> bool {
    let [a, b, c, _] = four.octets();
    let special = four.is_private()
        || four.is_loopback()
        || four.is_link_local()
        || four.is_multicast()
        || four.is_documentation()
        // "This network", shared address space of carriers, protocol assignments, 6to4 relays, benchmarks, reserved and broadcast.
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240;
    !special
}

/// Of IPv6 only global unicast space is public, without what is set aside in it: protocol assignments (Teredo among them),
/// documentation. Loopback, unique local, link-local, site-local, multicast and local NAT64 prefixes lie outside.
fn is_public_v6(six: Ipv6Addr) -> bool {
    match six.segments() {
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(guard: &Guard, addresses: &[&str]) -> Vec<bool> {
        addresses.iter().map(|text| guard.allows(text.parse().unwrap())).collect()
    }

    #[test]
    fn private_and_reserved_addresses_are_refused_in_every_form() {
        let guard = Guard::default();
        for refused in [
            "127.0.0.1",
            "127.255.255.254",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "4000::1",
        ] {
            assert_eq!(allowed(&guard, &[refused]), [false], "{refused}");
        }
    }

    #[test]
    fn public_addresses_are_allowed_also_through_translation() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
            "2001:4860:4860::8888",
        ] {
            assert_eq!(allowed(&Guard::default(), &[public]), [true], "{public}");
        }
    }

    #[test]
    fn a_listed_network_is_allowed_and_its_neighbours_are_not() {
        let guard = Guard::new(Network::parse_all("127.0.0.0/8, 10.1.0.0/16 fd00::/8,192.168.0.7").unwrap());
        let yes = ["127.9.9.9", "10.1.255.1", "fdff::1", "192.168.0.7", "::ffff:10.1.0.1", "64:ff9b::7f00:1"];
        assert_eq!(allowed(&guard, &yes), [true; 6]);
        assert_eq!(
            allowed(&guard, &["10.2.0.1", "fc00::1", "192.168.0.8", "::1", "128.0.0.1"]),
            [false, false, false, false, true]
        );
        let everything = Guard::new(Network::parse_all("0.0.0.0/0 ::/0").unwrap());
        assert_eq!(allowed(&everything, &["10.0.0.1", "::1"]), [true, true]);
    }

    #[test]
    fn an_address_in_a_url_is_judged_however_it_is_written() {
        let guard = Guard::default();
        for refused in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1]:8443/",
            "https://[::ffff:127.0.0.1]/",
            "https://user@10.0.0.1/",
            "https://１２７.0.0.1/",
        ] {
            assert!(guard.check(&Url::parse(refused).unwrap()).is_err(), "{refused}");
        }
        assert!(guard.check(&Url::parse("https://1.1.1.1/").unwrap()).is_ok());
        assert!(
            guard.check(&Url::parse("https://localhost/").unwrap()).is_ok(),
            "names are judged when they are resolved"
        );
    }

    #[tokio::test]
    async fn a_name_at_a_private_address_does_not_resolve() {
        let guard = Guard::default();
        let refusal = guard.resolve("localhost".parse().unwrap()).await.err().unwrap().to_string();
        assert!(refusal.contains("push.allow_networks"), "{refusal}");
        let guard = Guard::new(Network::parse_all("127.0.0.0/8").unwrap());
        let found: Vec<_> = guard.resolve("localhost".parse().unwrap()).await.unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback() && address.is_ipv4()));
    }
}
