//! Room for the bytes of requests and answers: what the server holds of both has a bound, and who finds none is refused.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// All the room that there is, counted in KiB: a semaphore counts no further than 2^29 on small machines.
#[derive(Debug, Clone)]
pub(super) struct Space(Arc<Semaphore>);

/// The part that one request takes, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    space: Space,
    held: OwnedSemaphorePermit,
}

impl Space {
    /// Room for so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let kib = usize::try_from(bytes / 1024).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS))))
    }

    /// The least that a request takes.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn enter(&self) -> Result<Room, Error> {
        Ok(Room { space: self.clone(), held: self.take(1)? })
    }

    fn take(&self, kib: usize) -> Result<OwnedSemaphorePermit, Error> {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let full = |_| Error::Overloaded { what: "the room for requests and answers".to_owned(), retry_after: None };
        Arc::clone(&self.0).try_acquire_many_owned(kib).map_err(full)
    }
}

impl Room {
    /// Takes more, until there is room for `bytes`.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let more = bytes.div_ceil(1024).saturating_sub(self.held.num_permits());
        if more > 0 {
            self.held.merge(self.space.take(more)?);
        }
        Ok(())
    }

    /// A body that holds this room until its caller has taken it, or has left.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn answer(mut self, bytes: Vec<u8>) -> Result<Body, Error> {
        self.grow(bytes.len())?;
        Ok(Body::new(Held { body: Full::from(bytes), _room: self }))
    }
}

struct Held {
    body: Full<Bytes>,
    _room: Room,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
