//! The address that a request comes from: the connection's, or what trusted proxies say of theirs.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderName},
};
use ipnet::IpNet;

use super::state::ApiState;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies in a row that are looked behind. Nobody has more, and a header can hold thousands.
const MOST_PROXIES: usize = 32;

/// The caller's address, for the log and the quotas. IPv4 is never dressed as IPv6.
pub(super) fn address(state: &ApiState, request: &Request) -> Option<IpAddr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(behind_proxies(peer.ip(), request.headers(), &state.server.trusted_proxies))
}

/// Each proxy appends the address that it was called from, so what can be believed stands at the right: the walk goes
/// left from the peer, for as long as a trusted proxy is speaking.
fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    // Several lines are one list, and lists may have empty elements (RFC 9110, section 5.6.1).
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).take(MOST_PROXIES);
    for hop in hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
        if !is_trusted(&client) {
            break;
        }
        // What cannot be read hides everything to the left of it.
        let Some(address) = parse(hop) else { break };
        client = address;
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse().ok().map(IpAddr::V6),
        None => hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip())),
    };
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn found(peer: &str, lines: &[&[u8]]) -> String {
        let trusted = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        behind_proxies(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn the_right_most_address_that_is_no_trusted_proxy_is_the_callers() {
        for (peer, header, expected) in [
            // Who is no proxy of ours can write what he likes.
            ("192.0.2.9", "198.51.100.1", "192.0.2.9"),
            ("2001:db8::9", "198.51.100.1", "2001:db8::9"),
            ("::ffff:192.0.2.9", "198.51.100.1", "192.0.2.9"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("fd00::1", "2001:db8::7", "2001:db8::7"),
            // What the caller wrote himself stands to the left of what the first proxy saw.
            ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2,127.0.0.1", "198.51.100.1"),
            ("10.0.0.1", "10.0.0.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            // Nothing but proxies.
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            // Ports, brackets, IPv4 dressed as IPv6.
            ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
            ("10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
            ("10.0.0.1", "[2001:db8::7]", "2001:db8::7"),
            ("10.0.0.1", "2001:DB8:0::7", "2001:db8::7"),
            ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1, ::ffff:10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "\t198.51.100.1 \t", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1,, 10.0.0.2, ,", "198.51.100.1"),
            // What cannot be read ends the walk at the last proxy.
            ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1:99999", "10.0.0.1"),
            ("10.0.0.1", "[198.51.100.1]", "10.0.0.1"),
            ("10.0.0.1", "[2001:db8::7", "10.0.0.1"),
            ("10.0.0.1", "010.0.0.1", "10.0.0.1"),
            ("10.0.0.1", "1.2.3", "10.0.0.1"),
            ("10.0.0.1", "fe80::1%eth0", "10.0.0.1"),
            ("10.0.0.1", "example.com", "10.0.0.1"),
        ] {
            assert_eq!(found(peer, &[header.as_bytes()]), expected, "{header:?} from {peer}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        assert_eq!(found("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(found("10.0.0.1", &[b"198.51.100.1", b"10.0.0.2"]), "198.51.100.1");
        assert_eq!(found("10.0.0.1", &[b"1.1.1.1", b"198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(found("10.0.0.1", &[b"198.51.100.1", b"\xff\xfe"]), "10.0.0.1");
    }

    #[test]
    fn a_huge_header_is_not_read_to_its_end() {
        let proxies = b"10.0.0.2,".repeat(100_000);
        let header = [&b"198.51.100.1,"[..], &proxies, b"10.0.0.3"].concat();
        assert_eq!(found("10.0.0.1", &[&header]), "10.0.0.2");
    }
}
