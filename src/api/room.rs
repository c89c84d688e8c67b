//! Room for the bytes of requests and answers: what the server holds of both has a bound, and who finds none is refused.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::body::Body;
use bytes::Bytes;

use super::state::ApiState;
use crate::error::Error;

/// The room that is left, in KiB.
#[derive(Debug)]
pub(super) struct Space(AtomicU64);

/// The part that one request takes, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    state: ApiState,
    kib: u64,
}

impl Space {
    /// Room for so many bytes.
    pub(super) const fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes / 1024))
    }

    fn take(&self, kib: u64) -> Result<(), Error> {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(kib));
        let full = |_| Error::Overloaded { what: "the room for requests and answers".to_owned(), retry_after: None };
        taken.map(drop).map_err(full)
    }
}

impl Room {
    /// The least that a request takes.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn enter(state: &ApiState) -> Result<Self, Error> {
        state.space.take(1)?;
        Ok(Self { state: state.clone(), kib: 1 })
    }

    /// Takes more, until there is room for `bytes`.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let more = (bytes as u64).div_ceil(1024).saturating_sub(self.kib);
        if more > 0 {
            self.state.space.take(more)?;
            self.kib += more;
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

    /// `bytes` that hold a share of this room, like the body of [`answer`](Self::answer).
    pub(super) fn hold(self: &Arc<Self>, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Held { bytes, _room: Arc::clone(self) })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.state.space.0.fetch_add(self.kib, Ordering::Relaxed);
    }
}

/// The room goes with the bytes, not with the body: HTTP/2 takes a body out of our hands whole, long before its caller
/// takes it.
struct Held<T, R> {
    bytes: T,
    _room: R,
}

impl<T: AsRef<[u8]>, R> AsRef<[u8]> for Held<T, R> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}
