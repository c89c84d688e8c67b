//! The names by which a loopback listener that asks for no key may be called.
//!
//! A web page can have its own name resolve to 127.0.0.1 (DNS rebinding). A browser takes the server there for the page's own
//! and lets the page read its answers. The browser writes the name into each request, and the page cannot change that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::{
    extract::Request,
    http::{HeaderValue, header},
};

use super::state::ApiState;

/// Names beside `localhost`, its subdomains and loopback addresses.
#[derive(Debug)]
pub(super) struct Hosts {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Hosts {
    /// For a listener that asks for no key; nothing where it is not on loopback and answers for every name.
    pub(super) fn of(listen: SocketAddr, hosts: &[String]) -> Option<Self> {
        listen.ip().to_canonical().is_loopback().then(|| {
            let names = hosts.iter().map(|host| without_dot(host).to_owned()).collect();
            Self { names, addresses: hosts.iter().filter_map(|host| address(host)).collect() }
        })
    }

    /// The same for a listener that asks for keys unless the server has none.
    pub(super) fn without_keys(state: &ApiState, listen: SocketAddr) -> Option<Self> {
        state.keys.is_none().then(|| Self::of(listen, &state.server.hosts)).flatten()
    }

    /// Whether a request names no other host: in its target (HTTP/2, and HTTP/1.1 to proxies), nor in `Host`. One that names
    /// none, as HTTP/1.0 allows, comes from no browser.
    pub(super) fn answer_for<B>(&self, request: &Request<B>) -> bool {
        let named = |value: &HeaderValue| value.is_empty() || host(value).is_some_and(|host| self.knows(host));
        request.uri().host().is_none_or(|host| self.knows(host))
            && request.headers().get_all(header::HOST).iter().all(named)
    }

    fn knows(&self, host: &str) -> bool {
        let host = without_dot(host);
        match address(host) {
            Some(address) => address.is_loopback() || self.addresses.contains(&address),
            None => is_localhost(host) || self.names.iter().any(|name| name.eq_ignore_ascii_case(host)),
        }
    }
}

/// What stands before the port. Nothing where that is no port: `localhost:80@evil.example`.
fn host(value: &HeaderValue) -> Option<&str> {
    let value = value.to_str().ok()?;
    let end = value.rfind(']').map_or_else(|| value.find(':'), |bracket| Some(bracket + 1)).unwrap_or(value.len());
    let (host, rest) = value.split_at(end);
    let port = rest.strip_prefix(':').unwrap_or(rest);
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(host)
}

/// A name's full form ends with a dot.
fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// `127.0.0.1`, `[::1]`, and `::1` as the configuration may have it.
fn address(host: &str) -> Option<IpAddr> {
    if host.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && let Ok(address) = host.parse::<Ipv4Addr>()
    {
        return Some(address.into());
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.contains(':').then(|| bare.parse::<Ipv6Addr>().ok()).flatten().map(|address| address.to_canonical())
}

/// Browsers resolve subdomains of `localhost` to loopback themselves (RFC 6761, section 6.3).
fn is_localhost(host: &str) -> bool {
    const LOCALHOST: &str = "localhost";
    let Some(start) = host.len().checked_sub(LOCALHOST.len()) else { return false };
    host.as_bytes()[start..].eq_ignore_ascii_case(LOCALHOST.as_bytes())
        && (start == 0 || host.as_bytes()[start - 1] == b'.')
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn answers(target: &str, hosts: &[&[u8]]) -> bool {
        let names = ["Box.example.com", "10.0.0.7", "2001:db8::7"].map(str::to_owned);
        let known = Hosts::of(([127, 0, 0, 1], 0).into(), &names).unwrap();
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(header::HOST, HeaderValue::from_bytes(host).unwrap());
        }
        known.answer_for(&request.body(()).unwrap())
    }

    #[test]
    fn loopback_and_configured_names_are_known_with_any_port() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "a.b.localhost:1",
            "127.0.0.1",
            "127.255.3.4:9",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:1",
            "box.example.com",
            "BOX.EXAMPLE.COM.:443",
            "10.0.0.7:80",
            "[2001:DB8:0::7]:80",
            "localhost:",
            "",
        ] {
            assert!(answers("/", &[host.as_bytes()]), "{host}");
        }
        assert!(answers("/", &[]));
        assert!(answers("http://localhost:8080/a", &[b"127.0.0.1"]));
        assert!(answers("http://[::1]:8080/a", &[]));
    }

    #[test]
    fn every_other_name_is_not() {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "notlocalhost",
            "localhost:80@evil.example",
            "evil.example@localhost",
            "0.0.0.0",
            "[::]",
            "10.0.0.8",
            "[2001:db8::8]",
            "127.0.0.1.evil.example",
            "127.1",
            "::1",
            "a.box.example.com",
            "example.com",
            "localhost, evil.example",
            "localhost evil.example",
            ".",
            "[::1]evil:1",
            "[::1",
            "2130706433",
        ] {
            assert!(!answers("/", &[host.as_bytes()]), "{host}");
        }
        assert!(!answers("/", &[b"localhost\xff"]));
        assert!(!answers("/", &[b"localhost", b"evil.example"]));
        assert!(!answers("http://evil.example/a", &[b"localhost"]));
        assert!(!answers("http://localhost/a", &[b"evil.example"]));
    }

    #[test]
    fn other_listeners_answer_for_every_name() {
        for (listen, guarded) in [
            ("127.0.0.1:80", true),
            ("127.9.9.9:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("10.0.0.1:80", false),
        ] {
            assert_eq!(Hosts::of(listen.parse().unwrap(), &[]).is_some(), guarded, "{listen}");
        }
    }
}
