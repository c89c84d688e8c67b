//! How requests for a version ended.

use prometheus::IntCounter;

use super::spread::Spread;
use crate::{
    error::ErrorCode,
    telemetry::labels::{Label, Source},
};

/// How requests for one version ended.
#[derive(Debug, Clone)]
pub struct Outcomes {
    pub(super) ok: Vec<Spread<IntCounter>>,
    pub(super) failed: Vec<(ErrorCode, Spread<IntCounter>)>,
}

/// How a request that reached the predictor can fail. What is refused before that names no model that is known to exist.
pub(super) const FAILURES: [ErrorCode; 11] = [
    ErrorCode::MalformedRequest,
    ErrorCode::InvalidInput,
    ErrorCode::RateLimited,
    ErrorCode::ModelNotFound,
    ErrorCode::ModelNotReady,
    ErrorCode::Overloaded,
    ErrorCode::DependencyUnavailable,
    ErrorCode::DeadlineExceeded,
    ErrorCode::NotCached,
    ErrorCode::CallerLeft,
    ErrorCode::Internal,
];

impl Outcomes {
    /// So many items were predicted.
    pub fn predicted(&self, source: Source, items: usize) {
        let index = Source::ALL.iter().position(|other| *other == source);
        if let Some(counter) = index.and_then(|index| self.ok.get(index)) {
            counter.here().inc_by(items as u64);
        }
    }

    /// So many items were refused.
    pub fn failed(&self, code: ErrorCode, items: usize) {
        if let Some((_, counter)) = self.failed.iter().find(|(other, _)| *other == code) {
            counter.here().inc_by(items as u64);
        }
    }
}
