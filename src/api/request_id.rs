//! The ids of one request and of its trace.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};
use uuid::{
    Builder, Uuid,
    fmt::{Hyphenated, Simple},
};

use crate::telemetry::{
    record::NewId,
    traces::{Parent, Trace},
};

/// Carries [`RequestId`] in both directions.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names the trace that a request is part of.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Names one request in answers, logs and traces.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub Arc<str>);

/// The caller's ids of the request and of its trace, or new ones; the request's again, if it is new.
pub(super) fn of(headers: &HeaderMap) -> (RequestId, Trace, Option<NewId>) {
    let (request, trace) = (accepted_id(headers), trace(headers));
    let new = if request.is_none() || trace.is_none() { new_id() } else { Uuid::nil() };
    let made = request.is_none().then_some(NewId { id: new, of_trace: trace.is_none() });
    let request = request.unwrap_or_else(|| {
        let mut text = [0; Hyphenated::LENGTH];
        Arc::from(&*new.hyphenated().encode_lower(&mut text))
    });
    // The same bits as the request's: who begins a trace with a request finds one by the other.
    let trace = trace.unwrap_or_else(|| {
        let mut text = [0; Simple::LENGTH];
        Trace { id: Arc::from(&*new.simple().encode_lower(&mut text)), parent: None }
    });
    (RequestId(request), trace, made)
}

/// A UUIDv7 (RFC 9562, section 5.7): milliseconds since 1970, then random bits. The system is asked for those once for many
/// ids: a system call for each would be one of three that a request takes.
fn new_id() -> Uuid {
    RANDOM.with_borrow_mut(|Random { bytes, used }| {
        if *used + ID_BYTES > bytes.len() {
            // Without random numbers, ids are still names of their millisecond.
            let _ = getrandom::fill(bytes);
            *used = 0;
        }
        let mut random = [0; ID_BYTES];
        random.copy_from_slice(&bytes[*used..*used + ID_BYTES]);
        *used += ID_BYTES;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Builder::from_unix_timestamp_millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), &random).into_uuid()
    })
}

/// Random bytes in one id.
const ID_BYTES: usize = 10;

/// Random bytes that are taken in advance.
struct Random {
    bytes: [u8; 64 * ID_BYTES],
    used: usize,
}

thread_local! {
    static RANDOM: RefCell<Random> = const { RefCell::new(Random { bytes: [0; 64 * ID_BYTES], used: 64 * ID_BYTES }) };
}

impl RequestId {
    /// Tells the caller.
    pub(super) fn write(&self, response: &mut Response) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
    }
}

/// The caller's id, when it is 1 to 128 visible ASCII characters.
fn accepted_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let acceptable = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    acceptable.then(|| Arc::from(id))
}

/// The trace that the caller is in (W3C, `traceparent: 00-<trace>-<span>-<flags>`), if it says so.
fn trace(headers: &HeaderMap) -> Option<Trace> {
    headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(|value| {
        let mut parts = value.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let whole = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        let only = version != "00" || parts.next().is_none();
        let real = trace.bytes().any(|byte| byte != b'0') && span.bytes().any(|byte| byte != b'0');
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let parent = Parent { span: u64::from_str_radix(span, 16).ok()?, sampled: flags & 1 == 1 };
        (whole && only && real).then(|| Trace { id: Arc::from(trace), parent: Some(parent) })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn new_ids_are_random_uuids_of_version_7_and_of_their_millisecond() {
        let before = SystemTime::now();
        let ids: HashSet<Uuid> = (0..10_000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 10_000);
        let millis = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_millis();
        for id in &ids {
            let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
            let made = u128::from(seconds) * 1000 + u128::from(nanos) / 1_000_000;
            assert_eq!(id.get_version_num(), 7);
            assert!((millis(before)..=millis(SystemTime::now())).contains(&made), "{id}");
        }
    }
}
