//! The cache in headers: what a caller allows (`Cache-Control`, RFC 9111) and what was done (`Cache-Status`, RFC 9211; `Age`).

use std::{fmt::Write, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    cache::{Policy, Summary},
    telemetry::labels::{Label, Tier},
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the caller allows the cache to do. Directives that are unknown or broken count as absent.
pub(super) fn policy(headers: &HeaderMap) -> Policy {
    let mut policy = Policy::default();
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name, Some(value.trim().trim_matches('"'))),
            None => (directive, None),
        };
        match (name.trim().to_ascii_lowercase().as_str(), value) {
            ("no-cache", None) => policy.no_cache = true,
            ("no-store", None) => policy.no_store = true,
            ("only-if-cached", None) => policy.only_if_cached = true,
            ("max-age", Some(value)) => {
                // Of two, the stricter one.
                let age = seconds(value).into_iter().chain(policy.max_age).min();
                policy.max_age = age;
            }
            _ => {}
        }
    }
    policy
}

/// Digits only. What is too large to be counted is the largest that can be.
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))))
}

/// Tells what the cache did.
pub(super) fn describe(summary: &Summary, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(status(summary)) {
        headers.insert(CACHE_STATUS, value);
    }
    if summary.hits() > 0 {
        headers.insert(header::AGE, summary.age.as_secs().into());
    }
}

fn status(summary: &Summary) -> String {
    let mut status = String::with_capacity(64);
    let hit_in_redis = summary.redis > 0 && summary.word() == Tier::Redis.as_str();
    let tier = if hit_in_redis { Tier::Redis } else { summary.tier };
    status.push_str("glassbox-");
    status.push_str(tier.as_str());
    let stored = if summary.stored { "; stored" } else { "" };
    // Writing to a string cannot fail.
    let _ = match summary.word() {
        "bypass" => write!(status, "; fwd=bypass{stored}"),
        "partial" => {
            let (hits, all) = (summary.hits(), summary.hits() + summary.computed + summary.collapsed);
            write!(status, "; fwd=partial{stored}; detail=\"{hits} of {all} items hit\"")
        }
        "collapsed" => write!(status, "; fwd=miss; collapsed"),
        "miss" => write!(status, "; fwd=miss{stored}"),
        _ => write!(status, "; hit; ttl={}", summary.ttl.as_secs()),
    };
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_as_the_standard_says() {
        let none = Policy::default();
        let max_age = |seconds| Policy { max_age: Some(Duration::from_secs(seconds)), ..none };
        let cases: [(&[&str], Policy); 12] = [
            (&[], none),
            (&["no-cache"], Policy { no_cache: true, ..none }),
            (&["NO-STORE"], Policy { no_store: true, ..none }),
            (&["only-if-cached , max-age=5"], Policy { only_if_cached: true, ..max_age(5) }),
            (&["max-age=60", "no-cache"], Policy { no_cache: true, ..max_age(60) }),
            (&["max-age=\"7\""], max_age(7)),
            (&["max-age=9, max-age=3"], max_age(3)),
            (&["max-age=99999999999999999999999999"], max_age(u64::from(u32::MAX))),
            (&["max-age=-1"], none),
            (&["max-age", "max-age=", "max-age=1.5", "max-age=x"], none),
            (&["no-transform, max-stale=5, community=\"UCI\""], none),
            (&[",,  ,=,==,"], none),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(value));
            }
            assert_eq!(policy(&headers), expected, "{values:?}");
        }
    }
}
