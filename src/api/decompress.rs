//! Bodies that come compressed.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::room::Room;
use crate::error::Error;

/// How a body is compressed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Coding {
    Gzip,
    /// In zlib's framing, as HTTP means it.
    Deflate,
}

/// The body as it was before, read in pieces, so that a small one which stands for a large one costs no more than the
/// limit.
///
/// # Errors
/// `payload_too_large`, `overloaded`; `malformed_request` for what is not compressed as it says.
pub(super) fn decompress(coding: Coding, body: &[u8], limit: u64, mut room: Room) -> Result<(Vec<u8>, Room), Error> {
    const PIECE: u64 = 64 * 1024;
    let mut reader: Box<dyn Read + '_> = match coding {
        Coding::Gzip => Box::new(MultiGzDecoder::new(body)),
        Coding::Deflate => Box::new(ZlibDecoder::new(body)),
    };
    let mut whole = Vec::new();
    loop {
        let broken = |_| Error::malformed("", "broken_encoding", "the body is not what its 'Content-Encoding' says");
        let read = reader.by_ref().take(PIECE).read_to_end(&mut whole).map_err(broken)?;
        if whole.len() as u64 > limit {
            return Err(Error::PayloadTooLarge { limit });
        }
        // Beside the compressed one, which is held too.
        room.grow(body.len() + whole.len())?;
        if read == 0 {
            return Ok((whole, room));
        }
    }
}
