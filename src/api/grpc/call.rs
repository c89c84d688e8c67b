//! A call of one message and its answer, also of one. tonic would do this with room of its own that nobody counts, and copy
//! each message once more: what is read here passes the limits of every other body.

use std::{future::ready, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, Version, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;

use super::{
    frame::{self, Frame},
    frugal, status,
};
use crate::{
    api::{
        context::Context,
        decompress::{Coding, decompress},
        extract::receive,
        room::Room,
        state::ApiState,
    },
    error::Error,
    telemetry::labels::Stage,
};

/// The media type of calls and answers.
pub(in crate::api) const MEDIA_TYPE: &str = "application/grpc";

/// How a caller's messages are compressed.
const GRPC_ENCODING: &str = "grpc-encoding";

/// Whether a request is a call, and so its failure is told as a status of gRPC.
pub(in crate::api) fn is_call<B>(request: &axum::http::Request<B>) -> bool {
    request.version() == Version::HTTP_2 && check_media_type(request.headers()).is_ok()
}

/// The bytes of a call's message, and the room that they take for as long as this is held.
#[derive(Debug)]
pub(in crate::api) struct Received {
    pub message: Bytes,
    pub room: Room,
}

impl FromRequest<ApiState> for Received {
    type Rejection = Error;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Error> {
        let context = Arc::clone(Context::of(request.extensions())?);
        let _watch = context.record.watch(Stage::Decode);
        check(&request)?;
        let coding = coding(request.headers())?;
        let (body, room) = receive(request, state, &context).await?;
        let Frame { message, compressed } = frame::read(body.into())?;
        match (compressed, coding) {
            (false, _) => Ok(Self { message, room }),
            (true, None) => Err(frame::broken("the message is compressed, and 'grpc-encoding' does not say how")),
            (true, Some(coding)) => {
                let limit = state.server.body_limit.as_u64();
                // The room goes with the work: that goes on when the caller has left.
                let deadline = context.deadline;
                let work = tokio::task::spawn_blocking(move || decompress(coding, &message, limit, deadline, room));
                let (message, room) = work.await.map_err(Error::internal)??;
                Ok(Self { message: message.into(), room })
            }
        }
    }
}

/// A call's message.
#[derive(Debug)]
pub(in crate::api) struct Call<T>(pub T);

impl<T: Message + Default> FromRequest<ApiState> for Call<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Error> {
        let Received { message, room: _room } = Received::from_request(request, state).await?;
        frugal::look_flat(&message)?;
        T::decode(message).map(Self).map_err(|error| unreadable(&error))
    }
}

/// The message of a method that anyone may call: a short one, read without the room that is for those with keys.
#[derive(Debug)]
pub(in crate::api) struct Question<T>(pub T);

/// The name of a service, if anything.
const MOST_QUESTION_BYTES: usize = 1024;

impl<T: Message + Default> FromRequest<ApiState> for Question<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Error> {
        check(&request)?;
        let reading = Limited::new(request.into_body(), MOST_QUESTION_BYTES).collect();
        let limit = state.server.body_timeout;
        let read = tokio::time::timeout(limit, reading).await.map_err(|_elapsed| Error::RequestTimeout { limit })?;
        let body = read.map_err(|error| match error.is::<LengthLimitError>() {
            true => Error::PayloadTooLarge { limit: MOST_QUESTION_BYTES as u64 },
            false => frame::broken("the call broke off before it was complete"),
        })?;
        match frame::read(body.to_bytes())? {
            Frame { message, compressed: false } => T::decode(message).map(Self).map_err(|error| unreadable(&error)),
            Frame { .. } => Err(Error::UnsupportedMediaType("this method takes messages that are not compressed")),
        }
    }
}

/// What protobuf says of a message that is none; it names fields, and nothing that a caller wrote.
pub(super) fn unreadable(error: &prost::DecodeError) -> Error {
    Error::malformed("", "malformed_message", error.to_string())
}

/// A short answer.
#[derive(Debug)]
pub(in crate::api) struct Answer<T>(pub T);

impl<T: Message> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let mut body = frame::begin(self.0.encoded_len());
        let written = self.0.encode(&mut body).map_err(Error::internal).and_then(|()| frame::finish(&mut body));
        match written {
            Ok(()) => answer(Body::from(body)),
            Err(error) => error.into_response(),
        }
    }
}

/// An answer whose message is framed already.
pub(super) fn answer(body: Body) -> Response {
    let body = body.with_trailers(ready(Some(Ok(status::ok()))));
    streamed(Body::new(body))
}

/// An answer that brings its own trailers.
pub(super) fn streamed(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    // For those of the layers too: growing moves all that are there.
    headers.reserve(12);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

/// Refuses what is no call.
///
/// # Errors
/// `unsupported_media_type`
pub(super) fn check(request: &Request) -> Result<(), Error> {
    check_media_type(request.headers())?;
    match request.version() {
        Version::HTTP_2 => Ok(()),
        _ => Err(Error::UnsupportedMediaType("gRPC is spoken over HTTP/2")),
    }
}

/// Messages in protobuf's own form; not those of gRPC-Web, whose trailers are part of the body.
fn check_media_type(headers: &HeaderMap) -> Result<(), Error> {
    let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    match media_type.strip_prefix(MEDIA_TYPE.as_bytes()) {
        Some(b"" | b"+proto") => Ok(()),
        Some([b';', ..]) => Ok(()),
        _ => Err(Error::UnsupportedMediaType("this path is a method of gRPC: 'Content-Type: application/grpc'")),
    }
}

fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Error> {
    match headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(None),
        Some(b"gzip") => Ok(Some(Coding::Gzip)),
        Some(b"deflate") => Ok(Some(Coding::Deflate)),
        Some(_) => Err(Error::UnsupportedMediaType("send messages with the 'grpc-encoding' gzip or deflate, or none")),
    }
}
