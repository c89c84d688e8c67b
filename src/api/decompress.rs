//! Bodies that come compressed.

use std::{
    io::{self, BufRead, ErrorKind, Read},
    time::Instant,
};

use flate2::bufread::{GzDecoder, ZlibDecoder};

use super::room::Room;
use crate::error::Error;

/// What is read, or written, between two looks at the time.
const PIECE: usize = 64 * 1024;

/// Members of gzip that a body may have whatever is in them, and the bytes that each further one must stand for on average.
/// A member takes microseconds and 20 bytes, so that a body of empty ones takes seconds. Those who write many (`bgzip`)
/// put 64 KiB into each.
const FREE_MEMBERS: usize = 64;
const MIN_MEMBER_BYTES: usize = 4 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Coding {
    Gzip,
    /// In zlib's framing, as HTTP means it.
    Deflate,
}

/// The body as it was before, read in pieces, so that a small one which stands for a large one costs no more than the
/// limit, and nothing after `deadline`.
///
/// # Errors
/// `payload_too_large`, `overloaded`, `deadline_exceeded`; `malformed_request` for what is not compressed as it says.
pub(super) fn decompress(
    coding: Coding,
    body: &[u8],
    limit: u64,
    deadline: Instant,
    mut room: Room,
) -> Result<(Vec<u8>, Room), Error> {
    let mut grow = |bytes: usize| match bytes as u64 > limit {
        true => Err(Error::PayloadTooLarge { limit }),
        // Beside the compressed one, which is held too.
        false => room.grow(body.len() + bytes),
    };
    let mut whole = Vec::new();
    let mut rest = Timed { rest: body, deadline };
    match coding {
        Coding::Deflate => inflate(ZlibDecoder::new(&mut rest), &mut whole, &mut grow)?,
        Coding::Gzip => {
            let mut members = 0;
            while members == 0 || !rest.rest.is_empty() {
                inflate(GzDecoder::new(&mut rest), &mut whole, &mut grow)?;
                members += 1;
                if members > FREE_MEMBERS + whole.len() / MIN_MEMBER_BYTES {
                    return Err(broken("the body has more members of gzip than bytes that are worth them"));
                }
            }
        }
    }
    Ok((whole, room))
}

/// Appends all of one stream to `whole`.
fn inflate(
    mut reader: impl Read,
    whole: &mut Vec<u8>,
    mut grow: impl FnMut(usize) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let read = reader.by_ref().take(PIECE as u64).read_to_end(whole).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Error::DeadlineExceeded,
            _ => broken("the body is not what its 'Content-Encoding' says"),
        })?;
        grow(whole.len())?;
        if read == 0 {
            return Ok(());
        }
    }
}

fn broken(detail: &'static str) -> Error {
    Error::malformed("", "broken_encoding", detail)
}

/// Bytes that are there until the deadline.
struct Timed<'a> {
    rest: &'a [u8],
    deadline: Instant,
}

impl BufRead for Timed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match Instant::now() < self.deadline {
            true => Ok(&self.rest[..self.rest.len().min(PIECE)]),
            false => Err(ErrorKind::TimedOut.into()),
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buf)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn nothing_is_read_after_the_deadline() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"a text").unwrap();
        let body = encoder.finish().unwrap();
        let read = |deadline| {
            let (mut text, mut rest) = (Vec::new(), Timed { rest: &body, deadline });
            inflate(GzDecoder::new(&mut rest), &mut text, |_| Ok(())).map(|()| text)
        };
        let now = Instant::now();
        assert_eq!(read(now + Duration::from_secs(600)).unwrap(), b"a text");
        assert!(matches!(read(now), Err(Error::DeadlineExceeded)));
    }
}
