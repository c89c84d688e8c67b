//! JSON bodies: read within a limit and a time, parsed, and every fault answered with a pointer to it.

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::state::ApiState;
use crate::error::{Error, Violation, pointer_segment};

/// Above this, parsing takes longer than an async thread should be held.
const INLINE_BYTES: usize = 64 * 1024;

/// A JSON body of type `T`.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Error> {
        check_media_type(request.headers())?;
        let limit = state.server.body_limit.as_u64();
        let timeout = state.server.body_timeout;
        let body = tokio::time::timeout(timeout, read(request.into_body(), limit))
            .await
            .map_err(|_elapsed| Error::RequestTimeout { limit: timeout })??;
        if body.len() <= INLINE_BYTES {
            return parse(&body).map(Self);
        }
        let parsed = tokio::task::spawn_blocking(move || parse(&body)).await;
        parsed.map_err(|error| Error::Internal(error.into()))?.map(Self)
    }
}

/// JSON only, not compressed. A browser's form cannot send this media type across origins, which keeps a page on the
/// internet away from a server on the visitor's loopback.
fn check_media_type(headers: &HeaderMap) -> Result<(), Error> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let media_type = parts.next().unwrap_or_default();
    let json =
        media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    let utf8 = parts
        .all(|part| !part.starts_with("charset=") || part.trim_start_matches("charset=").trim_matches('"') == "utf-8");
    if !json || !utf8 {
        return Err(Error::UnsupportedMediaType("send the body as 'Content-Type: application/json', in UTF-8"));
    }
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Error::UnsupportedMediaType("send the body without a 'Content-Encoding'"));
    }
    Ok(())
}

async fn read(body: Body, limit: u64) -> Result<Bytes, Error> {
    let too_large = Error::PayloadTooLarge { limit };
    // What says its length is refused before a byte of it is read.
    if axum::body::HttpBody::size_hint(&body).lower() > limit {
        return Err(too_large);
    }
    match Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX)).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large),
        Err(_) => Err(Error::malformed("", "incomplete_body", "the body broke off before it was complete")),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(Error::malformed("", "empty_body", "the body is empty; it must be a JSON object")),
        // A derived reader would take a list for a struct, field by field.
        Some(b'[') => Err(Error::malformed("", "wrong_type", "expected an object, got a list")),
        Some(_) => serde_json::from_slice(body).map_err(|error| explain::<T>(body, &error)),
    }
}

/// Reads a broken body a second time, now keeping track of where the reader is. Good bodies do not pay for that.
fn explain<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Error {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let path = serde_path_to_error::deserialize::<_, T>(&mut reader).err().map(|error| pointer(error.path()));
    let pointer = path.unwrap_or_default();
    let place = format!("line {}, column {}", error.line(), error.column());
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
    // A number that JSON can write and no float can hold is a value out of range, not a mistake in the JSON.
    if message.starts_with("number out of range") {
        let detail = format!("the number at {place} is out of the range of every datatype");
        return Error::Invalid(vec![Violation::new(pointer, "out_of_range", detail)]);
    }
    if message.starts_with("recursion limit exceeded") {
        let field = pointer.split_inclusive('/').take(2).collect::<String>();
        let detail = format!("lists and objects are nested more than 127 deep, at {place}");
        return Error::malformed(field.trim_end_matches('/'), "too_deep", detail);
    }
    if error.classify() == serde_json::error::Category::Data {
        return misfit(pointer, message, &place);
    }
    let message = syntax_hint(body, error).unwrap_or(message);
    Error::malformed(pointer, "invalid_json", format!("the body is not valid JSON: {message}, at {place}"))
}

/// Good JSON of the wrong form, in the words of JSON, without the values and names that the parser quotes.
fn misfit(pointer: String, message: &str, place: &str) -> Error {
    if let Some(field) = message.strip_prefix("duplicate field ") {
        let field = field.trim_matches('`');
        return Error::malformed(format!("/{field}"), "duplicate_field", format!("the field '{field}' stands twice"));
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return Error::malformed(pointer, "wrong_type", format!("{message}, at {place}"));
    };
    if found.starts_with("unknown field ") {
        let detail = format!("there is no such field: expected {}, at {place}", expected.replace('`', "'"));
        return Error::malformed(pointer, "unknown_field", detail);
    }
    let found = found.trim_start_matches("invalid type: ").trim_start_matches("invalid value: ");
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "boolean" => "a boolean",
        "integer" | "floating" => "a number",
        "string" | "character" => "a string",
        "sequence" => "a list",
        "map" => "an object",
        "null" | "unit" => "null",
        _ => "something else",
    };
    Error::malformed(pointer, "wrong_type", format!("expected {expected}, got {found}, at {place}"))
}

/// Mistakes that many programs make when they write JSON, told better than by the parser.
fn syntax_hint(body: &[u8], error: &serde_json::Error) -> Option<&'static str> {
    let mut lines = body.split(|byte| *byte == b'\n');
    let place = lines.nth(error.line().saturating_sub(1)).and_then(|line| line.get(error.column().saturating_sub(1)..));
    let found = |word: &str| place.is_some_and(|place| place.starts_with(word.as_bytes()));
    if body.starts_with(b"\xef\xbb\xbf") {
        Some("it starts with a byte order mark")
    } else if found("NaN") || found("Infinity") {
        Some("there is no NaN and no Infinity in JSON")
    } else if std::str::from_utf8(body).is_err() {
        Some("it is not in UTF-8")
    } else {
        None
    }
}

/// A path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", pointer_segment(key))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}
