//! Bodies that an answer leaves unread: a refusal, or a handler that wants none. An HTTP/1.1 connection cannot go on before
//! the rest of a body, and a caller that is not told so sends its next request into a connection that is about to close: a
//! `POST` that it cannot safely repeat. The end of a connection with unread bytes is a reset, which can overtake the answer.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderValue, Version, header},
    response::Response,
};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

/// More than this is not worth reading for nothing.
const WORTH_READING: u64 = 64 * 1024;

/// How long the rest of such a body may take: what is on its way arrives within that.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a handler leaves of a body.
pub(super) struct Leftover {
    /// None where there is nothing to read, or where a body that is not read does not matter.
    body: Option<Kept>,
    asks_first: bool,
}

impl Leftover {
    /// Keeps the body of a request while a handler reads it.
    pub(super) fn keep(request: Request) -> (Request, Self) {
        let asks_first = request.headers().contains_key(header::EXPECT);
        if request.version() == Version::HTTP_2 || request.body().is_end_stream() {
            return (request, Self { body: None, asks_first });
        }
        let (parts, body) = request.into_parts();
        let body = Kept(Arc::new(Mutex::new(Read { body, ended: false })));
        (Request::from_parts(parts, Body::new(body.clone())), Self { body: Some(body), asks_first })
    }

    /// Reads what was left of a small body, so that the connection goes on; or says that it does not.
    pub(super) async fn read_rest(self, response: &mut Response) {
        let Some(body) = self.body else { return };
        if body.is_end_stream() {
            return;
        }
        // Who asks first sends nothing unless it is read for.
        let rest = async { !self.asks_first && body.drained().await };
        if !tokio::time::timeout(PATIENCE, rest).await.unwrap_or(false) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// A body that stays here while a handler reads it.
#[derive(Debug, Clone)]
struct Kept(Arc<Mutex<Read>>);

#[derive(Debug)]
struct Read {
    body: Body,
    /// A chunked body does not tell its end before it is asked for more.
    ended: bool,
}

impl Kept {
    fn locked(&self) -> MutexGuard<'_, Read> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the rest was little enough to be read.
    async fn drained(mut self) -> bool {
        if self.size_hint().lower() > WORTH_READING {
            return false;
        }
        let mut read = 0;
        while read <= WORTH_READING {
            match self.frame().await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
            }
        }
        false
    }
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut read = self.locked();
        let frame = Pin::new(&mut read.body).poll_frame(cx);
        read.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        let read = self.locked();
        read.ended || read.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.locked().body.size_hint()
    }
}
