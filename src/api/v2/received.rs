//! The body of an inference request as it arrived, whole and no longer compressed.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};

use super::division::Division;
use crate::{
    api::{
        context::Context,
        decompress::{Coding, decompress},
        extract::{is_json, receive},
        room::Room,
        state::ApiState,
    },
    error::Error,
    telemetry::labels::Stage,
};

/// A body, how it is divided, and the room that it takes for as long as this is held.
#[derive(Debug)]
pub(in crate::api) struct Received {
    pub body: Vec<u8>,
    pub(super) division: Division,
    pub room: Room,
}

impl FromRequest<ApiState> for Received {
    type Rejection = Error;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Error> {
        let context = Arc::clone(Context::of(request.extensions())?);
        let _watch = context.record.watch(Stage::Decode);
        check_origin(request.headers())?;
        let division = Division::of(request.headers())?;
        let coding = coding(request.headers())?;
        let (body, room) = receive(request, state, &context).await?;
        let Some(coding) = coding else { return Ok(Self { body, division, room }) };
        let limit = state.server.body_limit.as_u64();
        // The room goes with the work: that goes on when the caller has left.
        let deadline = context.deadline;
        let work = tokio::task::spawn_blocking(move || decompress(coding, &body, limit, deadline, room));
        let (body, room) = work.await.map_err(Error::internal)??;
        Ok(Self { body, division, room })
    }
}

/// Clients of this protocol send no media type, or any. Only pages must name one that a browser sends across origins after
/// it has asked: that keeps a page on the internet away from a server on the visitor's loopback.
fn check_origin(headers: &HeaderMap) -> Result<(), Error> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match !headers.contains_key(header::ORIGIN) || media_type == "application/octet-stream" || is_json(media_type) {
        true => Ok(()),
        false => Err(Error::UnsupportedMediaType("a page sends the body as 'Content-Type: application/json'")),
    }
}

fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Error> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let value = values.next().map(|value| value.as_bytes().to_ascii_lowercase());
    match (value.as_deref(), values.next()) {
        (None | Some(b"" | b"identity"), None) => Ok(None),
        (Some(b"gzip" | b"x-gzip"), None) => Ok(Some(Coding::Gzip)),
        (Some(b"deflate"), None) => Ok(Some(Coding::Deflate)),
        _ => {
            Err(Error::UnsupportedMediaType("send the body with the 'Content-Encoding' gzip or deflate, or with none"))
        }
    }
}
