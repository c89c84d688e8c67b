//! Keys, quotas and who was not let in.

use prometheus::IntCounterVec;

use super::{
    family::{Families, each},
    spread::SpreadVec,
};
use crate::telemetry::labels::{Attempt, AuthRejection, Label};

/// Keys, quotas and who was not let in.
#[derive(Debug)]
pub struct CallerMetrics {
    auth_rejections: SpreadVec<IntCounterVec>,
    rate_limit_rejections: SpreadVec<IntCounterVec>,
    key_requests: SpreadVec<IntCounterVec>,
    keys_loads: SpreadVec<IntCounterVec>,
}

impl CallerMetrics {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        let new = Self {
            auth_rejections: families.counters(
                "auth_rejections_total",
                "Requests that were not let in.",
                &["reason"],
            )?,
            rate_limit_rejections: families.counters(
                "rate_limit_rejections_total",
                "Requests that were refused for being too many.",
                &["plan"],
            )?,
            key_requests: families.counters("api_key_requests_total", "Requests that a key let in.", &["key"])?,
            keys_loads: families.counters("api_keys_loads_total", "Times that the keys file was read.", &["result"])?,
        };
        each::<AuthRejection>(|reason| drop(new.auth_rejections.with_label_values(&[reason])));
        each::<Attempt>(|result| drop(new.keys_loads.with_label_values(&[result])));
        Ok(new)
    }

    /// A caller was not let in.
    pub fn rejected(&self, reason: AuthRejection) {
        self.auth_rejections.here(&[reason.as_str()]).inc();
    }

    /// A key let a request in. `key` is the id of a key that is in the file.
    pub fn let_in(&self, key: &str) {
        self.key_requests.here(&[key]).inc();
    }

    /// Begins the series of a key at zero.
    pub fn expect_key(&self, key: &str) {
        self.key_requests.with_label_values(&[key]);
    }

    /// Ends the series of a key that is not in the file any more.
    pub fn forget_key(&self, key: &str) {
        self.key_requests.remove(&[key]);
    }

    /// The keys file was read.
    pub fn keys_loaded(&self, result: Attempt) {
        self.keys_loads.here(&[result.as_str()]).inc();
    }

    /// A request was too many for its plan, which is one of the configuration or the keys file.
    pub fn limited(&self, plan: &str) {
        self.rate_limit_rejections.here(&[plan]).inc();
    }

    /// Begins the series of a plan at zero.
    pub fn expect_plan(&self, plan: &str) {
        self.rate_limit_rejections.with_label_values(&[plan]);
    }

    /// Ends the series of a plan that is not in the keys file any more.
    pub fn forget_plan(&self, plan: &str) {
        self.rate_limit_rejections.remove(&[plan]);
    }
}
