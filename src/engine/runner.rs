//! A graph's sessions, and the way in which runs get one of them.

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    batch::{Lot, Sharing},
    inline::Inline,
    operators,
    pool::Pool,
    queue::Limits,
    session::Session,
    sessions::Sessions,
    strategy::{self, Choice, Tried},
};
use crate::model::Strategy;

/// Runs one graph.
#[derive(Debug)]
pub struct Runner {
    pub(super) pool: Pool,
    /// For what is short enough to be run at once.
    inline: Option<Inline>,
    choice: Choice,
    max_delay: Duration,
}

/// What is known of a graph before it gets its first request.
#[derive(Debug)]
pub struct Tries<'a> {
    /// Its file.
    pub graph: &'a Path,
    /// What the manifest says.
    pub wanted: Strategy,
    /// What its first runs took.
    pub tried: Tried,
    /// Whether the inputs of every run have equally many rows.
    pub same_rows: bool,
    /// What the manifest says about waiting for more rows.
    pub max_queue_delay: Option<Duration>,
}

impl Runner {
    /// Decides how runs get a session, and starts the inference threads. `name` shows in the list of threads.
    ///
    /// # Errors
    /// When the manifest wants what the graph does not allow, or the system gives no thread.
    pub fn start(
        name: &str,
        sessions: Vec<Session>,
        sharing: &Sharing,
        limits: Limits,
        tries: &Tries<'_>,
    ) -> anyhow::Result<Self> {
        let Tries { graph, wanted, tried, same_rows, max_queue_delay } = tries;
        let look = || operators::unbounded(graph, *same_rows);
        let choice = strategy::choose(*wanted, sharing.max_batch_size, tried, look)?;
        let sessions = Arc::new(Sessions::new(sessions));
        let (strangers, max_delay) = match choice.strategy {
            Strategy::Batched => (sharing.clone(), max_queue_delay.unwrap_or_else(|| tried.delay())),
            // Items of one request share runs all the same.
            _ => (Sharing { max_batch_size: None, ..sharing.clone() }, Duration::ZERO),
        };
        let pool = Pool::start(name, &sessions, &strangers, Limits { max_delay, ..limits }, tried.single)?;
        let inline = (choice.strategy == Strategy::Inline).then(|| Inline::new(sessions, sharing.clone(), tried));
        Ok(Self { pool, inline, choice, max_delay })
    }

    /// How runs get a session, and why.
    pub const fn choice(&self) -> &Choice {
        &self.choice
    }

    /// How long a run that is not full waits for more rows while another one goes on.
    pub const fn max_delay(&self) -> Duration {
        self.max_delay
    }

    /// Where `lots` can be run at once, if they can.
    pub(super) fn inline(&self, lots: &[(Vec<usize>, Lot)]) -> Option<&Inline> {
        self.inline.as_ref().filter(|inline| inline.takes(lots.iter().map(|(_, lot)| lot)))
    }
}
