//! What browsers are told: CORS, and the headers that make a page careful. All closed or off unless the configuration says
//! otherwise. How large an answer is compressed.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, Method, header},
    response::Response,
};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::config::ServerConfig;

/// How long a browser may keep the answer to its question whether it may call.
const PREFLIGHT_AGE: Duration = Duration::from_secs(60 * 60);

/// What browsers are told, as configured.
#[derive(Debug)]
pub(super) struct Browsers {
    /// Lets pages of the configured origins call; `None` when there are none, and browsers then refuse all.
    pub cors: Option<CorsLayer>,
    careful: Vec<(HeaderName, &'static str)>,
    compress_from: u64,
}

impl Browsers {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self { cors: cors(config), careful: careful(config), compress_from: config.compress_from.as_u64() }
    }

    /// Adds the headers that make a page careful. What a handler says itself stays.
    pub(super) fn be_careful(&self, response: &mut Response) {
        for (name, value) in &self.careful {
            response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
        }
    }

    /// Whether an answer of so many bytes is worth compressing. One of an unknown size is not.
    pub(super) fn is_large(&self, size: Option<u64>) -> bool {
        self.compress_from > 0 && size.is_some_and(|size| size >= self.compress_from)
    }
}

fn cors(config: &ServerConfig) -> Option<CorsLayer> {
    let origin = match &config.cors_origins[..] {
        [] => return None,
        origins if origins.iter().any(|origin| origin == "*") => AllowOrigin::from(Any),
        origins => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let name = HeaderName::from_static;
    let sent = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONTENT_TYPE,
        name("traceparent"),
        name("tracestate"),
        name("x-api-key"),
        name("x-request-id"),
        name("x-request-timeout"),
    ];
    let read = [
        header::AGE,
        header::RETRY_AFTER,
        name("cache-status"),
        name("ratelimit"),
        name("ratelimit-policy"),
        name("server-timing"),
        name("x-request-id"),
    ];
    // Never with cookies: who calls is told by a key, which a page must send on purpose.
    let methods = [Method::GET, Method::POST];
    Some(
        CorsLayer::new()
            .allow_origin(origin)
            .allow_methods(methods)
            .allow_headers(sent)
            .expose_headers(read)
            .max_age(PREFLIGHT_AGE),
    )
}

/// Headers that keep an answer from being taken for a page, framed, or fetched in the clear the next time; none where
/// they are not wanted.
fn careful(config: &ServerConfig) -> Vec<(HeaderName, &'static str)> {
    if !config.security_headers {
        return Vec::new();
    }
    let mut headers = vec![
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    headers.extend(config.tls_cert.is_some().then_some((header::STRICT_TRANSPORT_SECURITY, "max-age=31536000")));
    headers
}
