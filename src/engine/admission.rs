//! Who is not let in to a model's pool, and what they are told.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Model,
    clock::Clock,
    pool::{Admitted, Pool},
    queue::Full,
};
use crate::error::Error;

impl Model {
    /// Lets a request of so many runs in, or says why not.
    pub(super) fn admit(
        &self,
        pool: &Pool,
        runs: usize,
        deadline: Instant,
        clock: &Arc<Clock>,
    ) -> Result<Admitted, Error> {
        pool.admit(runs, deadline, clock).map_err(|Full { retry_after, hasty }| match hasty {
            true => Error::TooHasty { retry_after },
            false => self.overloaded(retry_after),
        })
    }

    pub(super) fn overloaded(&self, retry_after: Duration) -> Error {
        let what = format!("the queue of model '{}'", self.id.name);
        Error::Overloaded { what, retry_after: Some(retry_after) }
    }
}
