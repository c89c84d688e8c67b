//! `Inference-Header-Content-Length`: where the JSON of a body ends, and its binary part begins.

use axum::http::{HeaderMap, HeaderName};

use crate::error::Error;

/// Stands in requests and answers that have a binary part.
pub(super) const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// How a body is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Division {
    /// All of it is JSON.
    Json,
    /// So many bytes are, and the rest is tensors.
    Binary(usize),
    /// All of it is the only input.
    Raw,
}

impl Division {
    /// What a request's headers say.
    ///
    /// # Errors
    /// `malformed_request` for what is no length.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let mut values = headers.get_all(JSON_LENGTH).iter();
        let Some(value) = values.next() else { return Ok(Self::Json) };
        let length = value.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|_| values.next().is_none());
        match length {
            Some(0) => Ok(Self::Raw),
            Some(length) => Ok(Self::Binary(length)),
            None => {
                Err(fault("the header 'Inference-Header-Content-Length' is the length of the body's JSON in bytes"))
            }
        }
    }

    /// The JSON and the tensors of a body.
    ///
    /// # Errors
    /// `malformed_request` for a JSON that would be longer than the body.
    pub(super) fn split(self, body: &[u8]) -> Result<(&[u8], &[u8]), Error> {
        match self {
            Self::Json => Ok((body, &[])),
            Self::Raw => Ok((&[], body)),
            Self::Binary(length) => body.split_at_checked(length).ok_or_else(|| {
                let detail =
                    format!("'Inference-Header-Content-Length' is {length}, and the body has {} bytes", body.len());
                fault(detail)
            }),
        }
    }
}

fn fault(detail: impl Into<String>) -> Error {
    Error::malformed("", "invalid_header", detail)
}
