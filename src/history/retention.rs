//! Deletes what is too old, or too much, in steps that nobody has to wait for.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::sleep;

use super::{query::Filter, store::Store, trouble::Trouble, writer::Writer};
use crate::config::HistoryConfig;

/// Between two sweeps.
const INTERVAL: Duration = Duration::from_secs(60);

/// Between two looks whether the database is there.
const LOOK: Duration = Duration::from_secs(1);

/// Between two deletes: the writer, and other servers, come first.
const BREATH: Duration = Duration::from_millis(20);

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    age: Option<Duration>,
    rows: u64,
}

impl Retention {
    pub(super) const fn new(config: &HistoryConfig) -> Self {
        Self { age: config.retain_for, rows: config.retain_rows }
    }

    /// Looks again and again.
    pub(super) async fn keep(self, writer: Arc<Writer>) {
        loop {
            // Who is away, or is catching up, is left alone.
            while !writer.spool.is_direct() {
                sleep(LOOK).await;
            }
            if let Err(trouble) = self.sweep(&writer.store).await {
                tracing::warn!(reason = %trouble, "old rows of the history were not deleted");
            }
            sleep(INTERVAL).await;
        }
    }

    async fn sweep(self, store: &Store) -> Result<(), Trouble> {
        let mut deleted = 0;
        if let Some(age) = self.age {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let end = i64::try_from(now.saturating_sub(age).as_millis()).unwrap_or(i64::MAX);
            deleted += delete_all(store, Filter { until: Some(end), ..Filter::default() }).await?;
        }
        if let Some(excess) = self.excess(store).await?
            && let Some(first_kept) = store.id_after(excess).await?
        {
            // A place in the order, not a number: several servers that do this at once delete the same rows.
            deleted += delete_all(store, Filter { before: Some(first_kept), ..Filter::default() }).await?;
        }
        if deleted > 0 {
            tracing::info!(rows = deleted, "old rows of the history were deleted");
        }
        Ok(())
    }

    /// How many rows are too many, if any are.
    async fn excess(self, store: &Store) -> Result<Option<i64>, Trouble> {
        let most = i64::try_from(self.rows).unwrap_or(i64::MAX);
        if most == 0 {
            return Ok(None);
        }
        Ok(Some(store.count().await? - most).filter(|excess| *excess > 0))
    }
}

/// Deletes all rows that fit, and returns how many these were.
async fn delete_all(store: &Store, filter: Filter) -> Result<u64, Trouble> {
    let mut all = 0;
    loop {
        let deleted = store.delete_some(filter.clone()).await?;
        all += deleted;
        if deleted == 0 {
            return Ok(all);
        }
        sleep(BREATH).await;
    }
}
