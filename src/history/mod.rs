//! What was predicted, kept in a database to be looked up: who asked which version, what it answered, how long it took.
//!
//! A prediction never waits for it. Requests leave what they know in a queue in memory ([`History::tell`]); a task in the
//! background writes rows in batches; and what the database does not take at the moment goes to a spool on disk, from
//! which it is written, in order and exactly once, when the database is back.

mod answered;
mod condition;
mod fault;
mod files;
mod migrations;
mod page;
mod postgres;
mod query;
mod queue;
mod replay;
mod retention;
mod row;
mod rows;
mod spool;
mod sqlite;
mod store;
mod told;
mod trouble;
mod work;
mod writer;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

pub use self::{
    answered::{Answered, AnsweredItem, Asker},
    fault::Fault,
    page::Page,
    query::{Filter, Window},
    row::Row,
    store::Store,
    told::Told,
    trouble::Trouble,
};
use self::{
    retention::Retention,
    writer::{Asked, Writer},
};
use crate::{config::HistoryConfig, lifecycle::Lifecycle, telemetry::metrics::Metrics};

/// Who may wait at the same time for the queue to be emptied.
const MOST_ASKS: usize = 64;

/// Between two looks whether the spool is empty.
const LOOK: Duration = Duration::from_millis(20);

/// What was predicted.
#[derive(Debug)]
pub struct History {
    writer: Arc<Writer>,
    metrics: Arc<Metrics>,
    retention: Retention,
    store_inputs: bool,
    asks: mpsc::Sender<Asked>,
    /// Until the writer is started.
    asked: Mutex<Option<mpsc::Receiver<Asked>>>,
}

impl History {
    /// A history that is not yet connected to anything, see [`start`](Self::start); none when it is off.
    ///
    /// # Errors
    /// When the database's URL is none.
    pub fn new(config: &HistoryConfig, metrics: Arc<Metrics>) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(store) = Store::new(config)? else { return Ok(None) };
        let (asks, asked) = mpsc::channel(MOST_ASKS);
        // Until it was asked for the first time.
        metrics.history.database_away(true);
        Ok(Some(Arc::new(Self {
            writer: Arc::new(Writer::new(config, store, Arc::clone(&metrics))),
            metrics,
            retention: Retention::new(config),
            store_inputs: config.store_inputs,
            asks,
            asked: Mutex::new(Some(asked)),
        })))
    }

    /// Begins what goes on in the background.
    pub fn start(&self, lifecycle: &Lifecycle) {
        let Some(asked) = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        lifecycle.spawn(Arc::clone(&self.writer).write(asked));
        lifecycle.spawn(Arc::clone(&self.writer).replay());
        lifecycle.spawn(Arc::clone(&self.writer).sync());
        lifecycle.spawn(Arc::clone(&self.writer).look_aside());
        lifecycle.spawn(self.retention.keep(Arc::clone(&self.writer)));
    }

    /// Whether rows hold what was sent.
    pub const fn stores_inputs(&self) -> bool {
        self.store_inputs
    }

    /// Keeps what a request was answered. Returns at once, whatever the database does; what finds no room is lost and
    /// counted.
    pub fn tell(&self, answered: Answered) {
        let rows = answered.items.len();
        if !self.writer.queue.push(answered) {
            self.writer.lost(rows, "the queue is full");
        }
    }

    /// Waits until all that was told so far is in the database or, synced, in the spool. Returns whether it is.
    pub async fn flush(&self, limit: Duration) -> bool {
        let (asked, done) = oneshot::channel();
        let flushed = async { self.asks.send(asked).await.is_ok() && done.await.is_ok() };
        timeout(limit, flushed).await.unwrap_or(false)
    }

    /// The end: what was told is kept, and the database is let go.
    pub async fn close(&self, limit: Duration) {
        if !self.flush(limit).await {
            tracing::warn!(rows = self.writer.queue.rows(), "the last rows of the history were not written");
        }
        self.writer.store.close().await;
    }

    /// What is out of order, for a probe. The names of files are for operators only.
    pub fn faults(&self, is_operator: bool) -> Vec<Fault> {
        let Writer { condition, spool, store, .. } = &*self.writer;
        let (aside, unreadable) = spool.waiting();
        let faults = [
            condition.trouble().map(Fault::away),
            condition.losing().map(|reason| Fault::losing(&reason)),
            store.was_replaced().then(Fault::replaced),
            (unreadable > 0).then(|| Fault::unreadable(unreadable)),
            (aside.files > 0).then(|| Fault::damaged(&aside, is_operator)),
        ];
        faults.into_iter().flatten().collect()
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        let (spooled, bytes, oldest) = self.writer.spool.size();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = oldest.map(|oldest| now.saturating_sub(Duration::from_millis(oldest.max(0).cast_unsigned())));
        let waiting = self.writer.queue.rows() as u64;
        self.metrics.history.pending(waiting + spooled, bytes, age.unwrap_or_default());
        let (aside, unreadable) = self.writer.spool.waiting();
        self.metrics.history.damaged(aside.files + unreadable);
        self.metrics.history.losing_rows(self.writer.condition.losing().is_some());
    }

    /// One page of the rows that fit. What was predicted within the last `history.flush_interval` may not be there yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn page(&self, filter: Filter, window: Window) -> Result<Page, Trouble> {
        self.writer.store.page(filter, window).await
    }

    /// The row with this id, or that of the request with this id, if it had one item only.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(&self, id: &str, key_id: Option<String>) -> Result<Option<Row>, Trouble> {
        let newest = Window { rows: 1, oldest_first: false };
        let of_key = Filter { key_id, ..Filter::default() };
        if let Ok(id) = id.parse() {
            let page = self.page(Filter { id: Some(id), ..of_key.clone() }, newest).await?;
            if let Some(row) = page.rows.into_iter().next() {
                return Ok(Some(row));
            }
        }
        let request = Filter { request_id: Some(id.to_owned()), single: true, ..of_key };
        Ok(self.page(request, newest).await?.rows.into_iter().next())
    }

    /// Deletes all rows that fit, also those that this server has not written yet, and tells how many these were. When it
    /// is given up, what was deleted stays so.
    ///
    /// # Errors
    /// When the database does not do it, or rows still lie in the spool.
    pub async fn forget(&self, filter: Filter) -> Result<u64, Trouble> {
        // They would come back otherwise.
        self.flush(Duration::MAX).await;
        while self.writer.spool.size().0 > 0 {
            if let Some(trouble) = self.writer.condition.trouble() {
                return Err(trouble);
            }
            if self.writer.spool.waiting().1 > 0 {
                return Err(Trouble::SpoolUnreadable);
            }
            sleep(LOOK).await;
        }
        let mut all = 0;
        loop {
            let deleted = self.writer.store.delete_some(filter.clone()).await?;
            all += deleted;
            if deleted == 0 {
                break;
            }
        }
        let damaged = self.writer.spool.waiting().0.files;
        if damaged > 0 {
            tracing::warn!(damaged, "rows were deleted on request; damaged parts of the spool may hold such rows too");
        }
        Ok(all)
    }
}
