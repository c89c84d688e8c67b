//! How this protocol tells failures: a tensor that does not fit is a bad request here, and not an entity that cannot be
//! processed.

use std::sync::Arc;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::Map;

use crate::{
    api::reject::Failure,
    error::{Error, ErrorCode},
};

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
        let status = (self.0.code() == ErrorCode::InvalidInput).then_some(StatusCode::BAD_REQUEST);
        Failure { error: Arc::new(self.0), members: Map::new(), status }.into_response()
    }
}
