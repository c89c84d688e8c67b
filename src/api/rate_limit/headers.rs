//! What a caller is told of its quota, in the fields of draft-ietf-httpapi-ratelimit-headers-10.

use std::time::Duration;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue},
};

use super::buckets::Rate;
use crate::{keys::Plan, telemetry::write_decimal};

/// What is left of a quota.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    pub plan: &'a Plan,
    pub remaining: u32,
}

impl Standing<'_> {
    /// Writes `RateLimit-Policy` and `RateLimit`, and the older `X-RateLimit-*` where they are wanted.
    pub(super) fn write(&self, headers: &mut HeaderMap, legacy: bool) {
        let rate = Rate::of(self.plan);
        let (burst, remaining) = (rate.burst(), self.remaining);
        let window = whole_seconds(rate.period() * burst);
        // The draft's `t` is the time until there is more, not until there is all.
        let more = whole_seconds(rate.period());
        let field = |(first, one): (&str, u64), (second, other): (&str, u64)| {
            let mut value = Vec::with_capacity(self.plan.name.len() + 48);
            quote(&mut value, &self.plan.name);
            for (parameter, number) in [(first, one), (second, other)] {
                value.extend_from_slice(parameter.as_bytes());
                write_decimal(&mut value, number);
            }
            value
        };
        let policy = field((";q=", burst.into()), (";w=", window));
        insert(headers, HeaderName::from_static("ratelimit-policy"), policy);
        let left = field((";r=", remaining.into()), (";t=", more));
        insert(headers, HeaderName::from_static("ratelimit"), left);
        if legacy {
            let full = whole_seconds(rate.period() * burst.saturating_sub(remaining));
            insert(headers, HeaderName::from_static("x-ratelimit-limit"), burst.to_string().into());
            insert(headers, HeaderName::from_static("x-ratelimit-remaining"), remaining.to_string().into());
            insert(headers, HeaderName::from_static("x-ratelimit-reset"), full.to_string().into());
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Vec<u8>) {
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
        headers.insert(name, value);
    }
}

/// Rounded up, and at least 1.
fn whole_seconds(time: Duration) -> u64 {
    let started = u64::from(time.subsec_nanos() > 0);
    (time.as_secs() + started).max(1)
}

/// A string of structured fields (RFC 9651), which holds visible ASCII characters and spaces only.
fn quote(text: &mut Vec<u8>, name: &str) {
    text.push(b'"');
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            text.push(b'\\');
        }
        text.push(u8::try_from(c).ok().filter(|byte| matches!(byte, b' '..=b'~')).unwrap_or(b'?'));
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_tell_the_plan_and_what_is_left() {
        for (name, rate, burst, remaining, policy, left, reset) in [
            ("default", 10, 20, 19, "\"default\";q=20;w=2", "\"default\";r=19;t=1", "1"),
            ("default", 10, 20, 0, "\"default\";q=20;w=2", "\"default\";r=0;t=1", "2"),
            ("slow", 3, 10, 1, "\"slow\";q=10;w=4", "\"slow\";r=1;t=1", "3"),
            ("quick", 1000, 5, 5, "\"quick\";q=5;w=1", "\"quick\";r=5;t=1", "1"),
            ("a\"b\\c ü\n", 1, 1, 1, r#""a\"b\\c ??";q=1;w=1"#, r#""a\"b\\c ??";r=1;t=1"#, "1"),
        ] {
            let plan = &Plan { name: name.into(), rate, burst, concurrent: 1 };
            let mut headers = HeaderMap::new();
            Standing { plan, remaining }.write(&mut headers, false);
            assert_eq!(headers["ratelimit-policy"], policy, "{name}");
            assert_eq!(headers["ratelimit"], left, "{name}");
            assert_eq!(headers.len(), 2, "{name}");

            Standing { plan, remaining }.write(&mut headers, true);
            let legacy = ["limit", "remaining", "reset"].map(|name| headers[format!("x-ratelimit-{name}")].clone());
            assert_eq!(legacy, [&burst.to_string(), &remaining.to_string(), reset], "{name}");
        }
    }
}
