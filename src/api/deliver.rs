//! How an answer leaves: coded as its caller likes it, and charged to its address for as long as it waits to be taken. One
//! address can open hundreds of streams and read none of them.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::body::{Frame, SizeHint};

use super::{
    context::Context,
    encodings::{Encoding, Encodings},
    grpc,
    gzip::Gzip,
    health::Operator,
    ledger::{Ledger, Share},
    reject,
    shared_text::Lent,
    state::ApiState,
};
use crate::error::Error;

/// Answers in bytes that wait to be taken: of all addresses, and of one. Those of predictions and of the history have the
/// room of `server.bodies_limit`.
const MAX_UNREAD: u64 = 64 * 1024 * 1024;
const MAX_UNREAD_PER_ADDRESS: u64 = 16 * 1024 * 1024;

/// Answers up to this size are no larger than what a request takes anyway.
const SMALL: u64 = 4 * 1024;

/// What answers hold that wait to be taken.
#[derive(Debug)]
pub(super) struct Unread {
    callers: Arc<Ledger>,
    /// Apart, so that callers do not take the place of those who look after the server.
    operators: Arc<Ledger>,
}

impl Unread {
    pub(super) fn new() -> Self {
        let ledger = || Ledger::new(MAX_UNREAD, MAX_UNREAD_PER_ADDRESS);
        Self { callers: ledger(), operators: ledger() }
    }
}

/// What a request says of its answer. Read before the request is given away.
pub(super) struct Delivery {
    /// None for calls of gRPC: their messages are compressed one by one, or not at all.
    encodings: Option<Encodings>,
    charged: bool,
    operator: bool,
}

impl Delivery {
    pub(super) fn of(request: &Request, context: &Context) -> Self {
        let is_grpc = context.failures == grpc::MEDIA_TYPE;
        let method = request.method();
        let reads = [Method::GET, Method::HEAD].contains(method);
        Self {
            encodings: (!is_grpc).then(|| Encodings::of(request.headers())),
            charged: reads && !has_room(request),
            operator: request.extensions().get::<Operator>().is_some(),
        }
    }

    /// The response as it leaves, or a refusal.
    pub(super) async fn deliver(self, state: &ApiState, context: &Context, response: Response) -> Response {
        let Some(encodings) = &self.encodings else { return response };
        let size = response.body().size_hint().exact();
        let response = self.encode(state, encodings, response).await;
        if !self.charged || size.is_none_or(|size| size <= SMALL) {
            return response;
        }
        match self.charge(state, context.client, size, response) {
            Ok(response) => response,
            Err(error) => reject::render(&context.id, context.failures, error.into_response()),
        }
    }

    /// Compresses an answer that is worth it, fast rather than small: the processor is the models'.
    async fn encode(&self, state: &ApiState, encodings: &Encodings, mut response: Response) -> Response {
        let large = state.browsers.is_large(response.body().size_hint().exact()) && !is_coded(response.headers());
        if !large && !encodings.may_refuse() {
            return response;
        }
        let best = encodings.best();
        if large || best.is_none() {
            vary(response.headers_mut());
        }
        match best {
            None => *response.status_mut() = StatusCode::NOT_ACCEPTABLE,
            Some(Encoding::Gzip) if large => return gzip(state, response).await,
            Some(_) => {}
        }
        response
    }

    /// Charges the answer to its address until the last byte is with the system. Texts that stay are not charged: an
    /// answer holds nothing of them.
    fn charge(
        &self,
        state: &ApiState,
        client: Option<IpAddr>,
        before: Option<u64>,
        response: Response,
    ) -> Result<Response, Error> {
        if response.extensions().get::<Lent>().is_some_and(|Lent(text)| text.stays) {
            return Ok(response);
        }
        let ledger = if self.operator { &state.unread.operators } else { &state.unread.callers };
        let amount = response.body().size_hint().exact().or(before).unwrap_or_default();
        let share = ledger.take(client, amount).ok_or_else(|| Error::Overloaded {
            what: "the room for answers that wait to be taken".to_owned(),
            retry_after: None,
        })?;
        Ok(response.map(|body| held(body, share)))
    }
}

/// Whether answers to this request hold room by themselves.
fn has_room(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    path == "/v1/predictions"
}

/// Answers that are coded already, and parts of answers, stay as they are.
fn is_coded(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_ENCODING) || headers.contains_key(header::CONTENT_RANGE)
}

/// Tells caches what the answer depends on.
pub(super) fn vary(headers: &mut HeaderMap) {
    let told = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let known = told.flat_map(|list| list.split(',')).any(|name| name.trim().eq_ignore_ascii_case("accept-encoding"));
    if !known {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// The same in gzip. An answer to `HEAD` has its body here too: the framework takes it away, and tells its length.
async fn gzip(state: &ApiState, response: Response) -> Response {
    let lent = response.extensions().get::<Lent>().cloned();
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::ACCEPT_RANGES);
    let shared = match &lent {
        Some(lent) => compressed(state, lent).await,
        None => None,
    };
    Response::from_parts(parts, shared.map_or_else(|| Body::new(Gzip::new(body)), Body::from))
}

/// A shared text in gzip, made away from the async threads for the first caller who wants it.
async fn compressed(state: &ApiState, Lent(text): &Lent) -> Option<Bytes> {
    if let Some(made) = text.compressed() {
        return Some(made);
    }
    let renderer = &state.renderings.renderer;
    let turn = renderer.turn().await.ok()?;
    if let Some(made) = text.compressed() {
        return Some(made);
    }
    let text = Arc::clone(text);
    renderer.run(turn, move || text.compress()).await.ok().flatten()
}

/// The same body. Its bytes hold `share`, as HTTP/2 takes them out of the body long before its caller takes them.
pub(super) fn held(body: Body, share: Share) -> Body {
    Body::new(Held { body, share: Arc::new(share) })
}

struct Held {
    body: Body,
    share: Arc<Share>,
}

struct HeldBytes {
    bytes: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(task);
        let hold = |bytes| Bytes::from_owner(HeldBytes { bytes, _share: Arc::clone(&self.share) });
        frame.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(hold))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
