//! Texts that many answers lend: pages that are built in, and renderings of one moment.

use std::sync::{Arc, OnceLock};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use flate2::Compression;

use super::gzip::gzip;

/// A text, and the same in gzip. Answers hold it where it lies.
#[derive(Debug)]
pub(super) struct SharedText {
    plain: Bytes,
    /// Made for the first caller who wants it; none where it cannot be made.
    gzip: OnceLock<Option<Bytes>>,
    level: Compression,
    /// It stays for as long as the server does, so an answer that nobody takes holds nothing of it.
    pub stays: bool,
}

/// Marks a response whose body is all of a shared text, for those who send it in another coding.
#[derive(Debug, Clone)]
pub(super) struct Lent(pub Arc<SharedText>);

impl SharedText {
    /// One that stays.
    pub(super) fn lasting(text: impl Into<Bytes>) -> Arc<Self> {
        Self::new(text.into(), Compression::default(), true)
    }

    /// One that is soon replaced.
    pub(super) fn passing(text: impl Into<Bytes>) -> Arc<Self> {
        Self::new(text.into(), Compression::fast(), false)
    }

    fn new(plain: Bytes, level: Compression, stays: bool) -> Arc<Self> {
        Arc::new(Self { plain, gzip: OnceLock::new(), level, stays })
    }

    /// An answer with all of it.
    pub(super) fn answer(self: &Arc<Self>, media_type: &'static str) -> Response {
        let mut response = Response::new(Body::from(self.plain.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        response.extensions_mut().insert(Lent(Arc::clone(self)));
        response
    }

    /// In gzip, if it was made already.
    pub(super) fn compressed(&self) -> Option<Bytes> {
        self.gzip.get().cloned().flatten()
    }

    /// In gzip. Takes milliseconds the first time.
    pub(super) fn compress(&self) -> Option<Bytes> {
        self.gzip.get_or_init(|| gzip(&self.plain, self.level).ok().map(Bytes::from)).clone()
    }
}
