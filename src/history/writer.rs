//! What takes rows from the queue to the database, or to the spool and from there to the database.
//!
//! One task takes what waits every quarter of `history.flush_interval` and tries the database; what is not written when the
//! oldest of it has waited for three quarters goes to the spool. From then on all rows go there, until another task, which
//! tries the database again and again, has written everything that lies there, in its order. A third one syncs the spool.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{
    condition::Condition,
    queue::Queue,
    rows::Rows,
    spool::Spool,
    store::Store,
    trouble::{NotWritten, Trouble},
    work::Work,
};
use crate::{
    config::HistoryConfig,
    telemetry::{labels::HistoryRows, metrics::Metrics},
};

/// Between two lines that say the same.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Where rows are on their way to.
#[derive(Debug)]
pub(super) struct Writer {
    pub queue: Queue,
    pub store: Store,
    pub spool: Arc<Spool>,
    pub metrics: Arc<Metrics>,
    pub migrate: bool,
    flush_interval: Duration,
    pub batch_size: usize,
    value_limit: usize,
    /// Rows went to the spool: for who writes them to the database, and for who syncs them.
    pub spooled: Notify,
    unsynced: Notify,
    pub condition: Condition,
    /// When it was told that the spool cannot be used, and that it cannot be synced.
    pub unusable_told: Mutex<Option<Instant>>,
    unsynced_told: Mutex<Option<Instant>>,
}

/// Who wants to be told when all that waits now has left the queue.
pub(super) type Asked = oneshot::Sender<()>;

impl Writer {
    pub(super) fn new(config: &HistoryConfig, store: Store, metrics: Arc<Metrics>) -> Self {
        Self {
            queue: Queue::new(config.queue_capacity),
            store,
            spool: Arc::new(Spool::new(config.spool_path.clone(), config.spool_limit.as_u64())),
            condition: Condition::new(Arc::clone(&metrics)),
            metrics,
            migrate: config.migrate,
            flush_interval: config.flush_interval,
            batch_size: config.batch_size,
            value_limit: usize::try_from(config.value_limit.as_u64()).unwrap_or(usize::MAX),
            spooled: Notify::new(),
            unsynced: Notify::new(),
            unusable_told: Mutex::new(None),
            unsynced_told: Mutex::new(None),
        }
    }

    /// Empties the queue again and again.
    pub(super) async fn write(self: Arc<Self>, mut asks: mpsc::Receiver<Asked>) {
        let (mut work, mut taken) = (Work::new(self.batch_size, self.value_limit), Instant::now());
        loop {
            let asked = match timeout_at(taken + self.flush_interval / 4, asks.recv()).await {
                Err(_elapsed) => None,
                Ok(Some(asked)) => Some(asked),
                Ok(None) => return,
            };
            // The oldest row may have come when the queue was emptied the last time, however long ago that is.
            let deadline = mem::replace(&mut taken, Instant::now()) + self.flush_interval * 3 / 4;
            work.answered = self.queue.take(work.answered);
            while !work.answered.is_empty() {
                // Away from the async threads: it is their JSON that is written here.
                let made = spawn_blocking(move || work.make_rows());
                // It fails only while the server goes down with its runtime.
                let Ok(made) = made.await else { return };
                work = made;
                let rows = Rows::from(mem::take(&mut work.rows));
                self.keep(&rows, deadline).await;
                work.rows = rows.into_room();
            }
            if let Some(asked) = asked {
                self.sync_spool().await;
                // Who has gone meanwhile need not be told.
                let _ = asked.send(());
            }
        }
    }

    /// Puts rows where a crash does not reach them, soon after `deadline` whatever the database does.
    async fn keep(&self, rows: &Rows, deadline: Instant) {
        let mut written = 0;
        if self.spool.is_direct() {
            let mut trouble = None;
            for chunk in rows.in_chunks(self.batch_size) {
                match timeout_at(deadline, self.insert(&chunk)).await {
                    Ok(Ok(())) => written += chunk.len(),
                    Ok(Err(reason)) => trouble = Some(reason),
                    Err(_elapsed) => trouble = Some(Trouble::Slow),
                }
                if trouble.is_some() {
                    break;
                }
            }
            let Some(trouble) = trouble else { return };
            self.condition.failed();
            self.condition.away(trouble);
        }
        self.spool_rows(rows.after(written)).await;
        self.spooled.notify_one();
        self.unsynced.notify_one();
    }

    async fn spool_rows(&self, rows: Rows) {
        let spool = Arc::clone(&self.spool);
        let Ok(appended) = spawn_blocking(move || spool.append(&rows)).await else { return };
        self.metrics.history.rows(HistoryRows::Spooled, appended.kept);
        self.lost(appended.lost, appended.reason.as_deref().unwrap_or_default());
    }

    /// Syncs the spool whenever there is something new in it. What is written there outlives the server already, a power cut
    /// only when it is synced: the next rows do not wait for a disk that takes long to do so.
    pub(super) async fn sync(self: Arc<Self>) {
        loop {
            self.unsynced.notified().await;
            self.sync_spool().await;
        }
    }

    async fn sync_spool(&self) {
        let spool = Arc::clone(&self.spool);
        if let Ok(Err(error)) = spawn_blocking(move || spool.sync()).await
            && is_news(&self.unsynced_told)
        {
            tracing::error!(%error, "the spool cannot be synced: a power cut may lose its last rows");
        }
    }

    /// These rows are nowhere. Each is counted.
    pub(super) fn lost(&self, rows: usize, reason: &str) {
        self.metrics.history.rows(HistoryRows::Dropped, rows);
        if rows > 0 {
            self.condition.dropped(rows, reason);
        }
    }

    /// Writes rows, without those that the database will never take.
    pub(super) async fn insert(&self, rows: &Rows) -> Result<(), Trouble> {
        match self.store.insert(rows).await {
            Ok(()) => {
                if !rows.is_empty() {
                    self.metrics.history.rows(HistoryRows::Stored, rows.len());
                    self.condition.written();
                }
                Ok(())
            }
            Err(NotWritten::Away(trouble)) => Err(trouble),
            Err(NotWritten::Rejected) => self.insert_each(rows).await,
        }
    }

    async fn insert_each(&self, rows: &Rows) -> Result<(), Trouble> {
        for one in rows.in_chunks(1) {
            match self.store.insert(&one).await {
                Ok(()) => {
                    self.metrics.history.rows(HistoryRows::Stored, 1);
                    self.condition.written();
                }
                Err(NotWritten::Away(trouble)) => return Err(trouble),
                Err(NotWritten::Rejected) => {
                    self.metrics.history.rows(HistoryRows::Rejected, 1);
                    for row in one.iter() {
                        tracing::error!(id = %row.id, request_id = row.request_id(), "the database does not take this row");
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether something may be told again.
pub(super) fn is_news(told: &Mutex<Option<Instant>>) -> bool {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let news = told.is_none_or(|told| told.elapsed() > BETWEEN_LINES);
    if news {
        *told = Some(Instant::now());
    }
    news
}
