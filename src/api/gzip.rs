//! Answers in gzip. No encoder lives as long as an answer does: an encoder takes hundreds of KiB, and an answer can wait half
//! a minute for its caller.

use std::{
    cell::RefCell,
    io::{self, Write},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, write::GzEncoder};
use hyper::body::Frame;

/// The part of an answer that is compressed at once.
const PIECE: usize = 64 * 1024;

/// A header without a name, a time or a system (RFC 1952).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty last block (RFC 1951).
const LAST_BLOCK: [u8; 2] = [3, 0];

thread_local! {
    /// One per thread. Each piece begins anew, so nothing of an answer is left in it.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// The whole of `text`.
///
/// # Errors
/// None that a memory buffer has.
pub(super) fn gzip(text: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), level);
    encoder.write_all(text)?;
    encoder.finish()
}

/// A body that is compressed piece by piece, whenever its caller takes the next one.
pub(super) struct Gzip {
    body: Body,
    /// The part of the last frame that is not compressed yet.
    rest: Bytes,
    crc: Crc,
    header: &'static [u8],
    ended: bool,
}

impl Gzip {
    /// The same in gzip. Trailers are left out.
    pub(super) fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new(), crc: Crc::new(), header: &HEADER, ended: false }
    }

    /// The next piece. Several pieces are one stream, because each ends on a whole byte and is not the last block.
    fn piece(&mut self) -> io::Result<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.crc.update(&piece);
        let mut text = mem::take(&mut self.header).to_vec();
        DEFLATE.with_borrow_mut(|deflate| {
            deflate.reset();
            loop {
                text.reserve(piece.len() / 2 + 64);
                let read = usize::try_from(deflate.total_in()).unwrap_or(piece.len());
                deflate.compress_vec(&piece[read..], &mut text, FlushCompress::Sync)?;
                if deflate.total_in() == piece.len() as u64 && text.len() < text.capacity() {
                    return io::Result::Ok(());
                }
            }
        })?;
        Ok(Bytes::from_owner(Compressed { text, _of: piece }))
    }

    fn end(&mut self) -> Bytes {
        self.ended = true;
        let header = mem::take(&mut self.header);
        [header, &LAST_BLOCK, &self.crc.sum().to_le_bytes(), &self.crc.amount().to_le_bytes()].concat().into()
    }
}

/// A compressed piece. It keeps what it was made of, which may hold room until the caller has the answer.
struct Compressed {
    text: Vec<u8>,
    _of: Bytes,
}

impl AsRef<[u8]> for Compressed {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl HttpBody for Gzip {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.rest.is_empty() {
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(Some(Ok(Frame::data(self.end())))),
            }
        }
        Poll::Ready(Some(self.piece().map(Frame::data).map_err(axum::Error::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::bufread::GzDecoder;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn pieces_are_one_member() {
        let hard: Vec<u8> = (0..3 * PIECE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for text in [Vec::new(), b"a".to_vec(), vec![b'a'; PIECE], hard[..PIECE + 1].to_vec(), hard] {
            let bytes = Gzip::new(Body::from(text.clone())).collect().await.unwrap().to_bytes();
            let mut decoder = GzDecoder::new(&bytes[..]);
            let mut read = Vec::new();
            decoder.read_to_end(&mut read).unwrap();
            assert!(read == text, "{} bytes", text.len());
            assert!(decoder.into_inner().is_empty(), "a second member");
        }
    }
}
