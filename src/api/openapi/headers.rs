//! The headers of requests and answers, described once and referred to.

use serde_json::{Map, Value, json};

/// Those of answers.
pub(super) fn answers() -> Value {
    let header = |about: &str, required: bool, example: &str| json!({"description": about, "required": required, "schema": {"type": "string"}, "example": example});
    json!({
        "X-Request-Id": header("Names the request in log, traces and records.", true, "0193e2a4-6f6b-7cc2-8f55-0d7a5b9c1f11"),
        "Server-Timing": header("The stages of the request in milliseconds, `total` last; they add up.", true, "decode;dur=0.012, cache;dur=0.003, other;dur=0.006, total;dur=0.021"),
        "RateLimit-Policy": header("The plan: requests (`q`) per window of seconds (`w`).", false, "\"default\";q=20;w=2"),
        "RateLimit": header("What is left of it (`r`), and in how many seconds there is more (`t`).", false, "\"default\";r=19;t=1"),
        "Retry-After": {"description": "Seconds after which the same request is likely to be answered.", "required": true, "schema": {"type": "integer", "minimum": 1}},
        "WWW-Authenticate": header("How to show a key.", true, "Bearer realm=\"glassbox\""),
        "Cache-Status": header("What the cache did (RFC 9211).", false, "glassbox-memory; hit; ttl=41"),
        "Age": {"description": "Seconds since the answer was computed, of hits.", "schema": {"type": "integer", "minimum": 0}},
    })
}

/// Those of requests.
pub(super) fn questions() -> Value {
    let header = |name: &str, about: &str, schema: Value, example: &str| json!({"name": name, "in": "header", "required": false, "description": about, "schema": schema, "example": example});
    json!({
        "X-Request-Id": header("X-Request-Id", "The caller's own name for the request: 1 to 128 visible ASCII characters. Anything else is replaced.", json!({"type": "string"}), "checkout-4711"),
        "traceparent": header("traceparent", "The trace that the request is part of (W3C). What is no such context begins a new trace.", json!({"type": "string"}), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        "X-Request-Timeout": header("X-Request-Timeout", "The caller's deadline, such as `250ms` or `2s`: never above the server's own. Work whose deadline passed is not run.", json!({"type": "string", "pattern": "^[1-9][0-9]{0,3}(ms|s)$"}), "2s"),
        "Cache-Control": header("Cache-Control", "`no-cache` (compute and store), `no-store` (compute, store nothing), `max-age=N`, `only-if-cached` (504 when absent).", json!({"type": "string"}), "max-age=60"),
    })
}

/// What an operation may be asked with.
pub(super) fn asked(predicts: bool) -> Vec<Value> {
    let names = ["X-Request-Id", "traceparent", "X-Request-Timeout", "Cache-Control"];
    let count = if predicts { names.len() } else { names.len() - 1 };
    names[..count].iter().map(|name| json!({"$ref": format!("#/components/parameters/{name}")})).collect()
}

/// What an answer tells.
pub(super) fn told(guarded: bool, predicts: bool) -> Value {
    let mut names = vec!["X-Request-Id", "Server-Timing"];
    if guarded {
        names.extend(["RateLimit-Policy", "RateLimit"]);
    }
    if predicts {
        names.extend(["Cache-Status", "Age"]);
    }
    references(&names)
}

/// References to answers' headers by name.
pub(super) fn references(names: &[&str]) -> Value {
    let reference = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    names.iter().map(reference).collect::<Map<_, _>>().into()
}
