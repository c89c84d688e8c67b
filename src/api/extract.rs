//! JSON bodies: read within a limit and a time, parsed, and every fault answered with a pointer to it.

use std::sync::Arc;

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::{
    context::Context,
    explain::explain,
    room::{Room, likely_bytes},
    state::ApiState,
};
use crate::{error::Error, model::cost, telemetry::labels::Stage};

/// Above this, parsing takes longer than an async thread should be held.
pub(super) const INLINE_BYTES: usize = 64 * 1024;

/// Memory is taken ahead for so many times the bytes that have arrived.
const GROWTH: usize = 16;

/// A JSON body of type `T`, and the room that it takes for as long as this is held.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub T, pub Room);

impl<T: DeserializeOwned + Send + 'static> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Error> {
        let context = Arc::clone(Context::of(request.extensions())?);
        let _watch = context.record.watch(Stage::Decode);
        check_media_type(request.headers())?;
        let (body, room) = receive(request, state, &context).await?;
        let small = body.len() <= INLINE_BYTES;
        let read =
            move |room: Room, body: &[u8]| room.read(body.len(), || parse(body)).map(|(value, room)| Self(value, room));
        if small {
            return read(room, &body);
        }
        // The room goes with the body: parsing goes on when the caller has left.
        let mut room = room;
        let (body, _) = room.expect(body, |body| Ok(likely_bytes(body))).await?;
        tokio::task::spawn_blocking(move || read(room, &body)).await.map_err(Error::internal)?
    }
}

/// JSON only, not compressed. A browser's form cannot send this media type across origins, which keeps a page on the
/// internet away from a server on the visitor's loopback.
fn check_media_type(headers: &HeaderMap) -> Result<(), Error> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // As nearly all write it.
    if content_type != "application/json" && !is_json(content_type) {
        return Err(Error::UnsupportedMediaType("send the body as 'Content-Type: application/json', in UTF-8"));
    }
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Error::UnsupportedMediaType("send the body without a 'Content-Encoding'"));
    }
    Ok(())
}

pub(super) fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let media_type = parts.next().unwrap_or_default();
    let json =
        media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    let utf8 = parts
        .all(|part| !part.starts_with("charset=") || part.trim_start_matches("charset=").trim_matches('"') == "utf-8");
    json && utf8
}

/// Reads the body as it is sent, within the limits.
///
/// # Errors
/// `payload_too_large`, `request_timeout`, `overloaded`; `malformed_request` for one that breaks off.
pub(super) async fn receive(
    request: Request,
    state: &ApiState,
    context: &Arc<Context>,
) -> Result<(Vec<u8>, Room), Error> {
    let limit = state.server.body_limit.as_u64();
    let timeout = state.server.body_timeout;
    let reading = read(request.into_body(), limit, Room::for_body(state, context)?);
    let received = tokio::time::timeout(timeout, reading).await;
    let (body, room) = received.map_err(|_elapsed| Error::RequestTimeout { limit: timeout })??;
    context.record.note(|facts| facts.request_bytes = Some(body.len()));
    Ok((body, room))
}

/// Reads the body, taking room as its bytes arrive: a caller that only announces many takes none.
async fn read(mut body: Body, limit: u64, mut room: Room) -> Result<(Vec<u8>, Room), Error> {
    let too_large = || Error::PayloadTooLarge { limit };
    // What says its length is refused before a byte of it is read.
    let announced = body.size_hint().lower();
    if announced > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            error = room.lost() => return Err(error),
        };
        let Some(frame) = frame else { break };
        let broken = |_| Error::malformed("", "incomplete_body", "the body broke off before it was complete");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        let total = bytes.len() + data.len();
        if total as u64 > limit {
            return Err(too_large());
        }
        room.grow(total)?;
        if total > bytes.capacity() {
            // Growing moves what is there. Who has sent a part of what he announced has it moved once or twice at most.
            let to_come = usize::try_from(announced).unwrap_or_default().saturating_sub(bytes.len());
            bytes.reserve(to_come.min(GROWTH * total).max(data.len()));
        }
        bytes.extend_from_slice(&data);
    }
    room.arrived()?;
    Ok((bytes, room))
}

/// Reads JSON, and says what is wrong with it.
///
/// # Errors
/// `malformed_request`; `invalid_input` for a number that no datatype holds.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(Error::malformed("", "empty_body", "the body is empty; it must be a JSON object")),
        // A derived reader would take a list for a struct, field by field.
        Some(b'[') => Err(Error::malformed("", "wrong_type", "expected an object, got a list")),
        Some(_) => serde_json::from_slice(body).map_err(|error| {
            if cost::is_spent() {
                // The room tells why.
                return Error::internal(error);
            }
            cost::start_over();
            explain::<T>(body, &error)
        }),
    }
}
