//! Who is calling: the peer, or what a trusted proxy says (`spec/conventions.md` OPEN-C11).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;

/// A block of addresses, `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    prefix_bits: u32,
}

/// A text that is neither an address nor a block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an IP address or a block such as 10.0.0.0/8")]
pub struct InvalidIpNetwork;

impl IpNetwork {
    /// Tells whether the block holds `address`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.leading_zeros() >= self.prefix_bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.leading_zeros() >= self.prefix_bits
            }
            _ => false,
        }
    }
}

impl FromStr for IpNetwork {
    type Err = InvalidIpNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidIpNetwork> {
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| InvalidIpNetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.map_or(Ok(width), str::parse).map_err(|_| InvalidIpNetwork)?;
        if prefix_bits > width {
            return Err(InvalidIpNetwork);
        }
        Ok(Self { address, prefix_bits })
    }
}

/// Returns the client's address: the peer's, or, where the peer is trusted, the first element of
/// `X-Forwarded-For`, else `X-Real-IP`. A request without a peer counts as loopback.
#[must_use]
pub fn client_ip(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpNetwork]) -> IpAddr {
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.ip().to_canonical());
    if !trusted.iter().any(|network| network.contains(peer)) {
        return peer;
    }
    let first = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        parse_address(value.split(',').next()?.trim())
    };
    first("x-forwarded-for")
        .or_else(|| first("x-real-ip"))
        .unwrap_or(peer)
}

/// Some proxies append the port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

/// Returns what a limit counts by: an IPv4 address, or the /64 that one IPv6 host can roam in.
#[must_use]
pub fn limit_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(peer: &str, headers: &[(&'static str, &'static str)], trusted: &[&str]) -> String {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let trusted: Vec<_> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        client_ip(Some(peer.parse().unwrap()), &headers, &trusted).to_string()
    }

    #[test]
    fn believes_forwarding_headers_of_trusted_peers_only() {
        let forwarded = [
            ("x-forwarded-for", "203.0.113.7, 10.0.0.2"),
            ("x-real-ip", "203.0.113.9"),
        ];
        assert_eq!(
            resolved("198.51.100.1:80", &forwarded, &["10.0.0.0/8"]),
            "198.51.100.1"
        );
        assert_eq!(
            resolved("10.1.2.3:80", &forwarded, &["10.0.0.0/8"]),
            "203.0.113.7"
        );
        assert_eq!(
            resolved("[::ffff:10.1.2.3]:80", &forwarded, &["10.0.0.0/8"]),
            "203.0.113.7"
        );
        assert_eq!(
            resolved("10.1.2.3:80", &forwarded[1..], &["10.0.0.0/8"]),
            "203.0.113.9"
        );
        assert_eq!(
            resolved("10.1.2.3:80", &[("x-forwarded-for", "unknown")], &["10.0.0.0/8"]),
            "10.1.2.3"
        );
        assert_eq!(
            resolved(
                "10.1.2.3:80",
                &[("x-forwarded-for", "203.0.113.7:99")],
                &["10.1.2.3"]
            ),
            "203.0.113.7"
        );
    }

    #[test]
    fn blocks_end_at_their_prefix() {
        let network: IpNetwork = "192.168.4.0/22".parse().unwrap();
        assert!(network.contains("192.168.7.255".parse().unwrap()));
        assert!(!network.contains("192.168.8.0".parse().unwrap()));
        assert!(
            "0.0.0.0/0"
                .parse::<IpNetwork>()
                .unwrap()
                .contains("1.2.3.4".parse().unwrap())
        );
        for bad in ["", "10.0.0.0/33", "10.0.0.0/x", "host", "::/129"] {
            assert_eq!(bad.parse::<IpNetwork>(), Err(InvalidIpNetwork), "{bad}");
        }
    }

    #[test]
    fn ipv6_hosts_are_counted_by_their_network() {
        let key = |text: &str| limit_key(text.parse().unwrap()).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("::ffff:203.0.113.7"), "203.0.113.7");
    }
}
