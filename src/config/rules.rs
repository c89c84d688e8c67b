//! What values have to be, beyond their type.

use std::{net::Ipv6Addr, time::Duration};

use bytesize::ByteSize;
use validator::ValidationError;

use super::{AuthMode, CacheConfig, CacheMode, Config, ServerConfig};

pub(super) fn within_a_day(duration: &Duration) -> Result<(), ValidationError> {
    // Far enough for anybody, and near enough for the clock to reach.
    let longest = Duration::from_secs(24 * 60 * 60);
    if *duration < Duration::from_millis(1) || *duration > longest {
        Err(problem("must be from 1ms to 24h"))
    } else {
        Ok(())
    }
}

pub(super) fn within_a_year(duration: &Duration) -> Result<(), ValidationError> {
    let longest = Duration::from_secs(365 * 24 * 60 * 60);
    if *duration < Duration::from_secs(1) || *duration > longest {
        Err(problem("must be from 1s to 365d"))
    } else {
        Ok(())
    }
}

pub(super) fn within_a_minute(duration: &Duration) -> Result<(), ValidationError> {
    if duration.is_zero() || *duration > Duration::from_secs(60) {
        Err(problem("must be longer than 0s and at most 60s"))
    } else {
        Ok(())
    }
}

pub(super) fn at_least_1_kib(size: &ByteSize) -> Result<(), ValidationError> {
    if size.as_u64() < 1024 { Err(problem("must be at least 1KiB")) } else { Ok(()) }
}

pub(super) fn at_least_1_mib(size: &ByteSize) -> Result<(), ValidationError> {
    if size.as_u64() < 1024 * 1024 { Err(problem("must be at least 1MiB")) } else { Ok(()) }
}

/// With less, answers would be said to be kept and be gone at once.
pub(super) fn memory_has_room(cache: &CacheConfig) -> Result<(), ValidationError> {
    let in_memory = matches!(cache.mode, CacheMode::Memory | CacheMode::Tiered);
    if !in_memory || cache.capacity.as_u64() >= 1024 * 1024 {
        return Ok(());
    }
    let mut error = problem("must be at least 1MiB; cache.mode = \"off\" keeps nothing");
    error.add_param("key".into(), &"cache.capacity");
    Err(error)
}

/// The rest is read where Redis is spoken to: a broken URL may hold a password, so less is said about it.
pub(super) fn redis_url(url: &str) -> Result<(), ValidationError> {
    match url.split_once("://") {
        Some(("redis" | "unix" | "redis+unix", _)) => Ok(()),
        Some(("rediss", _)) => Err(problem("must not start with rediss://: TLS is not spoken to Redis; use a tunnel")),
        _ => Err(problem("must be like redis://user:password@host:6379/0 or unix:///path/to/socket")),
    }
}

/// As for Redis, the rest is read where the database is spoken to.
pub(super) fn postgres_url(url: &str) -> Result<(), ValidationError> {
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Ok(()),
        _ => Err(problem("must be like postgres://user:password@host:5432/database")),
    }
}

pub(super) fn log_filter(filter: &str) -> Result<(), ValidationError> {
    let parsed = tracing_subscriber::EnvFilter::try_new(filter);
    parsed.map(drop).map_err(|_| problem("is no filter; write it like \"info\" or \"warn,glassbox=debug\""))
}

pub(super) fn otlp_endpoint(endpoint: &str) -> Result<(), ValidationError> {
    let uri = endpoint.parse::<hyper::Uri>().ok();
    let usable = uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
    if usable || endpoint.is_empty() {
        return Ok(());
    }
    Err(problem("is no URL of a collector; write it like \"http://127.0.0.1:4317\""))
}

/// A body that can never fit would be refused for ever with a promise that later is better.
pub(super) fn one_body_fits(server: &ServerConfig) -> Result<(), ValidationError> {
    if server.bodies_limit.as_u64() / 1024 > server.body_limit.as_u64() / 1024 {
        return Ok(());
    }
    let mut error = problem("must be larger than server.body_limit");
    error.add_param("key".into(), &"server.bodies_limit");
    Err(error)
}

impl ServerConfig {
    /// Whether only this machine can reach what asks for keys.
    pub fn is_local(&self) -> bool {
        [Some(self.listen), self.grpc_listen].into_iter().flatten().all(|address| address.ip().is_loopback())
    }
}

/// Closed by default: without keys nothing but loopback is listened on unless somebody said so aloud.
pub(super) fn listens_where_it_may(config: &Config) -> Result<(), ValidationError> {
    let known_callers = config.auth.mode == AuthMode::Off || config.auth.keys_file.is_some();
    if known_callers || config.server.is_local() {
        return Ok(());
    }
    let key = if config.server.listen.ip().is_loopback() { "server.grpc_listen" } else { "server.listen" };
    let mut error = problem(
        "is not a loopback address: make keys with 'glassbox keys create' and name their file in auth.keys_file, or let anyone call with auth.mode = \"off\"",
    );
    error.add_param("key".into(), &key);
    Err(error)
}

/// A certificate is of no use without its key, nor the other way round.
pub(super) fn tls_is_whole(server: &ServerConfig) -> Result<(), ValidationError> {
    let (present, message) = match (&server.tls_cert, &server.tls_key) {
        (Some(_), None) => ("server.tls_cert", "needs server.tls_key beside it"),
        (None, Some(_)) => ("server.tls_key", "needs server.tls_cert beside it"),
        _ => return Ok(()),
    };
    let mut error = problem(message);
    error.add_param("key".into(), &present);
    Err(error)
}

/// As browsers write the header `Origin`: scheme, host and port.
pub(super) fn origins(origins: &[String]) -> Result<(), ValidationError> {
    let is_origin = |origin: &String| {
        let host = origin.split_once("://").map(|(_, host)| host);
        origin == "*"
            || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '=', ' ', '@']))
                && origin.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
    };
    if origins.iter().all(is_origin) {
        Ok(())
    } else {
        Err(problem("expected origins in lower case like \"https://app.example.com\", or \"*\""))
    }
}

/// Names and addresses as they stand in a URL, without scheme, port and path.
pub(super) fn hosts(hosts: &[String]) -> Result<(), ValidationError> {
    let is_name = |host: &str| {
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        host.strip_suffix('.').unwrap_or(host).split('.').all(label)
    };
    let bare = |host: &String| host.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>().is_ok();
    if hosts.iter().all(|host| is_name(host) || bare(host)) {
        Ok(())
    } else {
        Err(problem("expected names without scheme and port like \"glassbox.example.com\", or addresses"))
    }
}

pub(super) fn problem(message: &'static str) -> ValidationError {
    ValidationError::new("invalid").with_message(message.into())
}
