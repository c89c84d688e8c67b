//! A body whose bytes lie in several places, and are sent from there.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::room::Room;
use crate::{error::Error, predict::LentTensor};

/// What is written and what is lent, in the order in which it is sent.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    before: Vec<Piece>,
    last: Vec<u8>,
}

#[derive(Debug)]
enum Piece {
    Own(Vec<u8>),
    Lent(LentTensor),
}

impl From<Vec<u8>> for Pieces {
    fn from(bytes: Vec<u8>) -> Self {
        Self { before: Vec::new(), last: bytes }
    }
}

impl Pieces {
    /// Bytes in all.
    pub(super) fn len(&self) -> usize {
        self.before.iter().map(|piece| piece.as_ref().len()).sum::<usize>() + self.last.len()
    }

    /// Where to append.
    pub(super) const fn own(&mut self) -> &mut Vec<u8> {
        &mut self.last
    }

    /// Appends `tensor` without copying it.
    pub(super) fn lend(&mut self, tensor: LentTensor) {
        let written = std::mem::take(&mut self.last);
        self.before.extend([Piece::Own(written), Piece::Lent(tensor)]);
    }

    /// A body of it, which holds `room` until its last byte is with the system, or its caller has left.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn answer(self, mut room: Room) -> Result<Body, Error> {
        if self.before.is_empty() {
            return room.answer(self.last);
        }
        room.fit(self.len())?;
        let room = Arc::new(room);
        let pieces = self.before.into_iter().chain([Piece::Own(self.last)]);
        let pieces = pieces.filter(|piece| !piece.as_ref().is_empty());
        Ok(Body::new(InOrder(pieces.map(|piece| room.hold(piece)).collect())))
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Lent(tensor) => tensor.as_ref(),
        }
    }
}

struct InOrder(VecDeque<Bytes>);

impl HttpBody for InOrder {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|bytes| bytes.len() as u64).sum())
    }
}
