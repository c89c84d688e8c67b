//! A worker's sign of life: what it serves, told again and again, and taken back when it ends.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use redis::{Value, pipe};

use super::{
    Beat, Broker, ModelBeat,
    bounds::{MAX_BEAT_BYTES, MAX_DESCRIPTION_BYTES},
    broker::{millis, number},
};
use crate::link::Trouble;

/// A worker that missed so many beats is gone.
const BEATS: u32 = 3;

/// How long a description is kept that no worker refers to.
const DESCRIPTION_KEPT: Duration = Duration::from_secs(60 * 60);

/// One worker.
#[derive(Debug)]
pub struct Life {
    broker: Arc<Broker>,
    worker: String,
    started_ms: u64,
    /// Whether the log has it that this worker serves more than API servers take.
    told: AtomicBool,
}

impl Life {
    /// Begins now; nobody knows of it before the first beat.
    pub fn new(broker: Arc<Broker>) -> Self {
        Self { broker, worker: new_name(), started_ms: since_1970(), told: AtomicBool::new(false) }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.worker
    }

    /// Between two beats.
    pub fn pause(&self) -> Duration {
        self.broker.config.heartbeat
    }

    /// Tells what it serves. `descriptions` are written where they are not there.
    ///
    /// # Errors
    /// What is wrong with Redis.
    pub async fn beat(
        &self,
        mut models: BTreeMap<String, ModelBeat>,
        descriptions: &BTreeMap<String, String>,
    ) -> Result<(), Trouble> {
        let names = &self.broker.names;
        let mut renewed = pipe();
        for hash in descriptions.keys() {
            renewed.cmd("PEXPIRE").arg(names.description(hash)).arg(millis(DESCRIPTION_KEPT));
        }
        let renewed = if descriptions.is_empty() { Vec::new() } else { self.broker.ask(&renewed).await? };
        let mut commands = pipe();
        for ((hash, text), renewed) in descriptions.iter().zip(renewed) {
            if number(&renewed) != Some(1) {
                let description = commands.cmd("SET").arg(names.description(hash)).arg(text);
                description.arg("PX").arg(millis(DESCRIPTION_KEPT));
            }
        }
        models.values_mut().for_each(ModelBeat::cut_reasons);
        let beat = Beat { worker: self.worker.clone(), started_ms: self.started_ms, models };
        let beat = serde_json::to_string(&beat).unwrap_or_default();
        let too_large = descriptions.values().any(|text| text.len() > MAX_DESCRIPTION_BYTES);
        if (beat.len() > MAX_BEAT_BYTES || too_large) && !self.told.swap(true, Ordering::Relaxed) {
            tracing::error!(
                bytes = beat.len(),
                "API servers leave out what this worker serves: it is more than they take"
            );
        }
        let kept = self.broker.config.heartbeat * BEATS;
        commands.cmd("SET").arg(names.worker(&self.worker)).arg(beat).arg("PX").arg(millis(kept));
        commands.cmd("SADD").arg(names.workers()).arg(&self.worker);
        let answers = self.broker.ask(&commands).await?;
        self.broker.read_clock().await?;
        if answers.iter().any(|answer| matches!(answer, Value::ServerError(_))) {
            Err(Trouble::Failing)
        } else {
            Ok(())
        }
    }

    /// Says that it serves nothing any more.
    pub async fn end(&self) {
        let names = &self.broker.names;
        let mut commands = pipe();
        commands.cmd("DEL").arg(names.worker(&self.worker));
        commands.cmd("SREM").arg(names.workers()).arg(&self.worker);
        // Where that fails, its last beat expires.
        let _ = self.broker.ask(&commands).await;
    }
}

/// A name that no other process has or had.
pub(super) fn new_name() -> String {
    let random = getrandom::u64().unwrap_or_default();
    format!("{:x}-{:x}-{random:016x}", since_1970(), std::process::id())
}

fn since_1970() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
