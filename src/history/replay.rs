//! Brings the spool's rows to the database, and looks at what is out of order meanwhile.

use std::{mem, sync::Arc, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};

use super::{
    spool::{Damage, What},
    trouble::Trouble,
    writer::{Writer, is_news},
};
use crate::telemetry::labels::HistoryRows;

/// Between two tries. A database is to be used again within seconds of its return.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Between two looks whether the database's file is still in its place, and whether a database that answers also takes rows.
const LOOK: Duration = Duration::from_secs(1);
const SHORT_LOOK: Duration = Duration::from_millis(200);

/// Between two looks whether an operator has seen to the spool's damage.
const LOOK_ASIDE: Duration = Duration::from_secs(5);

impl Writer {
    /// Brings the spool's rows to the database, whenever there are any.
    pub(super) async fn replay(self: Arc<Self>) {
        let (mut pause, mut ready, mut size) = (FIRST_PAUSE, !self.migrate, self.batch_size);
        loop {
            self.open_spool().await;
            match self.catch_up(&mut ready, &mut size).await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.rest(&mut ready).await;
                }
                Err(trouble) => {
                    self.condition.away(trouble);
                    match trouble {
                        // It may have time for fewer.
                        Trouble::Slow => size = (size / 4).max(1),
                        // Another database has come in its place.
                        Trouble::NotMigrated | Trouble::Replaced => ready = !self.migrate,
                        _ => {}
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }

    /// Waits until there is something to do: rows in the spool, or another file in the place of the database's.
    async fn rest(&self, ready: &mut bool) {
        loop {
            self.condition.answers();
            let look = if self.condition.trouble().is_some() { SHORT_LOOK } else { LOOK };
            if timeout_at(Instant::now() + look, self.spooled.notified()).await.is_ok() {
                return;
            }
            if self.store.is_replaced().await {
                self.condition.away(Trouble::Replaced);
                *ready = !self.migrate;
                return;
            }
        }
    }

    async fn open_spool(&self) {
        let spool = Arc::clone(&self.spool);
        if let Ok(Err(error)) = spawn_blocking(move || spool.open()).await
            && is_news(&self.unusable_told)
        {
            tracing::warn!(%error, "the spool cannot be used: rows are lost while the database is away");
        }
        self.tell_damage();
    }

    /// Returns when rows need not stop at the spool any more. `size` rows are written at once, and then a few more.
    async fn catch_up(&self, ready: &mut bool, size: &mut usize) -> Result<(), Trouble> {
        if !mem::replace(ready, true)
            && let Err(trouble) = self.store.migrate().await
        {
            *ready = false;
            return Err(trouble);
        }
        loop {
            let (spool, rows) = (Arc::clone(&self.spool), *size);
            let chunk = spawn_blocking(move || spool.next(rows)).await.unwrap_or(None);
            self.tell_damage();
            if let Some(chunk) = chunk {
                if let Err(trouble) = self.insert(&chunk.rows).await {
                    self.condition.failed();
                    return Err(trouble);
                }
                *size = (*size + *size / 8 + 1).min(self.batch_size);
                let spool = Arc::clone(&self.spool);
                let _ = spawn_blocking(move || spool.done(&chunk)).await;
                self.tell_damage();
            } else {
                // Nothing is written by this; but it shows that something could be.
                self.store.probe().await?;
                if self.spool.open_the_way() {
                    return Ok(());
                }
            }
        }
    }

    /// Counts and tells what was found damaged in the spool.
    fn tell_damage(&self) {
        for damage in self.spool.take_damage() {
            let words = damage.words();
            let Damage { what, rows, bytes, segment } = damage;
            match what {
                What::Torn => tracing::warn!(rows, bytes, segment, "{words}"),
                What::Kept | What::NotKept | What::Gone => tracing::error!(rows, bytes, segment, "{words}"),
            }
            self.metrics.history.rows(HistoryRows::Dropped, usize::try_from(rows).unwrap_or(usize::MAX));
            if rows > 0 {
                self.condition.lost(words);
            }
        }
    }

    /// Looks again and again whether an operator has seen to the spool's damage.
    pub(super) async fn look_aside(self: Arc<Self>) {
        loop {
            sleep(LOOK_ASIDE).await;
            let spool = Arc::clone(&self.spool);
            let is_more = spawn_blocking(move || spool.look()).await.unwrap_or(false);
            self.tell_damage();
            if is_more {
                self.spooled.notify_one();
            }
        }
    }
}
