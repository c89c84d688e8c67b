//! Room for the bytes of requests and answers: what the server holds of both has a bound, and who finds none is refused.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
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

    /// A body that holds this room until its last byte is with the system, or its caller has left.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn answer(mut self, bytes: Vec<u8>) -> Result<Body, Error> {
        self.grow(bytes.len())?;
        Ok(Body::from(Bytes::from_owner(Held { bytes, _room: self })))
    }
}

/// The room goes with the bytes, not with the body: HTTP/2 takes a body out of our hands whole, long before its caller
/// takes it.
struct Held {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
