//! How this protocol tells failures: a tensor that does not fit is a bad request here, and not an entity that cannot be
//! processed.

use std::sync::Arc;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::Map;

use crate::{
    api::reject::{self, Failure},
    error::{Error, ErrorCode},
};

/// The status of each code under this protocol.
pub(in crate::api) fn status(code: ErrorCode) -> StatusCode {
    if code == ErrorCode::InvalidInput { StatusCode::BAD_REQUEST } else { reject::status(code) }
}

/// A failure of a handler of this protocol.
#[derive(Debug)]
pub(in crate::api) struct Refused(Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = status(self.0.code());
        Failure { error: Arc::new(self.0), members: Map::new(), status: Some(status) }.into_response()
    }
}
