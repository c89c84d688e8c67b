//! How gRPC marks where a message ends: a byte that says whether it is compressed, and its length in 4 bytes, before it.

use bytes::Bytes;

use crate::error::Error;

/// What stands before a message.
const PREFIX: usize = 5;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub message: Bytes,
    pub compressed: bool,
}

/// The only message of a body. Nothing is allocated by a length that is merely claimed: bytes are there, or there is an
/// error.
///
/// # Errors
/// `malformed_request`
pub(super) fn read(body: Bytes) -> Result<Frame, Error> {
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk::<PREFIX>() else {
        return Err(broken("the call ends before its message has begun"));
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    if flag > 1 {
        return Err(broken("the byte before a message's length is 0, or 1 for a message that is compressed"));
    }
    if usize::try_from(length) != Ok(rest.len()) {
        let detail = format!("the message has {length} bytes by its own words, and {} came: send one", rest.len());
        return Err(broken(detail));
    }
    Ok(Frame { message: body.slice(PREFIX..), compressed: flag == 1 })
}

/// What is no message, or not one.
pub(super) fn broken(detail: impl Into<String>) -> Error {
    Error::malformed("", "malformed_message", detail)
}

/// The begin of a body with a message of some `bytes`, which is to be appended.
pub(super) fn begin(bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(PREFIX + bytes);
    body.extend_from_slice(&[0; PREFIX]);
    body
}

/// Says how long the message is that was appended.
///
/// # Errors
/// `internal` for a message of more than 4 GiB.
pub(super) fn finish(body: &mut [u8]) -> Result<(), Error> {
    let (Some(length), Some(place)) = (body.len().checked_sub(PREFIX), body.get_mut(1..PREFIX)) else {
        return Err(Error::internal(anyhow::anyhow!("an answer was not begun")));
    };
    let length = u32::try_from(length).map_err(|_| Error::internal(anyhow::anyhow!("an answer is too large")))?;
    place.copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_message_and_nothing_else() {
        let mut body = begin(3);
        body.extend_from_slice(b"abc");
        finish(&mut body).unwrap();
        assert_eq!(read(body.clone().into()).unwrap(), Frame { message: Bytes::from("abc"), compressed: false });
        body[0] = 1;
        assert!(read(body.clone().into()).unwrap().compressed);
        for broken in [
            &[][..],
            &[0, 0, 0, 0],
            &[2, 0, 0, 0, 0],
            &[0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0],
            &[0, 255, 255, 255, 255, 1],
            &[0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0],
        ] {
            assert!(read(Bytes::copy_from_slice(broken)).is_err(), "{broken:?}");
        }
    }
}
