//! What browsers are told, and how large answers travel: CORS, the headers that make a page careful, compression. All
//! closed or off unless the configuration says otherwise.

use std::time::Duration;

use axum::{
    body::HttpBody,
    http::{HeaderName, HeaderValue, Method, header},
    response::Response,
};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, Predicate},
    cors::{AllowOrigin, Any, CorsLayer},
};

use crate::config::ServerConfig;

/// How long a browser may keep the answer to its question whether it may call.
const PREFLIGHT_AGE: Duration = Duration::from_secs(60 * 60);

/// Lets pages of the configured origins call; `None` when there are none, and browsers then refuse all.
pub(super) fn cors(config: &ServerConfig) -> Option<CorsLayer> {
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

/// Headers that keep an answer from being taken for a page, framed, or fetched in the clear the next time; `None` where
/// they are not wanted. What a handler says itself stays.
pub(super) fn careful(config: &ServerConfig) -> Option<impl Fn(Response) -> Response + Clone + use<>> {
    let mut headers = vec![
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    headers.extend(config.tls_cert.is_some().then_some((header::STRICT_TRANSPORT_SECURITY, "max-age=31536000")));
    let add = move |mut response: Response| {
        for (name, value) in &headers {
            response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
        }
        response
    };
    config.security_headers.then_some(add)
}

/// Compresses answers that are worth it, fast rather than small: the processor is the models'.
pub(super) fn compression(config: &ServerConfig) -> CompressionLayer<Large> {
    let from = config.compress_from.as_u64();
    CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest).compress_when(Large { from })
}

/// Answers of a known size from `from` bytes on; none when that is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Large {
    from: u64,
}

impl Predicate for Large {
    fn should_compress<B: HttpBody>(&self, response: &axum::http::Response<B>) -> bool {
        let size = response.body().size_hint().exact();
        self.from > 0 && size.is_some_and(|size| size >= self.from)
    }
}
