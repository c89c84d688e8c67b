//! What an API server that runs no models itself knows of those who do.

use jiff::Timestamp;

use super::answer::{QueueStats, QueuedModel, ServedVersion, WorkerStats};
use crate::{
    api::auth::Caller,
    model::{ModelName, Version},
    queue::{Beat, ModelBeat, Queue, Standing},
    registry::shorten,
    telemetry::metrics::Reading,
};

/// Workers that are listed, the longest living ones, and versions of each.
const MOST_WORKERS: usize = 64;
const MOST_VERSIONS: usize = 64;

/// The queue as it was looked at last: models and workers as far as the caller may know of them.
pub(super) fn of_queue(reading: &Reading, queue: &Queue, caller: &Caller) -> QueueStats {
    let fleet = queue.fleet();
    let mut beats: Vec<&Beat> = fleet.workers.iter().collect();
    beats.sort_by(|one, other| (one.started_ms, &one.worker).cmp(&(other.started_ms, &other.worker)));
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    QueueStats {
        trouble: queue.broker().trouble().map(|trouble| trouble.to_string()),
        pending_requests: reading.count("queue_pending_requests", &[]),
        dead_letters: reading.count("queue_dead_letters", &[]),
        models: models(reading, caller),
        workers_in_all: beats.len() as u64,
        workers: beats.into_iter().take(MOST_WORKERS).map(|beat| of_worker(beat, now, caller)).collect(),
    }
}

/// Those that a worker serves, or has served since this server was started.
fn models(reading: &Reading, caller: &Caller) -> Vec<QueuedModel> {
    let known = |model: &String| is_known(model, caller);
    let of_model = |model: String| {
        let own = [("model", &*model)];
        let count = |name| reading.count(name, &own);
        QueuedModel {
            workers: count("queue_workers"),
            entries: count("queue_entries"),
            oldest_ms: count("queue_oldest_entry_milliseconds"),
            model,
        }
    };
    reading.by("queue_workers", &[], "model").into_keys().filter(known).map(of_model).collect()
}

fn of_worker(beat: &Beat, now_ms: u64, caller: &Caller) -> WorkerStats {
    let known = beat.models.iter().filter(|(name, _)| is_known(name, caller));
    let mut versions = known.flat_map(|(name, model)| versions(name, model));
    WorkerStats {
        worker: shorten(&beat.worker),
        uptime_seconds: now_ms.saturating_sub(beat.started_ms) / 1000,
        versions: versions.by_ref().take(MOST_VERSIONS).collect(),
        further_versions: versions.count() as u64,
    }
}

/// Whether this is a model, and one that the caller may know of.
fn is_known(model: &str, caller: &Caller) -> bool {
    ModelName::parse(model).is_some() && caller.may_use(model)
}

/// How far each version is; of a model that can have none, that alone.
fn versions(model: &str, beat: &ModelBeat) -> Vec<ServedVersion> {
    let served = |version: Option<&str>, state| ServedVersion {
        model: model.to_owned(),
        version: version.map(str::to_owned),
        state,
    };
    let versions = beat.versions.iter().filter(|(version, _)| Version::parse(version).is_some());
    let versions: Vec<_> = versions.map(|(version, standing)| served(Some(version), word(standing))).collect();
    if versions.is_empty() && beat.fault.is_some() { vec![served(None, "failed")] } else { versions }
}

const fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Ready { .. } => "ready",
        Standing::Leaving { .. } => "leaving",
        Standing::Loading => "loading",
        Standing::Failed(_) => "failed",
        Standing::NotBuilt(_) => "not_built",
    }
}
