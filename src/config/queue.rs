//! `[queue]`: the way from API servers to model workers.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

use super::{
    rules::{problem, within_a_minute},
    values,
};

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, in one process.
    All,
    /// It answers callers, and has model workers run what is not known.
    Api,
}

/// `[queue]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
#[validate(schema(function = "beats_often_enough"))]
pub struct QueueConfig {
    /// The longest that Redis may take for a command of the queue.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_minute"))]
    pub timeout: Duration,
    /// Requests that may wait and run per version, in the whole fleet.
    #[validate(range(min = 1, max = 1_000_000))]
    pub capacity: usize,
    /// How often a worker tells that it lives, and an API server looks who does.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_minute"))]
    pub heartbeat: Duration,
    /// When other workers take over what a silent one holds.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_minute"))]
    pub claim_after: Duration,
    /// How often an entry is given to a worker before it is given up.
    #[validate(range(min = 2, max = 100))]
    pub max_deliveries: u64,
    /// Entries that were given up, and are kept to be looked at.
    #[validate(range(min = 1, max = 1_000_000))]
    pub dead_letters: usize,
    /// Where a worker answers probes and scrapers.
    #[serde(deserialize_with = "values::address")]
    pub worker_listen: SocketAddr,
}

/// A worker renews what it holds twice per heartbeat at least, and must not be taken for dead in between.
fn beats_often_enough(queue: &QueueConfig) -> Result<(), ValidationError> {
    if queue.claim_after >= queue.heartbeat * 2 {
        return Ok(());
    }
    let mut error = problem("must be twice queue.heartbeat at least");
    error.add_param("key".into(), &"queue.claim_after");
    Err(error)
}
